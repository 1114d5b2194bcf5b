"""What the tests of networks share: one of each kind, problems around plain arrays, parameters off the start."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from onsager_cli import shrinkage
from onsager_cli.networks.lamp import Lamp
from onsager_cli.networks.layers import squared_errors
from onsager_cli.networks.lista import Lista
from onsager_cli.problems import Problem, Samples

THETAS = {
    "soft": (1.0, 1.4), "pwlin": (1.0, 2.5, 0.05, 1.2, 0.95), "exp": (1.8, 0.9, -0.9), "spline": (2.5, 0.9, -1.3),
    "bg": (1.0, float(np.log(9))),
}  # fmt: skip
LASSO_WEIGHT = 0.1
ROOM = 6  # layers that the parameters have room for; depths are numbers to one compiled program


def lista(tied: bool = True, lam: float = LASSO_WEIGHT) -> Lista:
    return Lista(shrinkage.build("threshold"), (lam,), tied)


def lamp(family: str, tied: bool = True, onsager: bool = True) -> Lamp:
    return Lamp(shrinkage.build(family), THETAS[family], tied, onsager)


# Each kind, tied and untied, with a smooth family, one with knees and one that has a fixed parameter.
NETWORKS = {
    "lista_tied": lista(True), "lista_untied": lista(False), "lamp_tied_bg": lamp("bg"),
    "lamp_untied_bg": lamp("bg", False), "lamp_tied_soft": lamp("soft"), "lamp_untied_pwlin": lamp("pwlin", False),
    "lamp_tied_bg_no_onsager": lamp("bg", onsager=False),
    "lamp_tied_bg_free": replace(lamp("bg"), free=("sigma", "slope", "step", "onsager")),
    "lamp_tied_pwlin_groups": replace(lamp("pwlin"), groups=(0, 1, 1, 1) * 10),
    "lista_untied_coordinates": replace(lista(False), groups=tuple(range(40))),
}  # fmt: skip


def no_draw(problem, key, batch):
    raise NotImplementedError


def problem_of(data, dtype=None) -> Problem:
    """A Problem around plain arrays, in the precision that JAX has now unless `dtype` says another."""
    dtype = dtype or jnp.zeros(0).dtype
    samples = Samples(jnp.asarray(data.x, dtype), jnp.asarray(data.y, dtype))
    return Problem(jnp.asarray(data.A, dtype), jnp.asarray(1.6e-5, dtype), samples, samples, no_draw)


def step_size(A: np.ndarray) -> float:
    """β = 1 / (1.01 ‖A‖²)."""
    return float(1 / (1.01 * np.linalg.norm(A, 2) ** 2))


@partial(jax.jit, static_argnums=0)
def errors(net, problem, params, x, y, depth):
    return squared_errors(net, problem, params, x, y, depth)


def distances(net, problem, params, y, estimates) -> np.ndarray:
    """‖x̂_t - reference_t‖ / ‖reference_t‖ over all samples, after every layer, by the program that evaluates."""
    found = []
    for t, estimate in enumerate(estimates, 1):
        target = jnp.asarray(estimate, problem.A.dtype)
        rows = errors(net, problem, params, target, jnp.asarray(y, target.dtype), t)
        found.append(np.sqrt(np.sum(rows[t - 1]) / np.sum(estimate**2)))
    return np.array(found)


def randomized(net, problem, depth, seed=0):
    """Parameters near the start, different in every layer and in every entry."""
    rng = np.random.default_rng(seed)
    return {
        name: jnp.asarray(np.asarray(leaf) * rng.uniform(0.8, 1.2, leaf.shape), leaf.dtype)
        + 0.2 * name.startswith("log_") * rng.normal(size=leaf.shape).astype(leaf.dtype)
        for name, leaf in net.start(problem, depth).items()
    }


def layers_of(net, params, name) -> list[np.ndarray]:
    """One float64 array per layer, whether the leaf is layered or shared."""
    leaf, depth = np.asarray(params[name], np.float64), net.depth_of(params)
    return list(leaf) if name in net.layered else [leaf] * depth
