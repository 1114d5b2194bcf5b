"""What accuracy costs: the NMSE over layers, and beside it over the multiply-adds that the estimate of one y takes.

Multiply-adds are those of the matrix products, counted from the built networks (complexity.py), a complex one as four
real ones; parameters are real numbers, too.
"""

from collections.abc import Mapping
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from onsager_cli.config.experiment import Experiment
from onsager_cli.config.figure import FigureSpec
from onsager_cli.figures.curves import build, within_a_decade
from onsager_cli.figures.kinds import ProblemOf, Rows, Tables, as_markdown, columns
from onsager_cli.figures.looks import Look, line_of, marker_of
from onsager_cli.kinds.records import FigureKind
from onsager_cli.kinds.settings import Settings
from onsager_cli.store.seeds import averaged, spread
from onsager_cli.store.tables import by_curve
from onsager_cli.text import render

KIND = FigureKind(
    "costs",
    over_layers=True,
    matrices=True,
    refuses=lambda settings: (
        f"shows multiply-adds, which onsager cannot count for network.kind={settings.network.kind} (each sample has its own λ)"
        if settings.network.record.lasso
        else None
    ),
)


def tables(experiment: Experiment, rows: Rows, problem_of: ProblemOf) -> Tables:
    """`costs`: one row per point of each curve that is stored, and `seeds`, the spread over matrices.

    Bounds cost nothing and are left out. The NMSE is the mean over matrices; the time is that of the first one.
    """
    from onsager_cli.figures.complexity import multiply_adds
    from onsager_cli.training.networks_on_disk import network_of

    found, points = [], by_curve(averaged(rows))
    for curve in experiment.first_curves:
        if curve.settings.network.record.bound or curve.slug not in points:
            continue
        problem, net = problem_of(curve), network_of(curve.settings)
        params = net.start(problem, 2)
        first, second = (multiply_adds(net, problem, params, t) for t in (1, 2))
        for point in points[curve.slug]:
            products = first + ((point["layer"] or 1) - 1) * (second - first)
            kept = ("curve", "embedding", "layer", "nmse_db", "parameters", "seconds")
            told = {"multiply_adds": products, "told": told_to(curve.settings)}
            found.append({**{name: point[name] for name in kept}, **told})
    return {"costs": found, "seeds": spread(rows)}


def told_to(settings: Settings) -> str:
    """What a network is told beside A: of the prior, and what its record says it knows.

    The prior of the signal is told if it is the θ of the shrinkage; a θ that learns only starts from it.
    """
    network, problem, shrinkage = settings.network, settings.problem, settings.shrinkage
    found, record = [network.record.knows(network)], network.record
    if (
        record.uses_shrinkage
        and shrinkage.family == problem.matched_shrinkage
        and shrinkage.theta == problem.matched_theta
    ):
        learns = settings.trained and (network.learn is None or "theta" in network.learn)
        found.insert(0, "prior, as a start" if learns else "prior")
    return ", ".join(filter(None, found)) or "nothing"


def draw(figure: FigureSpec, rows: Rows, tables: Tables) -> Figure:
    """Two panels: the NMSE over layers, and over multiply-adds."""
    return build(figure, rows, beside=partial(_draw_costs, by_curve(tables["costs"])))


def _draw_costs(costs: Mapping[str, Rows], axes: Axes, looks: Mapping[str, Look]) -> None:
    for slug, style in looks.items():
        if slug in costs:
            axes.plot(*columns(costs[slug], "multiply_adds", "nmse_db"), **line_of(style), **marker_of(style))
    axes.set(xscale="log", xlabel="multiply-adds per estimate", ylabel="NMSE (dB)")
    within_a_decade(axes.xaxis, *axes.get_xlim())


def page(tables: Tables) -> str:
    """The last point of each curve, with what it costs, what it is told and how long its training took."""
    last = [points[-1] for points in by_curve(tables["costs"]).values()]
    rows = [row | {name: f"{row[name]:,}" for name in ("parameters", "multiply_adds")} for row in last]
    more = {"told": "told", "seconds": "training (s)"} if rows and "told" in rows[0] else {}  # older tables lack both
    return render("costs.md.j2", table=as_markdown, rows=rows, more=more)
