"""Families of mixtures and of the problem's signal: against posteriors and derivatives; θ that the problem decides."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import slow
from test_signals import problem_of, signal_of

from onsager_cli import shrinkage
from onsager_cli.config.load import load_experiment
from onsager_cli.errors import UserError
from onsager_cli.kinds.shrinkages import minimax
from onsager_cli.networks import build as build_network
from onsager_cli.problems import signals
from onsager_cli.shrinkage.start import start

SIGNALS = {
    "mixture": "signal=mixture problem.gamma=0.3",
    "discrete": "signal=rademacher",
    "matched": "signal=laplace",
    "block": "signal=block signal.length=4",
}
SIGMA = np.array([[0.05, 0.4, 2.0]])


def case(name: str, complex_values: bool = False):
    """The family and a θ that is not its start, in double precision."""
    words = SIGNALS[name]
    if complex_values:
        words = {"mixture": "signal=qpsk", "discrete": "signal=qpsk", "matched": "signal=qpsk"}.get(name, words)
    kind_of_signal = (signal_of(words),) if name in ("matched", "block") else ()
    theta = {
        "mixture": (0.9, -1.0, 0.0, -9.0, 0.3, 0.5, 0.2, -2.0, -1.0, 1.0),
        "discrete": (1.1, 0.5, 0.0, 0.0, -1.0, -1.0, 0.5, -2.0, 1.0, -0.3),
        "matched": (1.2,), "block": (0.8, 1.5),
    }[name]  # fmt: skip
    return shrinkage.build(name, *kind_of_signal), np.array(theta)


def inputs(complex_values: bool = False) -> np.ndarray:
    rng = np.random.default_rng(1)
    r = rng.normal(size=(8, 3)) * (1 + SIGMA)
    return r + 1j * rng.normal(size=(8, 3)) if complex_values else r


class TestDerivatives:
    @pytest.mark.slow
    @pytest.mark.parametrize("name", SIGNALS)
    def test_slope_is_the_average_derivative(self, x64, name):
        family, theta = case(name)
        r = inputs()

        def of_sample(column, sigma):
            return family.eta(column[:, None], sigma[None, None], jnp.asarray(theta))[0][:, 0]

        slope = family.eta(jnp.asarray(r), jnp.asarray(SIGMA), jnp.asarray(theta))[1]
        step = 1e-5
        for k in range(3):
            moved = [of_sample(jnp.asarray(r[:, k] + sign * step * np.eye(8)[n]), jnp.asarray(SIGMA[0, k]))[n]
                     for n in range(8) for sign in (1, -1)]  # fmt: skip
            expected = np.mean((np.array(moved[::2]) - np.array(moved[1::2])) / (2 * step))
            assert slope[0, k] == pytest.approx(expected, rel=1e-6, abs=1e-9)

    @pytest.mark.parametrize("name", ["mixture", *slow("discrete", "matched", "block")])
    def test_complex_slope_is_wirtingers(self, x64, name):
        """∂η/∂r = (∂/∂Re r - j ∂/∂Im r) η / 2."""
        family, theta = case(name, complex_values=True)
        if name == "block":
            theta = np.array((0.8, 1.5))
        r, step = inputs(complex_values=True), 1e-5

        def value(moved):
            return np.asarray(family.eta(jnp.asarray(moved), jnp.asarray(SIGMA), jnp.asarray(theta))[0])

        slope = np.asarray(family.eta(jnp.asarray(r), jnp.asarray(SIGMA), jnp.asarray(theta))[1])
        total = np.zeros((1, 3), complex)
        for n in range(8):
            unit = np.eye(8)[:, [n]] * step
            real = (value(r + unit) - value(r - unit))[n] / (2 * step)
            imaginary = (value(r + 1j * unit) - value(r - 1j * unit))[n] / (2 * step)
            total += (real - 1j * imaginary) / 2
        np.testing.assert_allclose(slope, np.real(total) / 8, rtol=1e-5, atol=1e-9)

    @pytest.mark.slow
    @pytest.mark.parametrize("name", SIGNALS)
    def test_gradients_are_those_of_differences(self, x64, name):
        family, theta = case(name)
        r, weights = inputs(), np.random.default_rng(2).normal(size=(8, 3))

        def loss(r, sigma, theta):
            x_hat, slope = family.eta(r, sigma, theta)
            return jnp.sum(weights * x_hat) + jnp.sum(slope * jnp.array([[1.0, -2.0, 0.5]]))

        arguments = jnp.asarray(r), jnp.asarray(SIGMA), jnp.asarray(theta)
        gradients = jax.grad(loss, (0, 1, 2))(*arguments)
        rng = np.random.default_rng(3)
        directions = [rng.normal(size=a.shape) for a in arguments]
        step = 1e-6
        ends = [loss(*(a + s * step * d for a, d in zip(arguments, directions, strict=True))) for s in (1, -1)]
        expected = sum(float(np.sum(g * d)) for g, d in zip(gradients, directions, strict=True))
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(expected, rel=1e-6)

    @pytest.mark.slow
    @pytest.mark.parametrize("name", SIGNALS)
    def test_no_nan_in_single_precision(self, name):
        family, theta = case(name)
        grid = np.array([0.0, 1e-30, -1e-6, 1e-3, 1.0, -30.0, 1e4], np.float32)
        r = np.repeat(np.repeat(grid, 4)[:, None], 5, axis=1)
        sigma = np.array([[1e-6, 1e-4, 1e-2, 1.0, 1e2]], np.float32)

        def loss(r, sigma, theta):
            x_hat, slope = family.eta(r, sigma, theta)
            return jnp.sum(x_hat) + jnp.sum(slope), (x_hat, slope)

        found = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))(r, sigma, jnp.asarray(theta, jnp.float32))
        for leaf in jax.tree.leaves(found):
            assert np.isfinite(leaf).all()


class TestPosteriors:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("words", "family"),
        [
            ("signal=rademacher", "discrete"),
            ("signal=qpsk", "discrete"),
            ("signal=mixture problem.gamma=0.3", "mixture"),
            ("signal=laplace problem.gamma=0.3", "matched"),
            ("signal=block", "block"),
            ("signal.variance=2", "bg"),
        ],
    )
    def test_families_that_hold_the_prior_are_the_posterior_mean(self, x64, words, family):
        """θ from the problem, four digits of it: to 1e-3."""
        settings = load_experiment([f"shrinkage={family}", *words.split()]).curves[0].settings
        net, signal = build_network(settings.network, settings.shrinkage, settings.problem), signal_of(words)
        signal = signal.scaled(signals.unit(settings.problem))  # networks see active coefficients of power 1
        rng = np.random.default_rng(0)
        r = rng.normal(size=(20, 3)) + (1j * rng.normal(size=(20, 3)) if signal.complex else 0)
        x_hat, slope = net.family.eta(jnp.asarray(r), jnp.asarray(SIGMA), jnp.asarray(net.theta))
        expected = signal.posterior(r, SIGMA**2)
        np.testing.assert_allclose(x_hat, expected.mean, rtol=2e-3, atol=1e-3)
        tweedie = np.mean(expected.variance / SIGMA**2, axis=0, keepdims=True)
        np.testing.assert_allclose(np.real(slope), tweedie, rtol=2e-3, atol=1e-3)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("words", "family", "within"),
        [("signal=laplace", "mixture", 1.02), *slow(("signal=rademacher", "pwlin", 2), ("signal=exponential", "exp", 2))],
    )  # fmt: skip
    def test_other_families_start_near_it(self, words, family, within):
        """Mean squared error at the first layer's σ, over the least one."""
        signal, sigma = signal_of(words), 1.0
        theta = start(family, signal, 1e-4, 2.0)
        x = np.asarray(signal.draw(jax.random.key(5), (500, 40)), np.float64)
        sigma = np.sqrt(2 * signal.power)
        r = (x + sigma * np.random.default_rng(0).normal(size=x.shape)).astype(np.float32)
        x_hat, _ = shrinkage.build(family).eta(
            jnp.asarray(r), jnp.full((1, 40), sigma, jnp.float32), jnp.asarray(theta)
        )
        best = np.mean((signal.posterior(r, sigma**2).mean - x) ** 2)
        assert np.mean((np.asarray(x_hat) - x) ** 2) < within * best


