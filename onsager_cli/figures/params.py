"""Section VI-D: what LVAMP-BG has learned, beside what matched VAMP prescribes, layer by layer.

Its part of a record page (record/templates/params.md.j2) says what is compared, and when a parameter is identifiable.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from onsager_cli.config.experiment import Curve, Experiment
from onsager_cli.figures.kinds import ProblemOf, Rows, Tables
from onsager_cli.figures.params_drawing import draw as draw
from onsager_cli.kinds.problems import ProblemSettings
from onsager_cli.kinds.records import FigureKind
from onsager_cli.metrics import to_db
from onsager_cli.store.tables import Row, grouped
from onsager_cli.text import cell, markdown_table, render
from onsager_cli.theory.state_evolution import Signal

if TYPE_CHECKING:
    from onsager_cli.problems import Problem

KIND = FigureKind(
    "params",
    refuses=lambda settings: (
        None
        if (settings.network.kind, settings.shrinkage.family, settings.problem.kind, settings.trained)
        == ("lvamp", "bg", "bernoulli_gaussian", True)
        else "is for trained network=lvamp shrinkage=bg on Bernoulli-Gaussian signals"
    ),
)

COST_DB = 1e-3  # what a change by the flat range costs
FIXED = 0.1  # largest flat range of an identifiable parameter


@dataclass(frozen=True)
class Layer:
    """Parameters of one layer in float64, U's columns of length 1."""

    U: np.ndarray
    s: np.ndarray
    V: np.ndarray
    noise: float
    theta: np.ndarray


@dataclass(frozen=True)
class Prescribed:
    """Matched VAMP: its parameters, the same in all layers, and what the stages of each receive on the test set."""

    A: np.ndarray
    x: np.ndarray
    y: np.ndarray
    best: Layer
    received: list[tuple[np.ndarray, float, np.ndarray, np.ndarray]]  # r̃, mean σ̃², r, σ


def tables(experiment: Experiment, rows: Rows, problem_of: ProblemOf) -> Tables:
    """`params`, from the deepest stored network of each curve; curves that are not stored are left out."""
    del rows
    learned = {curve.key: layers for curve in experiment.curves if (layers := stored_layers(curve))}
    prescribed: dict[tuple[ProblemSettings, int], Prescribed] = {}
    found: list[Row] = []
    for curve in experiment.curves:
        if curve.key not in learned:
            continue
        settings, problem = curve.settings, curve.settings.problem
        key = (problem, settings.seed)
        if key not in prescribed:
            prescribed[key] = matched(curve, problem_of(curve))
        compared = compare(learned[curve.key], prescribed[key], bool(settings.network.tied))
        if curve.twin is not None:
            compared += against_tied(learned[curve.key], learned.get(curve.twin.key, []), prescribed[key])
        name = curve.slug.removesuffix(f"_{problem.name}")
        found += [{"problem": problem.name, "curve": name, "tied": settings.network.tied, **row} for row in compared]
    return {"params": found}


def stored_layers(curve: Curve) -> list[Layer]:
    """The layers of the deepest stored network; [] if there is none."""
    from onsager_cli.training.networks_on_disk import stored_network

    depths = [row["layer"] for row in curve.folder.points() if row["layer"]]
    if not depths:
        return []
    net, leaves = stored_network(curve.settings, curve.folder, min(max(depths), curve.settings.depth))
    return [normalized(net.layer(leaves, t)) for t in range(net.depth_of(leaves))]


def normalized(leaves: Mapping[str, ArrayLike]) -> Layer:
    """A layer of a network (its leaves) in the form that can be compared.

    Columns of U of different lengths mean different σ_w² in different directions: the median is taken.
    """
    p = {name: np.asarray(leaf, np.float64) for name, leaf in leaves.items()}
    length = np.linalg.norm(p["U"], axis=0)
    noise = float(np.exp(p["log_noise_variance"]) * np.median(1 / length**2))
    return Layer(p["U"] / length, np.exp(p["log_s"]) / length, p["V"], noise, p["theta"])


