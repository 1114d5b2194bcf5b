"""What several test modules share: toy problems, float64, quick compilation, which cases are slow.

JAX is imported by the fixtures that need it, so that the tests of the command line start without it. Strict dtype
promotion cannot be switched on for the whole suite, since optax mixes dtypes; `strict` does it where our own code
runs alone.
"""

import os
import sys
from collections.abc import Collection
from importlib import metadata
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, settings

from onsager_cli.config.catalog import package_conf

# Halves the time that XLA's CPU compiler takes. An unknown flag ends the process: only where it is known to exist.
if metadata.version("jaxlib").startswith("0.10."):
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")

# The same examples on every run and no deadline, since the first example of a property compiles. New examples:
# pytest --hypothesis-profile=explore. Fixtures such as x64 are meant to hold for all examples of a test.
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}
settings.register_profile("repeatable", derandomize=True, print_blob=True, **_COMMON)
settings.register_profile("explore", max_examples=1000, **_COMMON)
settings.load_profile("repeatable")


def pytest_configure(config: pytest.Config) -> None:
    """Keeps compiled programs for the next run (pytest --cache-clear drops them); before JAX is imported."""
    if (cache := getattr(config, "cache", None)) is not None:  # there is none with -p no:cacheprovider
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache.mkdir("xla")))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
        # JAX compiles what it cannot read, as a file that another worker is writing or a killed run has left.
        config.addinivalue_line("filterwarnings", "ignore:Error reading persistent compilation cache:UserWarning")


# Few tests that take long: begun last, one process would be left alone with them.
FIRST = ("test_experiments", "test_faults", "test_devices")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: FIRST.index(item.path.stem) if item.path.stem in FIRST else len(FIRST))


def slow(*cases: Any, but: Collection = ()) -> list:
    """Cases of a parametrised test, all but some marked slow; a tuple holds one value per argument."""
    assert all(case in cases for case in but), "no such case"
    return [
        case if case in but else pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow)
        for case in cases
    ]


@pytest.fixture(scope="module", autouse=True)
def free_programs():
    """Drops compiled programs after each module: thousands of them in one process exhaust its memory maps."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()


@pytest.fixture
def strict():
    """Mixing dtypes is an error: nothing becomes another precision silently."""
    import jax

    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture
def x64():
    """float64 in JAX, for comparisons that a rounding cannot excuse."""
    import jax

    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def quick_compile():
    """Compiles with few optimizations: toy trainings spend nearly all their time in the compiler."""
    import jax

    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="session")
def toy():
    """A Bernoulli-Gaussian problem as plain float64 arrays: `A` (M, N), `x` (N, L), `y` (M, L)."""
    return toy_arrays(N=40, M=20, L=10)


def toy_arrays(N: int, M: int, L: int, seed: int = 7, gamma: float = 0.1, noise: float = 4e-3) -> SimpleNamespace:
    """Draws A (M, N) with entries N(0, 1/M), x (N, L) and y = A x + w, w of standard deviation `noise`."""
    rng = np.random.default_rng(seed)
    A = rng.normal(0, M**-0.5, (M, N))
    x = rng.normal(size=(N, L)) * (rng.uniform(size=(N, L)) < gamma)
    return SimpleNamespace(A=A, x=x, y=A @ x + rng.normal(0, noise, (M, L)), M=M, N=N, L=L)


TOY_SIZES = {
    "bernoulli_gaussian": ("problem.instance=seeded", "problem.N=40", "problem.M=20"),
    "cellular": ("problem.users=10", "problem.pilots=10", "problem.activity=0.2"),
}


def toy_overrides(steps: int = 20, batch: int = 16, problem: str = "bernoulli_gaussian") -> list[str]:
    """Overrides that make any curve a matter of a second: a small problem of this kind, few steps, few layers.

    What `training=fast` says per kind of network is read from its file, so that a new kind is covered too.
    """
    schedule = yaml.safe_load((package_conf() / "training" / "fast.yaml").read_text())
    kinds = [key for key, value in schedule.items() if isinstance(value, dict)]
    return [
        *TOY_SIZES[problem],
        *("problem.selection_samples=100", "problem.test_samples=50", "network.depth=3"),
        *("training.check_every=10", "training.steps_new=10"),
        *(f"training.{kind}.{key}" for kind in kinds for key in (f"steps=[{steps}]", f"batch={batch}")),
    ]
