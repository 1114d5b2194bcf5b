"""Error bars of curves on several matrices (`seeds`), from their tables. No JAX.

The mean over matrices is that of the NMSE in dB, its standard error the standard deviation over √n.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from onsager_cli.store.tables import NMSE

Row = dict[str, Any]
# Instance and seed name a matrix and the draw of everything else.
_REALIZATION = ("instance", "seed")


def realizations(rows: Iterable[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """The (instance, seed) of a table's rows, each once, in their order."""
    return list(dict.fromkeys(tuple(row.get(key) for key in _REALIZATION) for row in rows))


def averaged(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """One row per point: for a curve on several matrices the mean, with the standard error over them.

    A point that one of the matrices lacks is left out. An averaged row has `matrices`, the number of matrices.
    """
    curves: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        curves.setdefault(row["curve"], []).append(row)
    found: list[Row] = []
    for of_curve in curves.values():
        count = len(realizations(of_curve))
        points: dict[Any, list[Mapping[str, Any]]] = {}
        for row in of_curve:
            points.setdefault(row["layer"], []).append(row)
        if count == 1:
            found += map(dict, of_curve)
        else:
            found += [_mean(point) for point in points.values() if len(point) == count]
    return found


def _mean(point: Sequence[Mapping[str, Any]]) -> Row:
    row = {**point[0], "matrices": len(point)}
    for metric in NMSE:
        values = [of[metric] for of in point if of.get(metric) is not None]
        if len(values) < len(point):
            row |= {metric: None, f"{metric}_se": None}
            continue
        finite = all(math.isfinite(value) for value in values)
        error = statistics.stdev(values) / math.sqrt(len(values)) if finite else math.nan
        row |= {metric: statistics.fmean(values), f"{metric}_se": error}
    return row


def spread(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The table `seeds`: mean, standard error, lowest and highest NMSE (dB) of every point on several matrices."""
    found = []
    for mean in averaged(rows):
        if "matrices" not in mean:
            continue
        values = [row["nmse_db"] for row in rows if (row["curve"], row["layer"]) == (mean["curve"], mean["layer"])]
        found.append({
            "curve": mean["curve"], "layer": mean["layer"], "matrices": mean["matrices"], "nmse_db": mean["nmse_db"],
            "nmse_db_se": mean["nmse_db_se"], "lowest_nmse_db": min(values), "highest_nmse_db": max(values),
        })  # fmt: skip
    return found