class TestStart:
    @pytest.mark.parametrize("name", ["bg", "soft", "pwlin", "exp", "spline"])
    def test_of_the_papers_problem_and_of_cells_is_the_textbook_one(self, name):
        for problem in ("gaussian", "kappa15", "random_access"):
            if (name, problem) == ("bg", "random_access"):
                continue  # conf/shrinkage/bg_random_access.yaml has its start
            settings = load_experiment([f"shrinkage={name}", f"problem={problem}"]).curves[0].settings
            assert settings.shrinkage.theta == settings.shrinkage.record.start

    def test_stands_in_the_identity_as_a_word(self):
        (curve,) = load_experiment(["shrinkage=pwlin", "problem.gamma=0.3"]).curves
        assert curve.identity["shrinkage"] == {"family": "pwlin", "theta": "auto"}
        (curve,) = load_experiment(["shrinkage=bg", "problem.gamma=0.3"]).curves
        assert curve.identity["shrinkage"]["theta"] == pytest.approx([1, np.log(7 / 3)])
        (curve,) = load_experiment(["shrinkage=pwlin", "problem.gamma=0.3", "shrinkage.theta=[2,4,0,1,1]"]).curves
        assert curve.identity["shrinkage"]["theta"] == [2, 4, 0, 1, 1]

    def test_is_always_the_same(self):
        found = start("soft", signal_of("signal=rademacher"), 1e-3, 2.0)
        start.cache_clear()
        assert start("soft", signal_of("signal=rademacher"), 1e-3, 2.0) == found

    def test_minimax(self):
        """α of the paper for γ = 0.1, and of Donoho, Maleki and Montanari's table: 1.97 for small γ = 0.01 within 0.03."""
        assert minimax(0.1) == pytest.approx(1.140171, abs=1e-6)
        assert load_experiment(["network=amp"]).curves[0].settings.shrinkage.theta == (1.0, 1.1402)
        settings = load_experiment(["network=amp", "problem.gamma=0.01"]).curves[0].settings
        assert settings.shrinkage.theta == (1.0, minimax(0.01))
        assert 1.9 < minimax(0.01) < 2.0
        dense = load_experiment(["network=amp", "signal=laplace"]).curves[0].settings
        assert dense.shrinkage.theta == "minimax"
        theta = np.array(build_network(dense.network, dense.shrinkage, dense.problem).theta)
        assert theta[0] == 1
        assert 0 < theta[1] < 2

    @pytest.mark.parametrize(
        ("words", "slug"),
        [
            ("network=vamp", "matched_vamp"),
            ("network=vamp problem.gamma=0.2", "matched_vamp"),
            ("network=vamp signal=laplace", "matched_vamp"),
            ("network=vamp signal=block", "matched_vamp"),
            ("network=vamp signal=laplace shrinkage=bg", "vamp_bg"),
            ("network=vamp problem=random_access", "vamp_bg"),
            ("network=lamp signal=qpsk shrinkage=discrete", "lamp_tied_discrete"),
        ],
    )
    def test_names(self, words, slug):
        assert load_experiment(words.split()).curves[0].slug == slug

    def test_matched_vamp_is_the_curve_that_it_was(self):
        named, plain = (load_experiment(["network=vamp", *more]).curves[0] for more in (["shrinkage=bg"], []))
        assert named.identity == plain.identity

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            ("shrinkage=block", "shrinkage=block is only for signal=block: add signal=block"),
            ("shrinkage=mixture shrinkage.theta=[1,0,0]", "must be auto, or 1 number and then 3 for each of 2 to 6 components"),
            ("shrinkage=mixture shrinkage.theta=[0,0,0,0,0,0,0]", "greater than 0 at position 1 for mixture"),
            ("shrinkage=mixture problem=random_access", "shrinkage.theta must be a list of numbers for problem.kind=cellular"),
            ("shrinkage=pwlin shrinkage.theta=minimax", "shrinkage.theta must be a list of 5 numbers, got 'minimax'"),
        ],
    )  # fmt: skip
    def test_mistakes(self, words, says):
        with pytest.raises(UserError, match=says):
            load_experiment(words.split())

    def test_bounds_of_repeated_parameters(self):
        family = shrinkage.build("mixture")
        assert family.lowest(10) == (1e-3, *(float("-inf"),) * 9)
        theta = jnp.asarray([[-1.0, *range(6)]])
        np.testing.assert_array_equal(family.project(theta), [[np.float32(1e-3), *range(6)]])
        np.testing.assert_array_equal(family.units(theta), [[-1, *[1] * 6]])
        assert family.at_bound(family.project(theta)) == 1
        assert problem_of("signal=laplace").matched_shrinkage == "matched"
