"""Fig. 5: is the error at the input of the shrinkage, r_t - x, Gaussian?

The tables are for the first iteration or layer t of a curve with a test NMSE (the figure's `metric`) below -15 dB:

    summary  t, the NMSE there, and the excess kurtosis of r_t - x
    qq       quantiles of r_t - x against those of N(0, 1), thinned to a few hundred evenly spaced ones

AMP promises Gaussian errors with a variance of each sample's own (eq 14), and a mixture of Gaussians of different
widths has heavy tails. So each sample's errors are scaled to a mean square of 1 before they are pooled;
`excess_kurtosis_unscaled` is that of the plain pool.
"""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from onsager_cli.config.experiment import Curve, Experiment
from onsager_cli.config.figure import FigureSpec
from onsager_cli.errors import UserError
from onsager_cli.figures.curves import panels
from onsager_cli.figures.kinds import ProblemOf, Rows, Tables, as_markdown, columns
from onsager_cli.figures.looks import styles
from onsager_cli.kinds.records import BLACK, FigureKind, without_real_layers
from onsager_cli.store.tables import by_curve
from onsager_cli.text import render

if TYPE_CHECKING:
    from onsager_cli.problems import Problem

KIND = FigureKind("qq", refuses=without_real_layers)

LEVEL_DB = -15.0
POINTS = 301


def tables(experiment: Experiment, rows: Rows, problem_of: ProblemOf) -> Tables:
    """`summary` and `qq`; a curve that is not stored, or never gets below LEVEL_DB, is left out."""
    from scipy.stats import kurtosis, probplot

    found: Tables = {"summary": [], "qq": []}
    metric = experiment.figure.metric
    below = by_curve(row for row in rows if row["layer"] and row[metric] < LEVEL_DB)
    for curve in experiment.curves:
        if curve.slug not in below:
            continue
        first = below[curve.slug][0]
        errors = shrinkage_errors(curve, problem_of(curve), first["layer"])
        scaled = errors / np.sqrt(np.mean(errors**2, axis=0))
        found["summary"].append(
            {
                **{name: first[name] for name in ("curve", "network", "shrinkage", "tied", "layer", metric)},
                "excess_kurtosis": float(kurtosis(scaled.ravel())),
                "excess_kurtosis_unscaled": float(kurtosis(errors.ravel())),
                "rms_error": float(np.sqrt(np.mean(errors**2))),
            }
        )
        normal, ordered = (np.asarray(a) for a in probplot(scaled.ravel(), fit=False))
        kept = np.unique(np.searchsorted(normal, np.linspace(normal[0], normal[-1], POINTS)))
        found["qq"] += [
            {"curve": curve.slug, "normal_quantile": float(normal[i]), "error_quantile": float(ordered[i])}
            for i in kept
        ]
    return found


def shrinkage_errors(curve: Curve, problem: "Problem", t: int) -> np.ndarray:
    """r_t - x of every entry of the test set, (N, L), float64; t counts from 1."""
    return shrinkage_input(curve, problem, t)[0] - np.asarray(problem.test.x, np.float64)


def shrinkage_input(curve: Curve, problem: "Problem", t: int) -> tuple[np.ndarray, np.ndarray]:
    """r_t (N, L) and σ_t (1, L) on the test set, float64, of the network of t layers; t counts from 1."""
    from onsager_cli.networks.layers import trace
    from onsager_cli.theory import iterate
    from onsager_cli.training.curve import algorithm_of, how_to_iterate
    from onsager_cli.training.networks_on_disk import stored_network

    y, settings = problem.test.y, curve.settings
    if settings.training.trains:
        net, params = stored_network(settings, curve.folder, t)
        _, (r, sigma) = trace(net, problem, params, y, t, settings.precision)[-1]
    else:
        net, how = algorithm_of(settings, curve.folder), how_to_iterate(settings)
        r, sigma = iterate.shrinkage_input(net, problem, y, t, settings.precision, **how)
    return np.asarray(r, np.float64), np.asarray(sigma, np.float64)


def draw(figure: FigureSpec, rows: Rows, tables: Tables) -> Figure:
    """One panel per curve; the dashed line goes through the quartiles, as it would for a Gaussian everywhere.

    Raises UserError if no curve gets below LEVEL_DB.
    """
    del rows
    if not tables.get("summary"):
        raise UserError(f"{figure.name}: no curve gets below {LEVEL_DB:g} dB")
    looks, quantiles = styles(tables["summary"]), by_curve(tables["qq"])
    with panels(1, len(looks), 2.3 * len(looks), 2.3) as (drawing, axes):
        for ax, summary in zip(axes, tables["summary"], strict=True):
            style = looks[summary["curve"]]
            normal, errors = map(np.array, columns(quantiles[summary["curve"]], "normal_quantile", "error_quantile"))
            low, high = np.interp([-0.6745, 0.6745], normal, errors)
            ax.plot(normal, errors, ".", color=style.color, markersize=3)
            ax.plot(normal, (low + high) / 2 + normal * (high - low) / (2 * 0.6745), "--", color=BLACK, linewidth=0.7)
            ax.set_title(f"{style.label}, t = {summary['layer']}")
            ax.set_xlabel("normal quantile")
            kurtosis = f"excess kurtosis {summary['excess_kurtosis']:.2f}"
            ax.annotate(kurtosis, (0.04, 0.95), xycoords="axes fraction", va="top", fontsize=7)
        axes[0].set_ylabel("quantile of $r_t - x$, scaled")
    return drawing


def page(tables: Tables) -> str:
    """The summary as a table."""
    mean_ratio = any("nmse_mean_ratio_db" in row for row in tables["summary"])
    return render(
        "qq.md.j2", table=as_markdown, rows=tables["summary"], level_db=f"{LEVEL_DB:g}", mean_ratio=mean_ratio
    )
