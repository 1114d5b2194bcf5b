"""Who is active in the 5G problems: drawn positions, activities of each user, and samples with more of them."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import slow
from scipy.stats import binomtest

from onsager_cli.config.load import load_experiment
from onsager_cli.errors import UserError
from onsager_cli.kinds.cellular import Cellular
from onsager_cli.problems import Problem, Samples, build, cellular
from onsager_cli.theory import bounds

pytestmark = pytest.mark.usefixtures("quick_compile")


def law(name: str, *overrides: str) -> Cellular:
    (curve,) = load_experiment([f"problem={name}", *overrides]).curves
    assert isinstance(curve.settings.problem, Cellular)
    return curve.settings.problem


FEW = ("problem.selection_samples=1", "problem.test_samples=1")
SMALL = ("problem.users=40", "problem.antennas=8", "problem.embedding=complex")

positions = jax.jit(cellular.active_positions, static_argnums=(1, 3))
sample = jax.jit(lambda problem, key, batch: problem.sample(key, batch), static_argnums=2)
signals = jax.jit(lambda draw, key, batch: draw.signals(key, batch), static_argnums=(0, 2))


def drawn(problem: Cellular, batch: int, seed: int = 5):
    """x and the power that an oracle knows, float64 or complex128."""
    x, known = signals(cellular.Draw(problem), jax.random.key(seed), batch)
    return bounds.double(np.asarray(x)), np.asarray(known, np.float64)


@partial(jax.jit, static_argnums=(1, 3))
def emphasized(problem: Problem, batch: int, emphasis: float, most: float | None):
    return problem.emphasized(jax.random.key(1), batch, emphasis, most)


def near(sample: np.ndarray, expected: float, independent: int) -> bool:
    """Whether the mean of `sample` is within five standard errors, with this many independent values in it."""
    return abs(sample.mean() - expected) <= 5 * sample.std() / np.sqrt(independent)


class TestActivity:
    @pytest.mark.parametrize(
        ("total", "activity"), [(200_000, 0.01), *slow((5_000, 0.3)), (4_000, 0.95), *slow((300_000, 1e-4))]
    )
    def test_positions(self, total, activity):
        """Independent, alike from the first to the last, each position once."""
        runs = [
            np.asarray(cellular.active_positions(jax.random.key(seed), total, activity, activity)) for seed in range(8)
        ]
        found = [run[run < total] for run in runs]
        assert all(np.all(np.diff(run) > 0) and run[0] >= 0 for run in found)
        assert all(run[-1] == total for run in runs), "there was room for all of them"
        count = sum(map(len, found))
        assert binomtest(count, 8 * total, activity).pvalue > 1e-4
        late = sum(int(np.sum(run >= total // 2)) for run in found)
        assert binomtest(late, count, 0.5).pvalue > 1e-4
        neighbours = sum(int(np.sum(np.diff(run) == 1)) for run in found)
        assert binomtest(neighbours, count, activity).pvalue > 1e-4

    @pytest.mark.parametrize("activity", [0.01, 0.03])
    def test_there_is_room_for_the_highest_activity(self, activity):
        """Whichever of those that may come it is, in one compiled program."""
        run = np.asarray(positions(jax.random.key(0), 100_000, activity, 0.03))
        assert run[-1] == 100_000, "there was room for all of them"
        assert binomtest(int(np.sum(run < 100_000)), 100_000, activity).pvalue > 1e-4

    @pytest.mark.slow
    def test_of_random_access(self):
        """One per cent of the users, real and imaginary part together, in some samples nobody."""
        problem = law("random_access")
        x, known = drawn(problem, 2000)
        active = x != 0
        assert binomtest(int(active[:512].sum()), active[:512].size, 0.01).pvalue > 1e-3
        np.testing.assert_array_equal(active[:512], active[512:])
        np.testing.assert_array_equal(active, known > 0)
        empty = int(np.sum(~active.any(axis=0)))
        assert binomtest(empty, 2000, 0.99**512).pvalue > 1e-3  # 0.6 % of the samples (SPEC 1)

    def test_everybody_in_massive_mimo(self):
        x, known = drawn(law("massive_mimo", *SMALL), 50)
        assert x.shape == known.shape == (280, 50)
        assert np.all(x != 0)
        np.testing.assert_array_equal(known[:, :8].std(axis=1), 0)  # one place for all angles of a realization
        assert known[:, 7:9].std(axis=1).all()


class TestActivityOfEachUser:
    """`problem.activity` as a list: user n is active with the probability of its place."""

    RATES = (0.02, 0.5, 1.0, 0.1, 0.3)
    WORDS = ("problem.users=5", f"problem.activity={list(RATES)}", "problem.pilots=3", *FEW)

    @pytest.mark.slow
    @pytest.mark.parametrize(("embedding", "antennas"), [("real", 1), *slow(("complex", 3))])
    def test_drawn_samples(self, embedding, antennas):
        problem = law("random_access", f"problem.embedding={embedding}", f"problem.antennas={antennas}", *self.WORDS)
        L = 12_000
        x, known = drawn(problem, L)
        active = known[:5] > 0
        np.testing.assert_array_equal(active, x[:5] != 0)
        for user, rate in enumerate(self.RATES):
            assert binomtest(int(active[user, ::antennas].sum()), L // antennas, rate).pvalue > 1e-4
        power = np.asarray(build(problem, 0).known_power)[:5]
        one = np.asarray(build(dataclasses.replace(problem, activity=1.0), 0).known_power)[:5]
        np.testing.assert_allclose(power[:, 0], one[:, 0] * self.RATES, rtol=1e-6)
        assert problem.hard_samples
        assert not problem.everybody_active

    @pytest.mark.slow
    def test_weighted_means_are_those_of_the_law(self):
        problem = build(law("random_access", *self.WORDS), 0)
        L = 60_000
        x, _, weights = (np.asarray(a) for a in emphasized(problem, L, 2.0, 2.5))
        active = x[:5] != 0
        for user, rate in enumerate(self.RATES):
            assert near(active[user, : L // 2], rate, L // 2)
            assert near(active[user, L // 2 :], 2 * rate / (1 - rate + 2 * rate), L // 2)
            assert near(weights * active[user], rate, L)
        assert near(weights, 1.0, L)
        assert 0 < weights.min() <= weights.max() < 2

    @pytest.mark.slow
    def test_equal_rates_are_one_number(self):
        """The weights of a list agree with those of the closed form for one activity."""
        listed, one = (build(law("random_access", "problem.users=5", f"problem.activity={rate}", *FEW), 0).draw
                       for rate in ([0.1] * 5, 0.1))  # fmt: skip
        active = np.random.default_rng(0).uniform(size=(5, 50)) < 0.3
        rates = np.full(5, 0.1)
        np.testing.assert_allclose(
            listed._ratio(active, rates, rates * 1.5), one._ratio(active, 0.1, jnp.float32(0.15)), rtol=1e-5
        )

    @pytest.mark.parametrize("wrong", ["[0.1,0.2]", "[0.1,0,0.1,0.1,0.1]", "[]", "[0.1,2,0.1,0.1,0.1]", "many"])
    def test_wrong_lists(self, wrong):
        with pytest.raises(UserError, match=r"problem\.activity") as error:
            law("random_access", "problem.users=5", f"problem.activity={wrong}", *FEW)
        assert "\n" not in str(error.value)


class TestEmphasis:
    """Half of the samples plain, half with more active users, and the weights that make up for it."""

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("embedding", "antennas"), [("real", 1), *slow(("complex", 1), ("real", 4), ("complex", 3))]
    )
    def test_weighted_means_are_those_of_the_law(self, embedding, antennas):
        """Σ w f(x) / L estimates E f(x) of the law without emphasis, within five standard errors."""
        users, L = 30, 60_000
        problem = law(
            "random_access", f"problem.embedding={embedding}", f"problem.antennas={antennas}", f"problem.users={users}",
            "problem.activity=0.1", "problem.pilots=2", *FEW,
        )  # fmt: skip
        built = build(problem, 0)
        x, y, weights = (np.asarray(a) for a in emphasized(built, L, 2.0, 2.5))
        assert (x.shape[1], y.shape[1], weights.shape) == (L, L, (L,))
        active = np.sum(x[:users] != 0, axis=0)
        halves = active[: L // 2], active[L // 2 :]
        for half, activity in zip(halves, (0.1, 0.2 / 1.1), strict=True):
            assert near(half, users * activity, L // 2 // antennas)
        assert 0 < weights.min() <= weights.max() < 2
        noise = np.sum(np.abs(y - np.asarray(built.A) @ x) ** 2, axis=0)
        power = float(np.sum(np.asarray(built.known_power, np.float64)))
        parts = 2 if embedding == "real" else 1
        moments = [
            (1.0, 1.0), (active, 3.0), (active == 0, 0.9**users), (np.sum(np.abs(x) ** 2, axis=0), power),
            (noise, 2 * parts * float(built.noise_variance)),
        ]  # fmt: skip
        for value, expected in moments:
            assert near(weights * value, expected, L // antennas)

    @pytest.mark.slow
    def test_none_where_nobody_asks_and_where_everybody_is_active(self):
        quiet = build(law("random_access", "problem.users=20", *FEW), 0)
        everybody = build(law("random_access", "problem.users=20", "problem.activity=1", *FEW), 0)
        for problem, batch, most in ((quiet, 9, None), (quiet, 1, 2.0), (everybody, 9, 2.0)):
            *samples, weights = emphasized(problem, batch, 2.0, most)
            np.testing.assert_array_equal(weights, np.ones(batch))
            jax.tree.map(np.testing.assert_array_equal, Samples(*samples), sample(problem, jax.random.key(1), batch))
