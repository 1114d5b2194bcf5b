"""Numbers that mean nothing are not told like results: they are refused, or a warning says what they are."""

import dataclasses

import jax
import numpy as np
import pytest
from conftest import slow, toy_overrides
from toy_training import Watch, setup_of, stage

from onsager_cli import run
from onsager_cli.config.load import load_experiment
from onsager_cli.errors import DivergedError, Notice, UserError
from onsager_cli.problems import bernoulli_gaussian, build, linear
from onsager_cli.problems.base import Samples
from onsager_cli.problems.operator import least_squares
from onsager_cli.store.curves import MemoryFolder
from onsager_cli.training.checkpoint import Progress

pytestmark = pytest.mark.usefixtures("quick_compile")

TOY = ("problem.N=40", "problem.M=20", "problem.selection_samples=60", "problem.test_samples=50")


def settings(*overrides: str):
    (curve,) = load_experiment([*TOY, *overrides]).curves
    return curve.settings


class TestRounding:
    def test_an_snr_beyond_float32_is_reported(self):
        with pytest.warns(Notice, match=r"problem.snr_db=130: float32 rounds .* above 120 dB"):
            build(settings("problem.snr_db=130").problem, 0)

    def test_up_to_120_db_there_is_nothing_to_say(self):
        build(settings("problem.snr_db=120").problem, 0)


class TestEstimatedMatrix:
    """`problem.known_operator=false` and `network.init=least_squares`."""

    @staticmethod
    def problem(gamma: float, draw=None):
        A = linear.gaussian_matrix(0, 20, 40, None)
        law = draw or bernoulli_gaussian.Draw(gamma)
        return linear.build(law, A=A, snr_db=40, seed=0, selection_samples=1, test_samples=1)

    def test_a_coefficient_that_is_never_active(self):
        with pytest.raises(UserError, match=r"x_\d+ \(counted from 1\).* 0 in all 20000 .*problem.gamma"):
            least_squares(self.problem(2e-5), jax.random.key(0))

    def test_coefficients_that_are_always_alike(self):
        class Pairs:
            power = 1.0

            def __call__(self, problem, key, batch):
                x = jax.random.normal(key, (20, batch)).repeat(2, axis=0)
                return Samples(x, problem.A @ x)

        with pytest.raises(UserError, match="are linearly dependent in all 20000"):
            least_squares(self.problem(0.1, Pairs()), jax.random.key(0))

    def test_rare_coefficients_suffice(self):
        problem = self.problem(2e-3)
        error = least_squares(problem, jax.random.key(0)) - np.asarray(problem.A)
        assert np.linalg.norm(error) < 0.02 * np.linalg.norm(problem.A)


class TestTraining:
    @pytest.mark.slow
    def test_batches_without_an_active_coefficient_are_no_divergence(self):
        setup, progress, watch = (
            setup_of("shrinkage=bg", "shrinkage.theta=[1,2.2]", "problem.gamma=0.001"),
            Progress(),
            Watch(),
        )
        setup.engine = dataclasses.replace(setup.engine, batch=2)
        assert not np.asarray(setup.problem.sample(jax.random.key(0), 2).x).any()
        start_db = setup.db(setup.params, 2)
        _, best_db = setup.fit(stage(), watch, progress)
        assert progress.rescues == 0
        assert not watch.of("warning")
        assert best_db < start_db


def curve_of(*overrides: str):
    """One curve of a small problem; the first override names the network."""
    own = toy_overrides() if overrides[0].removeprefix("network=") in ("lamp", "lvamp", "lista") else TOY
    (curve,) = load_experiment(list({text.partition("=")[0]: text for text in (*own, *overrides)}.values())).curves
    return curve


def maker_of(curve):
    """What makes a curve in memory, and what watches it."""
    watch = Watch()
    return run.maker_of(curve, watch, place=lambda curve: MemoryFolder(curve.identity)), watch


def made(*overrides: str, A=None):
    """The maker of a curve, once it is made, and its warnings."""
    curve = curve_of(*overrides)
    maker, watch = maker_of(curve)
    run.make(curve, maker, problem=None if A is None else run.problem_of(curve, np.asarray(A, np.float32)))
    return maker, [event["message"] for event in watch.of("warning")]


