"""Networks after LAMP for tests: one of each kind, and each in float64 NumPy, written from its equations.

NumPy versions: samples are columns, a plain loop over layers, selection by a full sort.
"""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np

from onsager_cli import shrinkage
from onsager_cli.networks.aglista import Aglista
from onsager_cli.networks.alista import Alista
from onsager_cli.networks.hyperlista import Hyperlista
from onsager_cli.networks.na_alista import NaAlista
from onsager_cli.networks.oamp_net import OampNet
from onsager_cli.networks.tista import Tista
from onsager_cli.problems import Problem, Samples

THRESHOLD, BG = (0.1,), (1.0, float(np.log(9)))
LEARNED = ("B", "gamma", "theta")


def alista(**options) -> Alista:
    return Alista(shrinkage.build("threshold"), THRESHOLD, **{"selection": "logs", "activity": 0.1, **options})


RIVALS = {
    "lista_cp_tied": alista(weight="transpose", selection=None, learn=("B", "theta")),
    "lista_cp_untied": alista(weight="transpose", selection=None, learn=("B", "theta"), tied=False),
    "lista_cpss_untied": alista(weight="transpose", selection="cpss", learn=("B", "theta"), tied=False),
    "tilista": alista(weight="transpose", learn=LEARNED),
    "alista": alista(),
    "alista_at": alista(softness=0.1),
    "aglista": Aglista(
        shrinkage.build("threshold"), THRESHOLD, selection="logs", activity=0.1,
        learn=("gamma", "theta", "nu", "mu", "overshoot"),
    ),
    "tista": Tista(shrinkage.build("bg"), BG),
    "oamp_net": OampNet(shrinkage.build("bg"), BG),
    "oamp_net2": OampNet(shrinkage.build("bg"), BG, learn=("gamma", "trust", "phi", "xi", "theta")),
    "hyperlista": Hyperlista(),
    "na_alista": NaAlista(hidden=6, selection="logs", activity=0.1, seed=3),
}  # fmt: skip
NOISE = 1.6e-5  # σ_w² of `toy_networks.problem_of`
Leaf = Callable[[str, int], np.ndarray]


