"""docs/networks.md: its formulas, in float64 NumPy from the arrays of network.npz, are the networks."""

from pathlib import Path

import numpy as np
import pytest
from conftest import slow

import onsager_cli
from onsager_cli.store.arrays import unpack

pytestmark = pytest.mark.usefixtures("quick_compile")

DEPTH = 3
NETWORKS = {
    "lista": ("lista",),
    "lamp": ("lamp", "shrinkage=bg"),
    "lamp_soft": ("lamp", "shrinkage=soft", "network.tied=false"),
    "lvamp": ("lvamp", "shrinkage=bg"),
    "alista": ("alista", "network.selection=null"),
    "oamp_net": ("oamp_net", "shrinkage=bg"),
}


def bg(r, sigma, theta):
    phi, omega = theta
    beta, square = phi / (phi + sigma**2), phi / (phi + sigma**2) * r**2 / sigma**2
    active = 1 / (1 + np.exp(-(0.5 * square - omega - 0.5 * np.log(1 + phi / sigma**2))))
    return beta * r * active, np.mean(beta * (active + square * active * (1 - active)), axis=0)


def soft(r, sigma, theta):
    above = np.abs(r) - theta[1] * sigma
    return theta[0] * np.sign(r) * np.maximum(above, 0), np.mean(theta[0] * (above > 0), axis=0)


def threshold(r, level):
    return np.sign(r) * np.maximum(np.abs(r) - level, 0)


def lista(a, y, A, at, noise):
    x = np.zeros((A.shape[1], y.shape[1]))
    for t in range(DEPTH):
        x = threshold(at("S", t) @ x + at("B", t) @ y, at("theta", t)[0])
    return x


def lamp(a, y, A, at, noise, eta=bg):
    (M, N), v = A.shape, y
    x = np.zeros((N, y.shape[1]))
    for t in range(DEPTH):
        r, sigma = x + at("B", t) @ v, np.linalg.norm(v, axis=0) / np.sqrt(M)
        x, slope = eta(r, sigma, at("theta", t))
        v = y - A @ x + N / M * slope * v
    return x


def lvamp(a, y, A, at, noise):
    N, x = A.shape[1], None

    def clip(divergence):
        return np.clip(divergence, 0.5 / N, 1 - 0.5 / N)

    r_tilde, variance = np.zeros((N, y.shape[1])), np.sum(y**2, axis=0) / N
    for t in range(DEPTH):
        U, s, V = at("U", t), np.exp(at("log_s", t))[:, None], at("V", t)
        rho = np.exp(at("log_noise_variance", t)) / variance
        g = s / (s**2 + rho)
        d = s * g
        zeta = 1 / (1 - clip(1 - np.sum(d * np.sum(V**2, axis=0)[:, None], axis=0) / N))
        r = r_tilde + zeta * (V @ (g * (U.T @ y) - d * (V.T @ r_tilde)))
        sigma = np.sqrt(variance * (zeta - 1))
        x, slope = bg(r, sigma, at("theta", t))
        nu = clip(slope)
        r_tilde, variance = (x - nu * r) / (1 - nu), sigma**2 * nu / (1 - nu)
    return x


def alista(a, y, A, at, noise):
    x = np.zeros((A.shape[1], y.shape[1]))
    for t in range(DEPTH):
        x = threshold(x + at("gamma", t) * (at("B", t) @ (y - A @ x)), at("theta", t)[0])
    return x


def oamp_net(a, y, A, at, noise):
    M, N = A.shape
    x = np.zeros((N, y.shape[1]))
    U, s, V = at("U", 0), at("s", 0)[:, None], at("V", 0)
    for t in range(DEPTH):
        v2 = np.maximum((np.sum((y - A @ x) ** 2, axis=0) - M * noise) / np.sum(A**2), 1e-9)
        g = s / (s**2 + noise / v2)
        c, trust = N / np.sum(s * g, axis=0), at("trust", t)
        r = x + at("gamma", t) * c * (V @ (g * (U.T @ (y - A @ x))))
        sigma = np.sqrt(v2 * (1 - 2 * trust + trust**2 * c))
        x_hat, _ = bg(r, sigma, at("theta", t))
        x = at("phi", t) * (x_hat - at("xi", t) * r)
    return x_hat


FORMULAS = {
    "lista": lista, "lamp": lamp, "lamp_soft": lambda *given: lamp(*given, eta=soft), "lvamp": lvamp, "alista": alista,
    "oamp_net": oamp_net,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", slow(*NETWORKS, but=["lamp", "lvamp"]))
def test_the_formulas_of_the_page_are_the_network(case, tmp_path):
    net, *more = NETWORKS[case]
    small = onsager_cli.problem("gaussian", N=40, M=20, selection_samples=100, test_samples=50)
    words = [*more, f"network.depth={DEPTH}", f"training.{net}.steps=[10]"]
    trained = onsager_cli.train(net, small, None, *words, folder=tmp_path)
    (path,) = Path(tmp_path).glob(f"curves/*-{trained.name}-*/network.npz")
    arrays = {key: np.asarray(one, np.float64) for key, one in unpack(path.read_bytes())[0].items()}

    def at(name, t):
        return arrays[f"layers.{t}.{name}"] if f"layers.{t}.{name}" in arrays else arrays[name]

    _, y = small.test
    frame = arrays.get("problem.rows", np.ones(()))
    seen = frame @ y if frame.ndim else frame * y
    found = FORMULAS[case](
        arrays, seen.astype(np.float64), arrays["problem.A"], at, float(trained.problem.noise_variance)
    )
    found = found / (arrays.get("problem.unit", 1.0) * arrays.get("problem.columns", np.ones((1, 1))))
    expected = trained(y)
    # float32 in the program
    assert np.linalg.norm(found - expected) < 1e-4 * np.linalg.norm(expected)
