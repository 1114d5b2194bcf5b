"""Networks: their untrained setting against float64 NumPy, their gradient against plain autodiff, their coordinates."""

from dataclasses import fields

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from conftest import slow, toy_arrays
from sklearn.linear_model import Lasso
from toy_networks import (
    LASSO_WEIGHT,
    NETWORKS,
    ROOM,
    THETAS,
    distances,
    errors,
    lamp,
    layers_of,
    lista,
    problem_of,
    randomized,
    step_size,
)

from onsager_cli.networks.gradient import loss_and_gradient, scratch
from onsager_cli.networks.lamp import Lamp, rms
from onsager_cli.networks.layers import Layers, trace
from onsager_cli.networks.lista import Lista
from onsager_cli.networks.spectral import of_spectrum, scales, spectrum
from onsager_cli.problems.base import with_singular_vectors

pytestmark = pytest.mark.usefixtures("strict", "quick_compile")
# Tied and untied, of each kind; every other network is slow.
EVERY = slow(*sorted(NETWORKS), but=("lamp_tied_bg", "lamp_untied_pwlin", "lista_untied"))


@pytest.fixture(scope="module")
def data():
    """Large enough for AMP to converge."""
    return toy_arrays(N=200, M=100, L=12)


class TestUntrained:
    """At its start a network is the textbook algorithm.

    In float64 the two may differ by rounding alone: 1e-10 leaves room for a condition number of 1e5 over the layers.
    In float32 rounding is 6e-8 per operation; sums over N = 200 entries and the growth over 8 layers make that 1e-5.
    """

    LAYERS = 8

    @pytest.mark.parametrize("tied", [True, *slow(False)])
    def test_lista_is_ista(self, x64, data, tied):
        problem = problem_of(data)
        net = lista(tied, lam=LASSO_WEIGHT * step_size(data.A))
        expected = reference.ista(data.A, data.y, LASSO_WEIGHT, self.LAYERS)
        assert max(distances(net, problem, net.start(problem, self.LAYERS), data.y, expected)) < 1e-10

    @pytest.mark.slow
    def test_lista_is_ista_in_float32(self, data):
        problem = problem_of(data, jnp.float32)
        net = lista(lam=LASSO_WEIGHT * step_size(data.A))
        expected = reference.ista(data.A, data.y, LASSO_WEIGHT, self.LAYERS)
        assert max(distances(net, problem, net.start(problem, self.LAYERS), data.y, expected)) < 1e-5

    @pytest.mark.parametrize("tied", [*slow(True), False])
    def test_lamp_l1_is_amp(self, x64, data, tied):
        problem, net = problem_of(data), lamp("soft", tied)
        expected = reference.amp_l1(data.A, data.y, THETAS["soft"][1], self.LAYERS)
        assert max(distances(net, problem, net.start(problem, self.LAYERS), data.y, expected)) < 1e-10

    @pytest.mark.parametrize("onsager", [True, False])
    @pytest.mark.parametrize("family", slow(*sorted(THETAS), but=("bg", "pwlin")))
    def test_lamp_is_amp(self, x64, data, family, onsager):
        problem, net = problem_of(data), lamp(family, onsager=onsager)
        B, theta = [data.A.T] * self.LAYERS, [THETAS[family]] * self.LAYERS
        expected = reference.lamp(data.A, B, reference.SHRINKAGES[family], theta, data.y, onsager)
        assert max(distances(net, problem, net.start(problem, self.LAYERS), data.y, expected)) < 1e-10

    @pytest.mark.parametrize("family", ["bg", *slow("soft")])
    def test_lamp_is_amp_in_float32(self, data, family):
        problem, net = problem_of(data, jnp.float32), lamp(family)
        B, theta = [data.A.T] * self.LAYERS, [THETAS[family]] * self.LAYERS
        expected = reference.lamp(data.A, B, reference.SHRINKAGES[family], theta, data.y)
        assert max(distances(net, problem, net.start(problem, self.LAYERS), data.y, expected)) < 1e-5

    def test_onsager_correction_acts_from_the_second_layer(self, x64, data):
        problem = problem_of(data)
        corrected, plain = (
            np.asarray(errors(net, problem, net.start(problem, 4), *problem.test, 4)).sum(axis=1)
            for net in (lamp("soft"), lamp("soft", onsager=False))
        )
        assert corrected[0] == plain[0]
        assert np.all(corrected[1:] < 0.9 * plain[1:])

    def test_ista_ends_at_scikit_learns_lasso(self, x64, toy):
        problem, iterations = problem_of(toy), 20_000
        net = lista(lam=LASSO_WEIGHT * step_size(toy.A))
        solver = Lasso(alpha=LASSO_WEIGHT / toy.M, fit_intercept=False, tol=1e-14, max_iter=200_000)
        x = np.stack([solver.fit(toy.A, column).coef_ for column in toy.y.T], axis=1)
        last = errors(net, problem, net.start(problem, iterations), x, toy.y, iterations)[-1]
        assert np.all(np.sqrt(last) < 1e-7 * np.linalg.norm(x, axis=0))
        # And that is the minimum: Aᵀ(y - A x) = λ sgn(x) on the support, at most λ elsewhere.
        pull = toy.A.T @ (toy.y - toy.A @ x) / LASSO_WEIGHT
        np.testing.assert_allclose(pull[x != 0], np.sign(x[x != 0]), atol=1e-6)
        assert np.abs(pull).max() < 1 + 1e-6


