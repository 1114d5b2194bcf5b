"""VAMP and LVAMP against dense linear algebra in float64: the null-space part, decoupling, layers, gradients."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import slow
from toy_lvamp import MINIMAX, PWLIN, db_by_layer, dense_vamp, gh, minimax, posterior_mean, toy, vamp

from onsager_cli.kinds.records import NetworkKind
from onsager_cli.kinds.registry import find
from onsager_cli.kinds.settings import make_network, make_shrinkage
from onsager_cli.networks import build as build_network
from onsager_cli.networks import lvamp, lvamp_gh
from onsager_cli.networks.base import Inputs, Shrunk
from onsager_cli.networks.decoupling import PseudoPrior
from onsager_cli.networks.gradient import loss_and_gradient, scratch
from onsager_cli.networks.guards import clipped_divergences, guard_counts
from onsager_cli.networks.lvamp import Lvamp, economy_svd
from onsager_cli.networks.lvamp_gh import LvampGH, lmmse
from onsager_cli.problems import linear
from onsager_cli.problems.bernoulli_gaussian import Draw
from onsager_cli.problems.operator import least_squares

pytestmark = pytest.mark.usefixtures("quick_compile")
jitted_gradient = jax.jit(loss_and_gradient, static_argnums=0)


# SPEC 7: float64 NumPy on the 2017 i.i.d. instance, layers 1 to 10, and the fixed point.
PUBLISHED = (-6.76, -12.53, -18.74, -25.49, -32.43, -38.78, -43.04, -44.85, -45.41, -45.55)
FIXED_POINT = -45.61


class TestLinearStage:
    @pytest.mark.parametrize(("N", "M"), [(60, 36), *slow((40, 40), (30, 50))])
    def test_equals_dense_lmmse_also_outside_the_row_space(self, x64, N, M):
        rng = np.random.default_rng(0)
        A, L, noise = rng.normal(0, M**-0.5, (M, N)), 5, 0.01
        problem = dataclasses.replace(toy(N, M), A=jnp.asarray(A), noise_variance=jnp.asarray(noise))
        net = vamp()
        p = net.layer(net.start(problem, 1), 0)
        y, r_tilde = rng.normal(size=(M, L)), rng.normal(size=(N, L))
        variance = 10 ** rng.uniform(-4, 1, (1, L))
        state = PseudoPrior(jnp.asarray(r_tilde), jnp.asarray(variance))
        r, sigma = net.linear(problem, p, state, jnp.asarray(y), net.prepare(problem, p, jnp.asarray(y)))
        for i in range(L):
            rho = noise / variance[0, i]
            inverse = np.linalg.inv(A.T @ A + rho * np.eye(N))
            x_tilde = inverse @ (A.T @ y[:, i] + rho * r_tilde[:, i])
            nu = np.clip(rho * np.trace(inverse) / N, 0.5 / N, 1 - 0.5 / N)
            np.testing.assert_allclose(r[:, i], (x_tilde - nu * r_tilde[:, i]) / (1 - nu), rtol=1e-9)
            np.testing.assert_allclose(sigma[0, i] ** 2, variance[0, i] * nu / (1 - nu), rtol=1e-9)

    def test_the_printed_equations_miss_the_null_space(self, x64):
        """Eqs (16), (20) with the economy SVD, taken literally, are another estimator: the erratum is real."""
        problem, net = toy(), vamp()
        p = net.layer(net.start(problem, 1), 0)
        U, s, V = economy_svd(np.asarray(problem.A))
        r_tilde, y = np.ones((60, 1)), np.asarray(problem.test[1][:, :1], np.float64)
        rho = float(problem.noise_variance) / 0.1
        printed = V @ ((s[:, None] * (U.T @ y) + rho * (V.T @ r_tilde)) / (s[:, None] ** 2 + rho))
        A = np.asarray(problem.A, np.float64)
        dense = np.linalg.solve(A.T @ A + rho * np.eye(60), A.T @ y + rho * r_tilde)
        outside = r_tilde - V @ (V.T @ r_tilde)
        assert np.linalg.norm(outside) > 1
        np.testing.assert_allclose(dense, printed + outside, rtol=1e-8)
        state = PseudoPrior(jnp.asarray(r_tilde), jnp.full((1, 1), 0.1))
        nu = float(net.divergence(p, state)[0, 0])
        np.testing.assert_allclose(nu, 24 / 60 + np.sum(rho / (s**2 + rho)) / 60, rtol=1e-5)

    @pytest.mark.parametrize("kind", ["free", *slow("svd", "gh")])
    def test_decoupling_leaves_no_trace(self, x64, kind):
        """tr ∂r/∂r̃ = 0 for every value of the parameters, orthonormal or not: what the Onsager term is for."""
        rng, (N, M, R) = np.random.default_rng(1), (12, 8, 8)
        problem = dataclasses.replace(toy(N, M), A=jnp.asarray(rng.normal(size=(M, N))))
        net = gh() if kind == "gh" else vamp()
        p = {k: jnp.asarray(a, jnp.float64) for k, a in net.layer(net.start(problem, 1), 0).items()}
        if kind == "free":
            p |= {"U": jnp.asarray(rng.normal(size=(M, R))), "V": jnp.asarray(0.3 * rng.normal(size=(N, R)))}
        if kind == "gh":
            p |= {"G": jnp.asarray(0.5 * np.eye(N) + 0.2 * rng.normal(size=(N, N)))}
        y, variance = jnp.asarray(rng.normal(size=(M, 1))), jnp.full((1, 1), 0.3)

        def r_of(r_tilde):
            context = net.prepare(problem, p, y)
            return net.linear(problem, p, PseudoPrior(r_tilde[:, None], variance), y, context).r[:, 0]

        jacobian = jax.jit(jax.jacobian(r_of))(jnp.asarray(rng.normal(size=N)))
        assert abs(float(jnp.trace(jacobian))) < 1e-10
        assert float(jnp.linalg.norm(jacobian)) > 0.1

    def test_shrinkage_stage_leaves_no_trace(self, x64):
        net, problem = vamp(MINIMAX), toy()  # of a soft threshold, ν itself does not move with r
        theta, sigma = jnp.asarray(MINIMAX[1]), jnp.full((1, 30), 0.2)
        r, step = np.random.default_rng(2).normal(size=(30, 1)), 1e-4

        def next_r(r):  # column i: where coordinate i has moved
            x_hat, slope = net.family.eta(r, sigma, theta)
            state = PseudoPrior(r, sigma)  # not used
            return net.correct(problem, {}, Shrunk(x_hat, slope, Inputs(r, sigma)), state, jnp.zeros((36, 30))).r_tilde

        ends = [next_r(jnp.asarray(r + move * np.eye(30))) for move in (-step, step)]
        assert abs(float(jnp.trace(ends[1] - ends[0]))) / (2 * step) < 1e-9

    @pytest.mark.slow
    def test_variance_of_free_matrices_is_that_of_the_error(self):
        """σ² of the (G, H) form, without knowing G's origin, is the error that r has on average."""
        problem, rng = toy(200, 120, 1), np.random.default_rng(5)
        A, noise, variance, L = np.asarray(problem.A, np.float64), 0.02, 0.3, 4000
        net = gh()
        G, H = lmmse(A, 5 * variance, 3 * noise)  # for other variances than those of the data
        p = {
            "G": jnp.asarray(G, jnp.float32), "H": jnp.asarray(H, jnp.float32), "log_c": jnp.float32(0),
            "log_noise_variance": jnp.float32(np.log(noise)),
        }  # fmt: skip
        x = rng.normal(size=(200, L))
        y = A @ x + np.sqrt(noise) * rng.normal(size=(120, L))
        r_tilde = x + np.sqrt(variance) * rng.normal(size=(200, L))
        state = PseudoPrior(jnp.asarray(r_tilde, jnp.float32), jnp.full((1, L), variance, jnp.float32))
        r, sigma = net.linear(problem, p, state, jnp.asarray(y, jnp.float32), None)
        np.testing.assert_allclose(np.mean((np.asarray(r) - x) ** 2), np.mean(np.asarray(sigma) ** 2), rtol=0.01)


