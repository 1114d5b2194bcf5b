"""What the tests of exports share: models of any kind, without training, and what runs their files."""

import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from shrinkage_cases import TYPICAL

from onsager_cli.config.load import load_experiment
from onsager_cli.export import formats
from onsager_cli.export.model import Model, difference, from_test_set, function
from onsager_cli.kinds.settings import Settings
from onsager_cli.problems import Problem
from onsager_cli.run.problem import problem_of
from onsager_cli.training.networks_on_disk import network_of

DEPTH = 3
SIZE = (
    "problem.instance=seeded",
    "problem.N=40",
    "problem.M=20",
    "problem.selection_samples=60",
    "problem.test_samples=30",
)
COMPLEX = "problem.embedding=complex"
THETAS = {
    **TYPICAL,
    "mixture": (1.1, -2.0, 0.3, 0.1, -0.1, 0.1, -4.0, -1.5, -0.4, -0.5),
    "discrete": (0.9, -2.0, 1.0, 0.2, -2.5, -1.0, 0.4, -0.2, 0.0, 0.0),
    "block": (1.0, 2.2),
}
ABOUT = formats.About("toy", "toy: a network of the tests", "It is not trained.", "the units of the problem")


@dataclass
class Untrained:
    """A network near its start, different in every entry, as `export` takes it."""

    settings: Settings
    net: Any
    params: dict
    problem: Problem
    depth: int
    nmse_db: float = 0.0

    @cached_property
    def x_hat(self) -> np.ndarray:
        """x̂ of the test set by JAX, operation by operation, in the precision of the problem."""
        return np.asarray(function(self, unrolled=True)(jnp.asarray(from_test_set(self)[1])))

    @cached_property
    def users(self) -> Problem:
        """The problem in the user's units."""
        return self.problem.original or self.problem

    def __call__(self, y: np.ndarray) -> np.ndarray:
        return np.asarray(function(self, unrolled=True)(jnp.asarray(y)))


def model(*overrides: str, seed: int = 0) -> Untrained:
    """The network of one curve at toy size, in the precision that JAX has now; θ is the family's typical one."""
    family = next((word.partition("=")[2] for word in overrides if word.startswith("shrinkage=")), None)
    theta = [f"shrinkage.theta={list(THETAS[family])}"] if family in THETAS else []
    depth = [] if "network=cnn" in overrides else [f"network.depth={DEPTH}"]
    size = [] if any(word.startswith("problem=") for word in overrides) else SIZE
    merged = {word.partition("=")[0]: word for word in (*size, *depth, *theta, *overrides)}
    (curve,) = load_experiment(list(merged.values())).curves
    settings, problem = curve.settings, in_this_precision(problem_of(curve))
    net = network_of(settings)
    rng = np.random.default_rng(seed)
    params = {}
    for name, leaf in net.start(problem, settings.depth).items():
        moved = np.asarray(leaf) * rng.uniform(0.9, 1.1, leaf.shape)
        noise = 0.05 if name.startswith(("log_", "kernel", "bias", "damping")) else 0
        params[name] = jnp.asarray(moved + noise * rng.uniform(size=leaf.shape), leaf.dtype)
    return Untrained(settings, net, params, problem, settings.depth)


def in_this_precision(problem: Problem) -> Problem:
    """The problem in double precision where JAX has it."""
    import jax

    def wide(leaf: Any) -> Any:
        leaf = jnp.asarray(leaf)
        return (
            leaf.astype(jnp.result_type(leaf.dtype, jnp.zeros(0).dtype))
            if jnp.issubdtype(leaf.dtype, jnp.inexact)
            else leaf
        )

    return jax.tree.map(wide, problem)


def written(model: Model, to: str, folder: Path) -> formats.Files:
    """The files of an export, written into a folder."""
    files = formats.of(to).write(model, ABOUT)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return files


def distance(model: Untrained, to: str, folder: Path) -> float:
    """How far the files of an export are from JAX, relative, on the test set; a warning of them is an error."""
    written(model, to, folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x_hat = formats.of(to).run(folder, ABOUT.name, from_test_set(model)[1])
    assert x_hat.shape == model.x_hat.shape
    return difference(x_hat, model.x_hat)
