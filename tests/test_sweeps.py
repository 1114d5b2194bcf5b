"""The end of a sweep: one table and one drawing over what was swept, whatever became of its jobs."""

import csv
import math
import re
from pathlib import Path

import pytest
from conftest import slow

from onsager_cli.cli.main import main
from onsager_cli.config.load import load_experiment
from onsager_cli.config.overrides import parse
from onsager_cli.config.sweeping import jobs_of
from onsager_cli.figures import sweep as drawing
from onsager_cli.figures.looks import in_print, styles
from onsager_cli.record.sweeps import Job, Sweep, conclude
from onsager_cli.store.tables import read_table

SMALL = ("problem.N=20", "problem.M=10", "network=amp", "network.depth=2", "plot.formats=[svg]")


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def row(curve, layer, nmse_db, seconds=2.0):
    settings = curve.settings
    return {
        "curve": curve.slug, "network": settings.network.name, "shrinkage": settings.shrinkage.family, "tied": settings.network.tied if settings.training.trains else None,
        "layer": layer, "nmse_db": nmse_db, "nmse_db_se": 0.25, "nmse_mean_ratio_db": nmse_db, "steps": 0,
        "problem": settings.problem.name, "instance": "seeded", "seed": settings.seed, "seconds": seconds, "parameters": 1,
    }  # fmt: skip


def sweep(*words, level=lambda curve, layer: -float(layer), skip=()) -> Sweep:
    """A sweep whose jobs have stored curves with these levels; those at the positions `skip` have none."""
    jobs = [Job(load_experiment(own), tuple(own)) for own in jobs_of(parse(words, sweep=True))]
    for number, job in enumerate(jobs):
        for part in job.experiment.parts if number not in skip else ():
            for curve in part.curves:
                depth = curve.settings.network.depth
                layers = [None] if depth is None else range(1, depth + 1)
                curve.claim().add_points(row(curve, layer, level(curve, layer or 9)) for layer in layers)
    return Sweep(jobs)


def of_snr(curve, layer):
    return -curve.settings.problem.snr_db - layer


def texts(path):
    """The texts of an svg."""
    return re.findall(r"<!-- (.*?) -->", path.read_text())


class TestTable:
    def test_a_row_per_run(self):
        found = sweep(*SMALL, "problem.snr_db=20,40", "shrinkage=soft,bg", level=of_snr)
        text, (table, curves, _) = conclude(found)
        rows = list(csv.DictReader(table.read_text().splitlines()))
        own = [(r["problem.snr_db"], r["shrinkage"], r["curve"], r["layer"], float(r["nmse_db"])) for r in rows]
        assert own == [
            ("20", "soft", "amp_l1", "2", -22.0), ("20", "bg", "amp_bg", "2", -22.0),
            ("40", "soft", "amp_l1", "2", -42.0), ("40", "bg", "amp_bg", "2", -42.0),
        ]  # fmt: skip
        assert {r["seconds"] for r in rows} == {"2"}
        assert text.splitlines()[0].split() == ["snr_db", "shrinkage", "curve", "layer", "NMSE", "(dB)", "seconds"]
        assert text.splitlines()[3].split() == ["40", "soft", "amp_l1", "2", "-42.00", "±", "0.25", "2.0"]
        points = read_table(curves)
        assert len(points) == 8
        assert {r["curve"] for r in points} >= {"amp_l1 snr_db=20 shrinkage=soft", "amp_bg snr_db=40 shrinkage=bg"}

    def test_only_up_to_the_depth_asked_for(self):
        sweep(*SMALL[:3], "network.depth=4", "problem.snr_db=20")
        found = sweep(*SMALL[:3], "network.depth=1,2,3", "problem.snr_db=20", skip=(0, 1, 2))
        assert [r["layer"] for r in found.table()] == [1, 2, 3]

    def test_a_job_that_failed_has_a_row_without_numbers(self):
        text, (table, *_) = conclude(sweep(*SMALL, "problem.snr_db=20,30,40", skip=(1,)))
        rows = list(csv.DictReader(table.read_text().splitlines()))
        assert [r["nmse_db"] for r in rows] == ["-2", "", "-2"]
        assert text.splitlines()[2].split() == ["30", "-", "-", "-"]

    @pytest.mark.slow
    def test_a_long_one_is_cut_for_people(self):
        text, (table, *_) = conclude(sweep(*SMALL, "seed=range(0,60)"))
        assert len(text.splitlines()) == 42
        assert text.splitlines()[21] == "… 20 more in sweep.csv"
        assert len(table.read_text().splitlines()) == 61

    def test_words_of_hydra_are_as_in_a_config(self):
        found = sweep("problem.N=20", "problem.M=10", "network.tied=true,false", skip=(0, 1))
        assert [r["network.tied"] for r in found.table()] == ["true", "false"]

    @pytest.mark.parametrize("words", [("plot.formats=[svg],[png]",), ("problem.snr_db=20",)])
    def test_nothing_where_nothing_was_swept(self, words):
        assert conclude(sweep(*SMALL[:4], *words)) == ("", [])
        assert not Path("outputs/figures").exists()

    def test_nothing_where_nothing_is_stored(self):
        assert conclude(sweep(*SMALL, "seed=0,1", skip=(0, 1))) == ("", [])