class TestMatchedVamp:
    @pytest.mark.parametrize("kappa", [None, *slow(15.0, 100.0)])
    def test_authors_instance_layer_by_layer(self, kappa):
        A, (x, y) = linear.authors2017(kappa)
        problem = linear.build(Draw(0.1), A=A, snr_db=40, seed=0, selection_samples=10, test_samples=1000, test=(x, y))
        found = db_by_layer(vamp(), problem, 16)
        np.testing.assert_allclose(found, dense_vamp(A, x, y, 2e-5, posterior_mean, 16), atol=0.01)
        if kappa is None:
            np.testing.assert_allclose(found[:10], PUBLISHED, atol=0.01)
            np.testing.assert_allclose(found[-1], FIXED_POINT, atol=0.01)
        params = vamp().start(problem, 16)
        assert int(jnp.sum(guard_counts(vamp(), problem, params, problem.test[1], 16))) == 0

    @pytest.mark.slow
    def test_any_shrinkage(self):
        problem = toy(200, 100, 50)
        expected = dense_vamp(problem.A, *problem.test, float(problem.noise_variance), minimax, 10)
        np.testing.assert_allclose(db_by_layer(vamp(MINIMAX), problem, 10), expected, atol=0.01)

    @pytest.mark.slow
    def test_rank_deficient_matrix(self):
        rng = np.random.default_rng(4)
        A = (rng.normal(size=(36, 20)) @ rng.normal(size=(20, 60)) / 30).astype(np.float32)
        problem = linear.build(Draw(0.1), A=A, snr_db=40, seed=0, selection_samples=10, test_samples=50)
        assert vamp().start(problem, 1)["log_s"].shape == (20,)
        expected = dense_vamp(A, *problem.test, float(problem.noise_variance), posterior_mean, 8)
        np.testing.assert_allclose(db_by_layer(vamp(), problem, 8), expected, atol=0.05)

    @pytest.mark.parametrize("kappa", [None, *slow(1.0, 30.0), 1000.0])
    @pytest.mark.parametrize(("N", "M"), [(50, 25), *slow((50, 50), (200, 100))])
    def test_never_nan(self, N, M, kappa):
        self.check_finite(N, M, kappa, samples=500)

    @pytest.mark.slow
    @pytest.mark.parametrize("kappa", [None, 1.0, 5.0, 100.0, 1000.0])
    @pytest.mark.parametrize(("N", "M"), [(500, 250), (500, 500), (2000, 1000)])
    def test_never_nan_large(self, N, M, kappa):
        self.check_finite(N, M, kappa, samples=100)

    @staticmethod
    def check_finite(N, M, kappa, samples):
        problem = toy(N, M, samples, kappa)
        found = db_by_layer(vamp(), problem, 60)
        assert np.isfinite(found).all()
        assert found[9] < -5

    def test_a_sample_without_signal_and_one_without_measurement(self):
        problem = toy()
        x, y = problem.test
        problem = dataclasses.replace(problem, test=(x.at[:, 0].set(0), y.at[:, 0].set(1e-3).at[:, 1].set(0)))
        assert np.isfinite(db_by_layer(vamp(), problem, 20)).all()


