"""Compressive random access and massive-MIMO channel estimation: one model, Appendix B of the paper.

| symbol | name                                                                   | equation |
|--------|------------------------------------------------------------------------|----------|
| A      | pilots (±1 ± j)/√(2M), one sequence per user, (M, N)                   | (51)     |
| δ_n    | activity of user n                                                     | (48)     |
| d, g   | distance in in-radii of a cell, and amplitude gain 1/(1 + d^ρ)         | (48)     |
| h_p    | fading of path p                                                       | (48)     |
| ψ_p    | phase slope of path p over the antennas: θ_p, or π sin θ_p             | (48)     |
| z_q    | δ g Σ_p h_p exp(jψ_p q), what antenna q receives                       | (49)     |
| x_l    | (1/Nr) Σ_q z_q exp(-2πjlq/Nr), the same per angle: one sample per l    | (50)     |

The base station is at 0 of its own hexagon |Re(z e^{-jkπ/3})| <= 1; users of its six neighbours are at 2 + z. Every
realization draws users and channels again and gives Nr samples; A is drawn once. In the real embedding, x is [Re x; Im x]
and A is [Re A, -Im A; Im A, Re A].
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import cast, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.kinds.cellular import Cellular, Channel
from onsager_cli.kinds.records import ProblemKind
from onsager_cli.linalg import double, full_product
from onsager_cli.problems.base import Problem, Samples
from onsager_cli.problems.linear import MATRIX_KEY, SELECTION_KEY, TEST_KEY, embed

# Corners 30°, 150° and 270° of the hexagon: any two of them span one of the three rhombi that it consists of.
CORNERS = 2 / np.sqrt(3) * np.exp(1j * np.pi * np.array([1, 5, 9]) / 6)
NODES = 64  # of the quadratures


def pilots(seed: int, M: int, N: int) -> np.ndarray:
    """A (M, N), complex64: i.i.d. QPSK with columns of unit norm."""
    signs = jax.random.rademacher(jax.random.fold_in(jax.random.key(seed), MATRIX_KEY), (2, M, N), jnp.float32)
    return np.asarray((signs[0] + 1j * signs[1]) / np.sqrt(np.float32(2 * M)))


# -- moments in closed form or by quadrature, in float64


def mean_gain(exponent: float, neighbour: bool) -> float:
    """E g² over a cell, linear."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    a, b = (1 + nodes[:, None]) / 2, (1 + nodes) / 2
    total = 0.0
    for k in range(3):
        d = np.abs(a * CORNERS[k] + b * CORNERS[(k + 1) % 3] + (2 if neighbour else 0))
        total += weights @ (1 / np.square(1 + d**exponent)) @ weights / 4
    return total / 3


def mean_fading(channel: Channel, antennas: int) -> float:
    """E |Σ_p h_p exp(jψ_p q)|², averaged over the antennas, linear."""
    if channel.fading == "rician":
        return 1.0
    # Two paths that share their direct component add up to the extent that their angles agree.
    P = channel.paths
    return float(P + P / channel.k_factor + P * (P - 1) * np.mean(_coherence(channel, antennas)))


def _coherence(channel: Channel, antennas: int) -> np.ndarray:
    """E exp(jq(ψ_1 - ψ_2)) for two paths of one user, per antenna q."""
    q, width = np.arange(antennas), np.deg2rad(channel.angle_spread)
    if channel.phase == "slope":
        return np.square(np.sinc(q * width / (2 * np.pi)))
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    centre = 2 * np.pi * np.arange(16 * NODES) / (16 * NODES)
    slope = np.pi * np.sin(centre[:, None] + width * (1 + nodes) / 2)
    return np.array([np.mean(np.abs(np.exp(1j * n * slope) @ weights / 2) ** 2) for n in q])


def mean_power(problem: Cellular) -> np.ndarray:
    """E|x_n|² of each coefficient, activity included, (cells · users, 1), linear."""
    gains = [mean_gain(problem.channel.path_loss_exponent, neighbour) for neighbour in (False, True)]
    per_cell = np.array([gains[0]] + [gains[1]] * (problem.cells - 1))
    fading = mean_fading(problem.channel, problem.antennas)
    activity = np.asarray(problem.activity).reshape(-1, 1)  # one number, or one for each user
    return np.repeat(per_cell, problem.users)[:, None] * activity * fading / problem.antennas


