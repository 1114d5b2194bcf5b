"""The coordinates in which networks see a problem: any scale, balanced columns and rows, and back."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import slow
from synthetic_problems import made

from onsager_cli import nmse, problem, train
from onsager_cli.config.load import load_experiment
from onsager_cli.figures.elsewhere import own_matrix
from onsager_cli.kinds.problems import BernoulliGaussian
from onsager_cli.problems import Problem, build
from onsager_cli.problems.frame import framed, is_uneven, unit_of, whitening
from onsager_cli.run import seen_by
from onsager_cli.theory import iterate
from onsager_cli.training.networks_on_disk import network_of

QUICK = ("network.depth=2", "training.lamp.steps=[30]")


def matrix(spread=1.0, M=20, N=40, mean=0.0):
    rng = np.random.default_rng(1)
    return ((rng.normal(size=(M, N)) + mean) / np.sqrt(M) * np.geomspace(1, spread, N)).astype(np.float32)


def in_users_units(seen: Problem, x) -> np.ndarray:
    """Estimates or signals in the coordinates that networks see, in the user's units."""
    assert seen.frame is not None
    return np.asarray(seen.frame.leave(jnp.asarray(x)))


class TestFramed:
    @pytest.mark.parametrize("N", [40, 20])
    def test_the_matrix_comes_back(self, N):
        A = matrix(8, N=N)
        seen = framed(made(A, ensemble="given"), "on", whitens=True, unit=3.0)
        found = own_matrix(dataclasses.replace(seen, original=None))  # as files of a network keep it
        np.testing.assert_allclose(found, A, rtol=1e-3, atol=1e-5)  # P⁻¹ in single precision

    @pytest.mark.slow
    def test_the_user_gets_back_what_went_in(self):
        plain = made(matrix(8, mean=1.0), ensemble="given")
        seen = framed(plain, "on", whitens=True, unit=3.0)
        np.testing.assert_allclose(in_users_units(seen, seen.test.x), plain.test.x, rtol=1e-5, atol=1e-6)
        assert seen.original is plain
        assert seen.behind.A is plain.A

    @pytest.mark.slow
    def test_measurements_fit_the_matrix_that_networks_see(self):
        plain = made(matrix(8, mean=1.0), ensemble="given", noise_variance=0.0)
        seen = framed(plain, "on", whitens=True, unit=2.0)
        x, y = seen.test
        # float32 products, and P magnifies directions in which A has little
        np.testing.assert_allclose(y, seen.A @ x, atol=1e-4 * np.abs(y).max())
        np.testing.assert_allclose(np.sum(np.square(seen.A)), 40, rtol=1e-5)

    @pytest.mark.slow
    @pytest.mark.parametrize("whitens", [True, False])
    def test_noise_variance_is_that_of_what_networks_see(self, whitens):
        plain = made(matrix(8, mean=1.0), ensemble="given", snr_db=10.0, test_samples=5000)
        seen = framed(plain, "on", whitens, unit=1.0)
        noise = np.asarray(seen.test.y) - np.asarray(seen.A) @ np.asarray(seen.test.x)
        # 100,000 entries, a few of them dominant: 3 %
        assert np.mean(noise**2) == pytest.approx(float(seen.noise_variance), rel=0.03)

    @pytest.mark.slow
    def test_the_nmse_is_that_of_the_users_signals(self):
        plain = made(matrix(8), ensemble="given")
        seen = framed(plain, "on", whitens=False, unit=1.0)
        estimate = 0.9 * np.asarray(seen.test.x) + 0.01
        errors, powers = seen.squared_norm(estimate - seen.test.x), seen.squared_norm(seen.test.x)
        found = 10 * np.log10(np.sum(errors) / np.sum(powers))
        assert found == pytest.approx(nmse(in_users_units(seen, estimate), plain.test.x), abs=1e-3)

    @pytest.mark.slow
    def test_fresh_samples_are_in_the_frame(self):
        seen = framed(made(matrix(8), ensemble="given", noise_variance=0.0), "on", whitens=True, unit=1.0)
        x, y, weights = seen.emphasized(jax.random.key(3), 50, 2.0, 2.0)
        np.testing.assert_allclose(y, seen.A @ x, atol=1e-4 * np.abs(y).max())
        assert weights.shape == (50,)

    @pytest.mark.slow
    def test_mean_power_follows_the_columns(self):
        seen = framed(made(matrix(8), ensemble="given"), "on", whitens=False, unit=2.0)
        assert seen.mean_power is not None
        assert seen.columns is not None
        np.testing.assert_allclose(seen.mean_power, 0.1 * 4 * np.square(np.asarray(seen.columns)), rtol=1e-5)


