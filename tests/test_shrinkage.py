"""Shrinkage families: values and average derivatives against NumPy, autodiff, SciPy and numerical integration."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
import yaml
from conftest import slow
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from scipy.integrate import trapezoid
from scipy.interpolate import BSpline
from scipy.stats import norm
from shrinkage_cases import NAMES, THETAS, TYPICAL, cases, compiled, evaluate, floats, inputs, pointwise, seeds, sigmas

from onsager_cli import shrinkage
from onsager_cli.config.catalog import package_conf
from onsager_cli.errors import UserError
from onsager_cli.kinds.settings import make_shrinkage
from onsager_cli.networks.lamp import rms
from onsager_cli.shrinkage.family import summed

pytestmark = pytest.mark.usefixtures("strict", "quick_compile")

KNEES = ("pwlin", "soft")  # piecewise linear, so that ⟨η'⟩ counts coordinates
COUNTED = (*KNEES, "pwlin_autodiff", "pwgrid")  # those whose count has no derivative in training, too


class TestAgainstNumPy:
    @given(case=cases, sigma=sigmas, seed=seeds)
    def test_in_float64(self, x64, case, sigma, seed):
        name, theta = case
        r, eta = inputs(sigma, seed), reference.SHRINKAGES[name]
        x_hat, slope = evaluate(name, r, sigma, theta)
        np.testing.assert_allclose(x_hat, eta(r, sigma, theta), rtol=1e-9, atol=1e-12)
        expected = reference.derivative(eta, r, sigma, theta).mean(axis=0, keepdims=True)
        np.testing.assert_allclose(slope, expected, rtol=1e-9, atol=1e-11)

    @given(case=cases, sigma=sigmas, seed=seeds)
    def test_in_float32(self, case, sigma, seed):
        name, theta = case
        r = inputs(sigma, seed, np.float32)
        x_hat, _ = evaluate(name, r, sigma, theta)
        # 1e-5 of |r| and the slopes: rounding of 6e-8, times the few tens that BG's and exp's exponents reach
        # where they matter.
        expected = reference.SHRINKAGES[name](r.astype(np.float64), sigma, theta)
        size = np.abs(r) * (1 + 2 * max(map(abs, theta))) + sigma
        assert np.all(np.abs(x_hat - expected) <= 1e-5 * size)

    def test_parameters_may_be_arrays(self):
        r, sigma = jnp.asarray(inputs(np.ones((1, 4)), 0, np.float32)), jnp.ones((1, 4))
        for name, theta in TYPICAL.items():
            per_row = [jnp.full((30, 1), value) for value in theta]
            for one, other in zip(
                shrinkage.build(name).eta(r, sigma, theta), shrinkage.build(name).eta(r, sigma, per_row), strict=True
            ):
                np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


class TestDerivatives:
    @given(case=cases, sigma=sigmas, seed=seeds)
    def test_average_slope_is_that_of_autodiff(self, x64, case, sigma, seed):
        name, theta = case
        r = inputs(sigma, seed)

        def eta(r):
            return compiled(name, r, sigma, np.asarray(theta))[0]

        tangent = jax.grad(lambda r: eta(r).sum())(r)  # η is separable: the derivative of every entry
        _, slope = evaluate(name, r, sigma, theta)
        np.testing.assert_allclose(slope, tangent.mean(axis=0, keepdims=True), rtol=1e-9, atol=1e-12)

    @pytest.mark.parametrize("name", slow(*NAMES, but=("bg", "pwlin")))
    def test_gradients_are_those_of_finite_differences(self, x64, name):
        """Training differentiates both outputs by r, σ and θ; where the slope counts coordinates, see below."""
        rng = np.random.default_rng(3)
        sigma = rng.uniform(0.2, 1, (1, 4))
        weights, more = rng.normal(size=(30, 4)), rng.normal(size=(1, 4)) * (name not in COUNTED)

        def loss(r, sigma, theta):
            x_hat, slope = shrinkage.build(name).eta(r, sigma, theta)
            return jnp.sum(weights * x_hat) + jnp.sum(more * slope)

        loss, gradient_of = jax.jit(loss), jax.jit(jax.grad(loss, (0, 1, 2)))
        arguments = (inputs(sigma, 5), sigma, np.array(TYPICAL[name]))
        gradient = gradient_of(*arguments)
        for position, value in enumerate(arguments):
            direction = rng.normal(size=value.shape)
            ends = []
            for step in (-1e-6, 1e-6):
                moved = [*arguments]
                moved[position] = value + step * direction
                ends.append(float(loss(*moved)))
            along = float(np.sum(gradient[position] * direction))
            assert along == pytest.approx((ends[1] - ends[0]) / 2e-6, rel=1e-6, abs=1e-7)

    @pytest.mark.parametrize("name", KNEES)
    @pytest.mark.parametrize("moved", ["r", *slow("sigma"), 0, *slow(1, 2, 3, 4)])
    def test_of_a_count_is_that_over_many_coordinates(self, x64, name, moved):
        """Over a fine grid of Gaussian r the average slope is smooth, though every coordinate's jumps."""
        r = jnp.asarray(1.5 * norm.ppf((np.arange(40_000) + 0.5) / 40_000)[:, None])
        theta = jnp.asarray(TYPICAL[name]) + (0.2 if name == "pwlin" else 0)

        @jax.jit
        def slope(change):
            moves = change * np.eye(5)[moved][: len(theta)] if isinstance(moved, int) else 0
            wider, noisier = (1 + change if moved == what else 1.0 for what in ("r", "sigma"))
            return shrinkage.build(name).eta(r * wider, jnp.full((1, 1), 0.7) * noisier, theta + moves)[1].sum()

        expected = float(slope(0.05) - slope(-0.05)) / 0.1
        # The ramp takes the density over ±KNEE_WIDTH σ for the one at the knee, the difference over its own step.
        assert float(jax.jit(jax.grad(slope))(0.0)) == pytest.approx(expected, rel=0.02, abs=1e-9)