# -- drawing


def hexagon(key: Array, count: int) -> Array:
    """`count` points uniform in the hexagon, (2, count): uniform in a rhombus, chosen among three."""
    key_point, key_rhombus = jax.random.split(key)
    a, b = jax.random.uniform(key_point, (2, count))
    which = jax.random.randint(key_rhombus, (count,), 0, 3)
    corners = jnp.asarray(np.stack([CORNERS.real, CORNERS.imag]), a.dtype)
    return a * corners[:, which] + b * corners[:, (which + 1) % 3]


def active_positions(key: Array, total: int, activity: Array | float, most: float) -> Array:
    """Positions of the active ones among `total` independent channels, rising; positions beyond the end mean none.

    Gaps between active channels are geometric, so that only active channels cost time. Returns room for ten standard
    deviations more than their mean number at `most`, the highest activity of the training.
    """
    if most == 1:
        return jnp.arange(total)
    mean = total * most
    room = int(np.ceil(mean + 10 * np.sqrt(mean) + 10))
    uniform = 1 - jax.random.uniform(key, (room,))  # never 0
    log = np.log1p(-activity) if isinstance(activity, float) else jnp.log1p(-activity)
    gaps = 1 + jnp.floor(jnp.log(uniform) / log)
    return jnp.minimum(jnp.cumsum(jnp.minimum(gaps, total).astype(jnp.int32)) - 1, total)