class TestTrained:
    """With any parameters, layer by layer: the equations of the paper again."""

    @pytest.mark.parametrize("name", EVERY)
    def test_every_layer(self, x64, toy, name):
        net, problem, depth = NETWORKS[name], problem_of(toy), 4
        params = randomized(net, problem, depth)
        theta = [net.spread(of_layer) for of_layer in layers_of(net, params, "theta")]
        if isinstance(net, Lista):
            lam = [t[0] for t in theta]
            expected = reference.lista(np.asarray(params["B"]), layers_of(net, params, "S"), lam, toy.y)
        else:
            eta = reference.SHRINKAGES[net.family.name]
            free = list(zip(*(np.exp(layers_of(net, params, leaf)) for leaf in net.factors), strict=True))
            expected = reference.lamp(toy.A, layers_of(net, params, "B"), eta, theta, toy.y, net.onsager, free)
        assert max(distances(net, problem, params, toy.y, expected)) < 1e-9

    def test_a_shallower_network_is_the_first_layers_of_a_deeper_one(self, toy):
        net, problem = NETWORKS["lamp_untied_bg"], problem_of(toy)
        params = randomized(net, problem, 5)
        deep, shallow = (np.asarray(errors(net, problem, params, *problem.test, t)) for t in (5, 3))
        np.testing.assert_allclose(shallow[:3], deep[:3], rtol=1e-5)
        assert not shallow[3:].any()


class TestLayers:
    @pytest.mark.parametrize("name", ["lamp_tied_bg", *slow("lista_untied")])
    def test_run_visits_every_layer_before_the_last(self, x64, toy, name):
        """`run` hands `visit` what `trace` lists, and returns what the last layer receives."""
        net, problem = NETWORKS[name], problem_of(toy)
        params, y = randomized(net, problem, ROOM), problem_of(toy).test.y

        def visit(t, state, inputs, seen):
            return seen.at[t].set(inputs.r)

        @jax.jit
        def run(params, y):
            return Layers(net, problem, params, y).run(3, visit, jnp.zeros((4, *problem.test.x.shape)))

        seen, state, inputs = run(params, y)
        received = trace(net, problem, params, y, 4)
        for t in range(3):
            np.testing.assert_allclose(seen[t], received[t][1].r, rtol=1e-9, atol=1e-12)
        assert not seen[3].any()
        for found, expected in zip(jax.tree.leaves((state, inputs)), jax.tree.leaves(received[3]), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)

    def test_repeated_parameters_are_those_of_every_layer(self, x64, toy):
        net, problem = NETWORKS["lamp_tied_bg"], problem_of(toy)
        y, params = problem.test.y, net.start(problem, 4)
        one = Layers(net, problem, net.layer(params, 0), y, repeated=True).reach(3)
        many = Layers(net, problem, params, y).reach(3)
        jax.tree.map(np.testing.assert_array_equal, one, many)


def plain_loss(net, problem, params, x, y, weights, depth):
    """Σ w ‖x̂_T - x‖², unrolled in Python: what autodiff differentiates without help."""
    context = net.prepare(problem, params, y)
    state, inputs = net.first(problem, net.layer(params, 0), y, context)
    for t in range(depth):
        p = net.layer(params, t)
        if t > 0:
            inputs = net.linear(problem, p, state, y, context)
        shrunk = net.shrink(p, inputs)
        state = net.correct(problem, p, shrunk, state, y)
    return jnp.sum(weights * jnp.square(shrunk.x_hat - x))


by_layers = jax.jit(loss_and_gradient, static_argnums=0)


def some_weights(samples: int):
    """One weight per sample, from 0.5 to 2."""
    return jnp.asarray(np.random.default_rng(5).uniform(0.5, 2, samples))


