"""What is stored, listed; what nothing refers to, removed after asking."""

import errno
import os
import re
import sys

import pytest

from onsager_cli.cli.main import main
from onsager_cli.config.load import load_experiment
from onsager_cli.kinds.records import NUMERICS, NetworkKind, ProblemKind
from onsager_cli.kinds.registry import every, find
from onsager_cli.store.curves import Store
from onsager_cli.store.files import FOREIGN_SECONDS, TEMPORARY_SUFFIX, is_leftover, temporary_name
from onsager_cli.store.locks import locked

NUMERICS_OF = {kind.name: kind.numerics for kind in every(NetworkKind) if kind.numerics != NUMERICS}
OF_HARD_CELLULAR = find(ProblemKind, "cellular").numerics_of_hard

ROW = {
    "curve": "lamp_tied_bg", "network": "lamp", "shrinkage": "bg", "tied": True, "layer": 3, "nmse_db": -17.51,
    "nmse_db_se": 0.01, "nmse_mean_ratio_db": -16.5, "problem": "gaussian", "instance": "authors2017", "seed": 0,
    "steps": 2000, "seconds": 123.0, "parameters": 125006,
}  # fmt: skip


def curve(root, name: str, numerics: int = NUMERICS, depth: int = 3, layer: int = 3, kind: str = "lamp"):
    """A stored curve of so many layers, of which `depth` were asked for."""
    asked = {"seed": 7, "of": name, "network": {"kind": kind}, "numerics": numerics}
    folder = Store(root).curve(asked, name)
    folder.write_config(f"network:\n  depth: {depth}\n")
    folder.save("depth_01", {}, {"stage": 0})
    folder.add_point(ROW | {"layer": layer})
    return folder


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "outputs"


@pytest.fixture
def dead() -> int:
    """The number of a process that has ended."""
    child = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-c", ""])
    os.waitpid(child, 0)
    return child


