"""NMSE in its meanings, and their standard errors against the bootstrap."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from onsager_cli import metrics
from onsager_cli.metrics import to_db

positive = st.floats(1e-6, 1e6)
samples = st.lists(st.tuples(positive, positive), min_size=2, max_size=30)


def nmse(errors: np.ndarray, powers: np.ndarray, together: int = 1) -> dict[str, Any]:
    return dict(metrics.nmse(errors, powers, together))


def split(pairs) -> tuple[np.ndarray, np.ndarray]:
    errors, powers = np.array(pairs).T
    return errors, powers


class TestMeanings:
    def test_by_hand(self):
        """Errors 1 and 3 of powers 2 and 30: 4/32 of the power, but (1/2 + 1/10)/2 on average."""
        found = nmse(np.array([1.0, 3.0]), np.array([2.0, 30.0]))
        assert found["nmse_db"] == pytest.approx(10 * math.log10(4 / 32))
        assert found["nmse_mean_ratio_db"] == pytest.approx(10 * math.log10(0.3))
        assert found["nmse_median_db"] == pytest.approx(10 * math.log10(0.3))
        assert found["zero_samples"] == 0

    @given(pairs=samples, scale=positive)
    @examples(max_examples=50)
    def test_scaling_the_signals_changes_nothing(self, pairs, scale):
        errors, powers = split(pairs)
        one, other = nmse(errors, powers), nmse(scale * errors, scale * powers)
        assert all(one[key] == pytest.approx(other[key], rel=1e-9, abs=1e-9) for key in one)

    @given(pairs=samples, gain=st.floats(-30, 30))
    @examples(max_examples=50)
    def test_a_gain_in_decibels_moves_every_meaning_by_as_much(self, pairs, gain):
        errors, powers = split(pairs)
        one, other = nmse(errors, powers), nmse(errors * 10 ** (gain / 10), powers)
        for key in ("nmse_db", "nmse_mean_ratio_db", "nmse_median_db"):
            assert other[key] - one[key] == pytest.approx(gain, abs=1e-7)
        for key in ("nmse_db_se", "nmse_mean_ratio_db_se"):
            assert other[key] == pytest.approx(one[key], rel=1e-7, abs=1e-9)

    @given(power=positive, errors=st.lists(positive, min_size=2, max_size=30))
    @examples(max_examples=50)
    def test_signals_of_equal_power_leave_one_meaning(self, power, errors):
        found = nmse(np.array(errors), np.full(len(errors), power))
        assert found["nmse_db"] == pytest.approx(found["nmse_mean_ratio_db"], abs=1e-9)

    @given(pairs=samples, order=st.randoms())
    @examples(max_examples=30)
    def test_order_does_not_matter(self, pairs, order):
        shuffled = list(pairs)
        order.shuffle(shuffled)
        one, other = nmse(*split(pairs)), nmse(*split(shuffled))
        assert all(one[key] == pytest.approx(other[key], rel=1e-9, abs=1e-9) for key in one)


class TestEdges:
    def test_samples_without_a_signal_are_left_out_and_counted(self):
        """Their error counts in the ratio of sums; a ratio of their own is undefined."""
        found = nmse(np.array([1.0, 2.0, 5.0]), np.array([10.0, 20.0, 0.0]))
        assert found["zero_samples"] == 1
        assert found["nmse_db"] == pytest.approx(10 * math.log10(8 / 30))
        assert found["nmse_mean_ratio_db"] == pytest.approx(-10)

    def test_no_signal_at_all(self):
        with pytest.raises(ValueError, match="all samples are zero"):
            nmse(np.ones(3), np.zeros(3))

    def test_perfect_recovery(self):
        found = nmse(np.zeros(3), np.ones(3))
        assert found["nmse_db"] == found["nmse_mean_ratio_db"] == -math.inf
        assert found["nmse_db_se"] is found["nmse_mean_ratio_db_se"] is None

    @pytest.mark.parametrize(("samples", "together"), [(1, 1), (8, 8), (5, 8)])
    def test_one_sample_or_realization_has_no_standard_error(self, samples, together):
        found = nmse(np.full(samples, 0.1) * np.arange(1, samples + 1), np.arange(1.0, samples + 1), together)
        assert found["nmse_db"] == pytest.approx(-10)
        assert found["nmse_db_se"] is found["nmse_mean_ratio_db_se"] is None

    def test_one_sample_with_a_signal_has_no_standard_error_of_its_ratio(self):
        found = nmse(np.array([0.1, 0.2]), np.array([1.0, 0.0]))
        assert found["nmse_mean_ratio_db_se"] is None

    @pytest.mark.parametrize("error", [np.inf, np.nan])
    def test_a_network_that_diverged(self, error):
        found = nmse(np.array([0.1, error, 0.1]), np.ones(3))
        assert not found["nmse_db"] < np.inf
        assert found["nmse_db_se"] is found["nmse_mean_ratio_db_se"] is None

    def test_float32_input_is_summed_in_float64(self):
        n = 1_000_000
        found = nmse(np.full(n, 0.1, np.float32), np.ones(n, np.float32))
        assert found["nmse_db"] == pytest.approx(10 * math.log10(float(np.float32(0.1))), abs=1e-9)

    def test_decibels(self):
        np.testing.assert_allclose(to_db(np.array([0.0, 0.01, 1.0, 100.0])), [-np.inf, -20, 0, 20])


class TestStandardErrors:
    @pytest.mark.parametrize("spread", [0.2, 0.8])
    def test_against_the_bootstrap(self, spread):
        """400 samples with errors that grow with the power; 2000 resamples know a standard error to 2 %.

        The delta method and the bootstrap differ by a few per cent where errors are skewed.
        """
        rng = np.random.default_rng(0)
        powers = rng.gamma(5, size=400)
        errors = 1e-3 * powers * np.exp(spread * rng.normal(size=400))
        found = nmse(errors, powers)
        resampled = []
        for _ in range(2000):
            chosen = rng.integers(0, 400, 400)
            resampled.append(nmse(errors[chosen], powers[chosen]))
        for key in ("nmse_db", "nmse_mean_ratio_db"):
            spread_of_resamples = np.std([each[key] for each in resampled])
            assert found[f"{key}_se"] == pytest.approx(spread_of_resamples, rel=0.1)

    def test_they_cover_the_truth(self):
        """Two standard errors hold the true value about 95 times in 100."""
        rng = np.random.default_rng(1)
        truth, hits = 10 * math.log10(1e-2 * math.exp(0.5**2 / 2)), 0
        for _ in range(400):
            powers = rng.gamma(5, size=200)
            found = nmse(1e-2 * powers * np.exp(0.5 * rng.normal(size=200)), powers)
            hits += abs(found["nmse_db"] - truth) < 2 * found["nmse_db_se"]
        assert 0.92 < hits / 400 < 0.98

    def test_equal_ratios_have_none(self):
        powers = np.array([1.0, 2.0, 3.0])
        found = nmse(0.1 * powers, powers)
        assert found["nmse_db_se"] == pytest.approx(0, abs=1e-12)
        assert found["nmse_mean_ratio_db_se"] == pytest.approx(0, abs=1e-12)


def test_samples_that_repeat_each_other_add_no_certainty():
    """Eight angles of one realization that err alike are one sample; taken for independent, they would seem to be eight."""
    rng = np.random.default_rng(3)
    errors, powers = rng.exponential(size=50), rng.exponential(size=50) + 0.1
    powers[7] = 0  # left out of the mean of ratios, with its whole group
    once, repeated = nmse(errors, powers), nmse(np.repeat(errors, 8), np.repeat(powers, 8), together=8)
    for key, value in once.items():
        assert repeated[key] == pytest.approx(8 * value if key == "zero_samples" else value, rel=1e-12)
    assert nmse(np.repeat(errors, 8), np.repeat(powers, 8))["nmse_db_se"] < 0.4 * once["nmse_db_se"]
