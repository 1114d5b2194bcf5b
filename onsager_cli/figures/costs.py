"""What accuracy costs: the NMSE over layers, and beside it over the multiply-adds that the estimate of one y takes.

Multiply-adds are those of the matrix products, counted from the built networks (complexity.py), a complex one as four
real ones; parameters are real numbers, too.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onsager_cli.config.experiment import Experiment
from onsager_cli.config.figure import FigureSpec
from onsager_cli.figures.kinds import ProblemOf, Row, Tables
from onsager_cli.kinds.records import FigureKind
from onsager_cli.text import cell, markdown_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from onsager_cli.figures.looks import Look

KIND = FigureKind(
    "costs",
    over_layers=True,
    refuses=lambda settings: (
        f"counts what a network costs, and network.kind={settings.network.kind} has a λ per sample"
        if settings.network.record.lasso
        else None
    ),
)


def tables(experiment: Experiment, rows: Sequence[Row], problem_of: ProblemOf) -> Tables:
    """`costs`: one row per point of each curve that is stored; bounds cost nothing and are left out."""
    from onsager_cli.figures.complexity import multiply_adds
    from onsager_cli.training.networks_on_disk import network_of

    del rows
    found = []
    for curve in experiment.curves:
        settings, points = curve.settings, curve.folder.points()
        if settings.network.record.bound or not points:
            continue
        problem, net = problem_of(curve), network_of(settings)
        params = net.start(problem, 2)
        first, second = (multiply_adds(net, problem, params, t) for t in (1, 2))
        for point in points:
            t = point["layer"] or 1
            if settings.network.depth is None or t <= settings.network.depth:
                found.append({
                    "curve": curve.slug, "embedding": point["embedding"], "layer": point["layer"], "nmse_db": point["nmse_db"],
                    "parameters": point["parameters"], "multiply_adds": first + (t - 1) * (second - first),
                })  # fmt: skip
    return {"costs": found}


def draw(
    figure: FigureSpec, rows: Sequence[Mapping[str, Any]], tables: Tables, folder: Path, formats: Sequence[str]
) -> list[Path]:
    """Two panels: the NMSE over layers, and over multiply-adds."""
    from onsager_cli.figures import curves

    return curves.draw(figure, rows, folder, formats, beside=partial(_draw_costs, tables))


def _draw_costs(tables: Tables, axes: "Axes", looks: "Mapping[str, Look]") -> None:
    for slug, style in looks.items():
        points = [(row["multiply_adds"], row["nmse_db"]) for row in tables["costs"] if row["curve"] == slug]
        if points:
            axes.plot(
                *zip(*points, strict=True), color=style.color, linestyle=style.line, linewidth=style.width,
                marker=style.marker, markersize=style.size, markerfacecolor="white" if style.open_marker else style.color,
            )  # fmt: skip
    axes.set(xscale="log", xlabel="multiply-adds per estimate", ylabel="NMSE (dB)")


def page(tables: Tables) -> str:
    """The last point of each curve, with what it costs."""
    last = {row["curve"]: row for row in tables["costs"]}
    text = markdown_table(
        ["curve", "layer", "NMSE (dB)", "parameters", "multiply-adds"],
        [
            [slug, cell(row["layer"]), cell(row["nmse_db"], 4), f"{row['parameters']:,}", f"{row['multiply_adds']:,}"]
            for slug, row in last.items()
        ],
    )
    return (
        f"## What it costs\n\n{text}\n\nIn real numbers: a complex parameter is two, a complex multiply-add four. "
        "Every point is in [costs.csv](costs.csv)."
    )
