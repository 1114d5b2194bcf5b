"""Strategies for inputs and parameters of every shrinkage family, and its evaluation in float64."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from onsager_cli import shrinkage
from onsager_cli.kinds.records import ShrinkageKind
from onsager_cli.kinds.registry import every

# Families of mixtures and of the problem's signal have other properties: test_families.
NAMES = sorted(kind.name for kind in every(ShrinkageKind) if not kind.repeated and not kind.of_signal)


def floats(low: float, high: float) -> st.SearchStrategy[float]:
    """Numbers that float32 holds exactly, so that both precisions start from the same ones.

    No subnormal ones: XLA takes them for zero.
    """
    return st.floats(np.float32(low).item(), np.float32(high).item(), width=32, allow_subnormal=False)


slopes = floats(-3, 3)
THETAS = {
    "threshold": st.tuples(floats(0, 3)),
    "soft": st.tuples(slopes, floats(0, 4)),
    "pwlin": st.tuples(floats(0, 3), floats(0, 3), slopes, slopes, slopes).map(
        lambda t: (min(t[:2]), max(t[:2]), *t[2:])
    ),
    "pwgrid": st.tuples(*[slopes] * 15),
    "exp": st.tuples(floats(0.125, 8), slopes, slopes),
    "spline": st.tuples(floats(0.125, 8), slopes, slopes),
    "bg": st.tuples(floats(0.03125, 30), floats(-5, 10)),
}
THETAS["pwlin_autodiff"] = THETAS["pwlin"]
cases = st.sampled_from(NAMES).flatmap(lambda name: st.tuples(st.just(name), THETAS[name]))
sigmas = st.lists(floats(2**-10, 8), min_size=4, max_size=4).map(lambda s: np.array(s)[None])
seeds = st.integers(0, 2**32 - 1)
TYPICAL = {
    "threshold": (0.1,), "soft": (0.9, 1.1), "pwlin": (2.0, 4.0, 0.1, 1.5, 0.95), "exp": (2.5, 0.9, -1.0),
    "spline": (3.7, 0.9, -1.5), "bg": (1.0, float(np.log(9))), "pwlin_autodiff": (2.0, 4.0, 0.1, 1.5, 0.95),
    "pwgrid": tuple(round(float(gain), 6) for gain in np.linspace(0.1, 1, 15)),
}  # fmt: skip


def inputs(sigma: np.ndarray, seed: int, dtype: Any = np.float64) -> np.ndarray:
    """r (30, L): half of it within a few σ of zero, half of signal size."""
    rng = np.random.default_rng(seed)
    near = 3 * sigma * rng.normal(size=(15, sigma.shape[1]))
    return np.concatenate([near, rng.normal(size=near.shape)]).astype(np.float32).astype(dtype)


@partial(jax.jit, static_argnums=0)
def compiled(name, r, sigma, theta):
    return shrinkage.build(name).eta(r, sigma, theta)


def evaluate(name: str, r: np.ndarray, sigma: np.ndarray, theta) -> tuple[np.ndarray, np.ndarray]:
    """η and its average derivative, in the precision of r."""
    x_hat, slope = compiled(name, r, sigma.astype(r.dtype), np.asarray(theta, r.dtype))
    assert (x_hat.dtype, slope.dtype) == (r.dtype, r.dtype)
    assert (x_hat.shape, slope.shape) == (r.shape, sigma.shape)
    return np.asarray(x_hat), np.asarray(slope)


def pointwise(name: str, r, sigma: float, theta) -> tuple[np.ndarray, np.ndarray]:
    """η and η' of every entry of r, through samples of length one."""
    r = np.array(r, jnp.zeros(0).dtype)
    x_hat, slope = evaluate(name, r[None], np.full((1, r.size), sigma), theta)
    return x_hat[0], slope[0]