class TestClips:
    def test_counted_where_they_happen(self):
        """A flat invertible A tells x in one step, so that ν̃ < ε; a huge threshold has ν = 0 always."""
        problem = toy(50, 50, 30, kappa=1.0)
        quiet = dataclasses.replace(problem, noise_variance=jnp.float32(1e-9))
        counts = np.asarray(guard_counts(vamp(), quiet, vamp().start(quiet, 3), quiet.test[1], 3))
        assert counts[0, 0] == 30
        net = vamp(("soft", (1.0, 1e6)))
        problem = toy()
        counts = np.asarray(guard_counts(net, problem, net.start(problem, 3), problem.test[1], 3))
        np.testing.assert_array_equal(counts, [[0, 40, 0], [0, 40, 0], [0, 0, 0]])
        np.testing.assert_array_equal(clipped_divergences(counts), [0, 40, 80])  # by depth

    def test_free_matrices(self):
        problem, net = toy(), gh()
        params = net.start(problem, 2)
        params = params | {"G": params["G"].at[1].set(2 * jnp.eye(60))}
        np.testing.assert_array_equal(guard_counts(net, problem, params, problem.test[1], 2)[:, 0], [0, 40])


class TestParameters:
    def test_starts(self):
        problem = toy()
        by_init = {
            init: vamp(init=init, noise_start="energy").start(problem, 2) for init in ("svd", "least_squares", "random")
        }
        found = by_init["svd"]
        np.testing.assert_allclose((found["U"] * np.exp(found["log_s"])) @ found["V"].T, problem.A, atol=1e-5)
        energy = float(jnp.mean(jnp.square(problem.selection[1])))
        for params in by_init.values():
            np.testing.assert_allclose(np.exp(params["log_noise_variance"]), energy, rtol=1e-5)
            np.testing.assert_allclose(params["V"].T @ params["V"], np.eye(36), atol=1e-5)
        product = {k: np.asarray((p["U"] * jnp.exp(p["log_s"])) @ p["V"].T) for k, p in by_init.items()}
        A = np.asarray(problem.A)
        assert np.linalg.norm(product["least_squares"] - A) < 0.02 * np.linalg.norm(A)
        assert np.linalg.norm(product["random"] - A) > np.linalg.norm(A)
        assert np.linalg.norm(product["random"]) == pytest.approx(np.sqrt(60), rel=0.1)
        other = vamp(init="random", seed=1).start(problem, 1)
        assert np.linalg.norm(other["V"] - by_init["random"]["V"]) > 1

    @pytest.mark.slow
    def test_least_squares_needs_more_pairs_than_unknowns(self):
        problem = toy()

        def error(pairs):
            estimate = least_squares(problem, jax.random.key(0), pairs)
            return np.linalg.norm(estimate - np.asarray(problem.A))

        assert error(64_000) < 0.7 * error(16_000)  # as the square root of their number

    @pytest.mark.parametrize("tied", [True, False])
    def test_only_what_learns_is_masked_in_counted_and_layered(self, tied):
        problem = toy()
        net = vamp(PWLIN, tied=tied, learn=("noise_variance", "theta"))
        params = net.start(problem, 3)
        assert params["V"].shape == (60, 36)
        assert params["log_noise_variance"].shape == (() if tied else (3,))
        masks = net.learnable(params, 0, 2, shared=True)
        assert {name for name, mask in masks.items() if np.any(mask)} == {"log_noise_variance", "theta"}
        assert net.count(params, 3) == 15 + (1 if tied else 3)
        assert net.new_leaves == ("θ" if tied else "σ_w², θ")
        everything = vamp(PWLIN, tied=tied)
        assert all(np.any(mask) for mask in everything.learnable(params, 0, 2, shared=True).values())

    @pytest.mark.slow
    def test_untied_copies_of_a_tied_network_are_that_network(self):
        problem, tied, untied = toy(), vamp(), vamp(tied=False)
        params = tied.start(problem, 4)
        spread = untied.untie(params, untied.start(problem, 4))
        assert spread["U"].shape == (4, 36, 36)
        np.testing.assert_allclose(
            db_by_layer(untied, problem, 4, spread), db_by_layer(tied, problem, 4, params), atol=1e-3
        )

    @pytest.mark.slow
    def test_free_matrices_start_as_vamp_does(self):
        """Where all samples have nearly one σ̃², the (G, H) form is VAMP."""
        problem = toy(300, 150, 100)
        found, expected = db_by_layer(gh(), problem, 4), db_by_layer(vamp(), problem, 4)
        np.testing.assert_allclose(found, expected, atol=0.3)
        assert gh().new_leaves == "G, H, c, θ"

    def test_a_new_layer_of_free_matrices_is_made_for_what_reaches_it(self):
        problem, net = toy(), gh()
        params = net.start(problem, 3)
        moved = params | {"G": params["G"].at[2].set(0), "theta": params["theta"].at[2, 0].set(2)}
        grown = net.grow(moved, 2, problem)
        np.testing.assert_allclose(grown["G"][2], params["G"][2], atol=1e-5)
        np.testing.assert_array_equal(grown["theta"][2], params["theta"][1])

    def test_the_schema_names_what_learns(self):
        for kind, leaves in (("lvamp", lvamp.LEAVES), ("lvamp_gh", lvamp_gh.LEAVES)):
            assert tuple(leaves) == find(NetworkKind, kind).learnable

    def test_built_from_settings(self):
        family, theta = PWLIN
        shrinkage = make_shrinkage({"family": family, "theta": list(theta)})
        raw = {
            "kind": "lvamp", "name": "lvamp", "tied": False, "depth": 3, "theta_per": "all", "init": "random",
            "noise_start": "known", "learn": ["V"],
        }  # fmt: skip
        net = build_network(make_network(raw), shrinkage, seed=5)
        assert net == vamp(PWLIN, tied=False, init="random", learn=("V",))
        assert isinstance(net, Lvamp)
        assert net.seed == 5
        del raw["noise_start"]
        settings = make_network({**raw, "kind": "lvamp_gh", "learn": ["G"]})
        assert isinstance(build_network(settings, shrinkage), LvampGH)