class TestList:
    def test_what_each_curve_is(self, outputs, capsys):
        curve(outputs, "whole")
        curve(outputs, "half", depth=5)
        curve(outputs, "stale", numerics=NUMERICS - 1)
        (curve(outputs, "damaged").path / "identity.json").write_text("{")
        broken = curve(outputs, "broken").path
        (broken / "points.csv").write_text("what,is\nthis\n")
        (broken / "points.npz").unlink()
        curve(outputs, "odd").write_config("[" * 3000)
        with locked(curve(outputs, "busy", depth=4).path):
            assert main(["list", "runs"]) == 0
        lines = {line.split("-")[0]: line for line in capsys.readouterr().out.splitlines()[1:]}
        assert lines["whole"].endswith("complete")
        assert lines["half"].endswith("stopped")
        assert " 3 of 5 " in lines["half"]
        assert all(word in lines["whole"] for word in (" -17.51 ", " 7 ", "B "))
        assert f"version {NUMERICS - 1} of the algorithm, and this onsager has version {NUMERICS}" in lines["stale"]
        assert lines["damaged"].endswith("identity.json is damaged")
        assert lines["broken"].endswith("points.csv is damaged")
        assert "odd" in lines
        assert f"in training (process {os.getpid()})" in lines["busy"]

    @pytest.mark.parametrize("kind", NUMERICS_OF)
    def test_a_kind_of_network_has_a_version_of_its_own(self, outputs, capsys, kind):
        """So that a change to one kind leaves the stored networks of the others as they are."""
        own = NUMERICS_OF[kind]
        curve(outputs, "now", numerics=own, kind=kind)
        curve(outputs, "before", numerics=own - 1, kind=kind)
        assert main(["list", "runs"]) == 0
        lines = {line.split("-")[0]: line for line in capsys.readouterr().out.splitlines()[1:]}
        assert lines["now"].endswith("complete")
        assert f"version {own - 1} of the algorithm, and this onsager has version {own}" in lines["before"]

    def test_a_curve_is_asked_for_in_the_version_of_its_kind(self):
        for kind, version in {**NUMERICS_OF, "lamp": NUMERICS}.items():
            (one,) = load_experiment([f"network={kind}"]).curves
            assert one.identity["numerics"] == version

    @pytest.mark.parametrize(
        ("overrides", "version"),
        [
            ("problem=random_access training.lamp.emphasis=[1]", NUMERICS),
            ("problem=random_access training.lamp.emphasis=[1,2]", OF_HARD_CELLULAR),
            ("problem=massive_mimo", NUMERICS),
            ("problem=gaussian training.lamp.emphasis=[1,2]", NUMERICS),
        ],
    )
    def test_hard_samples_of_random_access_have_one(self, overrides, version):
        (one,) = load_experiment(overrides.split()).curves
        assert one.identity["numerics"] == version

    @pytest.mark.parametrize(
        ("file", "content", "state"),
        [
            ("identity.json", '{"a": ' + "[" * 600 + "]" * 600 + "}", "identity.json is damaged"),
            ("identity.json", '{"a": NaN}', "identity.json is damaged"),
            ("config.yaml", "- 1", "config.yaml is damaged"),
            ("config.yaml", "network: {depth: !!bool x}", "config.yaml is damaged"),
            ("config.yaml", "network: {depth: deep}", "config.yaml is damaged"),
            ("config.yaml", "network: {depth: 3}\na: &a [*a]", "config.yaml is damaged"),
            ("made.json", "[1]", "made.json is damaged"),
            (
                "depth_01.npz",
                "PK",
                "depth_01.npz is damaged: its checksum is missing: it was cut off, or another program",
            ),
            ("points.csv", {"nmse_db": ""}, "points.csv is damaged"),
            ("points.csv", {"nmse_db": "1e308"}, "points.csv is damaged"),
            ("points.csv", {"seconds": "inf"}, "points.csv is damaged"),
            ("points.csv", {"seconds": "nan"}, "points.csv is damaged"),
            ("points.csv", {"test_samples": "-7"}, "points.csv is damaged"),
            ("points.csv", {"nmse_db_se": "-1"}, "points.csv is damaged"),
            ("points.csv", {"layer": "0"}, "points.csv is damaged"),
            ("points.csv", {"steps": "9" * 5000}, "points.csv is damaged"),
            ("points.csv", {"nmse_db": "inf"}, "points.csv is damaged"),
            ("points.csv", {"nmse_db": "nan"}, "points.csv is damaged"),
        ],
    )
    def test_a_damaged_file_is_named(self, outputs, capsys, file, content, state):
        place = curve(outputs, "a").path / file
        if isinstance(content, dict):
            header, row = (line.split(",") for line in place.read_text().splitlines())
            fields = {**dict(zip(header, row, strict=True)), **content}
            content = ",".join(header) + "\n" + ",".join(fields.values()) + "\n"
        place.write_text(content)
        if file == "points.csv":  # else it is restored
            (place.parent / "points.npz").unlink()
        assert main(["list", "runs"]) == 0
        assert state in capsys.readouterr().out.splitlines()[1]
        assert main(["clean", "--yes"]) == 0  # whatever it removes

    def test_what_is_no_file_is_damaged(self, outputs, capsys):
        folder = curve(outputs, "a").path
        (folder / "depth_01.npz").unlink()
        (folder / "depth_01.npz").mkdir()
        assert main(["list", "runs"]) == 0
        assert "depth_01.npz is damaged: it cannot be read" in capsys.readouterr().out
        os.mkfifo(folder / "made.json")
        assert main(["list", "runs"]) == 0
        assert "made.json is damaged" in capsys.readouterr().out

    @pytest.mark.parametrize("training", [[1], "x", {"descent": {"emphasis": [[1]]}}])
    def test_an_identity_that_is_none_is_damaged(self, outputs, capsys, training):
        asked = {"network": {"kind": "lamp"}, "training": training, "seed": "\x1b]0;x", "numerics": NUMERICS}
        Store(outputs).curve(asked, "odd").add_point(ROW)
        assert main(["list", "runs"]) == 0
        line = capsys.readouterr().out.splitlines()[1]
        assert line.endswith("identity.json is damaged")
        assert r"\x1b]0;x" in line

    @pytest.mark.parametrize("verb", ["list runs", "clean"])
    def test_takes_one_folder(self, outputs, capsys, verb, monkeypatch):
        (outputs.parent / "file").write_text("")
        monkeypatch.setenv("HOME", str(outputs.parent))
        for words, message in (
            (["output=a", "output=b"], f"{verb} takes one output=FOLDER, got 'output=b', too"),
            (["output="], f"{verb} takes output=FOLDER, got 'output='"),
            (["output=~/file"], f"{verb}: output={outputs.parent}/file is not a folder"),
            ([f"output={'x' * 300}"], f"cannot read {'x' * 300}: the name is too long"),
        ):
            assert main([*verb.split(), *words]) == 2
            assert capsys.readouterr().err == f"onsager: {message}\n"

    def test_the_sections_are_named_with_runs(self, outputs, capsys):
        for words, message in (
            (
                "foo",
                "unknown section 'foo': experiments, problems, signals, networks, shrinkages, schedules, runs or keys",
            ),
            ("run", "unknown section 'run' (did you mean runs?)"),
            ("problems runs", "runs must be the first word: write onsager list runs"),
        ):
            assert main(["list", *words.split()]) == 2
            assert message in capsys.readouterr().err

    @pytest.mark.parametrize("name", ["curves", "curves/a", "figures"])
    @pytest.mark.parametrize("verb", ["list runs", "clean"])
    def test_a_closed_folder_is_one_line(self, outputs, capsys, monkeypatch, verb, name):
        folder = curve(outputs, "a").path
        (outputs / "figures").mkdir()
        closed = str(folder if name == "curves/a" else outputs / name)

        def refusing(call):
            def wrapped(path, *rest, **more):
                if str(path) == closed or str(path).startswith(f"{closed}/"):
                    raise PermissionError(errno.EACCES, "", str(path))
                return call(path, *rest, **more)

            return wrapped

        closed = os.path.relpath(closed)
        for of in ("stat", "listdir", "scandir"):
            monkeypatch.setattr(os, of, refusing(getattr(os, of)))
        code = main(verb.split())
        monkeypatch.undo()
        out, err = capsys.readouterr()
        if (verb, name) == ("list runs", "figures"):
            assert code == 0
        else:
            assert (code, out) == (2, "")
            assert re.fullmatch(rf"onsager: cannot read {closed}(/identity.json)?: permission denied\n", err)

    def test_elsewhere_and_nothing(self, outputs, capsys):
        curve(outputs.parent / "other", "whole")
        assert main(["list", "runs"]) == 0
        assert main(["list", "runs", "output=other"]) == 0
        out = capsys.readouterr().out.splitlines()
        assert out[0] == "nothing is stored in outputs"
        assert out[2].startswith("whole-")
        assert main(["list", "runs", "whole"]) == 2
        assert capsys.readouterr().err == "onsager: list runs takes output=FOLDER and KEY=VALUE, got 'whole'\n"


