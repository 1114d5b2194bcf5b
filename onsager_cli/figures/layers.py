"""The usual figure: NMSE over layers, with what state evolution predicts if it is asked for."""

import numpy as np
from matplotlib.figure import Figure

from onsager_cli.config.experiment import Experiment
from onsager_cli.config.figure import FigureSpec
from onsager_cli.figures.curves import build
from onsager_cli.figures.kinds import ProblemOf, Rows, Tables
from onsager_cli.kinds.records import FigureKind
from onsager_cli.kinds.settings import Settings
from onsager_cli.store.seeds import spread
from onsager_cli.store.tables import Row, by_curve

KIND = FigureKind("curves", over_layers=True, matrices=True)


def tables(experiment: Experiment, rows: Rows, problem_of: ProblemOf) -> Tables:
    """`seeds`, the spread over matrices, and `state_evolution` if `plot.state_evolution` asks for it."""
    del problem_of
    found = {"seeds": spread(rows)}
    return {**found, "state_evolution": predictions(experiment, rows)} if experiment.plot.state_evolution else found


def draw(figure: FigureSpec, rows: Rows, tables: Tables) -> Figure:
    """The curves over layers. Raises UserError if none has a point."""
    return build(figure, [*rows, *tables.get("state_evolution", [])])


def page(tables: Tables) -> str:
    """Nothing: the page of every figure over layers has its table."""
    del tables
    return ""


def predictions(experiment: Experiment, rows: Rows) -> list[Row]:
    """What state evolution says of the drawn curves that it knows, each algorithm once, as rows to draw."""
    found: dict[tuple[str, float], list[float]] = {}
    points = by_curve(row for row in rows if row["layer"] and row["curve"] not in experiment.figure.hidden)
    for curve in experiment.first_curves:
        stored, name = curve.folder.load("network"), textbook(curve.settings)
        if name is None or stored is None or curve.slug not in points:
            continue
        deepest = max(row["layer"] for row in points[curve.slug])
        levels = predict(curve.settings, stored[0]["problem.A"], deepest)
        assert levels is not None
        key = (name, round(float(levels[0]), 6))
        found[key] = max(found.get(key, []), levels.tolist(), key=len)
    names = [name for name, _ in found]
    return [
        {
            "curve": f"{name}_state_evolution" + (f"_{number}" if number > names.index(name) else ""),
            "network": "state_evolution", "shrinkage": name.split("_")[1], "layer": t,
            # In the limit of large N all samples have the same ratio.
            "nmse_db": level, "nmse_mean_ratio_db": level,
        }
        for number, ((name, _), levels) in enumerate(found.items())
        for t, level in enumerate(levels, 1)
    ]  # fmt: skip


def textbook(settings: Settings) -> str | None:
    """The algorithm that theory describes where these settings are drawn: amp or vamp with bg or l1, such as "amp_bg".

    A trained network with BG shrinkage is drawn beside the algorithm that it was unfolded from, with the true prior.
    None where there is no theory: other shrinkages or priors, a spectrum that AMP is not made for, an estimated A.
    """
    problem, network, shrinkage = settings.problem, settings.network, settings.shrinkage
    name = {"bg": "bg", "soft": "l1"}.get(shrinkage.family)
    if name is None or problem.matched_shrinkage != "bg" or not problem.exact_operator:
        return None
    if name == "l1" and (settings.trained or not shrinkage.rows or shrinkage.theta[0] != 1):
        return None
    if network.record.evolution == "vamp" and (settings.trained or network.noise_start == "known"):
        return f"vamp_{name}"
    as_drawn = problem.matrix is None and getattr(problem, "kappa", None) is None
    if network.record.evolution == "amp" and as_drawn and getattr(network, "onsager", True):
        return f"amp_{name}"
    return None


def predict(settings: Settings, A: np.ndarray, iterations: int | None = None) -> np.ndarray | None:
    """NMSE in dB per iteration that theory predicts for `textbook(settings)`, with the matrix `A` (M, N).

    `iterations` is the depth of the network where it is not given. None where there is no theory.
    """
    from scipy.special import expit

    from onsager_cli.theory.state_evolution import Signal, amp, conditional_mean, soft, vamp

    algorithm, problem, theta = textbook(settings), settings.problem, settings.shrinkage.theta
    if algorithm is None:
        return None
    M, N = A.shape
    gamma, snr_db = problem.gamma, problem.snr_db  # type: ignore[attr-defined]
    variance = 1.0 if problem.matched_theta is None else problem.matched_theta[0]
    signal, iterations = Signal(gamma, variance), iterations or settings.depth
    if settings.shrinkage.family == "soft":
        eta = soft(theta[1])
    else:
        eta = conditional_mean(signal if settings.trained else Signal(float(expit(-theta[1])), theta[0]))
    noise_variance = signal.power * N / M * 10 ** (-snr_db / 10)
    if algorithm.startswith("vamp"):
        s = np.linalg.svd(np.asarray(A, np.float64), compute_uv=False)
        return vamp(signal, eta, noise_variance, s[s > 1e-6 * s[0]], N, iterations)
    return amp(signal, eta, noise_variance, N / M, iterations)
