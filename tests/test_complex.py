"""Complex arrays through the same shrinkage functions and networks: Wirtinger derivatives, rotations, gradients."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from conftest import slow
from scipy.integrate import trapezoid
from shrinkage_cases import NAMES

from onsager_cli import shrinkage
from onsager_cli.linalg import computed_once, scaled, total
from onsager_cli.networks.base import Network
from onsager_cli.networks.decoupling import PseudoPrior
from onsager_cli.networks.gradient import loss_and_gradient, scratch
from onsager_cli.networks.lamp import Lamp
from onsager_cli.networks.layers import squared_errors
from onsager_cli.networks.lista import Lista
from onsager_cli.networks.lvamp import Lvamp
from onsager_cli.networks.lvamp_gh import LvampGH
from onsager_cli.problems import Problem, Samples
from onsager_cli.problems.operator import at_start
from onsager_cli.training.networks_on_disk import flatten, unflatten

pytestmark = pytest.mark.usefixtures("x64", "quick_compile")

M, N, L = 20, 40, 6
THETAS = {
    "threshold": (0.3,), "soft": (0.9, 1.1), "pwlin": (1.0, 2.5, 0.05, 1.2, 0.95), "exp": (1.8, 0.9, -0.9),
    "spline": (2.5, 0.9, -1.3), "bg": (1.0, float(np.log(9))),
}  # fmt: skip
THETAS |= {"pwlin_autodiff": THETAS["pwlin"], "pwgrid": tuple(np.linspace(0.05, 0.98, 15).tolist())}


def normal(rng, *shape) -> np.ndarray:
    """Circular, E|a|² = 1."""
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)) / np.sqrt(2)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    A = normal(rng, M, N) / np.sqrt(M)
    x = normal(rng, N, L) * (rng.uniform(size=(N, L)) < 0.1)
    return A, x, A @ x + 0.01 * normal(rng, M, L)


def problem_of(A, x, y) -> Problem:
    samples = Samples(jnp.asarray(x), jnp.asarray(y))
    return Problem(jnp.asarray(A), jnp.asarray(1e-4), samples, samples, lambda *_: samples)


NETWORKS: dict[str, Network] = {
    "lista": Lista(shrinkage.build("threshold"), (0.05,), tied=False),
    "lamp_bg": Lamp(shrinkage.build("bg"), THETAS["bg"]),
    "lamp_pwlin": Lamp(shrinkage.build("pwlin"), THETAS["pwlin"], tied=False),
    "lvamp": Lvamp(shrinkage.build("bg"), THETAS["bg"], noise_start="known"),
    "lvamp_gh": LvampGH(shrinkage.build("pwlin"), THETAS["pwlin"], tied=False),
}
KNEES = [name for name, net in NETWORKS.items() if net.family.name == "pwlin"]


@partial(jax.jit, static_argnums=(0, 5))
def errors(net, problem, params, x, y, depth):
    return squared_errors(net, problem, params, x, y, depth)


@partial(jax.jit, static_argnums=0)
def gradient_of(net, problem, params, x, y, depth, buffers):
    return loss_and_gradient(net, problem, params, x, y, jnp.ones(y.shape[1]), depth, 0, buffers)


class TestFields:
    @pytest.mark.parametrize("draw", [normal, *slow(lambda rng, *shape: rng.normal(size=shape))])
    @pytest.mark.parametrize("shape", [(1, L), *slow(((),))])
    def test_scaled_has_the_derivatives_of_a_product(self, draw, shape):
        rng = np.random.default_rng(9)
        a, weights, factor = draw(rng, N, L), draw(rng, N, L), rng.normal(size=shape)

        def loss(product, a, factor):
            return jnp.sum((weights * product(a, factor)).real)

        found, expected = (
            jax.jit(jax.grad(partial(loss, product), (0, 1)))(jnp.asarray(a), jnp.asarray(factor))
            for product in (scaled, jnp.multiply)
        )
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12)
        np.testing.assert_array_equal(scaled(a, factor), factor * a)

    def test_sums(self):
        a = normal(np.random.default_rng(10), N, L)
        np.testing.assert_allclose(total(jnp.asarray(a)), a.sum(axis=0, keepdims=True), rtol=1e-12)
        np.testing.assert_array_equal(computed_once(jnp.asarray(a[:1])), a[:1])


class TestShrinkage:
    @pytest.mark.parametrize("name", slow(*NAMES, but=("pwlin",)))
    def test_slope_is_wirtingers_derivative(self, name):
        """∂η/∂r = (∂η/∂Re r - j ∂η/∂Im r) / 2, by autodiff, averaged over the coordinates; it is real.

        JAX's gradient of a real f is ∂f/∂Re r - j ∂f/∂Im r, so that this is half of Re η's and j times Im η's.
        """
        rng = np.random.default_rng(1)
        sigma = jnp.asarray(rng.uniform(0.2, 1, (1, L)))
        r = jnp.asarray(normal(rng, 50, L) * 2).at[0].set(0)

        def eta(r):
            return shrinkage.build(name).eta(r, sigma, THETAS[name])[0]

        of_real, of_imaginary = (
            jax.jit(jax.grad(lambda r, part=part: part(eta(r)).sum()))(r) for part in (jnp.real, jnp.imag)
        )
        x_hat, slope = jax.jit(shrinkage.build(name).eta)(r, sigma, THETAS[name])
        np.testing.assert_allclose(
            slope, jnp.mean(0.5 * (of_real + 1j * of_imaginary), axis=0, keepdims=True), atol=1e-12
        )
        assert slope.dtype == r.real.dtype
        # The phase is kept; a slope below zero turns it around.
        assert np.abs((x_hat * r.conj()).imag).max() < 1e-12

    @pytest.mark.parametrize("name", slow(*sorted(set(NAMES) - {"bg"}), but=("exp", "pwlin")))
    def test_shrinks_the_magnitude_as_it_does_a_real_number(self, name):
        r = normal(np.random.default_rng(2), 30, 1)
        found = shrinkage.build(name).eta(jnp.asarray(r), jnp.full((1, 1), 0.4), THETAS[name])[0]
        expected = reference.SHRINKAGES[name](np.abs(r), 0.4, THETAS[name])
        np.testing.assert_allclose(found, expected * r / np.abs(r), atol=1e-12)

    @pytest.mark.parametrize("r", [0.9 - 0.7j, *slow(0.2, -2j)])
    def test_bernoulli_gaussian_is_the_circular_posterior_mean(self, r):
        """E{x|r} by integration over the plane, for x = 0 or circular with E|x|² = φ."""
        phi, gamma, sigma = 1.3, 0.2, 0.5
        grid = np.linspace(-6, 6, 601)
        x = grid[:, None] + 1j * grid

        def density(z, variance):
            return np.exp(-(np.abs(z) ** 2) / variance) / (np.pi * variance)

        weight = gamma * density(x, phi) * density(r - x, sigma**2)
        total = trapezoid(trapezoid(weight, grid), grid) + (1 - gamma) * density(r, sigma**2)
        mean = trapezoid(trapezoid(x * weight, grid), grid) / total
        theta = jnp.array([phi, np.log((1 - gamma) / gamma)])
        x_hat, slope = shrinkage.build("bg").eta(jnp.full((1, 1), r + 0j), jnp.full((1, 1), sigma), theta)
        assert complex(x_hat[0, 0]) == pytest.approx(mean, rel=1e-6)
        second = trapezoid(trapezoid(np.abs(x) ** 2 * weight, grid), grid) / total
        assert sigma**2 * slope[0, 0] == pytest.approx(second - abs(mean) ** 2, rel=1e-6)  # Tweedie

    @pytest.mark.parametrize("name", slow(*NAMES, but=("bg",)))
    def test_finite_at_zero(self, name):
        def loss(r, sigma):
            x_hat, slope = shrinkage.build(name).eta(r, sigma, THETAS[name])
            return jnp.sum(jnp.abs(x_hat + 1)) + jnp.sum(slope)

        zero = jnp.zeros((3, 1), complex)
        assert all(np.isfinite(g).all() for g in jax.jit(jax.grad(loss, (0, 1)))(zero, jnp.full((1, 1), 0.3)))
        assert not shrinkage.build(name).eta(zero, jnp.full((1, 1), 0.3), THETAS[name])[0].any()


class TestNetworks:
    def test_lamp_is_complex_amp(self, data):
        """With v⁺ = y - A x̂ + (N/M) ⟨∂η/∂r⟩ v and r = x̂ + Aᴴ v, in NumPy; the derivative by differences."""
        A, x, y = data
        net = NETWORKS["lamp_bg"]
        problem = problem_of(A, x, y)
        phi, log_odds = THETAS["bg"]

        def eta(r, variance):
            active = 1 / (
                1 + np.exp(log_odds) * (1 + phi / variance)
                * np.exp(-(np.abs(r) ** 2) * phi / (phi + variance) / variance)
            )  # fmt: skip
            return phi / (phi + variance) * active * r

        x_hat, v, step = np.zeros_like(x), y, 1e-6
        expected = []
        for _ in range(5):
            r, variance = x_hat + A.conj().T @ v, np.mean(np.abs(v) ** 2, axis=0)
            x_hat = eta(r, variance)
            along, across = ((eta(r + d, variance) - eta(r - d, variance)) / (2 * step) for d in (step, 1j * step))
            v = y - A @ x_hat + np.sum(0.5 * (along - 1j * across), axis=0) / M * v
            expected.append(np.sum(np.abs(x_hat - x) ** 2, axis=0))
        found = errors(net, problem, net.start(problem, 5), *problem.test, 5)
        np.testing.assert_allclose(found, expected, rtol=1e-5)

    def test_lista_is_complex_ista(self, data):
        A, x, y = data
        problem, net = problem_of(A, x, y), NETWORKS["lista"]
        beta, x_hat, expected = 1 / (1.01 * np.linalg.norm(A, 2) ** 2), np.zeros_like(x), []
        for _ in range(4):
            r = x_hat + beta * A.conj().T @ (y - A @ x_hat)
            x_hat = np.maximum(1 - 0.05 / np.abs(r), 0) * r
            expected.append(np.sum(np.abs(x_hat - x) ** 2, axis=0))
        np.testing.assert_allclose(errors(net, problem, net.start(problem, 4), *problem.test, 4), expected)

    @pytest.mark.parametrize("name", ["lvamp", *slow("lvamp_gh")])
    def test_linear_stage_is_dense_lmmse(self, data, name):
        """For one σ̃² of all samples, which is what G and H are made for."""
        A, x, y = data
        problem, net = problem_of(A, x, y), NETWORKS[name]
        start = net.start(problem, 1)
        p = net.layer(start, 0)
        r_tilde = normal(np.random.default_rng(4), N, L)
        variance = np.mean(np.sum(np.abs(y) ** 2, axis=0)) / N
        state = PseudoPrior(jnp.asarray(r_tilde), jnp.full((1, L), variance))
        r, sigma = net.linear(problem, p, state, jnp.asarray(y), net.prepare(problem, start, jnp.asarray(y)))
        rho = float(np.exp(p["log_noise_variance"])) / variance
        inverse = np.linalg.inv(A.conj().T @ A + rho * np.eye(N))
        nu = rho * np.trace(inverse).real / N
        x_tilde = inverse @ (A.conj().T @ y + rho * r_tilde)
        np.testing.assert_allclose(r, (x_tilde - nu * r_tilde) / (1 - nu), rtol=1e-8)
        np.testing.assert_allclose(sigma**2, np.full((1, L), variance * nu / (1 - nu)), rtol=1e-8)

    @pytest.mark.parametrize("name", slow(*NETWORKS, but=("lamp_bg", "lvamp")))
    def test_a_rotation_of_the_measurements_rotates_the_estimate(self, data, name):
        A, x, y = data
        problem, net = problem_of(A, x, y), NETWORKS[name]
        params, turn = net.start(problem, 4), np.exp(1j * np.linspace(0, 5, L))
        plain = errors(net, problem, params, *problem.test, 4)
        turned = errors(net, problem, params, *(jnp.asarray(a * turn) for a in (x, y)), 4)
        np.testing.assert_allclose(turned, plain, rtol=1e-8)
        assert np.all(np.sum(plain, axis=1) < np.sum(np.abs(x) ** 2))

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("name", "depth"),
        slow(
            *[(name, 3) for name in NETWORKS],
            *[(name, 1) for name in KNEES],
            but=(("lista", 3), ("lvamp", 3), ("lamp_pwlin", 1)),
        ),
    )
    def test_conjugate_of_the_gradient_is_steepest_ascent(self, data, name, depth):
        """d loss = Re⟨conj(gradient), change⟩ for every leaf, by central differences."""
        problem, net, rng = problem_of(*data), NETWORKS[name], np.random.default_rng(5)
        if name in KNEES and depth > 1:  # the average slope jumps, and is differentiated as a ramp
            net = replace(net, family=shrinkage.build("exp"), theta=(2.5, 0.9, -1.0))
        start = net.start(problem, 3)
        params = {k: a * (1 + 0.1 * rng.normal(size=a.shape)) for k, a in start.items()}
        buffers = scratch(net, problem, params, L)
        _, gradient, buffers = gradient_of(net, problem, params, *problem.test, depth, buffers)
        for leaf, value in params.items():
            change = normal(rng, *value.shape) if jnp.iscomplexobj(value) else rng.normal(size=value.shape)
            size = 1e-6 * max(np.linalg.norm(value), 0.1) / np.linalg.norm(change)
            ends = []
            for step in (-size, size):
                moved = params | {leaf: value + step * change}
                ends.append(float(gradient_of(net, problem, moved, *problem.test, depth, buffers)[0]))
            slope = (ends[1] - ends[0]) / (2 * size)
            found = float(np.sum((np.conj(change) * np.conj(gradient[leaf])).real))
            assert found == pytest.approx(slope, rel=2e-5, abs=1e-6), leaf

    @pytest.mark.slow
    def test_starts_counts_and_storage(self, data):
        problem = problem_of(*data)
        for net in NETWORKS.values():
            params = net.start(problem, 2)
            stored = flatten(net, params, 2)
            jax.tree.map(np.testing.assert_array_equal, unflatten(net, stored), params)
            assert not jnp.iscomplexobj(params["theta"])
            assert net.count(params, 2) == sum(a.size * (2 if np.iscomplexobj(a) else 1) for a in stored.values())
        other = at_start(problem, "random", jax.random.key(0))
        assert np.mean(np.abs(other) ** 2) == pytest.approx(1 / M, rel=0.1)
        assert abs(np.mean(other**2)) < 0.2 / M
