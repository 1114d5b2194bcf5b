"""How sure numbers are: sums over parts against metrics.nmse, replicates against theory, fresh samples, verdicts."""

import csv

import numpy as np
import pytest
from conftest import slow

from onsager_cli import run
from onsager_cli.cli.main import main
from onsager_cli.config.load import load_experiment
from onsager_cli.metrics import nmse
from onsager_cli.run import precision
from onsager_cli.store.tables import REPLICATES, read_table
from onsager_cli.theory.resampling import Resampled, weights


def drawn(seed, L, layers=3):
    """Errors (layers, L) that depend on each other and on the powers (L,), one of which is zero."""
    rng = np.random.default_rng(seed)
    powers = rng.gamma(4.0, 1.0, L)
    common = rng.gamma(2.0, 1.0, L)
    errors = np.array([0.1 * powers * common * rng.gamma(8.0, 0.1, L) * 2.0**-t for t in range(layers)])
    powers[1], errors[:, 1] = 0, 0.01
    return errors, powers


class TestResampled:
    @pytest.mark.parametrize(("together", "parts"), [(1, 1), (1, 4), (4, 3)])
    def test_sums_over_parts_are_the_statistics_of_all(self, together, parts):
        errors, powers = drawn(0, 240)
        sums = Resampled(together)
        for e, p in zip(np.split(errors, parts, axis=1), np.split(powers, parts), strict=True):
            sums.add(e, p)
        found = sums.statistics()
        for t, of_layer in enumerate(errors):
            expected = nmse(of_layer, powers, together)
            for name in ("nmse_db", "nmse_mean_ratio_db"):
                assert found[name][t] == pytest.approx(expected[name], abs=1e-9)
            # nmse leaves the factor n / (n - 1) of the ratio of sums away.
            assert found["nmse_db_se"][t] == pytest.approx(expected["nmse_db_se"], rel=0.02)
            assert found["nmse_mean_ratio_db_se"][t] == pytest.approx(expected["nmse_mean_ratio_db_se"], rel=0.02)

    def test_replicates_spread_as_much_as_the_standard_error_says(self):
        """Each is a bootstrap of its own, so that their spread is the standard error within 1 / sqrt(2 REPLICATES)."""
        ratios = []
        for seed in range(12):
            sums = Resampled()
            sums.add(*drawn(seed, 2000))
            found = sums.statistics()
            ratios += list(np.std(found["nmse_db_replicates"], axis=1, ddof=1) / found["nmse_db_se"])
        assert np.mean(ratios) == pytest.approx(1, abs=0.08)
        assert np.std(ratios) < 3 / np.sqrt(2 * REPLICATES)

    def test_pairs_share_their_draws(self):
        """The spread of a difference is that of the paired differences, not of two independent numbers."""
        errors, powers = drawn(1, 4000, 2)
        sums = Resampled()
        sums.add(errors, powers)
        found = sums.statistics()
        difference = found["nmse_db_replicates"][0] - found["nmse_db_replicates"][1]
        influence = errors[0] / errors[0].mean() - errors[1] / errors[1].mean()
        paired = 10 / np.log(10) * influence.std() / np.sqrt(4000)
        assert np.std(difference, ddof=1) == pytest.approx(paired, rel=0.35)  # of so few replicates
        assert paired < 0.7 * np.hypot(*found["nmse_db_se"])

    def test_draws_depend_on_nothing_but_the_part(self):
        np.testing.assert_array_equal(weights(3, 50), weights(3, 50))
        assert np.any(weights(3, 50) != weights(4, 50))
        assert weights(0, 10_000).mean() == pytest.approx(1, abs=0.01)


TOY = ["problem.instance=seeded", "problem.N=40", "problem.M=20", "problem.selection_samples=100",
       "problem.test_samples=300", "jobs=1"]  # fmt: skip


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """The record of a toy figure with fresh samples: the experiment and its folder."""
    place = tmp_path_factory.mktemp("precise")
    words = [
        *TOY, "+experiment=quick", f"output={place / 'outputs'}", "network.depth=3", "training.lamp.steps=[20]",
        "training.lista.steps=[20]", "plot.formats=[svg]", "fresh=4000",
    ]  # fmt: skip
    experiment = load_experiment(words)
    run.train(experiment, lambda _: None)
    return experiment, place, words