def matched(curve: Curve, problem: "Problem") -> Prescribed:
    """Matched VAMP for the problem of a curve, at its depth."""
    from onsager_cli import shrinkage
    from onsager_cli.networks.layers import trace
    from onsager_cli.networks.lvamp import Lvamp, economy_svd

    problem, theta, depth = problem.behind, curve.settings.problem.matched_theta, curve.settings.depth
    assert theta is not None  # the kind refuses problems without one
    net = Lvamp(shrinkage.build("bg"), theta, noise_start="known")
    seen = trace(net, problem, net.start(problem, depth), problem.test[1], depth)
    A, x, y = (np.asarray(a, np.float64) for a in (problem.A, *problem.test))
    received = [
        (np.asarray(state.r_tilde, np.float64), float(np.mean(state.variance)), np.asarray(r, np.float64), np.asarray(sigma))
        for state, (r, sigma) in seen
    ]  # fmt: skip
    return Prescribed(A, x, y, Layer(*economy_svd(A), float(problem.noise_variance), np.array(theta)), received)


def linear_map(p: Layer, variance: float) -> tuple[np.ndarray, np.ndarray]:
    """R - I (N, N) and Y (N, M) of the decoupled linear stage r = R r̃ + Y y at σ̃² = `variance`."""
    g = p.s / (p.s**2 + p.noise / variance)
    d = p.s * g
    zeta = len(p.V) / (np.sum(p.V**2, axis=0) @ d)
    return -zeta * (p.V * d) @ p.V.T, zeta * (p.V * g) @ p.U.T


def relative(found: tuple[np.ndarray, ...], wanted: tuple[np.ndarray, ...]) -> float:
    """‖found - wanted‖² / ‖wanted‖² over all the arrays, linear."""
    difference = sum(np.sum((a - b) ** 2) for a, b in zip(found, wanted, strict=True))
    return float(difference / sum(np.sum(b**2) for b in wanted))