class TestSums:
    """The derivatives that pass once over r, against those that autodiff makes of the same formula."""

    @staticmethod
    def core(r, a, b, c, width):
        return a * jnp.tanh(b * r) + c * r, a * b / jnp.cosh(b * r) ** 2 + c * width

    @pytest.mark.parametrize("shape", [(), (1, 4), (30, 1), *slow(((1, 1),), ((30, 4),), ((4,),))])
    def test_of_coefficients_of_any_shape(self, x64, shape):
        """For all, per sample, per coordinate, for each alone; what is fixed has no derivative."""
        rng = np.random.default_rng(8)
        shapes = (30, 4), shape, (1, 4), shape, (1, 4)
        arguments = [jnp.asarray(rng.uniform(0.5, 1.5, each)) for each in shapes]
        weights, more = rng.normal(size=(30, 4)), rng.normal(size=(1, 4))

        def loss(eta, *arguments):
            x_hat, slope = eta(*arguments)
            return jnp.sum(weights * x_hat) + jnp.sum(more * slope)

        def plain(*arguments):
            x_hat, derivative = self.core(*arguments)
            return x_hat, jnp.mean(derivative, axis=0, keepdims=True)

        found = jax.jit(jax.grad(partial(loss, summed(fixed=1)(self.core)), range(5)))(*arguments)
        expected = jax.jit(jax.grad(partial(loss, plain), range(4)))(*arguments)
        for one, other in zip(found, (*expected, jnp.zeros((1, 4))), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)

    def test_has_no_forward_mode(self):
        r, one = jnp.ones((3, 2)), jnp.ones(())
        with pytest.raises(TypeError, match="forward-mode"):
            jax.jvp(lambda r: summed()(self.core)(r, one, one, one, one), (r,), (r,))


