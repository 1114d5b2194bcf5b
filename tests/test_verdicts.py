"""Verdicts under uncertainty, on tables written by hand: what is decided, by what, and what a table that is damaged says."""

import math

import pytest

from onsager_cli.claims.checks import _deviation
from onsager_cli.claims.claim import FAILS, HOLDS, NOT_RUN, UNDECIDED, judge, load
from onsager_cli.claims.recorded import Record
from onsager_cli.errors import UserError
from onsager_cli.store.files import atomic_write
from onsager_cli.store.tables import REPLICATE_KEY, REPLICATES, csv_bytes, write_table

CLAIM = """- id: c
  statement: s
  source: t
  paper: p
  criterion: {}
"""
COLUMNS = (*REPLICATE_KEY, *(f"r{i}" for i in range(REPLICATES)))


def verdict(folder, criterion, curves, replicates=()):
    """The verdict on curves: name → (seed → layer → (NMSE, its standard error, NMSE on fresh samples))."""
    rows = [
        {"curve": slug, "network": "lamp", "seed": seed, "instance": "seeded", "layer": layer, "nmse_db": value,
         "nmse_db_se": error, "fresh_nmse_db": fresh, "fresh_nmse_db_se": None if fresh is None else error / 10}
        for slug, by_seed in curves.items() for seed, points in by_seed.items()
        for layer, (value, error, fresh) in points.items()
    ]  # fmt: skip
    write_table(folder / "mine" / "curves.csv", rows)
    atomic_write(folder / "mine" / "claims.yaml", CLAIM.format(criterion).encode())
    if replicates:
        atomic_write(folder / "mine" / "replicates.csv", csv_bytes(list(replicates), COLUMNS))
    (claim,) = load([folder])
    return judge(claim, Record(folder))


def decisive(found):
    """The outcome that decides; there is one."""
    assert found.decisive is not None
    return found.decisive


def one(value, error=0.1, fresh=None):
    return {0: {1: (value, error, fresh)}}


def seeds(*values, error=0.1):
    return {seed: {1: (value, error, None)} for seed, value in enumerate(values)}


BELOW = "{value: a, layers: 1, at_most: -10}"


class TestOneMatrix:
    @pytest.mark.parametrize(
        ("value", "word"), [(-10.3, HOLDS), (-9.7, FAILS), (-10.1, UNDECIDED), (-9.95, UNDECIDED), (-10.0, UNDECIDED)]
    )
    def test_two_standard_errors_decide(self, tmp_path, value, word):
        found = verdict(tmp_path, BELOW, {"a": one(value)})
        assert found.word == word
        assert "± 0.20 dB" in found.measured
        assert ("within 2 standard errors of its limit on the first matrix" in found.note) == (word == UNDECIDED)

    def test_an_exact_number_is_decided_on_its_limit(self, tmp_path):
        assert verdict(tmp_path, BELOW, {"a": one(-10.0, 0)}).word == HOLDS
        assert verdict(tmp_path, "{value: a, layers: 1, less_than: -10}", {"a": one(-10.0, 0)}).word == FAILS

    @pytest.mark.parametrize("criterion", ["{value: a, layers: 1, between: [-0.125, 0.125]}",
                                           "{gap: [a, b], layers: 1, at_most: 0.13}"])  # fmt: skip
    def test_the_middle_of_limits_that_are_narrow_is_not_sure(self, tmp_path, criterion):
        """1.25 standard errors from both of them, although the margin cannot grow."""
        assert verdict(tmp_path, criterion, {"a": one(0.0), "b": one(0.0, 0)}).word == UNDECIDED

    def test_a_level_that_may_be_reached_is_not_missed(self, tmp_path):
        curve = {0: {1: (-5.0, 0.1, None), 2: (-9.95, 0.1, None)}}
        assert verdict(tmp_path, "{first: a, reaches: -10, at_most: 5}", {"a": curve}).word == UNDECIDED
        curve = {0: {1: (-5.0, 0.1, None), 2: (-8.0, 0.1, None)}}
        assert verdict(tmp_path, "{first: a, reaches: -10, at_most: 5}", {"a": curve}).word == FAILS

    def test_layers_of_one_curve_are_not_one_number(self, tmp_path):
        curve = {0: {1: (-5.0, 0.5, None), 2: (-5.2, 0.5, None)}}
        assert verdict(tmp_path, "{step: a, at_most: 0.3}", {"a": curve}).word == UNDECIDED

    def test_a_condition_that_a_replicate_does_not_meet_leaves_the_others(self, tmp_path):
        curve = {0: {1: (-5.0, 0.1, None), 2: (-5.45, 0.1, None)}}
        found = verdict(tmp_path, "{value: a, when: {step: a, less_than: 0.5}, at_most: -1}", {"a": curve})
        assert found.word == HOLDS

    def test_deviation(self):
        assert _deviation(1.0, [0.0, 2.0]) == 1.0
        assert _deviation(0.0, [-1.0, -1.0]) == 1.0, "about the number, not about the mean of replicates"
        assert _deviation(1.0, [0.0, -math.inf]) == math.inf
        assert _deviation(-math.inf, [-math.inf] * 3) == 0.0
        assert _deviation(-math.inf, [-math.inf, 0.0]) == math.inf


