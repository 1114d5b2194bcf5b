"""Who is active? Detection from the last layer's estimate, beside the NMSE over layers.

User n is said to be active where |x̂_n| exceeds a threshold (in the real embedding, of its two coordinates together):

    roc        miss rate over false-alarm rate on the test set, with the threshold of each point
    detection  area under the curve of detections over false alarms, and an operating point: the threshold that
               gives a false-alarm rate of `figure.false_alarms` on the selection set, judged on the test set

Thresholds are in the units of |x̂|; that of -inf calls everybody active.

The support error is the number of wrong decisions over that of active users; the exact support, the share of samples
without a wrong decision.
"""

import warnings
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from onsager_cli.config.experiment import Curve, Experiment
from onsager_cli.config.figure import FigureSpec
from onsager_cli.errors import Notice, UserError
from onsager_cli.figures.curves import build
from onsager_cli.figures.kinds import ProblemOf, Rows, Tables, as_markdown, columns
from onsager_cli.figures.looks import Look, Style, line_of, marker_of
from onsager_cli.kinds.records import GREY, FigureKind
from onsager_cli.kinds.registry import implementation
from onsager_cli.store.tables import by_curve
from onsager_cli.text import cell, render

if TYPE_CHECKING:
    from onsager_cli.problems import Problem

KIND = FigureKind(
    "detection",
    over_layers=True,
    refuses=lambda settings: (
        "detects active users, and with problem.activity=1 all users are active"
        if settings.problem.everybody_active
        else None
    ),
)

ASKED = "asked_false_alarm"  # column of `detection`: figure.false_alarms
OLDER = 1e-3  # the rate of tables that do not say
RATES = np.logspace(-5, 0, 101)  # false-alarm rates at which the curve is kept


def tables(experiment: Experiment, rows: Rows, problem_of: ProblemOf) -> Tables:
    """`detection` and `roc`.

    They leave out curves that are not stored whole, a bound that is told the support, and algorithms whose λ belongs
    to one set of samples.

    Raises UserError for a problem in which all users are active.
    """
    found: Tables = {"detection": [], "roc": []}
    rate = experiment.figure.false_alarms
    points = by_curve(rows)
    for curve in experiment.curves:
        settings, record = curve.settings, curve.settings.network.record
        if curve.slug not in points or record.told or record.lasso:
            continue
        last = points[curve.slug][-1]
        if settings.training.trains and last["layer"] != settings.network.depth:
            continue
        problem, parts = problem_of(curve), settings.problem.parts
        selection, test = (of_users(x_hat, parts) for x_hat in estimates(curve, problem))
        active, active_test = (of_users(x, parts) > 0 for x, _ in (problem.selection, problem.test))
        if active.all() and active_test.all():
            raise UserError(f"{experiment.name}: all users are active, there is nothing to detect")
        if not found["detection"]:
            warn_of_few(int(np.sum(~active)), rate)
        threshold = threshold_of(selection[~active], rate)
        about = {name: last[name] for name in ("curve", "network", "shrinkage", "tied", "layer", "embedding")}
        found["detection"].append({**about, ASKED: rate, **operating_point(test, active_test, threshold)})
        found["roc"] += [{"curve": curve.slug, **point} for point in roc(test, active_test, rate)]
    return found


def of_users(x: ArrayLike, parts: int) -> np.ndarray:
    """|x| of each user, (users, L): of both coordinates together where parts = 2."""
    x = np.asarray(x, np.complex128)
    return np.sqrt(np.sum(np.abs(x).reshape(parts, -1, x.shape[1]) ** 2, axis=0))


def estimates(curve: Curve, problem: "Problem") -> list[np.ndarray]:
    """x̂ of the last layer for the selection set and the test set, (N, L) each."""
    import jax

    from onsager_cli.networks.layers import estimate_in_users_units
    from onsager_cli.theory import iterate
    from onsager_cli.training.curve import algorithm_of, how_to_iterate
    from onsager_cli.training.networks_on_disk import stored_network

    users = problem if problem.original is None else problem.original
    settings, sets = curve.settings, (users.selection, users.test)
    if settings.network.record.bound:
        bound = implementation(settings.network.record)
        return [bound(problem, *map(np.asarray, samples)) for samples in sets]
    if settings.training.trains:
        net, params = stored_network(settings, curve.folder, settings.depth)
    else:
        net, learn = algorithm_of(settings, curve.folder), how_to_iterate(settings).get("learn")
        params = iterate.layers(net, problem, settings.depth, settings.precision, learn)
    run = jax.jit(partial(estimate_in_users_units, net, depth=settings.depth, precision=settings.precision))
    return [np.asarray(run(problem, params, y)) for _, y in sets]