class TestFamilies:
    @given(case=cases, sigma=sigmas, seed=seeds)
    @examples(max_examples=50)
    def test_odd(self, case, sigma, seed):
        name, theta = case
        r = inputs(sigma, seed, np.float32)
        (x_hat, slope), (mirrored, same) = (evaluate(name, s, sigma, theta) for s in (r, -r))
        np.testing.assert_array_equal(mirrored, -x_hat)
        np.testing.assert_array_equal(same, slope)

    @given(theta=THETAS["spline"], sigma=floats(0.01, 4), seed=seeds)
    @examples(max_examples=50)
    def test_spline_is_scipys(self, x64, theta, sigma, seed):
        beta = BSpline.basis_element([-2, -1, 0, 1, 2], extrapolate=False)
        r = inputs(np.full((1, 4), sigma), seed).ravel()
        z = r / (theta[0] * sigma)
        value, change = np.nan_to_num(beta(z)), np.nan_to_num(beta.derivative()(z))
        x_hat, slope = pointwise("spline", r, sigma, theta)
        np.testing.assert_allclose(x_hat, r * (theta[1] + theta[2] * value), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(slope, theta[1] + theta[2] * (value + z * change), rtol=1e-9, atol=1e-12)

    @given(phi=floats(0.1, 4), gamma=floats(0.01, 0.9), sigma=floats(0.05, 2), z=floats(-5, 5))
    @examples(max_examples=60)
    def test_bernoulli_gaussian_is_the_posterior_mean(self, x64, phi, gamma, sigma, z):
        """η = E{x|r} and, by Tweedie's identity, σ² η' = var{x|r}; both by numerical integration over x."""
        r = z * np.sqrt(phi + sigma**2)
        peak, width = r * phi / (phi + sigma**2), sigma * np.sqrt(phi / (phi + sigma**2))
        x = np.linspace(peak - 10 * width, peak + 10 * width, 4001)
        active = gamma * norm.pdf(x, 0, np.sqrt(phi)) * norm.pdf(r, x, sigma)
        total = trapezoid(active, x) + (1 - gamma) * norm.pdf(r, 0, sigma)
        mean, second = (trapezoid(x**k * active, x) / total for k in (1, 2))
        x_hat, slope = pointwise("bg", [r], sigma, (phi, np.log((1 - gamma) / gamma)))
        assert x_hat[0] == pytest.approx(mean, rel=1e-7, abs=1e-12)
        assert sigma**2 * slope[0] == pytest.approx(second - mean**2, rel=1e-6, abs=1e-12)

    def test_soft_threshold_minimizes_the_lasso_objective(self, x64):
        """η_st(r; λ) = argmin ½(r - x)² + λ|x|: no grid point does better."""
        r, grid = np.linspace(-2, 2, 41), np.linspace(-3, 3, 6001)
        x_hat, _ = pointwise("threshold", r, 1.0, (0.7,))

        def objective(x):
            return 0.5 * (r - x) ** 2 + 0.7 * np.abs(x)

        assert np.all(objective(x_hat) <= objective(grid[:, None]).min(axis=0) + 1e-12)

    def test_slopes_named_in_the_paper(self, x64):
        """Slope at the origin and far out: Section IV-B after (34) and (36), and the segments of (33)."""
        for name, near, far in (("exp", -0.1, 0.9), ("spline", 0.9 - 1.0, 0.9), ("pwlin", 0.1, 0.95)):
            _, slope = pointwise(name, [0.0, 1e3], 1.0, TYPICAL[name])
            np.testing.assert_allclose(slope, [near, far], atol=1e-12)

    def test_bernoulli_gaussian_limits(self, x64):
        """Certainly active, it is Wiener's linear estimate; far above the noise, it keeps r."""
        linear, _ = pointwise("bg", [0.3], 0.5, (1.0, -60.0))
        assert linear[0] == pytest.approx(0.3 / 1.25)
        kept, _ = pointwise("bg", [1.0], 1e-4, (1.0, np.log(9)))
        assert kept[0] == pytest.approx(1.0, rel=1e-7)


class TestNumericalSafety:
    R = (0.0, 1e-30, -1e-6, 1e-3, 1.0, -30.0, 1e4)
    SIGMA = (0.0, 1e-6, 1e-4, 1e-2, 1.0, 1e4)

    @pytest.mark.slow
    @pytest.mark.parametrize("name", NAMES)
    def test_no_nan_in_value_or_gradient(self, name):
        def loss(r, sigma, theta):
            x_hat, slope = shrinkage.build(name).eta(r, sigma, theta)
            return jnp.sum(x_hat) + jnp.sum(slope), (x_hat, slope)

        # One entry per sample, so that no entry hides another; v = 0 gives the least σ that LAMP passes on.
        r, sigma = (grid.ravel()[None].astype(np.float32) for grid in np.meshgrid(self.R, self.SIGMA))
        arguments = r, np.maximum(sigma, rms(jnp.zeros((20, 1)))), np.float32(TYPICAL[name])
        gradient, outputs = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))(*arguments)
        for value in jax.tree.leaves((gradient, outputs)):
            assert np.isfinite(value).all(), (r, sigma, value)

    @pytest.mark.parametrize("name", NAMES)
    def test_zero_stays_zero(self, name):
        x_hat, slope = pointwise(name, [0.0], 0.3, TYPICAL[name])
        assert x_hat[0] == 0
        assert np.isfinite(slope[0])


