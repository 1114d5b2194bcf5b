"""Small problems and networks for the tests of LVAMP, and VAMP in dense float64 NumPy to hold them against."""

import jax
import numpy as np

from onsager_cli import shrinkage as families
from onsager_cli.networks.layers import squared_errors
from onsager_cli.networks.lvamp import Lvamp
from onsager_cli.networks.lvamp_gh import LvampGH
from onsager_cli.problems import linear
from onsager_cli.problems.bernoulli_gaussian import Draw

jitted_errors = jax.jit(squared_errors, static_argnums=0)

MATCHED = ("bg", (1.0, float(np.log(9))))
MINIMAX = ("soft", (1.0, 1.1402))
PWLIN = ("pwlin", (2.0, 4.0, 0.1, 1.5, 0.95))


def toy(N=60, M=36, L=40, kappa=None, seed=3):
    return linear.build(
        Draw(0.1),
        A=linear.gaussian_matrix(seed, M, N, kappa),
        snr_db=40,
        seed=seed,
        selection_samples=200,
        test_samples=L,
    )


def vamp(shrinkage=MATCHED, **options):
    name, theta = shrinkage
    return Lvamp(families.build(name), theta, **{"noise_start": "known", **options})


def gh(shrinkage=MATCHED, **options):
    name, theta = shrinkage
    return LvampGH(families.build(name), theta, **{"tied": False, **options})


def db_by_layer(net, problem, depth, params=None):
    params = net.start(problem, depth) if params is None else params
    with jax.default_matmul_precision("highest"):
        errors = jitted_errors(net, problem, params, *problem.test, depth)
    errors, x = np.asarray(errors, np.float64), np.asarray(problem.test[0], np.float64)
    return 10 * np.log10(errors.sum(axis=1) / np.sum(x**2))


def posterior_mean(r, variance):
    """E[x|r] and the mean of its derivative, var(x|r)/σ², for x = 0 with probability 0.9, else N(0, 1)."""
    wide = 1 + variance
    odds = 9 * np.sqrt(wide / variance) * np.exp(-0.5 * r**2 * (1 / variance - 1 / wide))
    active, mean = 1 / (1 + odds), r / wide
    second = active * (variance / wide + mean**2)
    return active * mean, np.mean(second - (active * mean) ** 2, axis=0) / variance


def minimax(r, variance):
    level = 1.1402 * np.sqrt(variance)
    return np.sign(r) * np.maximum(np.abs(r) - level, 0), np.mean(np.abs(r) > level, axis=0)


def dense_vamp(A, x, y, noise_variance, denoiser, depth):
    """NMSE in dB after every iteration of VAMP, float64.

    As the paper derives it, eq (23): (AᵀA + ρI)⁻¹(Aᵀy + ρ r̃), N x N, no SVD of A, no null-space formula.
    """
    A, x, y = (np.asarray(a, np.float64) for a in (A, x, y))
    N = A.shape[1]
    eigenvalues, Q = np.linalg.eigh(A.T @ A)
    r_tilde, variance = np.zeros_like(x), np.sum(y**2, axis=0) / N
    found = []
    for _ in range(depth):
        rho = noise_variance / variance
        inverse = 1 / (eigenvalues[:, None] + rho)
        x_tilde = Q @ (inverse * (Q.T @ (A.T @ y + rho * r_tilde)))
        nu = np.clip(np.mean(rho * inverse, axis=0), 0.5 / N, 1 - 0.5 / N)
        r, variance = (x_tilde - nu * r_tilde) / (1 - nu), variance * nu / (1 - nu)
        x_hat, nu = denoiser(r, variance)
        found.append(10 * np.log10(np.sum((x_hat - x) ** 2) / np.sum(x**2)))
        nu = np.clip(nu, 0.5 / N, 1 - 0.5 / N)
        r_tilde, variance = (x_hat - nu * r) / (1 - nu), variance * nu / (1 - nu)
    return np.array(found)
