"""Error bars: curves on several matrices, from the config to the tables, the figure, the record and the verdicts."""

import csv
import math
import shutil
import statistics
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import slow
from test_figures import curve, level, spec
from test_record import cells, experiment, rows_of
from test_record import curve as recorded

from onsager_cli import run
from onsager_cli.claims.verify import verify
from onsager_cli.config.load import load_experiment
from onsager_cli.errors import Notice, UserError
from onsager_cli.figures.curves import build
from onsager_cli.record.pages import missing, readme
from onsager_cli.store.seeds import averaged, spread
from onsager_cli.store.tables import read_table, table_bytes
from onsager_cli.text import cell

VALUES = {0: [-5.0, -9.0], 1: [-6.0, -9.5], 2: [-4.0, -11.0]}
TOY = (
    "+experiment=quick", "seeds=[4,5,6]", "seed=4", "only=[amp_l1,oracle]", "network.depth=2", "problem.N=40",
    "problem.M=20", "problem.instance=seeded", "problem.selection_samples=8", "problem.test_samples=8", "plot.formats=[svg]",
)  # fmt: skip


def on_matrices(values: dict[int, list[float]] = VALUES) -> list[dict]:
    return [
        {**row, "instance": "seeded" if seed else "authors2017", "seed": seed}
        for seed, of in values.items()
        for row in curve("lamp_tied_bg", "lamp", "bg", True, of)
    ]


def test_the_published_matrix_comes_first_and_further_ones_are_drawn_anew():
    curves = load_experiment(["+experiment=fig10", "seeds=[0,1,2]", "only=[lamp_untied_bg,oracle]"]).curves
    assert [(c.slug, c.settings.problem.instance, c.settings.seed) for c in curves] == [
        (slug, instance, seed)
        for slug in ("lamp_untied_bg", "oracle")
        for instance, seed in (("authors2017", 0), ("seeded", 1), ("seeded", 2))
    ]
    (alone, _) = load_experiment(["+experiment=fig10", "only=[lamp_untied_bg,oracle]"]).curves
    assert curves[0].identity == alone.identity


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("seeds=[1,2]", r"seeds must begin with seed=0, got \[1, 2\]"),
        *slow(
            ("seeds=[0,0]", "seeds must list at least one seed, and each seed once"),
            ("seeds=[0,-1]", "seeds must be at least 0"),
            ("seeds=3", "seeds must be a list of whole numbers, got 3"),
        ),
    ],
)
def test_mistakes(override, words):
    with pytest.raises(UserError, match=words):
        load_experiment(["+experiment=quick", override])


def test_figures_of_one_matrix_refuse_several():
    with pytest.raises(
        UserError, match=r"seeds are for figures of curves on several matrices: figure\.kind=qq shows one matrix"
    ):
        load_experiment(["+experiment=fig5", "seeds=[0,1]"])


def test_mean_and_standard_error_over_the_matrices():
    rows = averaged(on_matrices() + level("oracle", "oracle", -46.0))
    assert [(row["layer"], row.get("matrices")) for row in rows] == [(1, 3), (2, 3), (None, None)]
    for row, values in zip(rows, zip(*VALUES.values(), strict=True), strict=False):
        assert row["nmse_db"] == pytest.approx(np.mean(values))
        assert row["nmse_db_se"] == pytest.approx(np.std(values, ddof=1) / math.sqrt(3))
    (first, second) = spread(on_matrices())
    assert (first["lowest_nmse_db"], first["highest_nmse_db"]) == (-6, -4)
    assert (second["lowest_nmse_db"], second["highest_nmse_db"]) == (-11, -9)


def test_a_layer_that_one_matrix_lacks_has_no_mean():
    rows = averaged(on_matrices({0: [-5.0, -9.0], 1: [-6.0]}))
    assert [row["layer"] for row in rows] == [1]


def test_the_figure_draws_the_mean_in_a_band_and_a_single_matrix_without():
    axes = build(spec(), on_matrices() + curve("lista_tied", "lista", "threshold", True, [-3.0, -4.0])).axes[0]
    lines = {str(line.get_label()): np.asarray(line.get_ydata()) for line in axes.get_lines()}
    assert lines["LAMP-BG, tied"].tolist() == pytest.approx([-5, statistics.fmean([-9, -9.5, -11])])
    (band,) = axes.collections
    edge = np.asarray(band.get_paths()[0].vertices)[:, 1]
    low, high = edge.min(), edge.max()
    assert high == pytest.approx(-5 + 1 / math.sqrt(3))
    assert low == pytest.approx(np.mean([-9, -9.5, -11]) - statistics.stdev([-9, -9.5, -11]) / math.sqrt(3))


