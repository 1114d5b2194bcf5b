"""Damping: the step against NumPy, its gradient, which damping is chosen on the selection set, and what is stored."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import slow

from onsager_cli import run, shrinkage
from onsager_cli.config.load import load_experiment
from onsager_cli.errors import UserError
from onsager_cli.networks import damping as damp
from onsager_cli.networks.gradient import loss_and_gradient, scratch
from onsager_cli.networks.lamp import Lamp
from onsager_cli.networks.layers import estimate, squared_errors
from onsager_cli.networks.lvamp import Lvamp
from onsager_cli.problems import linear
from onsager_cli.problems.bernoulli_gaussian import Draw
from onsager_cli.problems.signals import GaussianMixture
from onsager_cli.store.curves import MemoryFolder
from onsager_cli.theory import damping, em_vamp
from onsager_cli.theory.matched_vamp import damped_vamp


def bernoulli_gaussian(gamma, variance=1.0, is_complex=False):
    return GaussianMixture(gamma, (1.0,), (0.0,), (variance,), is_complex)


pytestmark = pytest.mark.usefixtures("quick_compile")

BG, THETA = shrinkage.build("bg"), (1.0, float(np.log(9)))
TOY = ["problem=gaussian", "problem.instance=seeded", "problem.N=40", "problem.M=24", "problem.selection_samples=100",
       "problem.test_samples=50"]  # fmt: skip
LARGER = ["problem.N=200", "problem.M=120"]  # VAMP on a smaller one needs damping for single samples


def problem_of(N=100, M=60, L=50, correlation=0.0, seed=3):
    A = np.array(linear.gaussian_matrix(seed, M, N, None), np.float64)
    for n in range(1, N):
        A[:, n] = correlation * A[:, n - 1] + np.sqrt(1 - correlation**2) * A[:, n]
    return linear.build(
        Draw(0.1), A=A.astype(np.float32), snr_db=40, seed=seed, selection_samples=200, test_samples=L
    )  # fmt: skip


def vamp(d):
    return Lvamp(BG, THETA, noise_start="known", damping=d)


def levels(net, problem, depth):
    params = net.start(problem, depth)
    with jax.default_matmul_precision("highest"):
        x, y = problem.test
        return np.asarray(squared_errors(net, problem, params, x, y, depth)).sum(axis=1)


class TestStep:
    @pytest.mark.slow
    @pytest.mark.parametrize("d", [None, 0.6])
    def test_vamp_against_numpy(self, d):
        problem = problem_of()
        A, (x, y) = np.asarray(problem.A, np.float64), (np.asarray(a, np.float64) for a in problem.test)
        prior, noise = bernoulli_gaussian(0.1), float(problem.noise_variance)
        expected = [np.sum((x_hat - x) ** 2) for x_hat in damped_vamp(A, prior, noise, y, 8, d or 1.0)]
        np.testing.assert_allclose(levels(vamp(d), problem, 8), expected, rtol=1e-3)

    def test_amp_against_numpy(self):
        problem, d = problem_of(), 0.6
        A, (x, y) = np.asarray(problem.A, np.float64), (np.asarray(a, np.float64) for a in problem.test)
        (M, N), prior, expected = A.shape, bernoulli_gaussian(0.1), []
        x_hat, v = np.zeros_like(x), y
        for _ in range(8):
            variance = np.sum(v**2, axis=0, keepdims=True) / M
            _, mean, spread = prior.posterior(x_hat + A.T @ v, variance)
            expected.append(np.sum((mean - x) ** 2))
            new = y - A @ mean + N / M * np.mean(spread, axis=0) / variance * v
            x_hat, v = d * mean + (1 - d) * x_hat, d * new + (1 - d) * v
        np.testing.assert_allclose(levels(Lamp(BG, THETA, damping=d), problem, 8), expected, rtol=1e-3)

    def test_no_damping_and_an_undecided_one_are_the_same_network(self):
        problem = problem_of()
        assert np.array_equal(levels(vamp(None), problem, 5), levels(vamp(damp.AUTO), problem, 5))

    def test_learned_damping_starts_at_none(self):
        problem = problem_of()
        np.testing.assert_allclose(levels(vamp(damp.LEARNED), problem, 5), levels(vamp(None), problem, 5), rtol=1e-4)


class TestWeight:
    def test_it_is_clipped(self):
        found = [float(damp.weight(jnp.float32(p))) for p in (-1.0, 0.0, 0.3, 2.0)]
        np.testing.assert_allclose(found, [1, 1, 0.7, damp.FLOOR], rtol=1e-6)

    @pytest.mark.parametrize(("p", "sign", "expected"), [(0.0, 1, -1), (0.0, -1, 0), (0.3, 1, -1), (0.3, -1, 1),
                                                         (-0.2, 1, -1), (2.0, 1, 0), (2.0, -1, 1)])  # fmt: skip
    def test_the_gradient_leads_inside(self, p, sign, expected):
        """Descent on the loss `sign` d: p rises where that lowers the loss, unless it has left the range already."""
        assert float(jax.grad(lambda p: sign * damp.weight(p))(jnp.float32(p))) == expected

    @pytest.mark.slow
    @pytest.mark.parametrize("net", [Lamp(BG, THETA, damping=0.6), *slow(vamp(damp.LEARNED), vamp(0.6))])
    def test_the_gradient_of_the_network(self, net):
        """`kept` of LAMP has no x_hat: the derivative needs none."""
        problem = problem_of(N=20, M=12, L=6)
        params = net.start(problem, 4)
        if damp.LEAF in params:
            params[damp.LEAF] = params[damp.LEAF] + 0.2
        (x, y), weights = problem.test, jnp.ones(6)
        buffers = scratch(net, problem, params, 6)
        loss, found, _ = loss_and_gradient(net, problem, params, x, y, weights, 4, 0, buffers)

        def direct(params):
            state, inputs = net.first(problem, net.layer(params, 0), y, context := net.prepare(problem, params, y))
            for t in range(3):
                state = net.step(problem, net.layer(params, t), inputs, state, y)
                inputs = net.linear(problem, net.layer(params, t + 1), state, y, context)
            return jnp.sum((net.shrink(net.layer(params, 3), inputs).x_hat - x) ** 2)

        expected_loss, expected = jax.value_and_grad(direct)(params)
        np.testing.assert_allclose(loss, expected_loss, rtol=1e-4)
        for name, leaf in expected.items():
            np.testing.assert_allclose(found[name], leaf, rtol=5e-3, atol=5e-4 * float(jnp.max(jnp.abs(leaf))))
        if damp.LEAF in params:
            assert np.all(np.asarray(found[damp.LEAF])[:3] != 0)


class TestAutomatic:
    def test_an_algorithm_that_converges_is_taken_as_it_is(self):
        problem = problem_of()
        assert damping.settled(vamp(damp.AUTO), problem, 40) == vamp(None)
        assert damping.settled(vamp(0.3), problem, 40) == vamp(0.3)

    @pytest.mark.slow
    def test_vamp_does_not_diverge_on_correlated_columns(self):
        problem = problem_of(N=250, M=125, correlation=0.9, L=100)
        power = float(np.sum(np.asarray(problem.test.x) ** 2))
        found = damping.settled(vamp(damp.AUTO), problem, 40)
        undamped, damped = (10 * np.log10(levels(net, problem, 40) / power) for net in (vamp(None), found))
        assert damping.damping_of(found) in damping.LADDER
        assert undamped[-1] > undamped.min() + 5
        assert damped[-1] < -37
        assert damped[-1] < damped.min() + 0.5

    @pytest.mark.slow
    def test_em_vamp_does_not_diverge_on_correlated_columns(self):
        problem = problem_of(N=250, M=125, correlation=0.9, L=100)
        net = Lvamp(BG, THETA, tied=False, learn=("noise_variance", "theta"), damping=damp.AUTO)
        found = damping.settled(net, problem, 40, learn=em_vamp.learn)
        assert damping.damping_of(found) is not None
        params = em_vamp.learn(found, problem, problem.test.y, 40)
        errors = np.asarray(squared_errors(found, problem, params, *problem.test, 40)).sum(axis=1)
        assert 10 * np.log10(errors[-1] / np.sum(np.asarray(problem.test.x) ** 2)) < -35

    @pytest.mark.slow
    def test_the_test_set_decides_nothing(self):
        problem = problem_of(correlation=0.9)
        nothing = dataclasses.replace(problem, test=jax.tree.map(jnp.zeros_like, problem.test))
        assert damping.settled(vamp(damp.AUTO), problem, 40) == damping.settled(vamp(damp.AUTO), nothing, 40)


def made(*words, problem=None):
    """The curve of these overrides in memory: its folder and the events."""
    keys = {word.partition("=")[0] for word in words}
    small = [word for word in TOY if word.partition("=")[0] not in keys]
    curve, events = load_experiment([*small, *words]).curves[0], []
    folder = MemoryFolder(curve.identity)
    run.make(curve, run.maker_of(curve, events.append, place=lambda _: folder), problem=problem)
    return folder, events


class TestCurves:
    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["vamp", "amp", "em_vamp"])
    def test_auto_has_the_bits_of_the_undamped_where_that_converges(self, name):
        words = [f"network={name}", "network.depth=6", *LARGER]
        tables = [
            [(row["layer"], row["nmse_db"]) for row in made(*words, f"network.damping={d}")[0].points()]
            for d in ("auto", "null", 1)
        ]
        assert tables[0] == tables[1] == tables[2]
        assert len(tables[0]) == 6

    @pytest.mark.slow
    def test_the_damping_is_reported_and_noted(self):
        folder, events = made("network=vamp", "network.depth=20", problem=problem_of(250, 125, correlation=0.9))
        noted = folder.read_json("iterations")
        assert noted is not None
        weight = noted["damping"]
        assert weight in damping.LADDER
        messages = [event["message"] for event in events if event["event"] == "warning"]
        assert any(f"network.damping={weight:g}" in message for message in messages)
        again, events = made("network=vamp", "network.depth=20", f"network.damping={weight}",
                             problem=problem_of(250, 125, correlation=0.9))  # fmt: skip
        assert [row["nmse_db"] for row in again.points()] == [row["nmse_db"] for row in folder.points()]
        assert not any("undamped" in str(event.get("message")) for event in events)

    @pytest.mark.slow
    def test_lvamp_learns_its_damping(self):
        from onsager_cli.training.networks_on_disk import stored_network

        words = ["network=lvamp", "shrinkage=bg", "network.damping=learned", "network.depth=3",
                 "training.lvamp.steps=[60]"]  # fmt: skip
        curve, events = load_experiment([*TOY, *words]).curves[0], []
        assert curve.slug == "lvamp_tied_bg_damped"
        folder = MemoryFolder(curve.identity)
        problem = problem_of(40, 24, correlation=0.9)
        run.make(curve, run.maker_of(curve, events.append, place=lambda _: folder), problem=problem)
        net, params = stored_network(curve.settings, folder, 3)
        p = np.asarray(params[damp.LEAF])
        assert p.shape == (3,)
        assert np.any(p[:2] > 0)
        x_hat = np.asarray(estimate(net, problem, params, problem.test.y, 3))
        errors = np.sum((x_hat - np.asarray(problem.test.x)) ** 2) / np.sum(np.asarray(problem.test.x) ** 2)
        np.testing.assert_allclose(10 * np.log10(errors), folder.points()[-1]["nmse_db"], atol=1e-3)
        plain = load_experiment([*TOY, "network=lvamp", "network.depth=3"]).curves[0]
        assert folder.points()[-1]["parameters"] == 3 + run_parameters(plain, problem)


def run_parameters(curve, problem):
    from onsager_cli.training.networks_on_disk import network_of

    net = network_of(curve.settings)
    return net.count(net.start(problem, 3), 3)


class TestSettings:
    def test_what_makes_no_difference_is_no_identity(self):
        def identity(*words):
            return load_experiment([*TOY, *words]).curves[0].identity

        assert "damping" not in identity("network=lamp")["network"]
        assert "damping" not in identity("network=amp", "training=fast")["network"]
        assert identity("network=amp")["network"]["damping"] == "auto"
        assert identity("network=vamp", "network.damping=1.0") == identity("network=vamp", "network.damping=null")
        assert "damping" not in identity("network=lvamp", "network.damping=learned", "training=none")["network"]
        assert identity("network=lvamp", "network.damping=learned")["network"]["damping"] == "learned"

    @pytest.mark.parametrize(("network", "value", "words"), [("vamp", "0", "greater than 0"), ("amp", "1.5", "at most 1"),
                                                             ("amp", "learned", "auto or null"), ("vamp", "true", "number")])  # fmt: skip
    def test_mistakes_are_one_line(self, network, value, words):
        with pytest.raises(UserError, match=f"network.damping.*{words}"):
            load_experiment([*TOY, f"network={network}", f"network.damping={value}"])
