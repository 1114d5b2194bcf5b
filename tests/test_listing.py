"""`onsager list runs`: what differs, what fits, in which order, and the forms for programs."""

import csv
import io
import json

import pytest
from test_runs import ROW, curve, outputs  # noqa: F401  # pyright: ignore[reportUnusedImport]

from onsager_cli.cli.main import main
from onsager_cli.kinds.records import NUMERICS
from onsager_cli.store.curves import Store
from onsager_cli.store.locks import locked


def stored(root, name="gaussian-lamp_tied_bg", level=-20.0, depth=3, layers=3, seed=0, **problem):
    """A stored curve on a problem with these keys, of so many of `depth` layers."""
    asked = {
        "seed": seed, "problem": {"kind": "bernoulli_gaussian", "N": 40, "matrix": None, **problem},
        "network": {"kind": "lamp"}, "training": {"descent": {"steps": [20, 5]}}, "numerics": NUMERICS,
    }  # fmt: skip
    folder = Store(root).curve(asked, name)
    names = f"problem: {{name: {name.partition('-')[0]}, N: 40}}\nnetwork: {{name: lamp, kind: lamp, depth: {depth}}}\n"
    folder.write_config(names)
    for layer in range(1, layers + 1):
        folder.add_point(ROW | {"layer": layer, "nmse_db": level + 3 - layer, "seconds": 10.0 * layer})
    return folder


@pytest.fixture
def five(outputs):  # noqa: F811
    """Two SNRs, a second seed, another network on another matrix, one that is not complete."""
    stored(outputs, snr_db=20.0, level=-12)
    stored(outputs, snr_db=40.0, level=-30)
    stored(outputs, snr_db=40.0, level=-31, seed=1)
    stored(outputs, "gaussian-lista_tied", snr_db=20.0, level=-9, matrix="abcdef012345")
    stored(outputs, "gaussian-lamp_untied_bg", snr_db=1e-5, level=-1, depth=5, layers=2)
    return outputs


