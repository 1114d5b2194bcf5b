"""What shrinkages know of x given r, against numerical integration in float64, and against samples."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from onsager_cli.problems.signals import GaussianMixture
from onsager_cli.shrinkage import bernoulli_gaussian, block, components
from onsager_cli.theory import beliefs

GAMMA, PHI, SIGMA = 0.2, 1.7, 0.4
THETA: Any = (PHI, float(np.log((1 - GAMMA) / GAMMA)))
R = np.array([-2.5, -0.7, -0.1, 0.0, 0.3, 1.1, 4.0])


def integrated(density, r: float, sigma: float) -> tuple[float, float, float]:
    """P(x ≠ 0 | r), E[x|r] and var(x|r) of (1-γ) δ + γ `density`, by quadrature."""

    def moment(power: int) -> float:
        limits = (r - 12 * sigma, r + 12 * sigma)  # beyond, the likelihood is below 1e-31
        return GAMMA * quad(lambda x: x**power * density(x) * norm.pdf(r, x, sigma), *limits, limit=400)[0]

    total = moment(0) + (1 - GAMMA) * norm.pdf(r, 0, sigma)
    mean = moment(1) / total
    return float(moment(0) / total), float(mean), float(moment(2) / total - mean**2)


def test_of_bernoulli_gaussian(x64):
    import jax.numpy as jnp

    found = bernoulli_gaussian.belief(jnp.asarray(R)[:, None], jnp.full((1, 1), SIGMA), THETA)
    expected = np.array([integrated(lambda x: norm.pdf(x, 0, np.sqrt(PHI)), r, SIGMA) for r in R])
    np.testing.assert_allclose(1 / (1 + np.exp(-np.asarray(found.log_odds)[:, 0])), expected[:, 0], rtol=1e-7)
    np.testing.assert_allclose(np.asarray(found.mean)[:, 0], expected[:, 1], rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(np.asarray(found.variance)[:, 0], expected[:, 2], rtol=1e-7)
    assert float(found.prior) == pytest.approx(np.log(GAMMA / (1 - GAMMA)))


@pytest.mark.slow
def test_of_the_signals_own_law(x64):
    """A mixture of two Gaussians with means, whose zeros are no component of the active ones."""
    import jax.numpy as jnp

    law = GaussianMixture(GAMMA, (0.3, 0.7), (1.0, -0.5), (0.2, 0.6))

    def density(x):
        return 0.3 * norm.pdf(x, 1.0, np.sqrt(0.2)) + 0.7 * norm.pdf(x, -0.5, np.sqrt(0.6))

    found = components.matched_belief(law)(jnp.asarray(R)[:, None], jnp.full((1, 1), SIGMA), (jnp.asarray(1.0),))
    expected = np.array([integrated(density, r, SIGMA) for r in R])
    np.testing.assert_allclose(1 / (1 + np.exp(-np.asarray(found.log_odds)[:, 0])), expected[:, 0], rtol=1e-6)
    np.testing.assert_allclose(np.asarray(found.mean)[:, 0], expected[:, 1], rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(np.asarray(found.variance)[:, 0], expected[:, 2], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("is_complex", [False, True])
def test_of_blocks(x64, is_complex):
    """Blocks of one coordinate are Bernoulli-Gaussian; in longer ones all coordinates have one probability (Bayes)."""
    import jax.numpy as jnp

    rng = np.random.default_rng(0)
    r = rng.normal(size=(6, 5)) + (1j * rng.normal(size=(6, 5)) if is_complex else 0)
    sigma = np.full((1, 5), SIGMA)
    one = block.belief(SimpleNamespace(block=1))(jnp.asarray(r), jnp.asarray(sigma), THETA)
    plain = bernoulli_gaussian.belief(jnp.asarray(r), jnp.asarray(sigma), THETA)
    for name in ("log_odds", "mean", "variance"):
        np.testing.assert_allclose(getattr(one, name), getattr(plain, name), rtol=1e-10)
    found = block.belief(SimpleNamespace(block=3))(jnp.asarray(r), jnp.asarray(sigma), THETA)
    exponent = 1 if is_complex else 0.5
    energy = np.sum(np.abs(r.reshape(2, 3, 5)) ** 2, axis=1)
    ratio = exponent * (energy / SIGMA**2 - energy / (PHI + SIGMA**2)) - 3 * exponent * np.log(
        (PHI + SIGMA**2) / SIGMA**2
    )
    odds = np.repeat(ratio - THETA[1], 3, axis=0)
    np.testing.assert_allclose(found.log_odds, odds, rtol=1e-10)
    active, gain = 1 / (1 + np.exp(-odds)), PHI / (PHI + SIGMA**2)
    np.testing.assert_allclose(found.mean, active * gain * r, rtol=1e-10)
    second = active * (gain * SIGMA**2 + np.abs(gain * r) ** 2)
    np.testing.assert_allclose(found.variance, second - np.abs(active * gain * r) ** 2, rtol=1e-8)


def test_the_mean_is_the_shrinkage(x64):
    """η of the family is the mean of its posterior."""
    import jax.numpy as jnp

    r, sigma = jnp.asarray(R)[:, None], jnp.full((1, 1), SIGMA)
    x_hat, _ = bernoulli_gaussian.bernoulli_gaussian(r, sigma, THETA)
    np.testing.assert_allclose(bernoulli_gaussian.belief(r, sigma, THETA).mean, x_hat, rtol=1e-12)


class TestFitted:
    @pytest.fixture
    def samples(self):
        """x, r = a x + c σ w and σ with a = 1.3, c = 0.7; two groups of coordinates of powers 4 and 1."""
        rng = np.random.default_rng(3)
        groups = (0,) * 30 + (1,) * 30
        power = np.where(np.array(groups) == 0, 4.0, 1.0)[:, None]
        x = np.sqrt(power) * rng.normal(size=(60, 4000)) * (rng.uniform(size=(60, 4000)) < 0.1)
        sigma = rng.uniform(0.1, 0.3, size=(1, 4000))
        return x, 1.3 * x + 0.7 * sigma * rng.normal(size=x.shape), sigma, groups

    def test_finds_what_it_was_drawn_with(self, samples):
        found = beliefs.fitted(*samples)
        # 12,000 active entries: standard errors of 1.3 % for φ, below 0.5 % for the rest.
        np.testing.assert_allclose(found.gain, 1.3, rtol=0.01)
        np.testing.assert_allclose(found.level, 0.7, rtol=0.01)
        np.testing.assert_allclose(found.gamma, 0.1, rtol=0.03)
        np.testing.assert_allclose(found.phi[:30], 4.0, rtol=0.05)
        np.testing.assert_allclose(found.phi[30:], 1.0, rtol=0.05)

    def test_is_calibrated(self, samples):
        """Of the coordinates with P(x ≠ 0) near p, the share p is active; the variance is the mean square error."""
        import jax.numpy as jnp

        x, r, sigma, groups = samples
        found = beliefs.fitted(x, r, sigma, groups).belief(*(jnp.asarray(a, jnp.float32) for a in (r, sigma)))
        p = np.asarray(beliefs.activity(found))
        for low in (0.05, 0.3, 0.6, 0.9):
            near = (p >= low) & (p < low + 0.1)
            error = 3 * np.sqrt(p[near].mean() * (1 - p[near].mean()) / near.sum())  # three standard errors
            assert np.mean(x[near] != 0) == pytest.approx(p[near].mean(), abs=error + 0.01)
        assert float(np.mean(found.variance)) == pytest.approx(float(np.mean((found.mean - x) ** 2)), rel=0.03)

    def test_of_nothing_but_zeros(self):
        import jax.numpy as jnp

        found = beliefs.fitted(np.zeros((3, 4)), np.ones((3, 4)), np.ones((1, 4)))
        assert np.isfinite(np.asarray(found.belief(jnp.ones((3, 4)), jnp.ones((1, 4))).mean)).all()


def test_users_of_several_coordinates(x64):
    """Two coordinates that are active together: their evidence adds, the prior counts once."""
    import jax.numpy as jnp

    r = np.random.default_rng(1).normal(size=(6, 4))
    found = bernoulli_gaussian.belief(jnp.asarray(r), jnp.full((1, 4), SIGMA), THETA)
    on = GAMMA * np.prod(norm.pdf(r.reshape(2, 3, 4), 0, np.sqrt(PHI + SIGMA**2)), axis=0)
    off = (1 - GAMMA) * np.prod(norm.pdf(r.reshape(2, 3, 4), 0, SIGMA), axis=0)
    np.testing.assert_allclose(beliefs.activity(found, 2), on / (on + off), rtol=1e-9)