def test_a_matrix_of_ones_own_has_no_further_ones(tmp_path):
    np.save(tmp_path / "mine.npy", np.eye(20, 40))
    own = [f"problem.matrix={tmp_path / 'mine.npy'}", "problem.M=20", "problem.N=40", "network=amp"]
    assert len(load_experiment([*own, "seeds=[0]"]).curves) == 1
    with pytest.raises(UserError, match=r"curve amp_l1: seeds draws further matrices, and problem\.matrix"):
        load_experiment([*own, "seeds=[0,1]"])


def test_the_record_averages_counts_and_tells_what_is_missing():
    rows = [
        row
        for seed, of in VALUES.items()
        for row in rows_of("lamp_tied_bg", "lamp", "bg", True, of[: 2 - (seed == 2)], seed=seed,
                           instance="seeded" if seed else "authors2017", rescued=int(seed == 1))
    ]  # fmt: skip
    curves = [recorded("lamp_tied_bg", 2, seed=seed) for seed in VALUES]
    assert missing(curves, rows) == ["lamp_tied_bg (seed 2): layer 2"]
    text = readme(experiment(*curves), rows, {("lamp_tied_bg", 0): {}})
    assert "Curves are means over 3 matrices (the first, and those of the seeds 1, 2). Shaded is one" in text
    assert "`lamp_tied_bg` (seed 1): a stage diverged and restarted" in text
    assert "`lamp_tied_bg`: a stage diverged" not in text
    nmse, cost = text.split("## Training cost")
    assert cells(nmse, "`lamp_tied_bg`")[0] == "-5.00"
    assert cells(cost, "`lamp_tied_bg`")[:3] == ["1 to 2", "5,000", "50.0"]


@pytest.mark.slow
def test_what_it_costs_is_the_mean_over_the_matrices(tmp_path, monkeypatch):
    """The NMSE of the costs is the mean; the multiply-adds, which all matrices share, are counted once."""
    monkeypatch.chdir(tmp_path)
    quick = load_experiment([*TOY, "figure.kind=costs"])
    run.train(quick, lambda event: None)
    files = {path.stem: path for path in run.plot(quick)[0] if path.suffix == ".csv"}
    costs, spreads = (list(csv.DictReader(files[name].read_text().splitlines())) for name in ("costs", "seeds"))
    assert [(row["curve"], row["layer"]) for row in costs] == [("amp_l1", "1"), ("amp_l1", "2")]
    for row in costs:
        values = [of["nmse_db"] for of in read_table(files["curves"]) if cell(of["layer"]) == row["layer"]]
        assert len(values) == 3
        assert float(row["nmse_db"]) == pytest.approx(np.mean(values))
    assert {row["matrices"] for row in spreads} == {"3"}


@pytest.mark.slow
def test_from_the_command_to_a_verdict_per_matrix(tmp_path, monkeypatch):
    """Untrained curves, so that nothing has to be learned: a table, its spread, a drawing, and a verdict."""
    monkeypatch.chdir(tmp_path)
    quick = load_experiment(TOY)
    assert run.train(quick, lambda event: None) == []
    files, lacking = run.plot(quick)
    assert (lacking, [path.name for path in files]) == ([], ["curves.csv", "seeds.csv", "quick.svg"])
    rows = read_table(files[0])
    assert len({row["nmse_db"] for row in rows if row["layer"] == 2}) == 3
    Path("outputs/figures/quick/claims.yaml").write_text(
        yaml.safe_dump([{
            "id": "mine", "statement": "x", "source": "x", "paper": "x",
            "criterion": {"value": "amp_l1", "layers": 2, "at_most": 100},
        }])
    )  # fmt: skip
    (verdict,) = verify(Path("outputs/figures"))
    assert list(verdict.seeds) == [("seeded", 4), ("seeded", 5), ("seeded", 6)]
    assert verdict.note.startswith("within its limits on 3 of 3 matrices: ")


