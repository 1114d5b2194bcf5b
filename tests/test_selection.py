"""Support selection: against a full sort, its rules, and the derivative that stands for a jump."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_networks import problem_of
from toy_rivals import RIVALS, alista, selected

from onsager_cli import shrinkage
from onsager_cli.networks import selection

pytestmark = pytest.mark.usefixtures("quick_compile")


class TestSelection:
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("p", [0, 1, 3, 7, 39, 40, 60])
    def test_is_that_of_a_sort(self, x64, dtype, p):
        r = np.random.default_rng(p).normal(size=(40, 50)).astype(dtype)
        r[:, 0], r[:, 1], r[5:9, 2] = 0, 1, 2.5  # nothing, all alike, several largest
        for theta in (0.0, 0.3, 5.0):
            mask = selection.among_largest(
                jnp.abs(jnp.asarray(r)), jnp.asarray(theta, dtype), jnp.asarray(p + 0.9, dtype)
            )
            limit = np.sort(np.abs(r), axis=0)[-min(p, 40)] if p else np.inf
            np.testing.assert_array_equal(mask, (np.abs(r) >= limit) & (np.abs(r) > np.asarray(theta, dtype)))

    def test_p_and_threshold_of_each_sample(self, x64):
        rng = np.random.default_rng(0)
        r, p = rng.normal(size=(40, 20)) + 1j * rng.normal(size=(40, 20)), np.arange(20)[None].astype(float)
        theta = rng.uniform(0, 1, (40, 20))
        mask = np.asarray(selection.among_largest(jnp.abs(jnp.asarray(r)), jnp.asarray(theta), jnp.asarray(p)))
        size = np.where(np.abs(r) > theta, np.abs(r), 0)
        for k in range(20):
            limit = np.sort(size[:, k])[-k] if k else np.inf
            np.testing.assert_array_equal(mask[:, k], (size[:, k] >= limit) & (size[:, k] > 0))

    def test_all_that_is_above_the_threshold_passes_where_it_is_less_than_p(self):
        r = jnp.asarray([[3.0], [-2.0], [0.5], [0.1]])
        mask = selection.among_largest(jnp.abs(r), jnp.float32(1), jnp.float32(3))
        assert mask[:, 0].tolist() == [True, True, False, False]
        np.testing.assert_array_equal(selected(np.asarray(r), 1.0, 3)[:, 0], [3, -2, 0, 0])

    @pytest.mark.slow
    @pytest.mark.parametrize("theta", [0.5, 0.7, 1.0])
    def test_the_derivative_by_the_threshold_is_that_of_the_mean_loss(self, x64, theta):
        """All that exceeds θ passes: the loss of a sample jumps, its mean does not, and autodiff of a jump would say 0.

        Against the difference quotient of the mean of 400,000 coordinates, of which 1,000 and more are inside the ramp: to
        a tenth of the largest derivative there is, 0.15. The density of |r| changes within the ramp, which tilts it.
        """
        rng = np.random.default_rng(0)
        x = rng.normal(size=(400, 1000)) * (rng.uniform(size=(400, 1000)) < 0.1)
        r, everybody = jnp.asarray(x + 0.3 * rng.normal(size=x.shape)), jnp.asarray(400.0)

        def loss(theta):
            soft, _ = shrinkage.build("threshold").eta(r, None, (theta,))  # type: ignore[arg-type]
            return jnp.mean((selection.selected(r, soft, theta, everybody) - x) ** 2)

        step = 0.1 * theta
        expected = float(loss(jnp.asarray(theta + step)) - loss(jnp.asarray(theta - step))) / (2 * step)
        found = float(jax.grad(loss)(jnp.asarray(theta)))
        assert found == pytest.approx(expected, abs=0.015)
        assert found * expected > 0

    def test_rules(self):
        assert (
            selection.counts("cpss", 16, 500, 50, 0.012, 0.13).tolist()
            == [6, 12, 18, 24, 30, 36, 42, 48, 54, 60] + [65] * 6
        )
        logs = np.floor(selection.counts("logs", 16, 500, 50, 0.012, 0.13)).astype(int)
        assert logs.tolist() == [int(p) for p in np.linspace((1.2 * 50) // 16, 1.2 * 50, 16)]
        assert (logs[0], logs[-1]) == (3, 60)

    @pytest.mark.parametrize("name", ["alista", "tilista"])
    def test_by_logs_all_layers_change_with_their_number(self, toy, name):
        net, problem = RIVALS[name], problem_of(toy)
        params = net.start(problem, 6)
        for depth in range(1, 7):
            params = net.grow(params, depth - 1, problem)
            expected = selection.counts("logs", depth, toy.N, 0.1 * toy.N, 0.012, 0.13)
            np.testing.assert_allclose(params["selected"][:depth], expected, rtol=1e-6)
            again = net.grow(net.head(params, depth), depth - 1, problem)  # as after a stop
            np.testing.assert_allclose(again["selected"], expected, rtol=1e-6)

    def test_activity_is_counted_where_nobody_knows_it(self, toy):
        net, problem = alista(activity=None), problem_of(toy)
        share = np.mean(toy.x != 0)
        assert float(net.start(problem, 3)["selected"][-1]) == pytest.approx(1.2 * share * toy.N, rel=1e-6)
