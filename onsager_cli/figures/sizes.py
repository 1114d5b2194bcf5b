"""Finite size: how far networks are from state evolution, and their θ from the prior, as N grows.

A curve is named SIZE-METHOD, such as n500-lamp, on Bernoulli-Gaussian signals. The drawing has a panel for the NMSE minus
what state evolution predicts at the last layer, and one for the learned log odds of zero, by layer.
"""

import itertools

import numpy as np
from matplotlib.figure import Figure

from onsager_cli.config.experiment import Experiment
from onsager_cli.config.figure import FigureSpec
from onsager_cli.errors import UserError
from onsager_cli.figures.curves import panels
from onsager_cli.figures.kinds import ProblemOf, Rows, Tables, as_markdown
from onsager_cli.figures.layers import predict
from onsager_cli.figures.looks import MARKERS, marker_of, style_of
from onsager_cli.kinds.records import FigureKind, without_evolution
from onsager_cli.store.tables import Row, by_curve, grouped
from onsager_cli.text import render

KIND = FigureKind("sizes", refuses=without_evolution)
PARAMETERS = ("phi", "log_odds_zero")  # θ of BG


def tables(experiment: Experiment, rows: Rows, problem_of: ProblemOf) -> Tables:
    """`sizes`: N, method, layer, NMSE, what state evolution predicts, and the learned θ of the deepest network.

    Raises UserError for a curve whose name is not SIZE-METHOD, and if no network is there whole.
    """
    del problem_of
    found: list[Row] = []
    points = by_curve(row for row in rows if row["layer"])
    for curve in experiment.curves:
        size, dash, method = curve.slug.rpartition("-")
        if not dash:
            raise UserError(f"figure.kind=sizes: the name of a curve must be SIZE-METHOD, got {curve.slug}")
        stored = curve.folder.load("network")
        if stored is None:
            continue
        predicted, prior = predict(curve.settings, stored[0]["problem.A"]), curve.settings.problem.matched_theta
        assert predicted is not None  # the kind refuses others
        assert prior is not None
        head = {
            "size": size,
            "method": method,
            "N": curve.settings.problem.shape[1],
            "evolution": curve.settings.network.record.evolution,
        }
        for row in points.get(curve.slug, []):
            theta = stored[0].get(f"layers.{row['layer'] - 1}.theta") if curve.settings.trained else None
            learned = {name: None if theta is None else float(np.ravel(theta)[i]) for i, name in enumerate(PARAMETERS)}
            kept = {name: row[name] for name in ("network", "shrinkage", "tied", "layer", "nmse_db", "nmse_db_se")}
            gap = row["nmse_db"] - float(predicted[row["layer"] - 1])
            found.append({**head, **kept, "gap_db": gap, **learned, "prior_log_odds": prior[1]})
    if not found:
        raise UserError(f"{experiment.name}: none of its curves is completely trained: run onsager train")
    return {"sizes": found}


def draw(figure: FigureSpec, rows: Rows, tables: Tables) -> Figure:
    """The gap at the last layer over N, a line for each method; the log odds of zero over N, a line for each layer."""
    del figure, rows
    shown = tables["sizes"]
    last = min(max(row["layer"] for row in own) for own in grouped((row["method"], row) for row in shown).values())
    with panels(1, 2, 6.2, 2.7) as (drawing, (left, right)):
        for own in grouped((row["method"], row) for row in shown if row["layer"] == last).values():
            own.sort(key=lambda row: row["N"])
            look = style_of({**own[0], "curve": "matched_vamp" if own[0]["network"] == "vamp" else own[0]["method"]})
            left.errorbar(
                [row["N"] for row in own], [row["gap_db"] for row in own], [row["nmse_db_se"] or 0 for row in own],
                color=look.color, label=look.label, capsize=2, **marker_of(look),
            )  # fmt: skip
        left.axhline(0, color="black", linewidth=0.7)
        left.set(ylabel=f"NMSE - state evolution (dB), layer {last}")
        learned = [row for row in shown if row["log_odds_zero"] is not None and row["evolution"] == "vamp"]
        by_layer = grouped((row["layer"], row) for row in learned)
        for marker, (layer, own) in zip(itertools.cycle(MARKERS), by_layer.items(), strict=False):
            own.sort(key=lambda row: row["N"])
            right.plot(
                [row["N"] for row in own], [row["log_odds_zero"] for row in own], f"{marker}-", markersize=3,
                color=str(0.75 * (1 - layer / last)), label=f"layer {layer}",
            )  # fmt: skip
        if learned:
            right.axhline(learned[0]["prior_log_odds"], color="black", linewidth=0.7, linestyle=":", label="prior")
        right.set(ylabel="learned log odds of zero, LVAMP-BG")
        for axes in (left, right):
            sizes = sorted({row["N"] for row in shown})
            axes.set_xscale("log")
            axes.set_xticks(sizes, [str(size) for size in sizes])
            axes.minorticks_off()
            axes.set_xlabel("N")
            if axes.get_legend_handles_labels()[0]:
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
    prior = sorted({round(row["prior_log_odds"], 2) for row in shown})
    return render("sizes.md.j2", table=as_markdown, gaps=gaps, odds=odds, headings=headings, prior=prior)
