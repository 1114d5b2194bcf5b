"""Enough samples: test sets that grow, rescues that need significance, sets where few coefficients are active."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from synthetic_problems import made

from onsager_cli.config.load import load_experiment
from onsager_cli.metrics import nmse
from onsager_cli.problems import build
from onsager_cli.training import growth
from onsager_cli.training.loop import is_worse


def settings_of(*words):
    return load_experiment(["network=lamp", *words]).curves[0].settings


class TestGrowth:
    def grown(self, settings, share):
        """Errors of which a share of the samples carries all but a little."""
        problem, calls = build(settings.problem, 0), []

        def evaluate(test):
            rng = np.random.default_rng(len(calls))
            calls.append(np.asarray(test.x))
            L = test.x.shape[1]
            rare = rng.uniform(size=L) < share
            rare[0] |= share == 0  # one sample of each set carries all of it
            errors = np.stack([np.ones(L), np.where(rare, 10.0 ** len(calls) if share == 0 else 1.0, 1e-4)])
            return errors, np.asarray(problem.squared_norm(test.x))

        errors, powers = growth.on_enough_samples(settings, problem, evaluate)
        return errors, powers, calls

    FEW = ("problem.N=60", "problem.M=30", "problem.gamma=0.05", "problem.selection_samples=50")

    @pytest.mark.slow
    def test_until_the_standard_error_is_small(self):
        errors, powers, calls = self.grown(settings_of(*self.FEW), 0.01)
        assert len(powers) == 1000 * len(calls) == errors.shape[1] > 1000
        reached = nmse(errors[-1], powers)["nmse_db_se"]
        assert reached is not None
        assert reached <= growth.ENOUGH_DB
        before = nmse(errors[-1, :-1000], powers[:-1000])["nmse_db_se"]
        assert before is not None
        assert before > growth.ENOUGH_DB
        assert not np.array_equal(calls[0], calls[1])

    @pytest.mark.slow
    def test_to_a_limit(self):
        _, powers, _ = self.grown(settings_of(*self.FEW), 0)
        assert len(powers) == growth.MOST

    @pytest.mark.slow
    @pytest.mark.parametrize("words", [("problem.test_samples=500",), ("problem.gamma=0.4",)])
    def test_others_stay_as_they_are(self, words):
        keys = {word.partition("=")[0] for word in words}
        few = [word for word in self.FEW if word.partition("=")[0] not in keys]
        settings = settings_of(*few, *words)
        _, powers, calls = self.grown(settings, 0.01)
        assert (len(calls), len(powers)) == (1, settings.problem.test_samples)

    @pytest.mark.slow
    def test_selection_sets_are_larger_where_few_are_active(self):
        few, many = (made(N=60, M=30, gamma=g, test_samples=1000).selection.x.shape[1] for g in (0.05, 0.4))
        assert (few, many) == (2400, 300)


class TestRescue:
    def worse(self, now, best):
        samples = SimpleNamespace(selection=(None, None))

        def errors(problem, params, x, y, depth):
            return jnp.asarray(params)[None], jnp.ones(len(params))

        return is_worse(SimpleNamespace(errors=errors), samples, now, best, 1)  # type: ignore[arg-type]

    def test_a_few_samples_are_no_divergence(self):
        now, best = np.full(1000, 1e-4), np.full(1000, 1e-4)
        now[7] = 5.0  # 17 dB above, by one sample
        assert not self.worse(now, best)

    def test_many_samples_are(self):
        assert self.worse(np.full(1000, 1e-3) + np.linspace(0, 1e-3, 1000), np.full(1000, 1e-4))

    def test_no_number_is(self):
        assert self.worse(np.full(10, np.nan), np.full(10, 1e-4))


@pytest.mark.parametrize(
    ("words", "schedule", "theta"),
    [
        (["problem=random_access", "network=lamp", "shrinkage=bg"], "cellular", (7.7, 4.59511985013459)),
        (["problem=random_access", "network=lamp", "shrinkage=bg", "training=fast"], "fast", (7.7, 4.59511985013459)),
        (["problem=gaussian", "network=lamp", "shrinkage=bg"], "fast", (1.0, 2.1972245773362196)),
    ],
)
def test_the_problem_chooses_schedule_and_start(words, schedule, theta):
    chosen = load_experiment(words).curves[0].settings
    same = (
        load_experiment([*(word for word in words if "training" not in word), f"training={schedule}"])
        .curves[0]
        .settings
    )
    assert chosen.training == same.training
    assert chosen.shrinkage.theta == theta
