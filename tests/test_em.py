"""EM of the Bernoulli-Gaussian parameters: it climbs the likelihood, ends at the truth, and keeps groups apart.

EM-VAMP, which starts from what the energies of y show of the noise, ends near matched VAMP at any SNR.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import slow
from scipy.special import logsumexp

from onsager_cli import shrinkage
from onsager_cli.networks.layers import squared_errors
from onsager_cli.networks.lvamp import Lvamp, economy_svd
from onsager_cli.problems import linear
from onsager_cli.problems.bernoulli_gaussian import Draw
from onsager_cli.theory import em, em_vamp
from onsager_cli.theory.em_vamp import _group_means, estimated_snr

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


def test_a_prior_keeps_the_power_that_the_measurements_leave():
    theta, shares = jnp.array([[2.0, 0.0], [0.5, np.log(4)]]), jnp.array([0.25, 0.75])
    power = 0.25 * 2 / 2 + 0.75 * 0.5 / 5
    np.testing.assert_array_equal(em.with_power(theta, jnp.float32(power / 1.19), shares), theta)
    lower = em.with_power(theta, jnp.float32(power / 4), shares)
    np.testing.assert_allclose(lower, theta / jnp.array([[4, 1]]), rtol=1e-6)


def measured(A, snr_db, L, seed=3):
    """y = A x + w with sparse x, E‖Ax‖² / E‖w‖² = `snr_db` for these A and x."""
    rng = np.random.default_rng(seed)
    complex_too = np.iscomplexobj(A)

    def normal(*shape):
        return (rng.normal(size=shape) + 1j * complex_too * rng.normal(size=shape)) / np.sqrt(1 + complex_too)

    x = normal(A.shape[1], L) * (rng.uniform(size=(A.shape[1], L)) < 0.1)
    noise = 0.1 * np.sum(np.abs(A) ** 2) / len(A) * 10 ** (-snr_db / 10)
    y = A @ x + np.sqrt(noise) * normal(len(A), L)
    return y if complex_too else y.real


class TestEstimatedSnr:
    """The SNR that the energies of y in the singular directions of A show."""

    @pytest.mark.slow
    @pytest.mark.parametrize("snr_db", [-10, 0, 10])
    @pytest.mark.parametrize("shape", [(60, 120), (120, 60)], ids=["wide", "tall"])
    @pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
    def test_is_that_of_the_measurements(self, snr_db, shape, is_complex):
        rng = np.random.default_rng(1)
        A = rng.normal(size=shape) + (1j * rng.normal(size=shape) if is_complex else 0)
        U, s, _ = economy_svd(A)
        found = 10 * np.log10(estimated_snr(measured(A, snr_db, 400), U, np.log(s)))
        assert found == pytest.approx(snr_db, abs=1)

    @pytest.mark.parametrize(("snr_db", "start"), [(40, 20), (-60, -20)])
    def test_has_limits(self, snr_db, start):
        A = np.random.default_rng(1).normal(size=(60, 120))
        U, s, _ = economy_svd(A)
        assert estimated_snr(measured(A, snr_db, 400), U, np.log(s)) == 10 ** (start / 10)

    @pytest.mark.parametrize("snr_db", [-20, 0, 40])
    def test_is_open_where_all_directions_are_alike(self, snr_db):
        A = np.linalg.qr(np.random.default_rng(1).normal(size=(80, 80)))[0][:40]
        assert estimated_snr(measured(A, snr_db, 50), np.eye(40), np.zeros(40)) == pytest.approx(1, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("snr_db", "kappa", "noise_start", "within"),
    [
        (-10, None, "energy", 0.1),
        *slow((0, None, "energy", 0.1), (10, 15, "energy", 0.3), (0, 15, "known", 0.1)),
        *slow((-5, 100, "energy", 0.2), (-10, 100, "known", 0.3), (40, None, "energy", 0.1), (40, 15, "energy", 0.3)),
    ],
)
def test_em_vamp_ends_near_matched_vamp(snr_db, kappa, noise_start, within):
    """Started at 20 dB whatever the SNR, and with no limit on the power of x, it ended up to 10 dB above."""
    A = linear.gaussian_matrix(4, 100, 200, kappa)
    problem = linear.build(Draw(0.1), A=A, snr_db=snr_db, seed=4, selection_samples=10, test_samples=200)
    net = Lvamp(
        shrinkage.build("bg"), (1.0, 1.0), tied=False, learn=("noise_variance", "theta"), noise_start=noise_start
    )
    matched = Lvamp(shrinkage.build("bg"), (1.0, float(np.log(9))), noise_start="known")
    found, wanted = (
        10
        * np.log10(np.sum(squared_errors(net, problem, params, *problem.test, 15)[-1]) / np.sum(problem.test[0] ** 2))
        for net, params in (
            (net, em_vamp.learn(net, problem, problem.test[1], 15)),
            (matched, matched.start(problem, 15)),
        )
    )
    assert wanted < 0
    assert found == pytest.approx(wanted, abs=within)
    assert found < 0.01