class TestDrawing:
    def test_over_the_number_that_was_swept(self):
        found = sweep(*SMALL, "problem.snr_db=20,30,40", "shrinkage=soft,bg", level=of_snr)
        assert found.axis == "problem.snr_db"
        rows, swept = found.drawn()
        assert [(r["curve"], r["x"], r["nmse_db"]) for r in rows if "bg" in r["curve"]] == [
            ("amp_bg shrinkage=bg", x, -x - 2) for x in (20, 30, 40)
        ]
        assert list(drawing.labels(rows, swept).values()) == ["AMP-$\\ell_1$", "AMP-BG"]
        (picture,) = [path for path in conclude(found)[1] if path.suffix == ".svg"]
        assert {"problem.snr_db", "NMSE (dB)", "AMP-BG", "30"} <= set(texts(picture))

    def test_its_axis_may_have_a_name(self):
        found = sweep(*SMALL, "problem.snr_db=20,30", 'figure.xlabel="SNR (dB)"', level=of_snr)
        (picture,) = [path for path in conclude(found)[1] if path.suffix == ".svg"]
        assert "SNR (dB)" in texts(picture)
        assert "problem.snr_db" not in texts(picture)

    @pytest.mark.parametrize(
        ("words", "axis"),
        [
            (("problem.snr_db=20,40", "seed=0,1"), "problem.snr_db"),
            (("seed=0,1",), None),
            (("problem.snr_db=20,40", "problem.gamma=0.1,0.2"), None),
            (("shrinkage=soft,bg",), None),
            (("problem.kappa=null,15",), None),
            (("problem.snr_db=[10,20],20",), None),
        ],
    )
    def test_which_axis(self, words, axis):
        assert sweep(*SMALL, *words, skip=range(9)).axis == axis

    def test_over_layers_where_no_number_or_several_were_swept(self):
        found = sweep(*SMALL, "problem.snr_db=20,40", "problem.gamma=0.1,0.2", level=of_snr)
        rows, swept = found.drawn()
        assert len(rows) == 8
        labels = ["snr_db=20, gamma=0.1", "snr_db=20, gamma=0.2", "snr_db=40, gamma=0.1", "snr_db=40, gamma=0.2"]
        assert list(drawing.labels(rows, swept).values()) == labels
        (picture,) = [path for path in conclude(found)[1] if path.suffix == ".svg"]
        assert {"layer", *labels} <= set(texts(picture))

    def test_legends_say_what_differs_among_networks_that_look_alike(self):
        found = sweep(*SMALL, "shrinkage=soft,bg", "problem.balance=on,off")
        labels = list(drawing.labels(*found.drawn()).values())
        assert labels == [f"{name}, balance={way}" for name in ("AMP-$\\ell_1$", "AMP-BG") for way in ("on", "off")]

    @pytest.mark.parametrize("count", [7, 26])
    def test_no_two_of_many_lines_look_alike(self, count):
        found = sweep(*SMALL, f"seed=range(0,{count})")
        rows, _ = found.drawn()
        looks = styles(rows).values()
        assert len({in_print(look) for look in looks}) == count

    def test_what_diverges_is_left_out_and_stays_in_the_table(self):
        found = sweep(
            *SMALL, "problem.kappa=1,10,100", level=lambda c, _: 3e4 if c.settings.problem.kappa == 10 else -9
        )
        conclude(found)
        assert [r["nmse_db"] for r in found.table()] == [-9, 3e4, -9]

    def test_of_an_experiment_with_several_curves(self):
        size = ("problem.instance=seeded", "problem.N=20", "problem.M=10")
        found = sweep("+experiment=quick", *size, "problem.snr_db=20,40", "plot.formats=[svg]", level=of_snr)
        assert len(found.table()) == 10
        assert [r["layer"] for r in found.table()[:5]] == [4, 4, 4, 4, None]
        (picture,) = [path for path in conclude(found)[1] if path.suffix == ".svg"]
        assert {"LISTA, tied", "LAMP-BG, tied", "support oracle"} <= set(texts(picture))

    @pytest.mark.parametrize("name", slow("fig1"))
    def test_of_panels(self, name):
        found = sweep(f"+experiment={name}", "problem.instance=seeded", "problem.snr_db=20,40", level=of_snr)
        assert {r["panel"] for r in found.table()} == {"fig1a", "fig1b"}
        assert conclude(found)[1]