class TestProject:
    @pytest.mark.slow
    @given(name=st.sampled_from(NAMES), rows=st.integers(1, 3), seed=seeds)
    @examples(max_examples=60)
    def test_allowed_and_idempotent(self, name, rows, seed):
        family = shrinkage.build(name)
        raw = np.random.default_rng(seed).normal(0, 3, (rows, len(family.parameters)))
        theta = family.project(jnp.asarray(raw, jnp.float32))
        assert theta.shape == raw.shape
        assert np.all(theta >= np.asarray(family.lower, np.float32))
        if family.ordered:
            assert np.all(theta[:, 0] <= theta[:, 1])
        np.testing.assert_array_equal(family.project(theta), theta)

    @given(case=cases)
    @examples(max_examples=60)
    def test_allowed_parameters_stay(self, case):
        name, theta = case
        theta = jnp.asarray(theta, jnp.float32)
        np.testing.assert_array_equal(shrinkage.build(name).project(theta), theta)

    def test_forbidden_parameters_move(self):
        moved = {"soft": [[-1.0, -2.0], [-1.0, 0.0]], "pwlin": [[3.0, 2.0, 0, 0, 0], [3.0, 3.0, 0, 0, 0]],
                 "bg": [[-1.0, 0.5], [1e-3, 0.5]], "threshold": [[-0.1], [0.0]], "exp": [[0.0, -1, -1], [1e-3, -1, -1]],
                 "spline": [[-2.0, -1, -1], [1e-3, -1, -1]]}  # fmt: skip
        for name, (before, after) in moved.items():
            np.testing.assert_array_equal(shrinkage.build(name).project(jnp.asarray(before)), np.float32(after))


class TestNames:
    def test_the_config_knows_every_family_and_its_parameters(self):
        assert set(NAMES) == set(TYPICAL)
        for name in NAMES:
            family = shrinkage.build(name)
            assert len(family.lower) == len(family.parameters)
            theta = list(TYPICAL[name])
            assert make_shrinkage({"family": name, "theta": theta}).theta == TYPICAL[name]
            with pytest.raises(UserError, match=f"must be a list of {len(family.parameters)} number"):
                make_shrinkage({"family": name, "theta": [*theta, 1.0]})

    def test_default_starts(self):
        """SPEC 5, in the paper's order."""
        expected = {**TYPICAL, "soft": (1, 1)}
        for name, theta in expected.items():
            config = yaml.safe_load((package_conf() / "shrinkage" / f"{name}.yaml").read_text())
            assert config == {"family": name, "theta": "auto"}
            assert make_shrinkage(config).theta == pytest.approx(theta)

    def test_only_the_scaled_soft_threshold_has_a_free_scale(self):
        assert {name: scale for name in NAMES if (scale := shrinkage.build(name).scale) is not None} == {"soft": 0}

    @given(case=cases.filter(lambda case: shrinkage.build(case[0]).slopes), sigma=sigmas, seed=seeds)
    @examples(max_examples=30)
    def test_rescaled(self, x64, case, sigma, seed):
        name, theta = case
        r = inputs(sigma, seed)
        moved = shrinkage.build(name).rescaled(jnp.asarray(theta), 0.7, 1.3)
        x_hat, slope = evaluate(name, r, sigma, np.asarray(moved))
        expected, of_scaled = evaluate(name, 0.7 * r, 1.3 * sigma, theta)
        np.testing.assert_allclose(x_hat, expected, rtol=1e-9, atol=1e-12)
        assert name.startswith("pwlin") or slope == pytest.approx(0.7 * of_scaled, rel=1e-9, abs=1e-12)

    @pytest.mark.parametrize(
        ("name", "theta", "count"),
        [
            ("bg", [[1, 2], [-3, 2], [1e-9, -5]], 2),
            ("soft", [[-1, 0.5], [1, -0.1]], 1),
            ("pwlin", [[1, 2, 0, 1, 1], [2, 1, 0, 1, 1], [-1, 3, 0, 1, 1]], 2),
        ],
    )
    def test_parameters_that_projection_holds_back_are_counted(self, name, theta, count):
        item = shrinkage.build(name)
        assert item.at_bound(item.project(jnp.asarray(theta, jnp.float32))) == count
        assert item.at_bound(jnp.asarray([TYPICAL[name]], jnp.float32)) == 0

    def test_every_family_but_the_bayesian_one_has_a_scale(self):
        assert {name for name in NAMES if not shrinkage.build(name).slopes} == {"bg", "pwgrid", "threshold"}

    def test_family_by_name(self):
        assert shrinkage.build("bg") is shrinkage.build("bg")