def eta(r: np.ndarray, sigma: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """The BG shrinkage, eq (40), in float64; r (N, L), sigma (1, L)."""
    return Signal(float(1 / (1 + np.exp(theta[1]))), float(theta[0])).posterior(r, sigma)[1]


def compare(layers: Sequence[Layer], star: Prescribed, tied: bool) -> list[Row]:
    """The rows of one network against matched VAMP."""
    rows, flat = [], [noise_flat_range(star, variance) for _, variance, _, _ in star.received]
    if tied:
        rows += _linear_stage(None, layers[0], star, min(flat[: len(layers)]))
    for t, p in enumerate(layers):
        r_tilde, variance, r, sigma = star.received[t]
        if not tied:
            rows += _linear_stage(t, p, star, flat[t])
        of_theta = zip(p.theta, star.best.theta, theta_flat_range(star, r, sigma), strict=True)
        rows += [_parameter(t, name, *of) for name, of in zip(("phi", "log_odds_zero"), of_theta, strict=True)]
        wanted, found = linear_map(star.best, variance), linear_map(p, variance)
        rows.append(_share(t, "linear_map_db", relative(found, wanted)))
        difference = (found[0] - wanted[0]) @ r_tilde + (found[1] - wanted[1]) @ star.y
        rows.append(_share(t, "linear_output_db", np.sum(difference**2) / np.sum((r - star.x) ** 2)))
        best = eta(r, sigma, star.best.theta)
        excess = np.sum((eta(r, sigma, p.theta) - best) ** 2)
        rows.append(_share(t, "shrinkage_curve_db", excess / np.sum((best - star.x) ** 2)))
    return rows


def against_tied(layers: Sequence[Layer], tied: Sequence[Layer], star: Prescribed) -> list[Row]:
    """How far the layers of an untied network are from those of the tied one."""
    rows = []
    for t, (p, q) in enumerate(zip(layers, tied, strict=False)):
        _, variance, r, sigma = star.received[t]
        apart = np.linalg.norm(p.theta - q.theta) / np.linalg.norm(q.theta)
        flat = max(theta_flat_range(star, r, sigma))
        rows.append(_row(t, "tied_vs_untied_theta", None, None, float(apart), flat))
        rows.append(_parameter(t, "tied_vs_untied_noise", p.noise, q.noise, noise_flat_range(star, variance)))
        maps = (linear_map(layer, variance) for layer in (p, q))
        rows.append(_row(t, "tied_vs_untied_linear_map", None, None, relative(*maps) ** 0.5, 0.0))
    return rows


def theta_flat_range(star: Prescribed, r: np.ndarray, sigma: np.ndarray, step: float = 1e-4) -> list[float]:
    """The relative change of each component of θ that costs COST_DB, the other one at its best.

    To second order the excess error of θ⋆ + δ is δᵀ H δ, H = E ∇η ∇ηᵀ.
    """
    best = eta(r, sigma, star.best.theta)
    slopes = [
        (eta(r, sigma, star.best.theta + step * unit) - best).ravel() / step for unit in np.eye(len(star.best.theta))
    ]
    H = np.array([[a @ b for b in slopes] for a in slopes])
    allowed = (10 ** (COST_DB / 10) - 1) * np.sum((best - star.x) ** 2)
    return [float(f) for f in np.sqrt(allowed * np.diag(np.linalg.inv(H))) / np.abs(star.best.theta)]


def noise_flat_range(star: Prescribed, variance: float) -> float:
    """The relative increase of σ_w² at which the error of r is COST_DB larger, for white r̃ - x; at most 1000."""
    s2, N = star.best.s**2, star.A.shape[1]

    def error(factor: float) -> float:
        rho = factor * star.best.noise / variance
        d = s2 / (s2 + rho)
        zeta = N / np.sum(d)
        kept = (N - len(s2) + np.sum((1 - zeta * d) ** 2)) * variance
        return kept + zeta**2 * star.best.noise * np.sum(s2 / (s2 + rho) ** 2)

    for change in np.geomspace(1e-3, 1e3, 121):
        if to_db(error(1 + change) / error(1.0)) > COST_DB:
            return float(change)
    return 1e3


def _linear_stage(t: int | None, p: Layer, star: Prescribed, flat: float) -> list[Row]:
    """σ_w², whose flat range is `flat`, and the matrices of a layer; t is None if all layers share them."""
    found = (p.U * p.s) @ p.V.T
    span, rows = np.linalg.qr(p.V)[0], star.best.V
    outside = np.sum((span - rows @ (rows.T @ span)) ** 2) / span.shape[1]
    return [
        _parameter(t, "noise_variance", p.noise, star.best.noise, flat),
        _share(t, "matrix_db", relative((found,), (star.A,))),
        _share(t, "subspace_db", outside),
    ]


def _parameter(t: int | None, name: str, found: float, wanted: float, flat: float) -> Row:
    return _row(t, name, float(found), float(wanted), abs(float(found / wanted) - 1), flat)


def _share(t: int | None, name: str, share: float) -> Row:
    """A share, linear, in dB; 0 is what is wanted, and its root the relative error."""
    return _row(t, name, float(to_db(max(share, 1e-12))), None, float(share) ** 0.5, 0.0)


def _row(t: int | None, name: str, found: float | None, wanted: float | None, error: float, flat: float) -> Row:
    return {
        "layer": None if t is None else t + 1, "quantity": name, "learned": found, "prescribed": wanted,
        "relative_error": error, "flat_range": flat, "identifiable": flat <= FIXED,
    }  # fmt: skip


def page(tables: Tables) -> str:
    """The worst relative error of each parameter where it can be identified, and the worst dB of the others."""
    body = []
    found = grouped(((row["problem"], row["curve"], row["quantity"]), row) for row in tables["params"])
    for (problem, curve, quantity), rows in found.items():
        fixed = [row for row in rows if row["identifiable"]]
        worst = max(fixed, key=lambda row: row["relative_error"], default={})
        numbers = [cell(worst.get(k), 3) for k in ("layer", "learned", "prescribed", "relative_error")]
        body.append([problem, f"`{curve}`", quantity, f"{len(fixed)} of {len(rows)}", *numbers])
    header = ["problem", "curve", "quantity", "identifiable", "worst layer", "learned", "prescribed", "relative error"]
    return render("params.md.j2", table=markdown_table(header, body), cost_db=COST_DB, fixed=FIXED)