class TestKept:
    """A record keeps what it has of curves that are not stored here, if they are of the same settings."""

    @pytest.fixture
    def recorded(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        quick = load_experiment([*TOY, "fresh=100"])
        run.train(quick, lambda event: None)
        run.record(quick)
        return Path("experiments/quick")

    def forget(self, *seeds):
        for one in load_experiment(TOY).curves:
            if one.settings.seed in seeds:
                shutil.rmtree(one.folder.path)

    @pytest.mark.slow
    def test_the_same_tables_and_page_come_out(self, recorded):
        tables = ("curves.csv", "seeds.csv", "replicates.csv", "made.json", "README.md")
        before = {name: (recorded / name).read_bytes() for name in tables}
        self.forget(5)
        events = []
        assert run.record(load_experiment([*TOY, "fresh=100"]), report=events.append)[1] == []
        assert {name: (recorded / name).read_bytes() for name in before} == before
        assert events[0] == {"event": "kept", "curves": ["amp_l1 (seed 5)", "oracle (seed 5)"]}

    @pytest.mark.slow
    def test_a_shallower_network_does_not_replace_a_recorded_one(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        words = [
            "+experiment=quick", "problem.N=40", "problem.M=20", "problem.selection_samples=100",
            "problem.test_samples=50", "training.lamp.steps=[20]", "training.lista.steps=[20]", "problem.instance=seeded",
            "fresh=100", "jobs=1",
        ]  # fmt: skip
        deep = load_experiment([*words, "network.depth=3"])
        run.train(deep, lambda event: None)
        run.record(deep)
        table = Path("experiments/quick/curves.csv")
        before = table.read_bytes()
        for one in deep.curves:
            if one.settings.network.depth is not None:  # the oracle has no layers
                shutil.rmtree(one.folder.path)
        run.train(load_experiment([*words, "network.depth=2"]), lambda event: None)
        events = []
        assert run.record(deep, report=events.append)[1] == []
        assert table.read_bytes() == before
        assert "lamp_tied_bg (seed 0)" in events[0]["curves"]

    @pytest.mark.slow
    def test_of_other_settings_nothing_is_kept(self, recorded):
        self.forget(5, 6)
        other = load_experiment([*TOY, "problem.snr_db=20"])
        run.train(load_experiment([*TOY[:1], *TOY[2:], "problem.snr_db=20"]), lambda event: None)
        with pytest.warns(Notice, match="onsager replaces experiments"):
            lacking = run.record(other)[1]
        assert lacking == ["amp_l1 (seed 5)", "amp_l1 (seed 6)", "oracle (seed 5)", "oracle (seed 6)"]
        assert {row["seed"] for row in read_table(recorded / "curves.csv")} == {4}

    @pytest.mark.slow
    def test_an_edited_table_is_refused(self, recorded):
        rows = read_table(recorded / "curves.csv")
        (recorded / "curves.csv").write_bytes(table_bytes([{**row, "nmse_db": row["nmse_db"] + 1} for row in rows]))
        before = {path.name: path.read_bytes() for path in recorded.iterdir()}
        run.record(load_experiment([*TOY, "fresh=100"]))  # all is stored, and wins
        assert read_table(recorded / "curves.csv") == rows
        (recorded / "curves.csv").write_bytes(before["curves.csv"])
        self.forget(5)
        with pytest.raises(UserError, match=r"curves\.csv has other numbers of amp_l1 \(seed 5\) than onsager wrote"):
            run.record(load_experiment([*TOY, "fresh=100"]))
        assert (recorded / "curves.csv").read_bytes() == before["curves.csv"]

    @pytest.mark.slow
    @pytest.mark.parametrize("text", ["x{", *slow("[]", "3", '{"amp_l1/seeded/5": 3}', "")])
    def test_a_damaged_note_loses_nothing(self, recorded, text):
        before = {path.name: path.read_bytes() for path in recorded.iterdir()}
        (recorded / "made.json").write_text(text)
        self.forget(5)
        with pytest.raises(UserError, match=r"made\.json is damaged"):
            run.record(load_experiment([*TOY, "fresh=100"]))
        assert {name: (recorded / name).read_bytes() for name in before if name != "made.json"} == {
            name: data for name, data in before.items() if name != "made.json"
        }

    def test_a_figure_whose_tables_come_from_stored_networks_is_refused(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        one = [word.replace(",oracle", "") for word in TOY if not word.startswith("seeds")]
        experiment = load_experiment([*one, "figure.kind=decoupling"])
        run.train(experiment, lambda event: None)
        run.record(experiment)
        before = {path.name: path.read_bytes() for path in Path("experiments/quick").iterdir()}
        shutil.rmtree(experiment.curves[0].folder.path)
        with pytest.raises(
            UserError, match=r"would lose layers of amp_l1 \(seed 4\), because .*: first run onsager train "
        ):
            run.record(experiment)
        assert {path.name: path.read_bytes() for path in Path("experiments/quick").iterdir()} == before
        Path("experiments/quick/curves.csv").unlink()
        with pytest.raises(UserError, match="nothing is trained yet"):
            run.record(experiment)
