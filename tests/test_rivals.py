"""Networks after LAMP: forward pass and start against float64 NumPy, gradient against autodiff."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from conftest import slow
from test_networks import by_layers, some_weights
from toy_networks import ROOM, distances, problem_of
from toy_rivals import NOISE, RIVALS, alista, complex_data, numpy_version, posterior_mean, problem_around

from onsager_cli import shrinkage
from onsager_cli.networks.gradient import scratch
from onsager_cli.networks.lamp import Lamp
from onsager_cli.networks.layers import Layers, squared_errors

pytestmark = pytest.mark.usefixtures("quick_compile")
EVERY = sorted(RIVALS)


def off_the_start(net, problem, depth, seed=0):
    """Parameters near the start, different in every layer; what no stage learns stays."""
    rng = np.random.default_rng(seed)
    masks = net.learnable(net.start(problem, depth), 0, depth - 1, shared=True)
    return {
        name: jnp.asarray(np.asarray(leaf) * (1 + 0.2 * masks[name] * rng.uniform(-1, 1, leaf.shape))
                          + 0.02 * masks[name] * rng.uniform(0, 1, leaf.shape), leaf.dtype)
        for name, leaf in net.start(problem, depth).items()
    }  # fmt: skip


def unrolled(net, problem, y, depth, params):
    """Estimates of all layers by a Python loop over the maps of the network."""
    layers, found = Layers(net, problem, params, y), []
    state, inputs = layers.first()
    for t in range(depth):
        x_hat = layers.shrink(t, inputs).x_hat
        found.append(x_hat)
        if t + 1 < depth:
            state, inputs = layers.advance(t, state, inputs)
    return found


class TestForward:
    """To 1e-9: rounding of float64 over five layers, with the 1/τ² of posteriors."""

    @pytest.mark.parametrize("name", EVERY)
    def test_every_layer(self, x64, toy, name):
        net, problem = RIVALS[name], problem_of(toy)
        params = off_the_start(net, problem, 5)
        expected = numpy_version(net, params, toy.A, toy.y, 5, NOISE)
        assert max(distances(net, problem, params, toy.y, expected)) < 1e-9

    @pytest.mark.slow
    @pytest.mark.parametrize("name", EVERY)
    def test_complex(self, x64, name):
        A, x, y = complex_data()
        net, problem = RIVALS[name], problem_around(A, x, y)
        params = off_the_start(net, problem, 4)
        found = unrolled(net, problem, problem.test.y, 4, params)
        for one, expected in zip(found, numpy_version(net, params, A, y, 4, NOISE), strict=True):
            np.testing.assert_allclose(one, expected, atol=1e-9)

    @pytest.mark.slow
    @pytest.mark.parametrize("name", EVERY)
    def test_a_rotation_of_complex_measurements_rotates_the_estimate(self, x64, name):
        A, x, y = complex_data()
        net, problem = RIVALS[name], problem_around(A, x, y)
        params, turn = net.start(problem, 3), np.exp(1j * np.linspace(0, 5, y.shape[1]))
        plain, turned = (
            squared_errors(net, problem, params, jnp.asarray(x * f), jnp.asarray(y * f), 3) for f in (1, turn)
        )
        np.testing.assert_allclose(turned, plain, rtol=1e-8)


class TestStart:
    """Untrained, a network is the algorithm that it unfolds."""

    def test_lista_cp_is_ista(self, x64, toy):
        net, problem = RIVALS["lista_cp_tied"], problem_of(toy)
        beta = 1 / (1.01 * np.linalg.norm(toy.A, 2) ** 2)
        expected = reference.ista(toy.A, toy.y, net.theta[0] / beta, 6)
        assert max(distances(net, problem, net.start(problem, 6), toy.y, expected)) < 1e-10

    def test_lista_cp_with_the_transpose_alone_is_lamp_without_onsager(self, x64, toy):
        """With the same B and threshold, a network that was there before computes the same."""
        problem = problem_of(toy)
        lamp = Lamp(shrinkage.build("threshold"), (0.1,), onsager=False)
        net = RIVALS["lista_cp_tied"]
        params = net.start(problem, 4)
        expected = unrolled(lamp, problem, problem.test.y, 4, {name: params[name] for name in ("B", "theta")})
        np.testing.assert_allclose(distances(net, problem, params, toy.y, expected), 0, atol=1e-12)

    def test_alista_is_ista_with_w(self, x64, toy):
        net, problem, x = alista(selection=None), problem_of(toy), np.zeros_like(toy.x)
        gram = np.linalg.inv(toy.A @ toy.A.T) @ toy.A
        W, expected = gram / np.sum(gram * toy.A, axis=0), []
        for _ in range(4):
            r = x + W.T @ (toy.y - toy.A @ x)
            x = np.sign(r) * np.maximum(np.abs(r) - 0.1, 0)
            expected.append(x)
        assert max(distances(net, problem, net.start(problem, 4), toy.y, expected)) < 1e-10

    def test_tista_is_oamp_with_the_pseudo_inverse(self, x64, toy):
        """τ² by the formula of the paper, γ = N/M in units of A⁺."""
        net, problem, x, expected = RIVALS["tista"], problem_of(toy), np.zeros_like(toy.x), []
        inverse, gamma, (M, N) = np.linalg.pinv(toy.A), toy.N / toy.M, toy.A.shape
        for _ in range(4):
            v = toy.y - toy.A @ x
            v2 = np.maximum((np.sum(v**2, axis=0) - M * NOISE) / np.trace(toy.A.T @ toy.A), 1e-9)
            tau2 = v2 / N * (N + (gamma**2 - 2 * gamma) * M) + gamma**2 * NOISE * np.sum(inverse**2) / N
            x = posterior_mean(x + gamma * inverse @ v, tau2, net.theta)
            expected.append(x)
        assert max(distances(net, problem, net.start(problem, 4), toy.y, expected)) < 1e-9

    def test_oamp_nets_differ_only_in_what_learns(self, x64, toy):
        problem = problem_of(toy)
        one, two = RIVALS["oamp_net"], RIVALS["oamp_net2"]
        expected = unrolled(one, problem, problem.test.y, 3, one.start(problem, 3))
        np.testing.assert_allclose(distances(two, problem, two.start(problem, 3), toy.y, expected), 0, atol=1e-12)

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("lista_cp_tied", lambda M, N, T: M * N + T),
            ("lista_cp_untied", lambda M, N, T: T * (M * N + 1)),
            ("tilista", lambda M, N, T: M * N + 2 * T),
            ("alista", lambda M, N, T: 2 * T),
            ("alista_at", lambda M, N, T: 2 * T),
            ("aglista", lambda M, N, T: 5 * T),
            ("tista", lambda M, N, T: T),
            ("oamp_net", lambda M, N, T: 2 * T),
            ("oamp_net2", lambda M, N, T: 6 * T),  # with the two numbers of its prior
            ("hyperlista", lambda M, N, T: 3),
            ("na_alista", lambda M, N, T: 6 * (5 * 6 + 21) + 2),  # 84,610 for H = 128
        ],
    )
    def test_count(self, toy, name, expected):
        net = RIVALS[name]
        params = net.start(problem_of(toy), ROOM)
        assert [net.count(params, depth) for depth in (1, 3)] == [expected(toy.M, toy.N, depth) for depth in (1, 3)]


def plain_loss(net, problem, params, x, y, weights, depth):
    return jnp.sum(weights * jnp.sum(jnp.abs(unrolled(net, problem, y, depth, params)[-1] - x) ** 2, axis=0))


FEW = ("alista_at", "oamp_net2", "hyperlista")


class TestGradient:
    # Of these leaves no layer learns, or one layer has no use for them.
    UNUSED = (
        "B", "selected", "nu", "mu", "U", "s", "V", "phi", "xi", "energy", "noise_gain", "momentum", "support", "d",
        "normaliser", "theta",
    )  # fmt: skip

    @pytest.mark.slow
    @pytest.mark.parametrize("name", slow(*EVERY, but=FEW))
    def test_is_that_of_autodiff(self, x64, toy, name):
        net, problem = RIVALS[name], problem_of(toy)
        params = off_the_start(net, problem, ROOM)
        buffers, weight = scratch(net, problem, params, toy.L), some_weights(toy.L)
        for depth in (1, 2, 4):
            loss, gradient, buffers = by_layers(net, problem, params, *problem.test, weight, depth, 0, buffers)
            plain = jax.jit(jax.value_and_grad(plain_loss, argnums=2), static_argnums=(0, 6))
            expected_loss, expected = plain(net, problem, params, *problem.test, weight, depth)
            assert float(loss) == pytest.approx(float(expected_loss), rel=1e-12)
            masks = net.learnable(params, 0, depth - 1, shared=True)
            for leaf, value in expected.items():
                scale = float(jnp.abs(value).max(initial=0))
                assert scale > 0 or leaf in self.UNUSED, leaf
                found = masks[leaf] * gradient[leaf]
                np.testing.assert_allclose(found, masks[leaf] * value, rtol=1e-8, atol=1e-10 * scale, err_msg=leaf)

    @pytest.mark.slow
    @pytest.mark.parametrize("name", slow(*EVERY, but=FEW))
    def test_what_learns_has_a_gradient(self, x64, toy, name):
        """In four layers, every leaf that learns has one in at least two of them."""
        net, problem = RIVALS[name], problem_of(toy)
        params = off_the_start(net, problem, 4)
        buffers = scratch(net, problem, params, toy.L)
        _, gradient, _ = by_layers(net, problem, params, *problem.test, some_weights(toy.L), 4, 0, buffers)
        masks = net.learnable(params, 0, 3, shared=True)
        for leaf in (leaf for leaf in params if np.any(masks[leaf]) and params[leaf].size and leaf != "support"):
            if leaf not in net.layered:
                assert np.any(np.asarray(gradient[leaf]) != 0), leaf
                continue
            rows = np.any(np.asarray(gradient[leaf]).reshape(len(gradient[leaf]), -1) != 0, axis=1)
            assert np.sum(rows) >= 2, leaf

    @pytest.mark.slow
    @pytest.mark.parametrize("name", slow(*EVERY, but=FEW))
    def test_finite_without_a_signal(self, toy, name):
        net, problem = RIVALS[name], problem_of(toy)
        params = net.start(problem, ROOM)
        x, y = (a.at[:, ::2].set(0) for a in problem.test)
        buffers = scratch(net, problem, params, toy.L)
        loss, gradient, _ = by_layers(net, problem, params, x, y, some_weights(toy.L), 3, 0, buffers)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((loss, gradient)))

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["alista_at", *slow(*(name for name in EVERY if name != "alista_at"))])
    def test_complex_gradient_is_that_of_autodiff(self, x64, name):
        A, x, y = complex_data()
        net, problem = RIVALS[name], problem_around(A, x, y)
        params = off_the_start(net, problem, 3)
        buffers, ones = scratch(net, problem, params, y.shape[1]), jnp.ones(y.shape[1])
        _, gradient, _ = by_layers(net, problem, params, *problem.test, ones, 3, 0, buffers)
        expected = jax.grad(partial(plain_loss, net, problem))(params, *problem.test, ones, 3)
        masks = net.learnable(params, 0, 2, shared=True)
        for leaf, value in expected.items():
            np.testing.assert_allclose(masks[leaf] * gradient[leaf], masks[leaf] * value, rtol=1e-7, atol=1e-9)
