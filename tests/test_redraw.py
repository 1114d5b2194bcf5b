"""`onsager record --redraw`: drawings of a record from its tables, without a trained network."""

import shutil
from pathlib import Path

import pytest
from test_mistakes import said

from onsager_cli.cli.main import main
from onsager_cli.errors import UserError
from onsager_cli.run.redraw import recorded, tables_of
from onsager_cli.store.tables import csv_bytes, read_rows

ROOT = Path(__file__).parents[1] / "experiments"


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A copy of two recorded experiments, and a third folder that is none."""
    monkeypatch.chdir(tmp_path)
    for name in ("fig10", "params"):
        shutil.copytree(ROOT / name, tmp_path / "experiments" / name, ignore=shutil.ignore_patterns("weights"))
    (tmp_path / "experiments" / "notes").mkdir()
    (tmp_path / "experiments" / "notes" / "README.md").write_text("# Notes\n")
    return tmp_path / "experiments"


def contents(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_every_recorded_figure_is_drawn_and_nothing_else_changes(place, capsys):
    before = contents(place)
    for path in place.glob("*/*.svg"):
        path.write_text("<svg/>")
    assert main(["record", "--redraw"]) == 0
    after = contents(place)
    drawn = [f"{name}/{name}.{kind}" for name in ("fig10", "params") for kind in ("svg", "png")]
    assert capsys.readouterr().out.split() == [f"experiments/{name}" for name in drawn]
    assert after.keys() == before.keys()
    assert [name for name in after if after[name] != before[name] and name not in drawn] == []
    assert all(len(after[name]) > 10_000 for name in drawn)


def test_one_figure_is_drawn_with_other_keys(place, capsys):
    assert main(["record", "--redraw", "+experiment=fig10", "figure.width=5", "figure.heading=true"]) == 0
    assert capsys.readouterr().out.split() == ["experiments/fig10/fig10.svg", "experiments/fig10/fig10.png"]
    assert 'width="360pt"' in (place / "fig10" / "fig10.svg").read_text()


def test_mistakes(place, capsys, monkeypatch):
    words = "experiments/quick has no table: `onsager record` writes it"
    assert words in said(capsys, "record --redraw +experiment=quick")
    assert "record needs an experiment" in said(capsys, "record --redraw network=lamp")
    (place / "fig10" / "README.md").write_text("mine\n")
    (place / "fig10" / "curves.csv").unlink()
    (place / "fig10" / "seeds.csv").write_text("a\n1\n")
    assert "fig10/README.md" in said(capsys, "record --redraw +experiment=fig10")
    monkeypatch.chdir(place / "notes")
    assert "there is nothing to redraw" in said(capsys, "record --redraw")


@pytest.mark.slow
def test_the_command_on_the_page_is_what_is_asked_for():
    asked = {experiment.name: experiment for experiment in recorded(ROOT)}
    assert len(asked) == len(list(ROOT.glob("*/README.md")))
    assert {curve.settings.seed for curve in asked["fig10"].curves} == {0, 1, 2}
    with pytest.raises(UserError, match="has no table"):
        tables_of(ROOT / "nowhere")


def test_a_table_is_read_as_it_was_written(tmp_path):
    rows = [
        {"curve": "a", "value": "10", "condition": "", "layer": 1, "x": 0.5, "tied": True, "none": None, "kind": "b"},
        {"curve": "1", "value": "x", "condition": "c", "layer": 2, "x": float("-inf"), "tied": False, "none": None, "kind": "c"},
    ]  # fmt: skip
    (tmp_path / "t.csv").write_bytes(csv_bytes(rows))
    assert read_rows(tmp_path / "t.csv") == rows
