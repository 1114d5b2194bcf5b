"""EM of the Bernoulli-Gaussian parameters: it climbs the likelihood, ends at the truth, and keeps groups apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import slow
from scipy.special import logsumexp

from onsager_cli.theory import em
from onsager_cli.theory.em_vamp import _group_means

pytestmark = pytest.mark.usefixtures("quick_compile")

em_update = jax.jit(em.em_update, static_argnums=3)
GROUPS = (0,) * 60 + (1,) * 140
TRUTH = np.array([[4.0, np.log(0.7 / 0.3)], [0.5, np.log(9.0)]])


def observed(embedding: str, L: int = 400):
    """r = x + error of variance 0.02 to 0.1, per sample, with x of the two groups' priors."""
    rng = np.random.default_rng(0)

    def normal(*shape):
        if embedding == "real":
            return rng.normal(size=shape)
        return (rng.normal(size=shape) + 1j * rng.normal(size=shape)) / np.sqrt(2)

    phi, log_odds = TRUTH[list(GROUPS)].T[..., None]
    variance = rng.uniform(0.02, 0.1, (1, L))
    x = np.sqrt(phi) * normal(200, L) * (rng.uniform(size=(200, L)) < 1 / (1 + np.exp(log_odds)))
    return x + np.sqrt(variance) * normal(200, L), variance


def log_likelihood(r, variance, theta) -> float:
    """log p(r) under the prior and the error, up to a constant."""
    phi, log_odds = np.asarray(theta)[list(GROUPS)].T[..., None]
    k = 1.0 if np.iscomplexobj(r) else 0.5
    terms = [
        weight - k * np.log(v) - k * np.abs(r) ** 2 / v
        for weight, v in ((-np.log1p(np.exp(log_odds)), phi + variance), (-np.log1p(np.exp(-log_odds)), variance))
    ]
    return float(np.sum(logsumexp(terms, axis=0)))


@pytest.mark.parametrize("embedding", ["real", *slow("complex")])
def test_climbs_to_the_truth(x64, embedding):
    r, variance = observed(embedding)
    theta = jnp.array([[1.0, 0.0], [1.0, 4.0]])
    levels = [log_likelihood(r, variance, theta)]
    for _ in range(60):
        theta = em_update(jnp.asarray(r), jnp.asarray(variance), theta, GROUPS)
        levels.append(log_likelihood(r, variance, theta))
    assert np.all(np.diff(levels) > -1e-6 * abs(levels[-1]))
    assert levels[-1] > log_likelihood(r, variance, TRUTH) - 1e-6 * abs(levels[-1])
    np.testing.assert_allclose(theta, TRUTH, rtol=0.06)


def test_groups_do_not_mix(x64):
    r, variance = observed("real", 20)
    theta = jnp.array([[1.0, 0.0], [2.0, 3.0]])
    together = em_update(jnp.asarray(r), jnp.asarray(variance), theta, GROUPS)
    for group, rows in ((0, slice(60)), (1, slice(60, 200))):
        alone = em_update(jnp.asarray(r[rows]), jnp.asarray(variance), theta[group : group + 1])
        np.testing.assert_allclose(together[group], alone[0], rtol=1e-10)


def test_one_level_for_all_groups():
    np.testing.assert_allclose(_group_means(jnp.float32(0.1), GROUPS), [0.1, 0.1], rtol=1e-5)


def test_nothing_active_stays_finite():
    theta = em_update(jnp.zeros((50, 8)), jnp.full((1, 8), 1e-6), jnp.array([[1.0, 30.0]]))
    assert np.isfinite(theta).all()