class TestWhenItIsBalanced:
    @pytest.mark.parametrize(
        ("A", "wanted"),
        [(matrix(), False), (matrix(4), True), (matrix(mean=2.0), True), (np.eye(20, 40) + np.eye(20, 40, 20), False)],
    )
    def test_columns_and_spectrum_decide(self, A, wanted):
        norms = np.linalg.norm(A, axis=0)
        if not wanted:
            A, norms = A / norms, np.ones(40)
        assert is_uneven(A, norms, "auto") is wanted
        assert is_uneven(A, norms, "on")
        assert not is_uneven(A, norms, "off")

    def test_whitening_is_the_inverse_square_root(self):
        A = matrix(8).astype(np.float64)
        P = whitening(A, 0.3)
        np.testing.assert_allclose(P @ (A @ A.T + 0.3 * np.eye(20)) @ P, np.eye(20), atol=1e-9)

    def test_the_papers_own_matrices_are_left_alone(self):
        assert BernoulliGaussian(ensemble="gaussian").balancing is None
        assert BernoulliGaussian(ensemble="dct").balancing == "auto"
        assert BernoulliGaussian(ensemble="gaussian", balance="on").balancing == "on"


@pytest.mark.parametrize(("x", "unit"), [(np.array([[0.0, 3.0, -3.0]]), 1 / 3), (np.zeros((2, 2)), 1.0)])
def test_unit_of_sparse_signals(x, unit):
    assert unit_of(x) == pytest.approx(unit)


def test_unit_of_signals_without_zeros():
    rng = np.random.default_rng(0)
    x = 5 * rng.normal(size=(200, 2000)) * (rng.uniform(size=(200, 2000)) < 0.1) + 1e-6
    assert 1 / unit_of(x) == pytest.approx(5, rel=0.03)  # a fourth moment of 40,000 active entries


class TestScale:
    @pytest.mark.slow
    @pytest.mark.parametrize("factor", [0.1, *slow(10.0)])
    def test_estimates_do_not_depend_on_the_scale_of_the_matrix(self, factor):
        A = matrix(mean=0.5)
        plain, scaled = (problem("gaussian", A=a, selection_samples=200, test_samples=100) for a in (A, factor * A))
        one, other = (train("lamp", each, None, *QUICK) for each in (plain, scaled))
        _, y = plain.test
        # 10 A is rounded otherwise than A, and Adam takes whole steps in entries of tiny gradients: -30 dB
        assert np.sum((other(factor * y) - one(y)) ** 2) < 1e-3 * np.sum(one(y) ** 2)
        assert other.nmse_db == pytest.approx(one.nmse_db, abs=0.05)

    @pytest.mark.slow
    def test_a_power_of_two_changes_no_bit(self):
        A = matrix(mean=0.5)
        plain, scaled = (problem("gaussian", A=a, selection_samples=200, test_samples=100) for a in (A, 1024 * A))
        one, other = (train("lamp", each, None, *QUICK) for each in (plain, scaled))
        _, y = plain.test
        assert np.array_equal(other(1024 * y), one(y))

    @pytest.mark.slow
    def test_the_snr_is_that_of_the_matrix(self):
        big = problem("gaussian", A=100 * matrix(), snr_db=20, test_samples=3000)
        x, y = big.test
        clean = big.A @ x
        assert 10 * np.log10(np.sum(clean**2) / np.sum((y - clean) ** 2)) == pytest.approx(20, abs=0.2)

    @pytest.mark.slow
    def test_vamp_takes_columns_of_any_norm(self):
        """Matched VAMP whose prior follows the columns: undone columns leave an easy problem."""
        rng = np.random.default_rng(0)
        A = rng.normal(size=(100, 200)) * np.geomspace(1, 8, 200)
        words = ["network=vamp", "shrinkage=bg", "problem.N=200", "problem.M=100", "problem.ensemble=given"]
        levels = {}
        for balance in ("off", "on"):
            settings = load_experiment([*words, f"problem.balance={balance}"]).curves[0].settings
            seen = seen_by(settings, build(settings.problem, 0, A.astype(np.float32)))
            errors, powers = iterate.run(network_of(settings), seen, 10, "highest")
            levels[balance] = 10 * np.log10(errors[-1].sum() / powers.sum())
        assert levels["on"] < -25 < levels["off"]