class TestReplicates:
    def rows(self, *moves):
        """Curves a, b, … whose replicates move by these thousandths of a dB, times a fixed pattern."""
        pattern = [1 if i % 2 else -1 for i in range(REPLICATES)]
        return [
            {"curve": slug, "instance": "seeded", "seed": 0, "layer": 1, "set": "test", "metric": "nmse_db",
             **{f"r{i}": move * sign for i, sign in enumerate(pattern)}}
            for slug, move in zip("ab", moves, strict=True)
        ]  # fmt: skip

    def test_pairs_decide_what_independent_errors_do_not(self, tmp_path):
        curves = {"a": one(-10.0, 0.3), "b": one(-9.8, 0.3)}
        criterion = "{difference: [b, a], layers: 1, more_than: 0}"
        assert verdict(tmp_path / "without", criterion, curves).word == UNDECIDED
        found = verdict(tmp_path / "with", criterion, curves, self.rows(300, 290))
        assert found.word == HOLDS
        assert "0.20 ± 0.02 dB" in found.measured

    @pytest.mark.parametrize("cell", ["9" * 400, "x", "0.5", ""])
    def test_a_damaged_cell_is_named(self, tmp_path, cell):
        rows = self.rows(1, 1)
        rows[1]["r3"] = cell
        if cell.isdigit():  # cut off: far beyond any standard error, so that nothing is decided by it
            assert verdict(tmp_path, BELOW, {"a": one(-11), "b": one(-11)}, rows).word in (HOLDS, UNDECIDED)
        else:
            with pytest.raises(UserError, match=r"replicates\.csv, line 3: replicates are whole numbers"):
                verdict(tmp_path, BELOW, {"a": one(-11), "b": one(-11)}, rows)

    def test_another_table_of_that_name(self, tmp_path):
        verdict(tmp_path, BELOW, {"a": one(-11)})
        (tmp_path / "mine" / "replicates.csv").write_text("a,b\n1,2\n")
        (claim,) = load([tmp_path])
        with pytest.raises(
            UserError, match="its columns must be curve, instance, seed, layer, set, metric and r0 to r"
        ):
            judge(claim, Record(tmp_path))


