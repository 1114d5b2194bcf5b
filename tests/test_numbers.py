"""Numbers that mean nothing are not told like results: they are refused, or a warning says what they are."""

import jax
import numpy as np
import pytest

from onsager_cli.config.load import load_experiment
from onsager_cli.errors import Notice, UserError
from onsager_cli.problems import bernoulli_gaussian, build, linear
from onsager_cli.problems.base import Samples
from onsager_cli.problems.operator import least_squares

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
        with pytest.raises(UserError, match=r"its column \d+ \(counted from 1\).* never seen in 20000 .*problem.gamma"):
            least_squares(self.problem(2e-5), jax.random.key(0))

    def test_coefficients_that_are_always_alike(self):
        class Pairs:
            power = 1.0

            def __call__(self, problem, key, batch):
                x = jax.random.normal(key, (20, batch)).repeat(2, axis=0)
                return Samples(x, problem.A @ x)

        with pytest.raises(UserError, match="never seen without the same others in 20000"):
            least_squares(self.problem(0.1, Pairs()), jax.random.key(0))

    def test_rare_coefficients_suffice(self):
        problem = self.problem(2e-3)
        error = least_squares(problem, jax.random.key(0)) - np.asarray(problem.A)
        assert np.linalg.norm(error) < 0.02 * np.linalg.norm(problem.A)
