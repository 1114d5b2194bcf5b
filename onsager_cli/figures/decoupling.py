"""Decoupling, layer by layer: is r - x at the shrinkage as large as σ says, and Gaussian?

At layer t stands the t-layer network after its own training, as in the figures over layers. With r = α x + e, α the share of x in
r over the test set:

    sigma_db         mean σ² that the shrinkage is told
    error_db         mean square of r - x; error_over_sigma_db is the difference
    share            α
    residual_db      mean square of e
    excess_kurtosis  of r - x in units of each sample's own width
"""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from onsager_cli.config.experiment import Curve, Experiment
from onsager_cli.config.figure import FigureSpec
from onsager_cli.figures.curves import panels
from onsager_cli.figures.kinds import ProblemOf, Rows, Tables, as_markdown
from onsager_cli.figures.looks import line_of, marker_of, styles
from onsager_cli.figures.qq import shrinkage_input
from onsager_cli.figures.turns import take_turns
from onsager_cli.kinds.records import FigureKind, without_sigma
from onsager_cli.metrics import to_db
from onsager_cli.store.tables import Row, by_curve, grouped
from onsager_cli.text import render

KIND = FigureKind("decoupling", refuses=without_sigma)


def tables(experiment: Experiment, rows: Rows, problem_of: ProblemOf) -> Tables:
    """`decoupling`: a row for each stored layer of each curve."""
    points = by_curve(row for row in rows if row["layer"])
    found: list[Row] = []
    for curve in experiment.curves:
        for row in points.get(curve.slug, []):
            if row["seed"] == curve.settings.seed:
                kept = {
                    name: row[name] for name in ("curve", "network", "shrinkage", "tied", "problem", "layer", "nmse_db")
                }
                found.append({**kept, **of_layer(curve, problem_of, row["layer"])})
    return {"decoupling": found}


def of_layer(curve: Curve, problem_of: ProblemOf, t: int) -> Row:
    """What the shrinkage of layer t is told, and what it gets, over the test set."""
    from scipy.stats import kurtosis

    problem = problem_of(curve)
    r, sigma = shrinkage_input(curve, problem, t)
    x = np.asarray(problem.test.x, np.float64)
    error, share = r - x, float(np.sum(r * x) / np.sum(x * x))
    scaled = error / np.sqrt(np.mean(error**2, axis=0))
    told, found = (float(to_db(float(np.mean(a**2)))) for a in (sigma, error))
    return {
        "sigma_db": told, "error_db": found, "error_over_sigma_db": found - told, "share": share,
        "residual_db": float(to_db(float(np.mean((r - share * x) ** 2)))), "excess_kurtosis": float(kurtosis(scaled.ravel())),
    }  # fmt: skip


def common(row: Row) -> str:
    """The name that a curve shares with those of other problems: lamp_tied_bg of lamp_tied_bg_kappa15."""
    return str(row["curve"]).removesuffix(f"_{row['problem']}")


def draw(figure: FigureSpec, rows: Rows, tables: Tables) -> Figure:
    """A row of panels for each problem: true error over σ² in dB, the share of x, and the excess kurtosis, over layers."""
    del rows
    shown = [row for row in tables["decoupling"] if row["curve"] not in figure.hidden]
    labels = {common(row): figure.labels[row["curve"]] for row in shown if row["curve"] in figure.labels}
    shown = [{**row, "curve": common(row)} for row in shown]
    problems, looks = grouped((row["problem"], row) for row in shown), styles(shown, labels)
    with panels(len(problems), 3, 7.2, 2.1 * len(problems) + 0.4) as (drawing, axes):
        for number, (problem, own) in enumerate(problems.items()):
            places = axes[3 * number : 3 * number + 3]
            for slug, points in by_curve(own).items():
                look, layers = looks[slug], [row["layer"] for row in points]
                values = (
                    [row["error_over_sigma_db"] for row in points], [row["share"] for row in points],
                    [row["excess_kurtosis"] for row in points],
                )  # fmt: skip
                for ax, of in zip(places, values, strict=True):
                    ax.plot(layers, of, label=look.label, **line_of(look), **marker_of(look))
            for ax, level, label in zip(
                places, (0, 1, 0), ("error over $\\sigma^2$ (dB)", "share of x in r", "excess kurtosis"), strict=True
            ):
                ax.axhline(level, color="black", linewidth=0.6)
                take_turns(ax)
                ax.set(ylabel=label, title=problem if ax is places[1] else "")
                ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        for ax in axes[-3:]:
            ax.set_xlabel("layer")
        named = {label: line for ax in axes for line, label in zip(*ax.get_legend_handles_labels(), strict=True)}
        drawing.legend(named.values(), named.keys(), loc="outside lower center", ncols=4)
    return drawing


def page(tables: Tables) -> str:
    """A table for each quantity, a row for each curve and a column for each layer."""
    shown = tables["decoupling"]
    layers = sorted({row["layer"] for row in shown})
    parts = {
        "Error over σ² (dB)": lambda row: f"{row['error_over_sigma_db']:+.2f}",
        "Share of x in r": lambda row: f"{row['share']:.3f}",
        "Excess kurtosis": lambda row: f"{row['excess_kurtosis']:+.2f}",
    }
    headings = {"curve": "curve", **{str(t): str(t) for t in layers}}
    found = []
    for title, cell in parts.items():
        lines = []
        for (problem, slug), own in grouped(((row["problem"], row["curve"]), row) for row in shown).items():
            of = {row["layer"]: cell(row) for row in own}
            name = slug if slug.endswith(problem) else f"{slug} ({problem})"
            lines.append({"curve": f"`{name}`", **{str(t): of.get(t, "") for t in layers}})
        found.append((title, lines))
    return render("decoupling.md.j2", table=as_markdown, parts=found, headings=headings)