def complex_data(M=20, N=40, L=6, seed=0):
    """A, x and y of a complex problem in double precision."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return (rng.normal(size=shape) + 1j * rng.normal(size=shape)) / np.sqrt(2)

    A = normal(M, N) / np.sqrt(M)
    x = normal(N, L) * (rng.uniform(size=(N, L)) < 0.1)
    return A, x, A @ x + np.sqrt(NOISE) * normal(M, L)


def problem_around(A, x, y) -> Problem:
    samples = Samples(jnp.asarray(x), jnp.asarray(y))
    return Problem(
        jnp.asarray(A), jnp.asarray(NOISE), samples, samples, lambda *_: samples, mean_power=jnp.asarray(0.1)
    )


def leaf_of(net, params: Mapping[str, object]) -> Leaf:
    """(name, layer) → the leaf of a layer in double precision."""

    def leaf(name: str, t: int) -> np.ndarray:
        a = np.asarray(params[name])
        a = a.astype(np.result_type(a, np.float64))
        return a[t] if name in net.layered else a

    return leaf


def soft(r: np.ndarray, theta) -> np.ndarray:
    return np.where(np.abs(r) > theta, (1 - theta / np.maximum(np.abs(r), 1e-300)) * r, 0)


def selected(r: np.ndarray, theta, p: int) -> np.ndarray:
    """Soft threshold, except that the p largest |r| of a column pass as they are where they are above θ."""
    size = np.abs(r)
    if p < 1:
        return soft(r, theta)
    limit = np.sort(size, axis=0)[-min(p, len(r))]
    return np.where((size >= limit) & (size > theta), r, soft(r, theta))


def posterior_mean(r: np.ndarray, variance: np.ndarray, theta) -> np.ndarray:
    """E[x|r] for x = 0 or N(0, φ); circular where r is complex."""
    phi, log_odds = theta
    half = 1.0 if np.iscomplexobj(r) else 0.5
    exponent = half * (np.log1p(phi / variance) - np.abs(r) ** 2 * phi / (variance * (phi + variance)))
    return phi / (phi + variance) * r / (1 + np.exp(log_odds + exponent))


def residual_variance(A, y, x, noise) -> np.ndarray:
    M = len(A)
    left = np.sum(np.abs(y - A @ x) ** 2, axis=0) - M * noise
    return np.maximum(left / np.sum(np.abs(A) ** 2), 1e-9)


def numpy_alista(net, leaf: Leaf, A, y, depth) -> list[np.ndarray]:
    x, found = np.zeros((A.shape[1], y.shape[1]), y.dtype), []
    for t in range(depth):
        theta = leaf("theta", t)[0]
        inside, scale = x, 1.0
        if isinstance(net, Aglista):
            inside = (1 + theta * leaf("nu", t) * np.exp(-leaf("mu", t) * np.abs(x))) * x
        elif net.softness is not None:
            scale = 1 / (1 + np.abs(x) / net.softness)
        r = x + leaf("gamma", t) * leaf("B", t) @ (y - A @ inside)
        p = 0 if net.selection is None else int(np.floor(leaf("selected", t)))
        new = selected(r, theta * scale, p)
        if isinstance(net, Aglista):
            overshoot = 1 + leaf("overshoot", t) / (np.abs(new - x) + 0.01)
            new = overshoot * new + (1 - overshoot) * x
        x = new
        found.append(x)
    return found


def numpy_tista(net, leaf: Leaf, A, y, depth, noise) -> list[np.ndarray]:
    N = A.shape[1]
    x, found = np.zeros((N, y.shape[1]), y.dtype), []
    for t in range(depth):
        B, gamma = leaf("B", t), leaf("gamma", t)
        v2 = residual_variance(A, y, x, noise)
        error = np.eye(N) - gamma * B @ A
        tau2 = (v2 * np.sum(np.abs(error) ** 2) + gamma**2 * noise * np.sum(np.abs(B) ** 2)) / N
        x = posterior_mean(x + gamma * B @ (y - A @ x), tau2, leaf("theta", t))
        found.append(x)
    return found


def numpy_oamp(net, leaf: Leaf, A, y, depth, noise) -> list[np.ndarray]:
    """With the dense LMMSE matrix of each sample, and τ² as two traces."""
    M, N = A.shape
    x, found = np.zeros((N, y.shape[1]), y.dtype), []
    for t in range(depth):
        gamma, trust, v2 = leaf("gamma", t), leaf("trust", t), residual_variance(A, y, x, noise)
        r, tau2 = np.zeros_like(x), np.zeros_like(v2)
        for k in range(y.shape[1]):
            W = A.conj().T @ np.linalg.inv(A @ A.conj().T + noise / v2[k] * np.eye(M))
            W = W * (N / np.trace(W @ A).real)
            r[:, k] = x[:, k] + gamma * W @ (y[:, k] - A @ x[:, k])
            C = np.eye(N) - trust * W @ A
            tau2[k] = (v2[k] * np.sum(np.abs(C) ** 2) + noise * trust**2 * np.sum(np.abs(W) ** 2)) / N
        estimate = posterior_mean(r, tau2, leaf("theta", t))
        found.append(estimate)
        x = leaf("phi", t) * (estimate - leaf("xi", t) * r)
    return found


def numpy_hyperlista(leaf: Leaf, A, y, depth) -> list[np.ndarray]:
    """With A⁺ itself, and p_t of each sample by itself."""
    N, inverse = A.shape[1], np.linalg.pinv(A)
    x = before = np.zeros((N, y.shape[1]), y.dtype)
    first, found = np.sum(np.abs(inverse @ y), axis=0), []
    for _ in range(depth):
        e = np.sum(np.abs(inverse @ (y - A @ x)), axis=0)
        p = np.clip(N * leaf("support", 0) * np.log(first / e), 0, N)
        beta = leaf("momentum", 0) * np.count_nonzero(x, axis=0) / N
        r = x + leaf("B", 0) @ (y - A @ x) + beta * (x - before)
        before, theta = x, leaf("threshold", 0) * e / N
        columns = [selected(r[:, [k]], theta[k], int(p[k])) for k in range(y.shape[1])]
        x = np.concatenate(columns, axis=1)
        found.append(x)
    return found


def numpy_na_alista(leaf: Leaf, A, y, depth) -> list[np.ndarray]:
    """The LSTM sample by sample; gates in the order i, f, g, o."""
    found, (mean, spread) = [], leaf("normaliser", 0)[..., 0]
    x = np.zeros((A.shape[1], y.shape[1]), y.dtype)
    states = [(leaf("hidden_0", 0)[:, 0], leaf("cell_0", 0)[:, 0])] * y.shape[1]
    for t in range(depth):
        new = []
        for k in range(y.shape[1]):
            v = y[:, k] - A @ x[:, k]
            c, (h, s) = leaf("B", t) @ v, states[k]
            u = (np.array([np.sum(np.abs(v)), np.sum(np.abs(c))]) - mean) / spread
            z = leaf("W_u", 0) @ u + leaf("b_u", 0)[:, 0] + leaf("W_h", 0) @ h + leaf("b_h", 0)[:, 0]
            i, f, g, o = np.split(z, 4)
            s = s / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
            states[k] = np.tanh(s) / (1 + np.exp(-o)), s
            head = leaf("W_2", 0) @ np.maximum(leaf("W_1", 0) @ s + leaf("b_1", 0)[:, 0], 0) + leaf("b_2", 0)[:, 0]
            gamma, theta = np.log1p(np.exp(head))
            new.append(selected((x[:, k] + gamma * c)[:, None], theta, int(leaf("selected", t))))
        x = np.concatenate(new, axis=1)
        found.append(x)
    return found


def numpy_version(net, params, A, y, depth, noise) -> list[np.ndarray]:
    """Estimates after 1, 2, … layers."""
    leaf = leaf_of(net, params)
    if isinstance(net, Tista):
        return numpy_tista(net, leaf, A, y, depth, noise)
    if isinstance(net, OampNet):
        return numpy_oamp(net, leaf, A, y, depth, noise)
    if isinstance(net, Hyperlista):
        return numpy_hyperlista(leaf, A, y, depth)
    if isinstance(net, NaAlista):
        return numpy_na_alista(leaf, A, y, depth)
    return numpy_alista(net, leaf, A, y, depth)
