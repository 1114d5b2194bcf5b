"""Finite size: how far networks are from state evolution, and their θ from the prior, as N grows.

A curve is named SIZE-METHOD, such as n500-lamp, on Bernoulli-Gaussian signals. The drawing has a panel for the NMSE minus
what state evolution predicts at the last layer, and one for the learned log odds of zero, by layer.
"""

import numpy as np
from matplotlib.figure import Figure

from onsager_cli.config.experiment import Experiment
from onsager_cli.config.figure import FigureSpec
from onsager_cli.errors import UserError
from onsager_cli.figures.curves import panels
from onsager_cli.figures.kinds import ProblemOf, Rows, Tables, as_markdown
from onsager_cli.figures.layers import predict
from onsager_cli.figures.looks import marker_of, style_of
from onsager_cli.kinds.records import FigureKind
from onsager_cli.store.tables import Row, grouped
from onsager_cli.text import render

KIND = FigureKind(
    "sizes",
    refuses=lambda settings: (
        None
        if settings.shrinkage.family == settings.problem.matched_shrinkage == "bg" and settings.network.record.evolution
        else "compares with state evolution: it is for AMP, VAMP and what is unfolded from them, on Bernoulli-Gaussian signals with BG"
    ),
)
PARAMETERS = ("phi", "log_odds_zero")  # θ of BG


def tables(experiment: Experiment, rows: Rows, problem_of: ProblemOf) -> Tables:
    """`sizes`: N, method, layer, NMSE, what state evolution predicts, and the learned θ, over the matrices.

    Raises UserError for a curve whose name is not SIZE-METHOD.
    """
    del problem_of
    levels, learned = {}, {}
    for curve in experiment.curves:
        stored = curve.folder.load("network")
        if stored is None:
            continue
        key = (curve.slug, curve.settings.seed)
        predicted = predict(curve.settings, stored[0]["problem.A"])
        assert predicted is not None  # the kind refuses others
        levels[key] = predicted
        if curve.settings.trained:
            learned[key] = [stored[0].get(f"layers.{t}.theta") for t in range(curve.settings.depth)]
    found = []
    points = grouped(((row["curve"], row["layer"]), row) for row in rows if (row["curve"], row["seed"]) in levels)
    for (slug, layer), own in points.items():
        size, dash, method = slug.rpartition("-")
        if not dash:
            raise UserError(f"curve {slug}: figure.kind=sizes names curves SIZE-METHOD")
        keys = [(slug, row["seed"]) for row in own]
        gaps = [row["nmse_db"] - levels[key][layer - 1] for row, key in zip(own, keys, strict=True)]
        thetas = [learned[key][layer - 1] for key in keys if key in learned]
        found.append({
            "size": size, "method": method, "N": _columns(experiment, slug), "layer": layer, "matrices": len(own),
            "nmse_db": float(np.mean([row["nmse_db"] for row in own])), "gap_db": float(np.mean(gaps)),
            "gap_db_se": _error(gaps, own), "evolution": _evolution(experiment, slug), "network": own[0]["network"], "shrinkage": own[0]["shrinkage"],
            **{name: _mean(thetas, i) for i, name in enumerate(PARAMETERS)},
        })  # fmt: skip
    return {"sizes": found}


def _columns(experiment: Experiment, slug: str) -> int:
    """N of a curve's problem."""
    return next(int(curve.settings.problem.shape[1] or 0) for curve in experiment.curves if curve.slug == slug)


def _evolution(experiment: Experiment, slug: str) -> str:
    """The recursion that describes the algorithm of a curve."""
    return next(curve.settings.network.record.evolution for curve in experiment.curves if curve.slug == slug)


def _error(gaps: list[float], own: list[Row]) -> float:
    """The standard error of a mean gap: over matrices, or over the samples of a single one."""
    return float(np.std(gaps, ddof=1) / np.sqrt(len(gaps))) if len(gaps) > 1 else float(own[0]["nmse_db_se"] or 0)


def _mean(thetas: list[np.ndarray | None], i: int) -> float | None:
    """The mean of θ_i over matrices; None where nothing was learned."""
    values = [float(np.ravel(theta)[i]) for theta in thetas if theta is not None]
    return float(np.mean(values)) if values else None


def draw(figure: FigureSpec, rows: Rows, tables: Tables) -> Figure:
    """The gap at the last layer over N, a line for each method; the log odds of zero over N, a line for each layer."""
    del figure, rows
    shown = tables["sizes"]
    last = max(row["layer"] for row in shown)
    with panels(1, 2, 6.2, 2.7) as (drawing, (left, right)):
        for own in grouped((row["method"], row) for row in shown if row["layer"] == last).values():
            own.sort(key=lambda row: row["N"])
            look = style_of({**own[0], "curve": "matched_vamp" if own[0]["network"] == "vamp" else own[0]["method"]})
            left.errorbar(
                [row["N"] for row in own], [row["gap_db"] for row in own], [row["gap_db_se"] for row in own],
                color=look.color, label=look.label, capsize=2, **marker_of(look),
            )  # fmt: skip
        left.axhline(0, color="black", linewidth=0.7)
        left.set(ylabel=f"NMSE - state evolution (dB), layer {last}")
        learned = [row for row in shown if row["log_odds_zero"] is not None and row["evolution"] == "vamp"]
        for layer, own in grouped((row["layer"], row) for row in learned).items():
            own.sort(key=lambda row: row["N"])
            right.plot(
                [row["N"] for row in own], [row["log_odds_zero"] for row in own], "o-", markersize=3,
                color=str(0.75 * (1 - layer / last)), label=f"layer {layer}",
            )  # fmt: skip
        right.set(ylabel="learned log odds of zero, LVAMP-BG")
        for axes in (left, right):
            sizes = sorted({row["N"] for row in shown})
            axes.set_xscale("log")
            axes.set_xticks(sizes, [str(size) for size in sizes])
            axes.minorticks_off()
            axes.set_xlabel("N")
            axes.legend(fontsize=6)
    return drawing


def page(tables: Tables) -> str:
    """Two tables: the gaps by layer, and the log odds of zero by layer."""
    shown = tables["sizes"]
    layers = sorted({row["layer"] for row in shown})
    gaps, odds = [], []
    for (size, method), own in grouped(((row["N"], row["method"]), row) for row in shown).items():
        of = {row["layer"]: row for row in own}
        head = {"N": size, "method": method}
        gaps.append({**head, **{str(t): f"{of[t]['gap_db']:+.2f}" if t in of else "" for t in layers}})
        if any(row["log_odds_zero"] is not None for row in own):
            odds.append({**head, **{str(t): f"{of[t]['log_odds_zero']:.2f}" if t in of else "" for t in layers}})
    headings = {"N": "N", "method": "method", **{str(t): str(t) for t in layers}}
    return render("sizes.md.j2", table=as_markdown, gaps=gaps, odds=odds, headings=headings)
