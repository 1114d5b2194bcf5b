"""`onsager new`: what it writes is a working experiment, and working kinds of a package."""

import sys
import tomllib
from pathlib import Path

import pytest
from conftest import toy_overrides

from onsager_cli import run
from onsager_cli.cli.main import main
from onsager_cli.config.load import load_experiment
from onsager_cli.kinds.records import ShrinkageKind
from onsager_cli.kinds.registry import find

pytestmark = pytest.mark.usefixtures("quick_compile")

SMALL = [text for text in toy_overrides() if text.startswith(("problem.N", "problem.M", "problem.s", "problem.t"))]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith(("onsager_my_", "my_package"))]:
        del sys.modules[name]


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What pip would do with the package in a folder."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    about = folder / f"{project['name'].replace('-', '_')}-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Name: {project['name']}\nVersion: 1\n")
    lines = [
        f"[{place}]\n" + "\n".join(f"{name} = {value}" for name, value in entries.items())
        for place, entries in project["entry-points"].items()
    ]
    (about / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(folder))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (
            "network",
            ["network=my_network", "network.depth=2", "training.my_network.steps=[30]", "training.my_network.batch=64"],
        ),
        (
            "shrinkage",
            ["shrinkage=my_shrinkage", "network.depth=2", "training.lamp.steps=[30]", "training.lamp.batch=64"],
        ),
        ("problem", ["problem=my_problem", "network.depth=2", "training.lamp.steps=[30]", "training.lamp.batch=64"]),
        ("signal", ["signal=my_signal", "network.depth=2", "training.lamp.steps=[30]", "training.lamp.batch=64"]),
    ],
)
def test_a_kind_trains_as_it_is_written(here, monkeypatch, capsys, kind, words):
    assert main(["new", kind, f"my_{kind}"]) == 0
    out = capsys.readouterr().out
    first, then = out.splitlines()[-2:]
    assert first == f"Next: pip install -e onsager-my_{kind}"
    assert then == f"Then: onsager train {kind}=my_{kind}"
    assert all(Path(line).is_file() for line in out.split("\n\n")[0].splitlines())
    install(here / f"onsager-my_{kind}", monkeypatch)
    experiment = load_experiment([*words, *SMALL])
    assert run.train(experiment, lambda _: None) == []
    levels = [row["nmse_db"] for row in run.rows_of(experiment)]
    assert levels[1] < levels[0] < -1


def test_an_experiment_is_composed_as_it_is_written(here, capsys):
    assert main(["new", "experiment", "mine"]) == 0
    assert capsys.readouterr().out == "conf/experiment/mine.yaml\n\nNext: onsager train +experiment=mine\n"
    experiment = load_experiment(["+experiment=mine"])
    assert [curve.slug for curve in experiment.curves] == ["lamp_tied_bg", "lista_tied", "matched_vamp", "oracle"]
    assert experiment.figure.title == "mine"


def test_into_a_package_that_is_there(here, monkeypatch, capsys):
    (here / "my_package").mkdir()
    (here / "my_package" / "__init__.py").write_text("")
    assert main(["new", "shrinkage", "my_own", "-o", "my_package"]) == 0
    out = capsys.readouterr().out
    assert '[project.entry-points."onsager.shrinkages"]\nmy_own = "my_package.my_own:KIND"' in out
    assert sorted(path.name for path in (here / "my_package").iterdir()) == ["__init__.py", "my_own.py"]
    (here / "x-1.dist-info").mkdir()
    (here / "x-1.dist-info" / "METADATA").write_text("Name: x\nVersion: 1\n")
    (here / "x-1.dist-info" / "entry_points.txt").write_text("[onsager.shrinkages]\nmy_own = my_package.my_own:KIND\n")
    monkeypatch.syspath_prepend(str(here))
    assert find(ShrinkageKind, "my_own").parameters == ("threshold",)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["network", "lamp"], "network=lamp already exists"),
        (["experiment", "fig10"], "experiment=fig10 already exists"),
        (["network", "My-Net"], "NAME must be lower-case letters, digits and _"),
        (["signal", "lambda"], "not be a Python keyword, got 'lambda'"),
        (["figure", "mine"], "KIND must be experiment, network, shrinkage, problem or signal"),
        (["experiment", "mine", "-o", "x"], "an experiment is one file in ./conf: leave -o out"),
        (["network"], "needs NAME"),
        (["network", "mine", "-o", "onsager_mine"], "-o onsager_mine has the name of the module in it"),
    ],
)
def test_mistakes(here, capsys, words, said):
    assert main(["new", *words]) == 2
    assert said in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_no_file_is_replaced(here, capsys):
    (here / "onsager-mine").mkdir()
    (here / "onsager-mine" / "onsager_mine.py").write_text("kept")
    assert main(["new", "network", "mine"]) == 2
    assert (
        "onsager-mine/onsager_mine.py already exists: choose another name, or move it away" in capsys.readouterr().err
    )
    assert (here / "onsager-mine" / "onsager_mine.py").read_text() == "kept"
    assert not (here / "conf").exists()


def test_a_file_is_no_folder(here, capsys):
    (here / "file").write_text("kept")
    assert main(["new", "signal", "mine", "-o", "file"]) == 2
    assert "-o must name a folder, and file is a file" in capsys.readouterr().err
    assert not (here / "conf").exists()