AMP = ("network=amp", "network.depth=15", "problem.N=200", "problem.M=100", "problem.test_samples=20")
POSITIVE = np.random.default_rng(0).uniform(size=(100, 200)) * np.sqrt(3 / 100)


class TestCurves:
    @pytest.mark.slow
    def test_a_curve_above_0_db_is_called_worse_than_nothing(self):
        """Entries of one sign: AMP diverges, VAMP does not."""
        maker, (message,) = made(*AMP, A=POSITIVE)
        last = maker.folder.points()[-1]["nmse_db"]
        assert last > 100
        assert message.startswith(
            f"ends at {last:.2f} dB, worse than x̂ = 0 (0 dB); AMP assumes zero-mean i.i.d. entries"
        )
        assert message.endswith("try network=vamp; the mean of A's columns has 75% of ‖A‖_F²")

    @pytest.mark.slow
    def test_of_which_vamp_makes_a_result(self):
        assert made("network=vamp", *AMP[1:], A=POSITIVE)[1] == []

    def test_a_curve_below_0_db_is_not(self):
        assert made(*AMP)[1] == []

    @pytest.mark.parametrize("name", ["oracle", *slow("lmmse")])
    def test_a_bound_at_the_level_of_nothing_is_not(self, name):
        maker, messages = made(f"network={name}", "problem.snr_db=-100")
        assert maker.folder.points()[0]["nmse_db"] == pytest.approx(0, abs=1e-3)
        assert messages == []

    @pytest.mark.parametrize(
        ("network", "levels", "expected"),
        [
            ("network=amp", [-3.0, -12.0, -4.0], "ends at -4.00 dB, above the -12.00 dB of iteration 2; AMP assumes"),
            ("network=amp", [-3.0, -4.5, -4.0], ""),
            ("network=lamp", [-3.0, 0.5], "ends at 0.50 dB, worse than x̂ = 0 (0 dB); more steps or lower"),
            ("network=lamp", [-3.0, -1.5], ""),
            ("network=em_vamp", [1.5], "ends at 1.50 dB, worse than x̂ = 0 (0 dB); EM-VAMP assumes Bernoulli-Gaussian"),
        ],
    )
    def test_what_is_judged(self, network, levels, expected):
        curve = curve_of(network, f"network.depth={len(levels)}")
        maker, watch = maker_of(curve)
        for layer, level in enumerate(levels, 1):
            maker.add_point(layer, np.full(3, 10 ** (level / 10)), np.ones(3), steps=0, seconds=0.0, parameters=0)
        maker.judge(run.problem_of(curve))
        messages = [event["message"] for event in watch.of("warning")]
        assert [message[: len(expected)] for message in messages] == [expected] * bool(expected)

    @pytest.mark.parametrize("error", [np.nan, np.inf])
    def test_no_table_holds_an_nmse_that_is_no_number(self, error):
        maker, _ = maker_of(curve_of("network=oracle"))
        with pytest.raises(
            DivergedError, match=r"oracle: overflows float32: scale .* \(NMSE (nan|inf) dB on the test set\)"
        ):
            maker.add_point(None, np.array([0.1, error]), np.ones(2), steps=0, seconds=0.0, parameters=0)
        assert maker.folder.points() == []

    @pytest.mark.slow
    @pytest.mark.parametrize(("network", "scale"), [("network=lamp", 1e18), ("network=lvamp", 1e25)])
    def test_a_matrix_beyond_float32_gives_up_the_training(self, network, scale):
        A = linear.gaussian_matrix(0, 20, 40, None) * scale
        with pytest.raises(DivergedError, match="layer 1: all: overflows float32: scale the matrix"):
            made(network, A=A)

    @pytest.mark.slow
    @pytest.mark.parametrize("network", ["network=em_vamp", *slow("network=amp")])
    def test_or_ends_the_algorithm(self, network):
        A = linear.gaussian_matrix(0, 20, 40, None) * 1e25
        with pytest.raises(UserError, match="overflows in its first iteration: scale the columns of the matrix"):
            made(network, A=A)