def thinned(key: Array, position: Array, total: int, share: Array) -> Array:
    """Positions of which each stays with the probability `share` (users,) of its user; the others move to the end.

    A user has total / users consecutive positions.
    """
    user = jnp.minimum(position // (total // len(share)), len(share) - 1)
    return jnp.where(jax.random.uniform(key, position.shape) < share[user], position, total)


@overload
def with_odds(activity: float, emphasis: float) -> float: ...
@overload
def with_odds(activity: np.ndarray, emphasis: float) -> np.ndarray: ...
@overload
def with_odds(activity: float | np.ndarray, emphasis: Array | float) -> Array | np.ndarray | float: ...
def with_odds(activity: float | np.ndarray, emphasis: Array | float) -> Array | np.ndarray | float:
    """The activity whose odds are `emphasis` times the odds of `activity`."""
    return activity * emphasis / (1 - activity + activity * emphasis)


def fading(key: Array, channel: Channel, count: int) -> Array:
    """h_p of `count` users, (2, paths, count)."""
    key_phase, key_scatter = jax.random.split(key)
    P, k = channel.paths, channel.k_factor
    shared = channel.fading == "shared_direct"
    direct, scattered = (1, 1 / k) if shared else (k / (k + 1) / P, 1 / (k + 1) / P)
    phase = 2 * np.pi * jax.random.uniform(key_phase, (1 if shared else P, count))
    scatter = np.float32(np.sqrt(scattered / 2)) * jax.random.normal(key_scatter, (2, P, count))
    return np.float32(np.sqrt(direct)) * jnp.stack([jnp.cos(phase), jnp.sin(phase)]) + scatter


def by_angle(key: Array, channel: Channel, antennas: int, count: int) -> Array:
    """x_l / (δ g) of `count` users at every angle l, (2, Nr, count)."""
    key_centre, key_path, key_fading = jax.random.split(key, 3)
    re, im = fading(key_fading, channel, count)
    if antennas == 1:
        return jnp.stack([re.sum(0), im.sum(0)])[:, None]
    centre = 2 * np.pi * jax.random.uniform(key_centre, (1, count))
    theta = centre + np.deg2rad(channel.angle_spread) * jax.random.uniform(key_path, re.shape)
    slope = theta if channel.phase == "slope" else np.pi * jnp.sin(theta)
    cos, sin = jnp.cos(slope), jnp.sin(slope)

    def next_antenna(h: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        # A rotation by ψ_p costs less than a sine and a cosine per antenna.
        re, im = h
        return (re * cos - im * sin, re * sin + im * cos), (re.sum(0), im.sum(0))

    _, z = jax.lax.scan(next_antenna, (re, im), length=antennas)
    q = np.arange(antennas)
    F = np.exp(-2j * np.pi * np.outer(q, q) / antennas) / antennas
    return full_product(jnp.asarray(embed(F), re.dtype), jnp.concatenate(z)).reshape(2, antennas, count)


@dataclass(frozen=True)
class Draw:
    """The law of (x, w); equal laws are equal, so that compiled programs are shared between matrices."""

    law: Cellular

    def __call__(self, problem: Problem, key: Array, batch: int) -> Samples:
        """Fresh samples, x (N, batch) and y (M, batch)."""
        x, y, _ = self._measured(problem, key, batch)
        return Samples(x, y)

    def powers(self, key: Array, batch: int) -> Array:
        """E|x_n|² of the samples that this key draws, for an oracle that knows who is active and where, (N, batch)."""
        return self.signals(jax.random.split(key)[0], batch)[1]

    def emphasized(
        self, problem: Problem, key: Array, batch: int, emphasis: Array | float, most: float
    ) -> tuple[Array, Array, Array]:
        """Samples x (N, batch), y (M, batch), half with the odds of an active user times `emphasis`, and weights (batch,).

        With law p and law q of the emphasized half, a weight is 1 / (1/2 + q/2p), at most 2: the balance heuristic of
        Veach and Guibas (1995). With K active of U users, q/p = (a'/a)^K ((1-a')/(1-a))^(U-K). If all users are always
        active, all weights are 1.
        """
        a = self.law.activities
        hard = batch // 2 if self.law.hard_samples else 0
        if not hard:
            x, y = self(problem, key, batch)
            return x, y, jnp.ones(batch)
        key, key_hard = jax.random.split(key)
        more = with_odds(a, emphasis)
        halves = (
            self._measured(problem, key, batch - hard),
            self._measured(problem, key_hard, hard, more, float(np.max(with_odds(a, most)))),
        )
        x, y, active = (jnp.concatenate(both, axis=-1) for both in zip(*halves, strict=True))
        share = hard / batch
        return x, y, 1 / (1 - share + share * self._ratio(active, a, more))

    def _ratio(self, active: Array, a: float | np.ndarray, more: Array | np.ndarray | float) -> Array:
        """q/p of samples with these active users, (users, batch), for the activities `a` of p and `more` of q."""
        if isinstance(a, float):
            K, users = jnp.sum(active, axis=0), len(active)
            return jnp.exp(K * jnp.log(more / a) + (users - K) * jnp.log((1 - more) / (1 - a)))
        idle = np.where(a < 1, 1 - a, 1)  # users who are always active say nothing
        gain = jnp.log(jnp.where(a < 1, more / a, 1)), jnp.log(jnp.where(a < 1, (1 - more) / idle, 1))
        return jnp.exp(jnp.sum(jnp.where(active, gain[0][:, None], gain[1][:, None]), axis=0))

    def _measured(
        self,
        problem: Problem,
        key: Array,
        batch: int,
        activity: Array | np.ndarray | float | None = None,
        most: float | None = None,
    ) -> tuple[Array, Array, Array]:
        """x (N, batch), y (M, batch) and which users are active in each sample, (users, batch)."""
        key_x, key_w = jax.random.split(key)
        x, known = self.signals(key_x, batch, activity, most)
        # The same random words for both embeddings: real and complex networks see the same measurements.
        w = jax.random.normal(key_w, (2 * self.law.pilots, batch), jnp.float32)
        w = jnp.sqrt(problem.noise_variance * (self.law.parts / 2)) * w
        if self.law.embedding == "complex":
            w = jax.lax.complex(*jnp.split(w, 2))
        return x, full_product(problem.A, x) + w, known[: self.law.cells * self.law.users] > 0

    def signals(
        self, key: Array, batch: int, activity: Array | np.ndarray | float | None = None, most: float | None = None
    ) -> tuple[Array, Array]:
        """x (N, batch), and E|x_n|² for an oracle that knows who is active and where, (N, batch).

        `activity` () or (users,), at most `most`, replaces the activity of the law.
        """
        law = self.law
        activity = law.activities if activity is None else activity
        most = float(np.max(law.activities)) if most is None else most
        users, Nr = law.cells * law.users, law.antennas
        realizations = -(-batch // Nr)
        total = users * realizations
        key_active, key_place, key_channel = jax.random.split(key, 3)
        if jnp.ndim(activity):
            key_active, key_thin = jax.random.split(key_active)
            highest = jnp.max(activity)
            position = active_positions(key_active, total, highest, most)
            position = thinned(key_thin, position, total, jnp.asarray(activity) / highest)
        else:
            position = active_positions(key_active, total, cast("Array | float", activity), most)
        count = len(position)
        place = hexagon(key_place, count)
        neighbour = position // realizations >= law.users
        d2 = jnp.sum(jnp.square(place.at[0].add(jnp.where(neighbour, 2, 0))), axis=0)
        gain = 1 / (1 + d2 ** (law.channel.path_loss_exponent / 2))
        x = self._placed(gain * by_angle(key_channel, law.channel, Nr, count), position, total)[..., :batch]
        known = jnp.square(gain) * (mean_fading(law.channel, Nr) / Nr / law.parts)
        known = self._placed(jnp.broadcast_to(known, (law.parts, Nr, count)), position, total)[..., :batch]
        if law.embedding == "complex":
            return jax.lax.complex(*x), known[0]
        return x.reshape(-1, batch), known.reshape(-1, batch)

    def _placed(self, values: Array, position: Array, total: int) -> Array:
        """Values (parts, Nr, count) of the active channels at their positions, (parts, users, realizations · Nr)."""
        parts, Nr, _ = values.shape
        if self.law.hard_samples:
            values = jnp.zeros((parts, Nr, total), values.dtype).at[..., position].set(values, mode="drop")
        return jnp.moveaxis(values, 1, 2).reshape(parts, self.law.cells * self.law.users, -1)


@partial(jax.jit, static_argnums=2)
def _sample(problem: Problem, key: Array, batch: int) -> Samples:
    return problem.sample(key, batch)


@partial(jax.jit, static_argnums=(0, 2))
def _known(draw: Draw, key: Array, batch: int) -> Array:
    return draw.powers(key, batch)


def build(law: Cellular, seed: int, A: np.ndarray | None = None) -> Problem:
    """The problem with its selection and test sets, with pilots A (pilots, users) if they are given."""
    energy = 1.0 if A is None else np.tile(np.sum(np.abs(double(A)) ** 2, axis=0)[:, None], (law.parts, 1))
    A = pilots(seed, law.pilots, law.cells * law.users) if A is None else A.astype(np.complex64)
    if law.embedding == "real":
        A = embed(A)
    M, N = A.shape
    power = np.tile(mean_power(law) / law.parts, (law.parts, 1))
    noise_variance = np.sum(power * energy) / M * 10 ** (-law.snr_db / 10)  # drawn sequences have unit norm
    reported = None if law.cells == 1 else jnp.asarray(np.array(law.groups) == 0, jnp.float32)[:, None]
    empty = Samples(jnp.zeros((N, 0)), jnp.zeros((M, 0)))
    draw = Draw(law)
    problem = Problem(
        jnp.asarray(A), jnp.float32(noise_variance), empty, empty, draw, mean_power=jnp.float32(power), reported=reported
    )  # fmt: skip
    key = jax.random.key(seed)
    key_test = jax.random.fold_in(key, TEST_KEY)
    return replace(
        problem,
        selection=_sample(problem, jax.random.fold_in(key, SELECTION_KEY), law.selection_samples),
        test=_sample(problem, key_test, law.test_samples),
        test_power=_known(draw, key_test, law.test_samples),
    )


KIND = ProblemKind("cellular", of="build", settings=Cellular, numerics_of_hard=7, schedule="cellular")
