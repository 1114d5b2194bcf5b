"""What LVAMP does with its first layer from a random start before it begins the second: singular vectors and scale."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import slow
from test_lvamp import PWLIN, toy, vamp

from onsager_cli.networks import lvamp
from onsager_cli.networks.decoupling import PseudoPrior
from onsager_cli.networks.layers import squared_errors
from onsager_cli.networks.lvamp import canonical, economy_svd

pytestmark = pytest.mark.usefixtures("quick_compile")


class TestCanonical:
    """The factors of what the first layer has learned from a random start."""

    @pytest.fixture
    def learned(self, x64):
        """U, log s, V, log σ_w² of any network (M, N, R = 12, 20, 10), and σ̃²."""
        rng = np.random.default_rng(6)
        return (rng.normal(size=(12, 10)), rng.normal(size=10), rng.normal(size=(20, 10)) / 5, np.array(-1.0), 0.3)

    @pytest.mark.slow
    def test_is_the_same_first_layer(self, learned):
        *leaves, variance = learned
        x, y = (np.random.default_rng(7).normal(size=(n, 5)) for n in (20, 12))
        state = PseudoPrior(jnp.zeros((20, 5)), jnp.full((1, 5), variance))

        def inputs(leaves):
            names = ("U", "log_s", "V", "log_noise_variance")
            p = {name: jnp.asarray(leaf) for name, leaf in zip(names, leaves, strict=True)}
            return vamp().linear(toy(), p, state, jnp.asarray(y), p["U"].T @ y)

        r, sigma = inputs(leaves)
        found, alpha, ratio = canonical(*learned)
        np.testing.assert_allclose(inputs(found)[0], r, rtol=1e-9)
        np.testing.assert_allclose(ratio * inputs(found)[1], sigma, rtol=1e-9)
        assert alpha == 1
        found, alpha, ratio = canonical(*learned, samples=(x, y))
        np.testing.assert_allclose(alpha * inputs(found)[0], r, rtol=1e-9)
        np.testing.assert_allclose(ratio * inputs(found)[1], sigma, rtol=1e-9)
        assert np.sum(x * inputs(found)[0]) == pytest.approx(np.sum(x**2))

    @pytest.mark.parametrize("tied", [True, *slow(False)])
    @pytest.mark.slow
    def test_the_shrinkage_makes_up_for_the_scale(self, tied):
        """Samples of one norm have one σ̃², that of the map: then the first layer's estimate does not change."""
        problem = toy()
        x, y = problem.selection
        size = jnp.sqrt(jnp.sum(jnp.square(y), axis=0) / len(y))
        problem = dataclasses.replace(problem, selection=(x / size, y / size))
        net = vamp(PWLIN, tied=tied, init="random", noise_start="energy")
        params = net.start(problem, 2)
        params["V"], params["U"] = params["V"] * 1.2, params["U"] * 0.6
        before, after = (
            squared_errors(net, problem, net.grow(params, t, problem), *problem.selection, 1) for t in (0, 1)
        )
        np.testing.assert_allclose(after, before, rtol=1e-4)  # float32 at both ends
        assert not np.allclose(net.grow(params, 1, problem)["theta"][0], params["theta"][0], rtol=0.1)

    def test_has_singular_vectors_and_a_spectrum(self, learned):
        U, log_s, V, noise = canonical(*learned)[0]
        np.testing.assert_allclose(U.T @ U, np.eye(10), atol=1e-12)
        np.testing.assert_allclose(V.T @ V, np.eye(10), atol=1e-12)
        assert np.all(np.diff(log_s) >= 0)  # the gains fall, so the singular values rise
        assert np.exp(noise) / 0.3 < 0.1 * np.exp(2 * log_s.min())

    def test_finds_the_svd_in_any_factors_of_the_inverse(self):
        """V_A Q · Q'S⁻¹U_Aᵀ, which deep layers cannot tell apart from the SVD as long as noise is negligible."""
        U, s, V = economy_svd(np.random.default_rng(8).normal(size=(12, 20)))
        Q = np.linalg.qr(np.random.default_rng(9).normal(size=(12, 12)))[0]
        U2, log_s, V2, _ = canonical((U / s) @ Q, np.zeros(12), V @ Q, np.array(-30.0), 1.0)[0]
        found = (U2 * np.exp(log_s)) @ V2.T
        A = (U * s) @ V.T
        found *= np.sum(found * A) / np.sum(found**2)  # y and s may both be scaled
        error = np.linalg.norm(found - A) / np.linalg.norm(A)
        assert error < 0.03  # d is 0.93 to 1 with the ρ that is chosen

    @pytest.mark.parametrize("tied", [True, *slow(False)])
    def test_is_taken_before_the_second_layer_of_a_random_start(self, tied):
        problem = toy()
        for init, learn, changes in (
            ("random", lvamp.LEAVES, True),
            ("svd", lvamp.LEAVES, False),
            ("random", ("V", "theta"), False),  # what does not learn stays where it is
        ):
            net = vamp(tied=tied, init=init, learn=tuple(learn))
            params = net.start(problem, 3)
            params["V"] = params["V"] * 1.5
            first, second = (net.layer(net.grow(params, t, problem), 0)["V"] for t in (0, 1))
            np.testing.assert_array_equal(first, net.layer(params, 0)["V"])
            assert np.allclose(second.T @ second, np.eye(36), atol=1e-5) == changes
            assert np.array_equal(first, second) != changes