def listed(capsys, *words):
    """The lines below the header, and the columns of the header."""
    assert main(["list", "runs", *words]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    return lines, header


def objects(capsys, *words):
    assert main(["list", "runs", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refusal(capsys, *words):
    assert main(["list", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


class TestDifferences:
    def test_only_the_keys_that_differ(self, five, capsys):
        """Of the problem among all runs, of the rest among runs of one name; null says nothing."""
        own = {run["curve"].rpartition("-")[0]: run["differs"] for run in objects(capsys, "seed=0")}
        assert own["gaussian-lista_tied"] == {"problem.matrix": "abcdef012345", "problem.snr_db": 20}
        assert own["gaussian-lamp_untied_bg"] == {"problem.snr_db": 1e-5}
        assert set(own["gaussian-lamp_tied_bg"]) == {"problem.snr_db"}

    def test_problems_of_two_kinds_have_two_sets_of_keys(self, five, capsys):
        asked = {"problem": {"kind": "cellular", "cells": 7}, "network": {"kind": "lamp"}, "numerics": NUMERICS}
        Store(five).curve(asked, "massive_mimo-lamp").add_point(ROW)
        (run,) = objects(capsys, "problem.kind=cellular")
        assert run["differs"] == {}
        assert not any("cells" in run["differs"] for run in objects(capsys))

    def test_what_is_left_no_longer_differs(self, five, capsys):
        lines, header = listed(capsys, "problem.snr_db=40")
        assert len(lines) == 2
        assert "differs in" not in header

    def test_keys_are_as_short_as_they_are_different(self, outputs, capsys):  # noqa: F811
        for steps, tied in (([20], [7]), ([30], [8])):
            asked = {
                "training": {"descent": {"steps": steps}, "tied_descent": {"steps": tied}, "check_every": tied[0]},
                "numerics": NUMERICS,
            }
            Store(outputs).curve(asked, "alike").add_point(ROW)
        lines, _ = listed(capsys)
        texts = ["check_every=7, descent.steps=[20], tied_descent.steps=[7]", "check_every=8, descent.steps=[30], "]
        assert sorted(text for line in lines for text in texts if text in line) == texts


class TestChoosing:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("words", "count"),
        [
            (["problem.snr_db=20"], 2), (["problem.snr_db=20.0,40"], 4), (["problem.snr_db=0.00001"], 1),
            (["problem.snr_db=1e-5"], 1), (["network=lamp"], 5), (["problem=gaussian", "seed=1"], 1),
            (["problem.matrix=null"], 4), (["problem.matrix=abc*"], 1), (["training.descent.steps=[20,5]"], 5),
            (["curve=lista_tied"], 1), (["curve=gaussian-lamp_*"], 4), (["state=complete"], 4),
            (["state=stopped"], 1), (["state=stopped,complete"], 5), (["state=damaged"], 0),
        ],
    )  # fmt: skip
    def test_words(self, five, capsys, words, count):
        assert len(objects(capsys, *words)) == count

    def test_nothing_that_fits(self, five, capsys):
        assert main(["list", "runs", "state=damaged"]) == 0
        assert capsys.readouterr().out == "nothing that fits is stored in outputs\n"

    @pytest.mark.parametrize(
        ("words", "line"),
        [
            (["runs", "snr_db=20"], "no stored curve has a key 'snr_db' (did you mean problem.snr_db?)"),
            (["runs", "problem.snr=20"], "did you mean problem.snr_db?"),
            (["runs", "problem.snr_db=30"], "no stored curve has problem.snr_db=30: the values are 1e-05, 20, 40"),
            (["runs", "seed=nan"], "no stored curve has seed=nan: the values are 0, 1"),
            (["runs", "state=done"], "state must be complete, stopped or damaged, got 'done'"),
            (["runs", "--sort", "nmes"], "--sort must be nmse, layers"),
            (["runs", "--sort", "nmes"], "(did you mean nmse?)"),
            (["runs", "damaged"], "list runs takes output=FOLDER and KEY=VALUE, got 'damaged'"),
            (["runs", "output=a", "output=b"], "takes one output=FOLDER"),
            (["runs", "--json", "--csv"], "--json and --csv exclude each other"),
            (["--json"], "list: --json is for runs: write onsager list runs --json"),
            (["networks", "--sort", "nmse"], "--sort is for runs"),
        ],
    )
    def test_mistakes(self, five, capsys, words, line):
        assert line in refusal(capsys, *words)


class TestOrder:
    def test_of_numbers_and_keys(self, five, capsys):
        assert [run["nmse_db"] for run in objects(capsys, "--sort", "nmse")] == [-31, -30, -12, -9, 0]
        assert [run["nmse_db"] for run in objects(capsys, "--sort", "nmse", "--reverse")] == [0, -9, -12, -30, -31]
        levels = [run["identity"]["problem"]["snr_db"] for run in objects(capsys, "--sort", "problem.snr_db")]
        assert levels == [1e-5, 20, 20, 40, 40]
        assert objects(capsys, "--sort", "layers")[0]["layers"] == 2
        assert [run["seed"] for run in objects(capsys, "--sort", "seed")][-1] == 1

    def test_what_has_no_value_comes_last(self, five, capsys):
        assert objects(capsys, "--sort", "problem.matrix")[0]["identity"]["problem"]["matrix"] == "abcdef012345"
        assert (
            objects(capsys, "--sort", "problem.matrix", "--reverse")[0]["identity"]["problem"]["matrix"]
            == "abcdef012345"
        )

    def test_of_nothing(self, outputs, capsys):  # noqa: F811
        assert objects(capsys, "--sort", "nmse", "problem.snr_db=3") == []
        assert main(["list", "runs", "--csv"]) == 0
        assert capsys.readouterr().out.startswith("curve,state,seed,layers,nmse_db")


class TestForms:
    def test_json_has_the_config_and_every_layer(self, five, capsys):
        (run,) = objects(capsys, "curve=lamp_untied_bg")
        assert (run["state"], run["layers"], run["wanted_layers"]) == ("stopped", 2, 5)
        assert [(point["layer"], point["nmse_db"], point["seconds"]) for point in run["points"]] == [
            (1, 1, 10),
            (2, 0, 20),
        ]
        assert run["config"]["network"]["depth"] == 5
        assert run["config"]["problem"]["N"] == 40
        assert (five / "curves" / run["curve"]).is_dir()

    def test_states(self, outputs, capsys):  # noqa: F811
        curve(outputs, "whole")
        curve(outputs, "half", depth=5)
        (curve(outputs, "lost").path / "identity.json").write_text("{")
        (curve(outputs, "torn").path / "depth_01.npz").write_bytes(b"PK")
        (outputs / "curves" / "never-0123456789ab").mkdir()
        with locked(curve(outputs, "busy").path):
            states = {run["curve"].partition("-")[0]: (run["state"], run["detail"]) for run in objects(capsys)}
        assert states["whole"] == ("complete", "complete")
        assert states["half"] == ("stopped", "stopped")
        assert states["lost"] == ("damaged", "identity.json is damaged")
        assert states["torn"][0] == "damaged"
        assert states["never"] == ("stopped", "never started")
        assert states["busy"][0] == "stopped"
        assert states["busy"][1].startswith("in training")

    def test_json_is_strict(self, outputs, capsys):  # noqa: F811
        """Numbers that JSON lacks are null."""
        stored(outputs).write_config("problem: {x: .inf}\nnetwork: {depth: 3}\n")
        (run,) = objects(capsys)
        assert run["config"]["problem"]["x"] is None

    def test_csv(self, five, capsys):
        assert main(["list", "runs", "--csv", "--sort", "nmse"]) == 0
        rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
        assert [(row["nmse_db"], row["problem.snr_db"], row["state"]) for row in rows] == [
            ("-31", "40", "complete"), ("-30", "40", "complete"), ("-12", "20", "complete"), ("-9", "20", "complete"),
            ("0", "1e-05", "stopped"),
        ]  # fmt: skip
        assert [row["seconds"] for row in rows] == ["30", "30", "30", "30", "20"]
