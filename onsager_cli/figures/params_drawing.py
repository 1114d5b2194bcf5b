"""The figure of Section VI-D: each quantity of the table `params` (params.py) over layers."""

import re
from collections.abc import Iterable

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from onsager_cli.config.figure import FigureSpec
from onsager_cli.figures.curves import panels, within_a_decade
from onsager_cli.figures.kinds import Rows, Tables, columns
from onsager_cli.figures.looks import Style
from onsager_cli.kinds.records import BLACK, BLUE, GREEN, GREY, PURPLE, VERMILLION, Look
from onsager_cli.store.tables import grouped

PANELS = {
    "noise_variance": "$\\sigma_w^2$", "phi": "$\\phi$", "log_odds_zero": "log odds of zero",
    "linear_output_db": "linear stage: change of $r$\nover its error (dB)",
    "shrinkage_curve_db": "shrinkage: change of $\\hat{x}$\nover its error (dB)",
    "matrix_db": "$U$ diag($s$) $V^T$ against $A$ (dB)",
}  # fmt: skip
LOOKS = tuple(map(Look, (BLUE, VERMILLION, GREEN, PURPLE), "os^D"))  # of problems
OTHERS = Look(GREY, "X")
PALE = 0.25  # alpha
Name = tuple[str, str]
"""The problem and the name of a curve."""


def draw(figure: FigureSpec, rows: Rows, tables: Tables) -> Figure:
    """One panel per quantity over layers: colour and marker are the problem, dashes and rings untied, pale what is not identifiable."""
    del rows
    found = tables["params"]
    by_name = grouped(((row["problem"], row["curve"]), row) for row in found)
    shown = {name: of for name, of in by_name.items() if f"{name[1]}_{name[0]}" not in figure.hidden}
    problems = dict.fromkeys(problem for problem, _ in by_name)
    looks = dict(zip(problems, LOOKS, strict=False))
    labels = legend(found, shown)
    depths = {name: max(row["layer"] or 1 for row in of) for name, of in shown.items()}
    with panels(2, 3, 7.2, 4.6) as (drawing, axes):
        for ax, (quantity, label) in zip(axes, PANELS.items(), strict=True):
            ax.set_ylabel(label)
            ax.set_xlim(0.5, max(depths.values()) + 0.5)
            if quantity == "noise_variance":
                ax.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
            if quantity == "phi":
                ax.set_yscale("log")
            for name, of in shown.items():
                points = [row for row in of if row["quantity"] == quantity]
                _draw_quantity(ax, points, looks.get(name[0], OTHERS), depths[name], labels[name])
            for wanted in {row["prescribed"] for row in found if row["quantity"] == quantity} - {None}:
                ax.axhline(wanted, color=BLACK, linestyle=":", linewidth=0.8, label="matched VAMP")
            if quantity == "phi":
                _label_log(ax)
        for ax in axes[3:]:
            ax.set_xlabel("layer")
        handles, texts = axes[1].get_legend_handles_labels()
        known = dict(zip(texts, handles, strict=True))
        if any(not row["identifiable"] for of in shown.values() for row in of):
            pale: Style = {"linestyle": "none", "marker": "o", "markersize": 4.4, "alpha": PALE, "color": BLACK}
            known["pale: not identifiable"] = Line2D([], [], **pale)
        drawing.legend(known.values(), known.keys(), loc="outside lower center", ncols=3)
    return drawing


def _label_log(ax: Axes) -> None:
    """Label the logarithmic axis of φ: every tick of about a decade, of a longer axis those of 1, 2 and 5."""
    low, high = ax.get_ylim()
    if not within_a_decade(ax.yaxis, low, high):
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(lambda x, _: f"{x:g}" if high < 11.5 * low or f"{x:e}"[0] in "25" else "")


def legend(rows: Rows, shown: Iterable[Name]) -> dict[Name, str]:
    """Legend text of each (problem, curve): its matrix, and tied or untied; the curve's name where that is not enough."""
    tied = {(row["problem"], row["curve"]): row["tied"] for row in rows}

    def matrix(problem: str) -> str:
        kappa = re.fullmatch(r"kappa(\d+)", problem)
        return f"$\\kappa = {kappa[1]}$" if kappa else "i.i.d. $A$" if problem == "gaussian" else problem

    texts = {name: f"{matrix(name[0])}, {'tied' if tied[name] else 'untied'}" for name in shown}
    if len(set(texts.values())) < len(texts):
        texts = {name: f"{matrix(name[0])}, {name[1].replace('_', ' ')}" for name in texts}
    return texts


def _draw_quantity(ax: Axes, points: Rows, look: Look, deepest: int, label: str) -> None:
    """Draw one quantity of a curve by layer, or as a level up to the layer `deepest` if its layers share it."""
    if not points:
        return
    tied = points[0]["tied"]
    line: Style = {"linestyle": "-" if tied else "--", "color": look.color, "linewidth": 0.9, "label": label}
    layers, values = columns(points, "layer", "learned")
    # Where untied is as tied, rings around dots.
    dot: Style = {"markersize": 2.2} if tied else {"markersize": 4.6, "markerfacecolor": "none"}
    dot |= {"marker": look.marker, "markeredgewidth": 0.7}
    if layers[0] is None:
        ax.plot([1, deepest], values[:1] * 2, **line, **dot)
        return
    # The legend has the marker, too; of the points each has its own.
    ax.plot(layers, values, markevery=[], **line, **dot)
    for row in points:
        alpha = 1 if row["identifiable"] else PALE
        ax.plot(row["layer"], row["learned"], linestyle="none", color=look.color, alpha=alpha, **dot)
