"""Fig. 5: is the error at the input of the shrinkage, r_t - x, Gaussian?

Each curve is looked at in the first iteration or layer t with an NMSE below -15 dB (ratio of sums), on the test set:

    summary  t, the NMSE there, and the excess kurtosis of r_t - x
    qq       quantiles of r_t - x against those of N(0, 1), thinned to a few hundred evenly spaced ones

AMP promises Gaussian errors with a variance of each sample's own (eq 14), and a mixture of Gaussians of different
widths has heavy tails. So each sample's errors are scaled to a mean square of 1 before they are pooled;
`excess_kurtosis_unscaled` is that of the plain pool.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.style
import numpy as np

from onsager_cli.config.experiment import Curve, Experiment
from onsager_cli.config.figure import FigureSpec
from onsager_cli.errors import UserError
from onsager_cli.figures.curves import panels
from onsager_cli.figures.kinds import ProblemOf, Row, Tables
from onsager_cli.kinds.records import FigureKind
from onsager_cli.store.curves import CurveFolder
from onsager_cli.text import cell, markdown_table

if TYPE_CHECKING:
    from onsager_cli.problems import Problem

KIND = FigureKind(
    "qq",
    refuses=lambda settings: (
        f"looks into layers, and network.kind={settings.network.kind} has none"
        if settings.network.depth is None
        else "is for real numbers: write problem.embedding=real"
        if settings.problem.embedding == "complex"
        else None
    ),
)

LEVEL_DB = -15.0
POINTS = 301


def tables(experiment: Experiment, rows: Sequence[Row], problem_of: ProblemOf) -> Tables:
    """`summary` and `qq`; a curve that is not stored, or never gets below LEVEL_DB, is left out."""
    from scipy.stats import kurtosis, probplot

    del rows
    found: Tables = {"summary": [], "qq": []}
    for curve in experiment.curves:
        folder = curve.folder
        below = [row for row in folder.points() if row["layer"] and row["nmse_db"] < LEVEL_DB]
        if not below:
            continue
        row = below[0]
        errors = shrinkage_errors(curve, folder, problem_of(curve), row["layer"])
        scaled = errors / np.sqrt(np.mean(errors**2, axis=0))
        found["summary"].append({
            "curve": curve.slug, **{name: row[name] for name in ("network", "shrinkage", "tied", "layer", "nmse_db")},
            "excess_kurtosis": float(kurtosis(scaled.ravel())),
            "excess_kurtosis_unscaled": float(kurtosis(errors.ravel())),
            "rms_error": float(np.sqrt(np.mean(errors**2))),
        })  # fmt: skip
        normal, ordered = (np.asarray(a) for a in probplot(scaled.ravel(), fit=False))
        kept = np.unique(np.searchsorted(normal, np.linspace(normal[0], normal[-1], POINTS)))
        found["qq"] += [
            {"curve": curve.slug, "normal_quantile": float(normal[i]), "error_quantile": float(ordered[i])}
            for i in kept
        ]
    return found


def shrinkage_errors(curve: Curve, folder: CurveFolder, problem: "Problem", t: int) -> np.ndarray:
    """r_t - x of every entry of the test set, (N, L), float64; t counts from 1."""
    from onsager_cli.networks.layers import trace
    from onsager_cli.theory import iterate
    from onsager_cli.training.curve import how_to_iterate
    from onsager_cli.training.networks_on_disk import network_of, stored_network

    (x, y), settings = problem.test, curve.settings
    if settings.training.trains:
        net, params = stored_network(settings, folder, t)
        r, _ = trace(net, problem, params, y, t, settings.precision)[-1][1]
    else:
        net, how = network_of(settings), how_to_iterate(settings)
        r, _ = iterate.shrinkage_input(net, problem, y, t, settings.precision, **how)
    return np.asarray(r, np.float64) - np.asarray(x, np.float64)


def draw(
    figure: FigureSpec, rows: Sequence[Mapping[str, Any]], tables: Tables, folder: Path, formats: Sequence[str]
) -> list[Path]:
    """One panel per curve; the dashed line goes through the quartiles, as it would for a Gaussian everywhere."""
    from onsager_cli.figures import curves
    from onsager_cli.figures.looks import BLACK, styles

    del rows
    if not tables.get("summary"):
        raise UserError(f"{figure.name}: no curve gets below {LEVEL_DB:g} dB")
    looks = styles(tables["summary"])
    with matplotlib.style.context(["default", "onsager_cli.figures.paper"]):
        drawing, axes = panels(1, len(looks), 2.3 * len(looks), 2.3)
        for ax, summary in zip(axes, tables["summary"], strict=True):
            style = looks[summary["curve"]]
            points = [row for row in tables["qq"] if row["curve"] == summary["curve"]]
            normal, errors = (np.array([row[k] for row in points]) for k in ("normal_quantile", "error_quantile"))
            ax.plot(normal, errors, ".", color=style.color, markersize=3)
            low, high = np.interp([-0.6745, 0.6745], normal, errors)
            line = (low + high) / 2 + normal * (high - low) / (2 * 0.6745)
            ax.plot(normal, line, "--", color=BLACK, linewidth=0.7)
            ax.set_title(f"{style.label}, t = {summary['layer']}")
            ax.set_xlabel("normal quantile")
            ax.annotate(
                f"excess kurtosis {summary['excess_kurtosis']:.2f}", (0.04, 0.95), xycoords="axes fraction", va="top", fontsize=7
            )  # fmt: skip
        axes[0].set_ylabel("quantile of $r_t - x$, scaled")
    return curves.save(drawing, folder, figure.name, formats)


def page(tables: Tables) -> str:
    """The summary as a table."""
    rows = tables["summary"]
    keys = ("curve", "layer", "nmse_db", "excess_kurtosis", "excess_kurtosis_unscaled", "rms_error")
    text = markdown_table(
        ["curve", "t", "NMSE (dB)", "excess kurtosis", "unscaled", "rms of r - x"],
        [[cell(row[key], 4) for key in keys] for row in rows],
    )
    return (
        f"## The first t below {LEVEL_DB:g} dB\n\n{text}\n\n"
        "The errors of each sample are scaled to a mean square of 1, because each has a variance of its own and a "
        "mixture of Gaussians is not Gaussian; unscaled is the kurtosis of the plain pool. The quantiles are in "
        "[qq.csv](qq.csv), this table in [summary.csv](summary.csv)."
    )