class TestFresh:
    @pytest.mark.slow
    def test_the_record_has_them(self, quick, monkeypatch, capsys):
        _, place, words = quick
        monkeypatch.chdir(place)
        assert main(["record", *words]) == 0
        said = capsys.readouterr().err
        assert "lamp_tied_bg (4/5): tested on 4,200 fresh samples" in said
        rows = read_table(place / "experiments" / "quick" / "curves.csv")
        assert {row["fresh_samples"] for row in rows} == {4200}
        for row in rows:
            near = 4 * np.hypot(row["nmse_db_se"], row["fresh_nmse_db_se"])
            assert row["fresh_nmse_db"] == pytest.approx(row["nmse_db"], abs=near)
            # 4,000 instead of 300 samples; heavy tails let either error vary.
            assert 1.5 < row["nmse_db_se"] / row["fresh_nmse_db_se"] < 9
        with open(place / "experiments" / "quick" / "replicates.csv", newline="") as file:
            found = list(csv.DictReader(file))
        assert len(found) == 4 * len(rows)  # two sets, two meanings of the NMSE
        for row in rows:
            of = next(
                r
                for r in found
                if (r["curve"], r["layer"], r["set"]) == (row["curve"], str(row["layer"] or ""), "test")
            )
            spread = np.std([int(of[f"r{i}"]) for i in range(REPLICATES)], ddof=1) / 1000
            assert spread == pytest.approx(row["nmse_db_se"], rel=0.6)
        assert main(["record", *words]) == 0
        assert "judged" not in capsys.readouterr().err  # the store keeps it

    @pytest.mark.slow
    def test_the_test_set_is_the_recorded_one(self, quick, monkeypatch):
        """Replicates are of the very numbers in the table, for each kind of curve."""
        experiment, place, words = quick
        monkeypatch.chdir(place)
        assert main(["record", *words]) == 0
        for curve in experiment.curves:
            for row in curve.folder.points():
                if (row["layer"] or 0) <= 3:
                    found = precision.found(curve)[row["layer"]]
                    assert float(found["test_nmse_db"]) == pytest.approx(row["nmse_db"], abs=1e-4)

    @pytest.mark.parametrize(
        "words",
        slow(
            ["problem=random_access", "network=lvamp_gh", "problem.users=10", "problem.pilots=10", "problem.activity=0.3",
             "training.lvamp_gh.steps=[8]", "problem.test_samples=300"],
            ["network=em_vamp", *TOY], ["network=lamp", "network.tied=false", "training.lamp_untied.steps=[8]",
             "training.lamp.steps=[8]", *TOY],
            ["network=lamp", "problem.ensemble=correlated", "training.lamp.steps=[8]", *TOY],
        ),
    )  # fmt: skip
    def test_any_curve(self, words, tmp_path):
        curve = load_experiment([*words, "network.depth=2", f"output={tmp_path}", "attainable=false"]).curves[0]
        run.train(
            load_experiment([*words, "network.depth=2", f"output={tmp_path}", "attainable=false"]), lambda _: None
        )
        assert precision.precise(curve, 600, lambda: run.problem_of(curve))
        assert not precision.precise(curve, 600, lambda: run.problem_of(curve))
        for row in curve.folder.points():
            found = precision.found(curve)[row["layer"]]
            assert float(found["test_nmse_db"]) == pytest.approx(row["nmse_db"], abs=1e-3)
            near = 5 * np.hypot(row["nmse_db_se"], found["fresh_nmse_db_se"])
            assert float(found["fresh_nmse_db"]) == pytest.approx(row["nmse_db"], abs=float(near))

    def test_exact_recovery(self, tmp_path):
        """Its NMSE is -inf dB, which has no standard error."""
        words = ["signal=rademacher", "problem.gamma=1", "problem.N=40", "problem.M=38", "problem.snr_db=50", "network=vamp",
                 "network.depth=3", "problem.selection_samples=50", "problem.test_samples=50", "attainable=false", f"output={tmp_path}"]  # fmt: skip
        experiment = load_experiment(words)
        run.train(experiment, lambda _: None)
        (curve,) = experiment.curves
        assert [np.isfinite(row["nmse_db"]) for row in curve.folder.points()] == [True, False, False]
        assert precision.precise(curve, 100, lambda: run.problem_of(curve)) == 100
        assert precision.precise(curve, 100, lambda: run.problem_of(curve)) is None
        assert list(precision.columns(curve)) == [1]

    def test_an_oracle_knows_the_gains_of_the_fresh_users(self, tmp_path):
        """The powers of the test set would be those of other users, or zero."""
        words = [
            "problem=random_access",
            "network=oracle",
            "problem.users=10",
            "problem.pilots=10",
            "problem.activity=0.3",
        ]
        experiment = load_experiment([*words, "problem.test_samples=300", f"output={tmp_path}"])
        run.train(experiment, lambda _: None)
        (curve,) = experiment.curves
        assert precision.precise(curve, 600, lambda: run.problem_of(curve)) == 600
        (row,), found = curve.folder.points(), precision.found(curve)[None]
        near = 4 * np.hypot(row["nmse_db_se"], found["fresh_nmse_db_se"])
        assert float(found["fresh_nmse_db"]) == pytest.approx(row["nmse_db"], abs=float(near))
        part = next(precision._fresh(curve, run.problem_of(curve), 600, [None]))
        np.testing.assert_array_equal(np.asarray(part.test.x) != 0, np.asarray(part.test_power) > 0)

    def test_a_number_that_says_nothing(self, capsys):
        assert main(["record", "+experiment=quick", "fresh=5"]) == 2
        assert "fresh must be at least 100, got 5" in capsys.readouterr().err