class TestClean:
    def test_removes_what_nothing_refers_to_and_nothing_else(self, outputs, capsys, dead):
        whole, stale = curve(outputs, "whole"), curve(outputs, "stale", numerics=-1)
        busy, damaged = curve(outputs, "busy", numerics=-1), curve(outputs, "damaged")
        torn = damaged.save("depth_02", {}, {})
        torn.write_bytes(torn.read_bytes()[:-1])
        ours = temporary_name(outputs / "figures" / "quick.svg")
        left = ours.with_name(ours.name.replace(f".{os.getpid()}-", f".{dead}-"))
        abroad = ours.with_name(f".quick.svg.{dead}-00000000-ab12{TEMPORARY_SUFFIX}")  # of another machine
        notes = outputs / "curves" / "my notes" / "a.txt"
        for path in (left, ours, abroad, notes):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")
        with locked(busy.path):
            assert main(["clean", "--yes"]) == 0
        out = capsys.readouterr().out.splitlines()
        assert [line.split("  ")[0] for line in out[:-1]] == [
            str(path.relative_to(outputs.parent)) for path in (stale.path, left, torn)
        ]
        assert out[-1].startswith("removed 3 items, ")
        assert not any(path.exists() for path in (stale.path, left, torn))
        assert all(path.exists() for path in (whole.path, busy.path, damaged.path, ours, abroad, notes))
        day_old = abroad.stat().st_mtime - FOREIGN_SECONDS - 1
        os.utime(abroad, (day_old, day_old))
        assert is_leftover(abroad)
        assert damaged.load("depth_01") is not None
        assert main(["clean", "output=outputs"]) == 2 if busy.path.exists() else 0  # free now, but nobody to ask

    @pytest.mark.parametrize(("answer", "gone"), [("y", True), ("yes", True), ("", False), ("n", False)])
    def test_asks(self, outputs, capsys, monkeypatch, answer, gone):
        stale = curve(outputs, "stale", numerics=-1)
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setattr("builtins.input", lambda question: print(question) or answer)
        assert main(["clean"]) == 0
        assert "remove 1 item, " in capsys.readouterr().out
        assert stale.path.exists() is not gone

    def test_looks_again_after_the_answer(self, outputs, capsys, monkeypatch):
        """A training may have mended, or begun, what was named."""
        torn = curve(outputs, "torn").save("depth_02", {}, {})
        unbegun = curve(outputs, "unbegun").path / "identity.json"
        sound = {path: path.read_bytes() for path in (torn, unbegun)}
        torn.write_bytes(sound[torn][:-1])
        unbegun.unlink()

        def answer(question):
            for path, content in sound.items():
                path.write_bytes(content)
            return "y"

        monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setattr("builtins.input", answer)
        assert main(["clean"]) == 0
        last = capsys.readouterr().out.splitlines()[-1]
        assert last == "removed 0 items, 0 B; kept because in use again: 2"
        assert {path: path.read_bytes() for path in sound} == sound

    def test_ctrl_d_is_no_answer(self, outputs, capsys, monkeypatch):
        def closed(question):
            raise EOFError

        stale = curve(outputs, "stale", numerics=-1)
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setattr("builtins.input", closed)
        assert main(["clean"]) == 0
        assert capsys.readouterr().out.endswith("\nnothing was removed\n")
        assert stale.path.exists()

    def test_does_not_ask_a_pipe(self, outputs, capsys, monkeypatch):
        stale = curve(outputs, "stale", numerics=-1)
        monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
        assert main(["clean"]) == 2
        assert capsys.readouterr().err == "onsager: clean cannot ask here: write onsager clean --yes\n"
        assert stale.path.exists()

    def test_nothing(self, outputs, capsys):
        assert main(["clean"]) == 0
        assert capsys.readouterr().out == "nothing to clean in outputs\n"


def test_curves_of_one_name_say_in_which_settings_they_differ(outputs, capsys):
    for level in (20, 40):
        asked = {
            "seed": 7,
            "problem": {"snr_db": float(level), "N": 40},
            "network": {"kind": "lamp"},
            "numerics": NUMERICS,
        }
        folder = Store(outputs).curve(asked, "alike")
        folder.write_config("network:\n  depth: 3\n")
        folder.add_point(ROW | {"layer": 3})
    curve(outputs, "alone")
    assert main(["list", "runs"]) == 0
    header, *alike, alone = capsys.readouterr().out.splitlines()
    assert "  differs in  " in header
    assert "=" not in alone
    assert (
        sorted(" snr_db=20 " in line for line in alike)
        == sorted(" snr_db=40 " in line for line in alike)
        == [False, True]
    )