class TestName:
    def test_says_what_was_swept_and_is_that_of_the_same_command(self):
        one = sweep(*SMALL, "problem.snr_db=20,40", "seed=0,1", skip=range(4))
        again = sweep("seed=0,1", *SMALL, "problem.snr_db=20,40", "jobs=2", skip=range(4))
        other = sweep(*SMALL, "problem.snr_db=20,30", "seed=0,1", skip=range(4))
        assert re.fullmatch(r"sweep-snr_db\+seed-[0-9a-f]{8}", one.name)
        assert again.name.rpartition("-")[2] == one.name.rpartition("-")[2]
        assert other.name != one.name

    def test_may_be_given(self):
        assert sweep(*SMALL, "seed=0,1", "figure.name=mine", skip=(0, 1)).name == "sweep-mine"

    def test_is_short(self):
        words = (
            "problem.noise=nominal,per_sample",
            "problem.selection_samples=10,20",
            "problem.test_samples=10,20",
            "network.damping=0.1,0.2",
            "problem.snr_db=20,40",
        )
        assert re.fullmatch(r"sweep-[0-9a-f]{8}", sweep(*SMALL, *words, skip=range(32)).name)


class TestCommand:
    @pytest.mark.slow
    def test_ends_with_the_table_and_the_drawing(self, capsys):
        tiny = ("problem.selection_samples=20", "problem.test_samples=20", "attainable=false")
        assert main(["sweep", *SMALL, *tiny, "problem.snr_db=20,40"]) == 0
        out, err = capsys.readouterr()
        *_, table, curves, picture = map(Path, out.splitlines())
        assert (table.name, curves.name, picture.suffix) == ("sweep.csv", "curves.csv", ".svg")
        assert table.parent.name == picture.stem
        last = [line.split() for line in err.splitlines()[-3:]]
        assert last[0] == ["snr_db", "layer", "NMSE", "(dB)", "seconds"]
        levels = [float(r["nmse_db"]) for r in csv.DictReader(table.read_text().splitlines())]
        assert [float(line[2]) for line in last[1:]] == pytest.approx(levels, abs=0.006)
        assert all(map(math.isfinite, levels))
        assert main(["list", "runs", "--sort", "problem.snr_db", "--csv"]) == 0
        assert [float(r["nmse_db"]) for r in csv.DictReader(capsys.readouterr().out.splitlines())] == levels

    def test_a_table_that_cannot_be_written(self, capsys, monkeypatch):
        sweep(*SMALL, "seed=0,1")
        name = sweep(*SMALL, "seed=0,1").name
        Path("outputs/figures").mkdir(parents=True, exist_ok=True)
        Path("outputs/figures", name).write_text("mine")
        monkeypatch.setattr("onsager_cli.cli.sweep.launch", lambda *_: {})
        assert main(["sweep", *SMALL, "seed=0,1"]) == 2
        assert f"outputs/figures/{name} is not a folder" in capsys.readouterr().err