class TestGradient:
    @pytest.mark.parametrize("name", EVERY)
    def test_is_that_of_autodiff(self, x64, toy, name):
        net, problem = NETWORKS[name], problem_of(toy)
        params = randomized(net, problem, ROOM)
        buffers, weights = scratch(net, problem, params, toy.L), some_weights(toy.L)
        for depth in (1, 2, 5):
            loss, gradient, buffers = by_layers(net, problem, params, *problem.test, weights, depth, 0, buffers)
            plain = jax.jit(jax.value_and_grad(plain_loss, argnums=2), static_argnums=(0, 6))
            expected_loss, expected = plain(net, problem, params, *problem.test, weights, depth)
            assert float(loss) == pytest.approx(float(expected_loss), rel=1e-12)
            assert gradient.keys() == expected.keys()
            for leaf, value in expected.items():
                scale = float(jnp.abs(value).max())
                assert scale > 0 or (leaf, depth) in (("S", 1), ("log_onsager", 1))  # of which one layer has no use
                np.testing.assert_allclose(gradient[leaf], value, rtol=1e-8, atol=1e-10 * scale, err_msg=leaf)

    @pytest.mark.parametrize("name", ["lista_untied", *slow("lamp_untied_bg", "lamp_tied_soft")])
    def test_learned_layers_do_not_notice_the_frozen_ones(self, x64, toy, name):
        """Stopping the backward pass at a layer changes nothing from that layer on."""
        net, problem, depth = NETWORKS[name], problem_of(toy), 5
        params = randomized(net, problem, ROOM)
        buffers, weights = scratch(net, problem, params, toy.L), some_weights(toy.L)
        loss, whole, buffers = by_layers(net, problem, params, *problem.test, weights, depth, 0, buffers)
        for first in range(1, depth):
            same, part, buffers = by_layers(net, problem, params, *problem.test, weights, depth, first, buffers)
            assert same == loss
            for leaf in net.layered:
                np.testing.assert_allclose(part[leaf][first:], whole[leaf][first:], rtol=1e-12, atol=0)

    @pytest.mark.slow
    def test_old_contents_of_the_scratch_do_not_matter(self, toy):
        net, problem = NETWORKS["lamp_tied_bg"], problem_of(toy)
        params = randomized(net, problem, ROOM)
        clean = scratch(net, problem, params, toy.L)
        dirty = jax.tree.map(lambda a: jnp.full_like(a, jnp.nan), clean)
        weights = some_weights(toy.L)
        one, other = (by_layers(net, problem, params, *problem.test, weights, 4, 0, b)[1] for b in (clean, dirty))
        jax.tree.map(np.testing.assert_array_equal, one, other)

    def test_a_derivative_that_reads_what_is_not_kept_goes_noticed(self, toy):
        """LAMP does not keep x̂; of a network made from it that needs x̂, no finite number may come back."""

        class Damped(Lamp):
            def linear(self, problem, p, state, y, context):
                inputs = super().linear(problem, p, state, y, context)
                return inputs._replace(r=inputs.r - 0.01 * state.x_hat**2)

        problem, lamp = problem_of(toy), NETWORKS["lamp_tied_bg"]
        net = Damped(**{f.name: getattr(lamp, f.name) for f in fields(lamp)})
        params, weights = randomized(net, problem, ROOM), some_weights(toy.L)
        buffers = scratch(net, problem, params, toy.L)
        _, gradient, _ = by_layers(net, problem, params, *problem.test, weights, 3, 0, buffers)
        assert np.isnan(gradient["B"]).any()

    @pytest.mark.slow
    @pytest.mark.parametrize("name", EVERY)
    def test_finite_without_a_signal(self, toy, name):
        """y = 0 makes v = 0 and σ = 0, where √ has no derivative; a NaN of a masked leaf would spread too."""
        net, problem = NETWORKS[name], problem_of(toy)
        params = net.start(problem, ROOM)
        y = problem.test[1].at[:, ::2].set(0)
        x = problem.test[0].at[:, ::2].set(0)
        buffers, weights = scratch(net, problem, params, toy.L), some_weights(toy.L)
        for first_learned in (0, 2):
            loss, gradient, buffers = by_layers(net, problem, params, x, y, weights, 3, first_learned, buffers)
            assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((loss, gradient)))

    def test_rms_where_there_is_nothing(self):
        value, gradient = jax.value_and_grad(lambda v: jnp.sum(rms(v)))(jnp.zeros((5, 1)))
        assert 0 < value < 1e-7
        assert not gradient.any()


