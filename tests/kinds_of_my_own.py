"""Kinds of one's own, as docs/own.md shows them: one Python file and one YAML file each.

`test_plugins` installs them as a package's, and puts them into a copy of this one.
"""

NETWORK = '''"""LISTA-CP (Chen, Liu, Wang and Yin, 2018): r = x̂ + W (y - A x̂), with W learned and A known."""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from onsager_cli.kinds import Look, NetworkKind, flag, integer
from onsager_cli.networks.base import Inputs, Network

KIND = NetworkKind(
    "coupled",
    of="Coupled",
    keys={"tied": flag(), "depth": integer(1, 1000)},
    shrinkages=("threshold",),
    shrinkage_in_name=False,
    untrained="ista_coupled",
    looks={"coupled": {"": Look("#882255", "P", label="LISTA-CP")}},
    entries=lambda settings, M, N: N * M,
    fixed_entries=lambda settings, M, N: N * M,
    formula=lambda settings, k, T, M, N: (2 * T * N * M, (1 if settings.tied else T) * N * M),
)


class State(NamedTuple):
    x_hat: Array


@dataclass(frozen=True)
class Coupled(Network):
    matrices = ("W",)

    def textbook(self, problem):
        return {"W": problem.A.T / (1.01 * jnp.linalg.norm(problem.A, 2) ** 2)}

    def first(self, problem, p, y, context):
        r = p["W"] @ y
        return State(jnp.zeros_like(r)), Inputs(r, None)

    def linear(self, problem, p, state, y, context):
        return Inputs(state.x_hat + p["W"] @ (y - problem.A @ state.x_hat), None)

    def correct(self, problem, p, shrunk, state, y):
        return State(shrunk.x_hat)
'''
NETWORK_YAML = """# @package _global_
# title: LISTA-CP, LISTA whose two matrices are coupled
defaults:
  - override /shrinkage: threshold

network:
  kind: coupled
  name: coupled
  tied: true
  depth: 3

training:
  coupled:               # other keys are as in training.default
    steps: [60, 40, 40]
    rates: [5.0e-4]
"""

SHRINKAGE = '''"""The non-negative garrote (Breiman, 1995): η = r max(1 - (θ1 σ / r)², 0)."""

import jax.numpy as jnp

from onsager_cli.kinds import ShrinkageKind
from onsager_cli.shrinkage.family import circular, summed

KIND = ShrinkageKind("garrote", of="garrote", parameters=("threshold",), lower=(0.0,), label="NNG")


@summed()
def core(r, level):
    above = jnp.abs(r) > level
    ratio = jnp.where(above, level / jnp.where(above, r, 1), 0)
    return jnp.where(above, r * (1 - ratio**2), 0), jnp.where(above, 1 + ratio**2, 0)


@circular
def garrote(r, sigma, theta):
    return core(r, theta[0] * sigma)
'''
SHRINKAGE_YAML = """# title: Non-negative garrote
family: garrote
theta: [1.5]   # threshold in units of sigma
"""

SIGNAL = '''"""Signals of two levels: active coefficients are ±1 or ±`high`, all equally likely."""

from onsager_cli.kinds import SignalKind, number
from onsager_cli.problems.signals import GaussianMixture

KIND = SignalKind("two_levels", of="law", keys={"high": number(above=0)}, separable=True)


def law(settings, gamma, is_complex):
    values = (-settings.high, -1.0, 1.0, settings.high)
    return GaussianMixture(gamma, (0.25,) * 4, values, (0.0,) * 4, is_complex)
'''
SIGNAL_YAML = """# title: Two levels, ±1 or ±high, with probability problem.gamma, else 0
kind: two_levels
high: 3                # the larger value
"""

PROBLEM = '''"""Laplacian signals behind the matrices of the other linear problems."""

from dataclasses import dataclass

import jax

from onsager_cli.kinds import Linear, ProblemKind, number
from onsager_cli.problems.base import Samples
from onsager_cli.problems.noise import measured

KIND = ProblemKind("laplace", of="law", settings=Linear, keys={"scale": number(above=0)})


@dataclass(frozen=True)
class Draw:
    scale: float

    @property
    def power(self):
        return 2 * self.scale**2

    def __call__(self, problem, key, batch):
        of_x, of_w = jax.random.split(key)
        x = self.scale * jax.random.laplace(of_x, (problem.A.shape[1], batch))
        return Samples(x, measured(problem, of_w, x))


def law(settings):
    return Draw(settings.scale)
'''
PROBLEM_YAML = """# title: Laplacian signals
kind: laplace
name: laplace
scale: 0.2             # of the Laplace density, E|x|
N: 40
M: 20
kappa: null
snr_db: 20
instance: seeded
matrix: null
known_operator: true
selection_samples: 100
test_samples: 50
"""