class TestSeveralMatrices:
    def test_the_mean_decides_what_the_first_leaves_open(self, tmp_path):
        found = verdict(tmp_path, BELOW, {"a": seeds(-10.1, -10.5, -10.6, -10.4)})
        assert (found.word, decisive(found).matrices) == (HOLDS, 4)
        assert decisive(found).value.low == pytest.approx(-10.4)
        # Student's limit for four: 3.18 standard errors of the mean.
        assert decisive(found).error == pytest.approx(0.2160 / 2 * 3.182 / 2, rel=1e-3)
        assert "within its limits on 4 of 4 matrices" in found.note

    def test_the_first_decides_alone_where_it_is_sure(self, tmp_path):
        found = verdict(tmp_path, BELOW, {"a": seeds(-11.0, -9.0, -9.0)})
        assert (found.word, decisive(found).matrices) == (HOLDS, 1)
        assert "within its limits on 1 of 3 matrices" in found.note

    def test_two_are_not_enough(self, tmp_path):
        assert decisive(verdict(tmp_path, BELOW, {"a": seeds(-10.1, -12.0)})).matrices == 1

    def test_the_spread_is_of_the_numbers(self, tmp_path):
        """Numbers on both sides of two limits have nearly equal margins."""
        found = verdict(tmp_path, "{value: a, layers: 1, between: [-1, 1]}", {"a": seeds(0.98, -2.0, 2.0, -2.0)})
        assert found.word == UNDECIDED
        assert decisive(found).error > 1

    def test_a_matrix_without_a_finite_number_leaves_it_open(self, tmp_path):
        curve = {s: {1: (-5.0, 0.1, None), 2: (end, 0.1, None)} for s, end in enumerate((-10.05, -9.0, -11.0))}
        assert verdict(tmp_path, "{first: a, reaches: -10, at_most: 5}", {"a": curve}).word == UNDECIDED
        curve[1][2] = (math.nan, 0.1, None)
        assert verdict(tmp_path, "{value: a, layers: 2, at_most: -10}", {"a": curve}).word == UNDECIDED

    def test_a_matrix_that_lacks_a_layer_is_left_out(self, tmp_path):
        curve = {s: {1: (-5.0, 0.1, None), 2: (-10.1, 0.1, None)} for s in range(4)}
        del curve[2][2]
        found = verdict(tmp_path, "{value: a, layers: 2, at_most: -10}", {"a": curve})
        assert (found.word, decisive(found).matrices) == (UNDECIDED, 3)
        assert "within its limits on 3 of 3 matrices" in found.note


class TestFreshSamples:
    @pytest.mark.parametrize(
        ("test", "fresh", "word"),
        [
            (-11.0, -11.0, HOLDS), (-9.0, -9.0, FAILS), (-11.0, -9.0, UNDECIDED), (-9.0, -11.0, UNDECIDED),
            (-11.0, -10.01, UNDECIDED), (-10.1, -10.01, UNDECIDED), (-10.1, -10.2, HOLDS), (-10.1, -9.9, FAILS),
        ],
    )  # fmt: skip
    def test_they_decide_what_the_test_set_does_not_and_must_not_contradict_it(self, tmp_path, test, fresh, word):
        found = verdict(tmp_path, BELOW, {"a": one(test, 0.1, fresh)})
        assert found.word == word
        assert ("the fresh samples decide" in found.note) == (test == -10.1 and word != UNDECIDED)
        assert "on fresh samples " in found.note

    def test_a_check_that_fails_beside_one_that_is_open(self, tmp_path):
        criterion = "[{value: a, layers: 1, at_most: -10}, {value: a, layers: 2, at_most: -10}]"
        found = verdict(tmp_path, criterion, {"a": {0: {1: (-9.0, 0.1, -11.0), 2: (-10.1, 0.1, -11.0)}}})
        assert found.word == UNDECIDED
        assert "test and fresh samples differ" in found.note

    def test_some_layers_are_not_enough(self, tmp_path):
        curve = {0: {1: (-11.0, 0.1, -11.0), 2: (-9.0, 0.1, None)}}
        assert verdict(tmp_path, "{value: a, at_most: -8}", {"a": curve}).fresh is None

    def test_what_is_not_run_has_none(self, tmp_path):
        found = verdict(tmp_path, "{value: a, layers: 7, at_most: -8}", {"a": one(-11, 0.1, -11)})
        assert found.word == NOT_RUN
