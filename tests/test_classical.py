"""ISTA, FISTA, AMP and VAMP over many iterations: against NumPy, against the LASSO's solution, and Fig. 1's counts."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from conftest import slow
from sklearn.linear_model import Lasso

from onsager_cli import run, shrinkage
from onsager_cli.config.load import load_experiment
from onsager_cli.errors import UserError
from onsager_cli.networks.decoupling import PseudoPrior
from onsager_cli.networks.fista import Fista
from onsager_cli.networks.lamp import Lamp
from onsager_cli.networks.layers import squared_errors
from onsager_cli.networks.lista import Lista
from onsager_cli.networks.lvamp import Lvamp, economy_svd
from onsager_cli.problems import build as build_problem
from onsager_cli.problems import linear
from onsager_cli.problems.bernoulli_gaussian import Draw
from onsager_cli.theory import em_vamp, iterate
from onsager_cli.training.networks_on_disk import network_of

pytestmark = pytest.mark.usefixtures("quick_compile")

SOFT, MINIMAX = shrinkage.build("soft"), (1.0, 1.1402)


def test_exact_recovery_has_settled():
    """Twice -inf dB is no change, and no warning."""
    assert iterate._settled(np.zeros(5), np.zeros(5))
    assert not iterate._settled(np.ones(5), np.zeros(5))


def toy(N=100, M=60, L=12, kappa=None, snr_db=40, seed=2):
    return linear.build(
        Draw(0.1), A=linear.gaussian_matrix(seed, M, N, kappa), snr_db=snr_db, seed=seed, selection_samples=10, test_samples=L
    )  # fmt: skip


def arrays(problem):
    return tuple(np.asarray(a, np.float64) for a in (problem.A, *problem.test))


def fista(A, y, lam, iterations, beck_teboulle=False):
    """Eq (6) with threshold λβ, float64; `lam` (1, L)."""
    beta = 1 / (1.01 * np.linalg.svd(A, compute_uv=False)[0] ** 2)
    x = before = np.zeros((A.shape[1], y.shape[1]))
    estimates = []
    for t in range(1, iterations + 1):
        c = 0 if t < 2 else (t - 2) / (t + 1)
        z = x + c * (x - before)
        gradient_at = z if beck_teboulle else x
        r = z + beta * A.T @ (y - A @ gradient_at)
        x, before = np.sign(r) * np.maximum(np.abs(r) - lam * beta, 0), x
        estimates.append(x)
    return estimates


def run_of(settings, problem):
    """The untrained curve that the settings describe."""
    kind, net = settings.network.kind, network_of(settings)
    learn = em_vamp.learn if kind == "em_vamp" else None
    return iterate.run(
        net, problem, settings.network.depth, settings.precision, weight=settings.network.weight,
        layered=kind == "lvamp_gh", learn=learn,
    )  # fmt: skip


class TestSteps:
    @pytest.mark.slow
    def test_iterating_one_layer_is_the_deep_network(self):
        problem = toy()
        for net in (
            Lamp(SOFT, MINIMAX),
            Lvamp(shrinkage.build("bg"), (1.0, 2.2), noise_start="known"),
            Lista(shrinkage.build("threshold"), (0.02,)),
        ):
            params = net.start(problem, 9)
            with jax.default_matmul_precision("highest"):
                expected = squared_errors(net, problem, params, *problem.test, 9)
            found = iterate.iterate(net, problem, net.layer(params, 0), *problem.test, 9)
            np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-6)

    @pytest.mark.slow
    @pytest.mark.parametrize("momentum", ["none", "paper", *slow("beck_teboulle")])
    def test_ista_and_fista_against_numpy(self, momentum):
        problem = toy()
        A, x, y = arrays(problem)
        net = Lista(SOFT, MINIMAX) if momentum == "none" else Fista(SOFT, MINIMAX, momentum=momentum)
        net, p = iterate.lasso(net, problem, problem.test[1], "vamp", "highest")
        lam = np.asarray(p["theta"][0]) * 1.01 * np.linalg.svd(A, compute_uv=False)[0] ** 2
        assert lam.shape == (1, 12)
        found = iterate.iterate(net, problem, p, *problem.test, 60)
        estimates = reference.ista(A, y, lam, 60) if momentum == "none" else fista(A, y, lam, 60, momentum != "paper")
        expected = [np.sum((estimate - x) ** 2, axis=0) for estimate in estimates]
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-5)

    def test_fixed_lambda(self):
        problem = toy()
        _, p = iterate.lasso(Lista(shrinkage.build("threshold"), (0.3,)), problem, problem.test[1], "amp", "highest")
        beta = 1 / (1.01 * np.linalg.norm(np.asarray(problem.A), 2) ** 2)
        np.testing.assert_allclose(p["theta"], np.full((1, 1, 12), 0.3 * beta), rtol=1e-5)


class TestLasso:
    @pytest.mark.slow
    def test_all_of_them_end_at_the_solution_of_the_same_lasso(self):
        """AMP-l1's and VAMP-l1's fixed points give the λ; scikit-learn solves that LASSO by coordinate descent."""
        problem = toy(200, 120, 6, snr_db=25)
        A, x, y = arrays(problem)
        for of in ("amp", "vamp"):
            weights = iterate.lasso_weight(problem, problem.test[1], MINIMAX[1], of)
            solutions = [
                Lasso(alpha=lam / 120, fit_intercept=False, tol=1e-10, max_iter=100_000).fit(A, y[:, i]).coef_
                for i, lam in enumerate(np.asarray(weights)[0].tolist())
            ]
            expected = np.sum((np.array(solutions).T - x) ** 2, axis=0)
            nets = {
                "ista": Lista(SOFT, MINIMAX),
                "fista": Fista(SOFT, MINIMAX),
                "amp": Lamp(SOFT, MINIMAX),
                "vamp": Lvamp(SOFT, MINIMAX, noise_start="known"),
            }
            for name in ("ista", "fista", of):
                net = nets[name]
                if name == of:
                    p = net.layer(net.start(problem, 1), 0)
                else:
                    net, p = iterate.lasso(net, problem, problem.test[1], of, "highest")
                errors = iterate.iterate(net, problem, p, *problem.test, 3000)
                np.testing.assert_allclose(errors[-1], expected, rtol=0.01, err_msg=f"{name} for {of}")

    def test_no_fixed_point_is_said(self):
        problem = toy(100, 60, 12, kappa=100.0)
        with pytest.raises(UserError, match=r"network\.weight=vamp"):
            iterate.lasso_weight(problem, problem.test[1], MINIMAX[1], "amp")


class TestEndAndTable:
    def test_ends_where_the_curve_settles(self):
        problem, net = toy(), Lvamp(shrinkage.build("bg"), (1.0, 2.2), noise_start="known")
        errors = iterate.iterate(net, problem, net.layer(net.start(problem, 1), 0), *problem.test, 5000)
        assert 100 <= len(errors) < 1000
        assert len(errors) % iterate.CHUNK == 0

    def test_ends_at_the_limit_and_before_what_is_not_finite(self):
        problem, net = toy(100, 60, 12, kappa=100.0), Lamp(SOFT, MINIMAX)
        p = net.layer(net.start(problem, 1), 0)
        assert len(iterate.iterate(net, problem, p, *problem.test, 7)) == 7
        errors = iterate.iterate(net, problem, p, *problem.test, 500)
        assert np.isfinite(errors).all()
        assert len(errors) < 500
        assert iterate.not_converged(errors[-1], np.ones(12)) == 12

    def test_the_table_keeps_every_crossing(self):
        t = np.arange(1, 5001)
        decibels = -40.013 * t / 5000  # no whole dB is met exactly
        errors = np.repeat(10 ** (decibels / 10)[:, None], 3, axis=1)
        kept = iterate.kept_iterations(errors, np.ones(3))
        assert len(kept) < 600
        assert set(range(1, 51)) <= set(kept.tolist())
        assert kept[-1] == 5000
        for level in range(-39, 0):
            first = t[decibels < level][0]
            assert first in kept, level
        assert np.all(np.diff(kept) <= 0.0101 * kept[1:] + 1)

    def test_not_converged(self):
        errors = np.array([[1.0] * 8, [1e-4, 1e-4, 2e-4, 5e-3, 1e-4, 1e-4, 1e-4, 1e-4]])
        powers = np.array([1.0] * 7 + [0.0])
        assert iterate.not_converged(errors[-1], powers) == 1
        assert iterate.not_converged(errors[0], powers) == 0


class TestConfig:
    @pytest.fixture(autouse=True)
    def empty_folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)

    @pytest.mark.parametrize(
        ("overrides", "slug"),
        [
            ("network=ista", "ista"),
            ("network=fista network.momentum=beck_teboulle", "fista"),
            ("network=vamp", "matched_vamp"),
            ("network=vamp problem.gamma=0.2", "matched_vamp"),
            ("network=vamp network.init=random", "vamp_bg"),
            ("network=vamp problem.known_operator=false", "vamp_bg_estimated"),
            ("network=vamp shrinkage=minimax", "vamp_l1"),
        ],
    )
    def test_slugs(self, overrides, slug):
        assert load_experiment(overrides.split()).curves[0].slug == slug

    @pytest.mark.parametrize(
        ("overrides", "says"),
        [
            ("network=fista training=fast", "training=none"),
            ("network=vamp training=fast", "network.learn"),
            ("network=em_vamp shrinkage=pwlin", "bg"),
            ("network=ista shrinkage=soft shrinkage.theta=[2,1]", r"shrinkage\.theta must begin with 1 .*, got 2"),
            *slow(
                ("network=ista shrinkage=bg", "minimax"),
                ("network=vamp shrinkage=threshold", "soft"),
                ("network=em_vamp training=fast", "training=none"),
                ("network=vamp network.learn=[B]", "U, s, V"),
                ("network=fista network.momentum=nesterov", "beck_teboulle"),
            ),
        ],
    )
    def test_mistakes(self, overrides, says):
        with pytest.raises(UserError, match=says):
            load_experiment(overrides.split())

    def test_a_matrix_that_overflows(self):
        (curve,) = load_experiment(["network=amp", "problem.N=20", "problem.M=10", "problem.test_samples=5"]).curves
        problem = build_problem(curve.settings.problem, 0)
        x, y = problem.test
        loud = dataclasses.replace(problem, A=1e25 * problem.A, test=(x, 1e25 * y))
        with pytest.raises(UserError, match="overflows in its first iteration"):
            iterate.run(network_of(curve.settings), loud, 3, "highest")

    def test_samples_that_are_all_zero_are_not_trained_on(self, tmp_path):
        toy = ["network=amp", "problem.N=20", "problem.M=10", "problem.test_samples=5", f"output={tmp_path}"]
        with pytest.raises(UserError, match=r"problem\.selection_samples=4000: all of them are zero"):
            run.train(load_experiment([*toy, "problem.gamma=1e-12"]), lambda _: None)

    @pytest.mark.slow
    def test_counts_are_those_of_the_iteration_however_many_follow(self, tmp_path):
        """AMP diverges on ever more realizations here."""
        toy = "network=amp problem.kappa=6 problem.N=60 problem.M=36 problem.test_samples=20 plot.formats=[png]"
        rows = {}
        for depth in (2, 12):
            asked = load_experiment([*toy.split(), f"network.depth={depth}", f"output={tmp_path / str(depth)}"])
            run.train(asked, lambda _: None)
            rows[depth] = {row["layer"]: row["nonconverged"] for row in run.rows_of(asked)}
        assert rows[2] == {t: rows[12][t] for t in (1, 2)}
        assert rows[12][12] > rows[12][2]

    @pytest.mark.parametrize(
        ("overrides", "iterations"),
        [
            ("network=amp", 40),
            ("network=em_vamp", 4),
            *slow(("network=ista", 40), ("network=lvamp_gh training=none", 3)),
        ],
    )
    def test_runs_from_settings(self, overrides, iterations):
        small = f"network.depth={iterations} problem.N=60 problem.M=36 problem.test_samples=20"
        (curve,) = load_experiment([*overrides.split(), *small.split()]).curves
        problem = build_problem(curve.settings.problem, 0)
        errors, powers = run_of(curve.settings, problem)
        assert errors.shape == (iterations, 20)
        np.testing.assert_allclose(powers, np.sum(np.square(arrays(problem)[1]), axis=0))
        assert errors[-1].sum() < 0.5 * powers.sum()


class TestEmVamp:
    """EM-VAMP is an LVAMP network whose σ_w² and θ come from y alone."""

    NET = Lvamp(shrinkage.build("bg"), (1.0, 1.0), tied=False, learn=("noise_variance", "theta"))

    @pytest.mark.slow
    def test_learns_the_prior_and_the_noise_and_ends_like_matched_vamp(self):
        problem = toy(400, 200, 300, snr_db=30)
        params = em_vamp.learn(self.NET, problem, problem.test[1], 20)
        phi, log_odds = np.asarray(params["theta"][-1])
        assert phi == pytest.approx(1, abs=0.05)
        assert log_odds == pytest.approx(np.log(9), abs=0.05)
        assert np.exp(params["log_noise_variance"][-1]) == pytest.approx(float(problem.noise_variance), rel=0.05)
        matched = Lvamp(shrinkage.build("bg"), (1.0, float(np.log(9))), noise_start="known")
        found, wanted = (
            np.sum(squared_errors(net, problem, p, *problem.test, 20)[-1])
            for net, p in ((self.NET, params), (matched, matched.start(problem, 20)))
        )
        assert 10 * np.log10(found / wanted) == pytest.approx(0, abs=0.05)

    def test_needs_an_lvamp_network(self):
        problem = toy()
        with pytest.raises(TypeError, match="EM-VAMP needs an LVAMP network, got Lamp"):
            em_vamp.learn(Lamp(SOFT, MINIMAX), problem, problem.test[1], 2)

    def test_one_step_for_the_noise_against_dense_algebra(self, monkeypatch):
        """E over the posterior of ‖y - A x‖² / M, prior N(r̃, σ̃² I), also where y has a part that A cannot reach."""
        monkeypatch.setattr(em_vamp, "STEPS", 1)
        rng = np.random.default_rng(5)
        A = rng.normal(size=(24, 6)) @ rng.normal(size=(6, 30)) / 10
        y, r_tilde, variance = (rng.normal(size=(24, 8)), rng.normal(size=(30, 8)), rng.uniform(0.5, 2, (1, 8)))
        noise = 0.3
        U, s, V = economy_svd(A)
        p = {"U": U, "log_s": np.log(s), "V": V, "log_noise_variance": np.log(noise)}
        found = em_vamp._noise(
            p, PseudoPrior(jnp.array(r_tilde), jnp.array(variance)), jnp.array(y), jnp.array(U.T @ y)
        )
        total = 0.0
        for i in range(8):
            C = np.linalg.inv(A.T @ A / noise + np.eye(30) / variance[0, i])
            x = C @ (A.T @ y[:, i] / noise + r_tilde[:, i] / variance[0, i])
            total += np.sum((y[:, i] - A @ x) ** 2) + np.trace(A @ C @ A.T)
        assert float(found) == pytest.approx(total / y.size, rel=1e-4)


class TestFig1:
    """Iterations to -35 dB (mean of ratios) on the authors' i.i.d. instance, SPEC 7.

    ISTA has the first 200 of the 1000 samples here; the record has its count over all of them.
    """

    @pytest.mark.parametrize(
        ("curve", "count", "within"),
        [("amp_l1", 26, 0), *slow(("vamp_l1", 14, 0), ("fista", 202, 1), ("ista", 3745, 225))],
    )
    def test_counts(self, tmp_path, monkeypatch, curve, count, within):
        monkeypatch.chdir(tmp_path)
        (found,) = load_experiment(["+experiment=fig1a", f"only=[{curve}]"]).curves
        network = dataclasses.replace(found.settings.network, depth=int(1.1 * count) + 10)
        settings = dataclasses.replace(found.settings, network=network)
        problem = build_problem(settings.problem, 0)
        few = slice(200 if count > 1000 else None)
        problem = dataclasses.replace(problem, test=tuple(a[:, few] for a in problem.test))
        errors, powers = run_of(settings, problem)
        decibels = 10 * np.log10(np.mean(errors / powers, axis=1))
        assert abs(1 + int(np.argmax(decibels < -35)) - count) <= within
