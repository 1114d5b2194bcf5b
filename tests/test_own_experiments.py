"""Mistakes in an experiment of one's own, `conf/experiment/mine.yaml`: one line that names the file or the curve."""

import os
from pathlib import Path

import pytest
from conftest import slow
from test_mistakes import said


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_own_yaml_that_is_broken(capsys):
    Path("conf/experiment").mkdir(parents=True)
    Path("conf/experiment/mine.yaml").write_text("# @package _global_\ncurves: [\n")
    line = said(capsys, "train +experiment=mine")
    assert "mine.yaml" in line
    assert "line 3" in line


PACKAGE = "# @package _global_\n"
OWN = {
    "no package": (
        "# title: Mine\n" + PACKAGE + "curves: {a: network=amp}\n",
        ["conf/experiment/mine.yaml: its first line must be `# @package _global_`", "'# title: Mine'"],
    ),
    "no package, an option": (
        "defaults:\n  - override /problem: gaussian\n",
        ["conf/experiment/mine.yaml: its first line must be `# @package _global_`", "'defaults:'"],
    ),
    "nothing": ("", ["conf/experiment/mine.yaml: its first line must be `# @package _global_`"]),
    "no curves": (PACKAGE + "seed: 3\n", ["experiment=mine has neither curves nor panels"]),
    "curve without a line": (PACKAGE + "curves: {a: }\n", ["curves.a", "overrides", "got null"]),
    "itself as a panel": (PACKAGE + "panels: [mine]\n", ["panels must be experiments with curves", "mine"]),
}


@pytest.mark.parametrize("name", slow(*OWN, but=("no package", "no curves", "itself as a panel")))
def test_own_experiment(name, capsys):
    text, fragments = OWN[name]
    Path("conf/experiment").mkdir(parents=True)
    Path("conf/experiment/mine.yaml").write_text(text)
    line = said(capsys, "train +experiment=mine")
    for fragment in fragments:
        assert fragment in line


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [1,1,1,1,1,1,1,1]\n"
        + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}' if n else '*a'] * 8)}]\n" for n in range(9)),
        "a: &a [*a]\n",
        f"a: [{'1,' * 600_000}1]\n",
        f"a: {'[' * 950}{']' * 950}\n",
    ],
    ids=["laughs", "endless", "long", "deep"],
)
def test_own_yaml_that_would_fill_the_memory(text, capsys):
    Path("conf/experiment").mkdir(parents=True)
    Path("conf/experiment/mine.yaml").write_text(f"# @package _global_\n{text}")
    assert "mine.yaml" in said(capsys, "train +experiment=mine")


@pytest.mark.parametrize(
    ("text", "words"),
    slow(
        ("a: !!bool x", "mine.yaml, line 2: 'x' is not true or false"),
        ("a: !!timestamp x", "mine.yaml, line 2: 'x' is no date"),
        (f"a: {'9' * 5000}", "is not a whole number"),
        ("3: 4", "unknown key '3'"),
        ("true: 4", "unknown key 'True'"),
        but=[("a: !!bool x", "mine.yaml, line 2: 'x' is not true or false"), ("3: 4", "unknown key '3'")],
    ),
)
def test_own_yaml_with_a_wrong_value_or_a_key_that_is_no_text(text, words, capsys):
    Path("conf/experiment").mkdir(parents=True)
    Path("conf/experiment/mine.yaml").write_text(f"{PACKAGE}{text}\ncurves: {{a: network=amp}}\n")
    assert words in said(capsys, "plot +experiment=mine")


@pytest.mark.parametrize("command", ["plot network=amp", "list"])
def test_a_config_that_is_a_pipe_is_not_waited_for(command, capsys):
    Path("conf/experiment").mkdir(parents=True)
    os.mkfifo("conf/experiment/mine.yaml")
    assert "conf/experiment/mine.yaml: it is a pipe" in said(capsys, command)


@pytest.mark.parametrize(
    ("curve", "words"),
    [
        ("network=lamp network.dpeth=3", ["did you mean network.depth?"]),
        ("network=lista training.lamp.steps=[1]", ["training.lamp.steps=[1]", "the curves use training.lista"]),
    ],
    ids=["unknown key", "schedule without effect"],
)
def test_own_experiment_with_a_wrong_curve(curve, words, capsys):
    Path("conf/experiment").mkdir(parents=True)
    Path("conf/experiment/mine.yaml").write_text(f"{PACKAGE}curves:\n  good: network=lamp\n  bad: {curve}\n")
    line = said(capsys, "plot +experiment=mine")
    assert "curve bad" in line
    assert all(word in line for word in words), line