def threshold_of(scores: np.ndarray, rate: float) -> float:
    """The threshold that so large a share of the scores of inactive users exceeds."""
    return float(np.quantile(scores, 1 - rate))


def warn_of_few(count: int, rate: float) -> None:
    """A Notice if so few inactive users cannot tell a threshold of this false-alarm rate."""
    if rate * count < 1:
        text = f"the selection set has {count:,} inactive users, too few for a false-alarm rate of {rate:g}"
        warnings.warn(f"{text}: raise problem.selection_samples, or record more pairs", Notice, stacklevel=3)


def operating_point(scores: np.ndarray, active: np.ndarray, threshold: float) -> dict[str, float]:
    """The area under the curve, and what one threshold does; arrays (users, L)."""
    wrong = (scores > threshold) != active
    return {
        "auc": auc(scores, active),
        "threshold": threshold,
        "false_alarm": float(np.mean(wrong[~active])),
        "miss": float(np.mean(wrong[active])),
        "support_error": float(np.sum(wrong) / np.sum(active)),
        "exact_support": float(np.mean(~wrong.any(axis=0))),
    }


def auc(scores: np.ndarray, active: np.ndarray) -> float:
    """P(score of an active user > score of an inactive one), ties counted half."""
    inactive, of_active = np.sort(scores[~active]), scores[active]
    below = np.searchsorted(inactive, of_active, "left") + np.searchsorted(inactive, of_active, "right")
    return float(np.mean(below) / (2 * len(inactive)))


def roc(scores: np.ndarray, active: np.ndarray, rate: float = OLDER) -> list[dict[str, float]]:
    """Thresholds with their false-alarm and miss rates: those that come nearest to RATES and `rate` from below, each once."""
    inactive, of_active = np.sort(scores[~active]), np.sort(scores[active])
    thresholds = np.quantile(inactive, 1 - np.union1d(RATES, rate), method="higher")
    thresholds[-1] = -np.inf  # everybody
    thresholds = np.unique(thresholds)[::-1]
    alarms = 1 - np.searchsorted(inactive, thresholds, "right") / len(inactive)
    misses = np.searchsorted(of_active, thresholds, "right") / len(of_active)
    return [
        {"false_alarm": float(a), "miss": float(m), "threshold": float(t)}
        for a, m, t in zip(alarms, misses, thresholds, strict=True)
        if a > 0
    ]


def draw(figure: FigureSpec, rows: Rows, tables: Tables) -> Figure:
    """Two panels: the NMSE over layers, and misses over false alarms."""
    return build(figure, rows, beside=partial(_draw_roc, by_curve(tables["roc"]), by_curve(tables["detection"])))


def _draw_roc(roc: Mapping[str, Rows], chosen: Mapping[str, Rows], axes: Axes, looks: Mapping[str, Look]) -> None:
    """Draw the curve of each network, and on it the point that `tables` chose."""
    for slug, style in looks.items():
        if slug in roc:
            axes.plot(*columns(roc[slug], "false_alarm", "miss"), **line_of(style))
            dot: Style = {**marker_of(style), "marker": style.marker or "o"}
            axes.plot(*columns(chosen[slug], "false_alarm", "miss"), color=style.color, linestyle="none", **dot)
    asked = [row[ASKED] for rows in chosen.values() for row in rows if row.get(ASKED)]
    low = min([RATES[0], *(0.5 * rate for rate in asked if rate <= RATES[0])])
    axes.set(xscale="log", yscale="log", xlim=(low, 1), xlabel="false-alarm rate", ylabel="miss rate")
    axes.set_ylim(top=1)
    rate = cell(asked[0] if asked else OLDER)
    point = Line2D([], [], color=GREY, linestyle="none", marker="o", label=f"threshold for {rate} false alarms")
    axes.legend(handles=[point], loc="lower left", fontsize=6.5, handlelength=0.8)


def page(tables: Tables) -> str:
    """The operating points as a table."""
    rows = tables["detection"]
    rate = next((row[ASKED] for row in rows if row.get(ASKED)), OLDER)
    return render("detection.md.j2", table=as_markdown, rows=rows, false_alarm=cell(rate))