class TestGradient:
    @pytest.mark.parametrize("tied", [True, *slow(False)])
    @pytest.mark.parametrize("make", [vamp, *slow(gh)])
    def test_equals_autodiff_of_the_unrolled_network(self, x64, make, tied):
        problem = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), toy(24, 14, 6))
        net, depth = make(PWLIN, tied=tied), 3
        rng = np.random.default_rng(0)
        params = {
            name: jnp.asarray(leaf * (1 + 0.05 * rng.normal(size=leaf.shape)), jnp.float64)
            for name, leaf in net.start(problem, depth).items()
        }
        x, y = problem.test

        def loss_of(params):
            state, inputs = net.first(problem, net.layer(params, 0), y, net.prepare(problem, params, y))
            for t in range(depth):
                p = net.layer(params, t)
                if t:
                    inputs = net.linear(problem, p, state, y, net.prepare(problem, params, y))
                shrunk = net.shrink(p, inputs)
                state = net.correct(problem, p, shrunk, state, y)
            return jnp.sum(jnp.square(shrunk.x_hat - x))

        loss, gradient = jax.jit(jax.value_and_grad(loss_of))(params)
        room = scratch(net, problem, params, x.shape[1])
        found_loss, found, _ = jitted_gradient(net, problem, params, x, y, jnp.ones(y.shape[1]), depth, 0, room)
        np.testing.assert_allclose(found_loss, loss, rtol=1e-10)
        for name in gradient:
            np.testing.assert_allclose(found[name], gradient[name], rtol=1e-7, atol=1e-9, err_msg=name)
            assert np.any(np.asarray(gradient[name]) != 0) or name == "log_noise_variance", name

    @pytest.mark.slow
    def test_is_finite_at_a_random_start(self):
        problem, net = toy(), vamp(PWLIN, init="random", noise_start="energy")
        params = net.start(problem, 6)
        x, y = problem.test
        room = scratch(net, problem, params, x.shape[1])
        y = y.at[:, 0].set(0)
        _, gradient, _ = jitted_gradient(net, problem, params, x, y, jnp.ones(y.shape[1]), 6, 0, room)
        for name, leaf in gradient.items():
            assert np.isfinite(leaf).all(), name
            assert np.any(np.asarray(leaf) != 0), name