class TestCoordinates:
    """The coordinates in which the optimizer works, beside the entries of the matrices."""

    @pytest.mark.parametrize("name", ["lamp_tied_bg", "lista_untied", *slow("lamp_untied_bg", "lista_tied")])
    def test_the_gradient_there_is_that_of_autodiff(self, x64, toy, name):
        """`to_coordinates` is the transpose of `from_coordinates`."""
        net, problem = NETWORKS[name], with_singular_vectors(problem_of(toy))
        params = randomized(net, problem, ROOM)
        ones = {leaf: jnp.ones(()) for leaf in params}
        coordinates = net.to_coordinates(problem, params, params, ones)
        rng = np.random.default_rng(0)
        direction = {leaf: jnp.asarray(rng.normal(size=a.shape)) for leaf, a in coordinates.items()}
        gradient = {leaf: jnp.asarray(rng.normal(size=a.shape)) for leaf, a in params.items()}
        there = net.to_coordinates(problem, params, gradient, ones)
        here = net.from_coordinates(problem, params, direction, ones)
        inner = sum(float(jnp.vdot(here[leaf], gradient[leaf])) for leaf in gradient)
        expected = sum(float(jnp.vdot(direction[leaf], there[leaf])) for leaf in there)
        assert inner == pytest.approx(expected, rel=1e-10)

    @pytest.mark.parametrize("name", ["lista_untied", *slow("lamp_untied_bg")])
    def test_frozen_leaves_stay(self, x64, toy, name):
        """With everything masked but the last layer's own leaves, no other leaf gets a step."""
        net, problem = NETWORKS[name], with_singular_vectors(problem_of(toy))
        params = randomized(net, problem, ROOM)
        masks = jax.tree.map(jnp.float64, net.learnable(params, ROOM - 1, ROOM - 1, shared=False))
        steps = net.from_coordinates(problem, params, net.to_coordinates(problem, params, params, masks), masks)
        for leaf, step in steps.items():
            still = step[:-1] if leaf in net.layered else step
            np.testing.assert_allclose(still, np.zeros_like(still), atol=1e-12)
            assert leaf not in net.layered or np.any(np.asarray(step[-1]) != 0)

    def test_the_scales_of_rows_and_of_theta(self, x64, toy):
        """A step of 1e-6 in one of them multiplies a row of B, or φ, by 1 + 1e-6."""
        net, problem = NETWORKS["lamp_tied_bg"], with_singular_vectors(problem_of(toy))
        params = randomized(net, problem, ROOM)
        ones = {leaf: jnp.ones(()) for leaf in params}
        zero = jax.tree.map(jnp.zeros_like, net.to_coordinates(problem, params, params, ones))
        rows = net.from_coordinates(problem, params, zero | {"a": zero["a"].at[3].set(1e-6)}, ones)
        expected = np.zeros_like(params["B"])
        expected[3] = 1e-6 * params["B"][3]
        np.testing.assert_allclose(rows["B"], expected, rtol=1e-12)
        scale = net.from_coordinates(problem, params, zero | {"theta": jnp.full_like(zero["theta"], 1e-6)}, ones)
        factor = np.stack([params["theta"][:, 0], np.ones(ROOM)], axis=1)  # φ by its logarithm, the odds as they are
        np.testing.assert_allclose(scale["theta"], 1e-6 * factor, rtol=1e-12)

    def test_the_rows_and_the_diagonal_of_lista(self, x64, toy):
        """A row of B takes its row of S = I - B A + D along; the diagonal is that of D."""
        net, problem = NETWORKS["lista_tied"], with_singular_vectors(problem_of(toy))
        params = randomized(net, problem, ROOM)
        ones = {leaf: jnp.ones(()) for leaf in params}
        zero = jax.tree.map(jnp.zeros_like, net.to_coordinates(problem, params, params, ones))
        row = np.zeros_like(params["B"])
        row[3] = 1e-6 * params["B"][3]
        steps = net.from_coordinates(problem, params, zero | {"a": zero["a"].at[3].set(1e-6)}, ones)
        np.testing.assert_allclose(steps["B"], row, rtol=1e-12)
        np.testing.assert_allclose(steps["S"], -row @ problem.A, rtol=1e-12, atol=1e-20)
        steps = net.from_coordinates(problem, params, zero | {"e": zero["e"].at[3].set(1e-6)}, ones)
        assert not np.any(steps["B"])
        np.testing.assert_array_equal(steps["S"], np.diag(1e-6 * (np.arange(len(params["B"])) == 3)))

    def test_a_spectrum_is_that_of_numpy(self, x64):
        rng = np.random.default_rng(1)
        A = rng.normal(size=(4, 6)) + 1j * rng.normal(size=(4, 6))
        U, s, Vh = (jnp.asarray(factor) for factor in np.linalg.svd(A, full_matrices=False))
        np.testing.assert_allclose(spectrum(jnp.asarray(A.conj().T), Vh.conj().T, U), s, rtol=1e-12)
        np.testing.assert_allclose(of_spectrum(s, Vh.conj().T, U), A.conj().T, atol=1e-12)
        rows = rng.normal(size=4)
        np.testing.assert_allclose(
            scales(jnp.asarray(rows[:, None] * A), jnp.asarray(A)), rows * np.sum(np.abs(A) ** 2, axis=1), rtol=1e-12
        )
