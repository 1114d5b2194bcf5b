"""Error bars of curves on several matrices (`seeds`), from their tables. No JAX.

The mean over matrices is that of the NMSE in dB, its standard error the standard deviation over √n.
"""

import math
import statistics
from collections.abc import Iterable, Sequence

from onsager_cli.store.tables import NMSE, Point, Row, grouped

# Instance and seed name a matrix and the draw of everything else.
_REALIZATION = ("instance", "seed")


def realizations(rows: Iterable[Point]) -> list[tuple[object, ...]]:
    """The (instance, seed) of a table's rows, each once, in their order."""
    return list(dict.fromkeys(tuple(row.get(key) for key in _REALIZATION) for row in rows))


def averaged(rows: Sequence[Point]) -> list[Row]:
    """One row per point: for a curve on several matrices the mean, with the standard error over them.

    A point that one of the matrices lacks is left out. An averaged row has `matrices`, the number of matrices.
    """
    found: list[Row] = []
    for of_curve in grouped((row["curve"], row) for row in rows).values():
        count, points = len(realizations(of_curve)), grouped((row["layer"], row) for row in of_curve).values()
        if count == 1:
            found += map(dict, of_curve)
        else:
            found += [_mean(point) for point in points if len(point) == count]
    return found


def _mean(point: Sequence[Point]) -> Row:
    """The row of one point: the mean over its matrices, with the standard error; None for a metric that a row lacks."""
    row = {**point[0], "matrices": len(point)}
    for metric in NMSE:
        values = [of[metric] for of in point if of.get(metric) is not None]
        if len(values) < len(point):
            row |= {metric: None, f"{metric}_se": None}
            continue
        finite = all(map(math.isfinite, values))
        error = statistics.stdev(values) / math.sqrt(len(values)) if finite else math.nan
        row |= {metric: statistics.fmean(values), f"{metric}_se": error}
    return row


def spread(rows: Sequence[Point]) -> list[Row]:
    """The table `seeds`: mean, standard error, lowest and highest NMSE (dB) of every point on several matrices."""
    found = []
    for mean in averaged(rows):
        if "matrices" in mean:
            values = [row["nmse_db"] for row in rows if (row["curve"], row["layer"]) == (mean["curve"], mean["layer"])]
            row = {name: mean[name] for name in ("curve", "layer", "matrices", "nmse_db", "nmse_db_se")}
            found.append({**row, "lowest_nmse_db": min(values), "highest_nmse_db": max(values)})
    return found
