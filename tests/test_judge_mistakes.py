"""Mistakes of `onsager judge`: each is one line and exit code 2, and nothing is written; how functions are loaded."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import toy_judge
from test_mistakes import said

from onsager_cli import run
from onsager_cli.cli.main import main
from onsager_cli.config.load import load_experiment
from onsager_cli.run.foreign import load, solver_of

FAILING = {
    "raises": ("raise ValueError('no\\nluck')", ["raised ValueError: no luck (bad.py, line 5)"]),
    "raises without words": ("raise RuntimeError", ["raised RuntimeError (bad.py, line 5)"]),
    "raises within NumPy": ("return np.linalg.solve(A, y)", ["raised LinAlgError", "(bad.py, line 5)"]),
    "exits": ("sys.exit(0)", ["raised SystemExit: 0"]),
    "returns nothing": ("A.T @ y", ["returned None", "return x_hat"]),
    "transposed": ("return (A.T @ y).T", ["x_hat must have shape (N, L) = (40, 50), got (50, 40): transpose it"]),
    "one sample": ("return (A.T @ y)[:, 0]", ["x_hat must have shape", "got (40,)"]),
    "no iteration": ("return np.zeros((0, 40, 50))", ["returned no estimate"]),
    "four axes": ("return np.zeros((2, 2, 40, 50))", ["x_hat must have shape", "got (2, 2, 40, 50)"]),
    "iterations of two shapes": ("return [A.T @ y, y]", ["x_hat of iteration 2 must have shape", "got (20, 50)"]),
    "with a number beside": ("return A.T @ y, 7", ["returned a tuple of 2", "return x_hat alone"]),
    "NaN": ("x = A.T @ y; x[:, 3] = np.nan; return x", ["x_hat must be finite, got nan in 1 of 50 samples"]),
    "infinity": ("return [A.T @ y, np.inf * abs(A.T @ y)]", ["x_hat of iteration 2 must be finite, got inf in 50 of 50"]),
    "complex for real": ("return 1j * A.T @ y", ["x_hat must be real", "complex128", "real part"]),
    "text": ("return 'x'", ["not an array of numbers"]),
    "an object": ("return object()", ["returned object, not an array of numbers"]),
    "too large": ("return 1e30 * A.T @ y", ["squares overflow"]),
    "another signature": ("", ["raised TypeError", "positional argument"]),
}  # fmt: skip

MISTAKES = {
    "no function": ("judge", ["judge: needs FILE.py:FUNCTION"]),
    "overrides first": ("judge +experiment=mine solvers.py:linear", ["FILE.py:FUNCTION", "then overrides"]),
    "a file alone": ("judge solvers.py +experiment=mine", ["write solvers.py:FUNCTION"]),
    "no name at all": ("judge :linear +experiment=mine", ["judge takes FILE.py:FUNCTION or PACKAGE:FUNCTION"]),
    "no name of a function": ("judge solvers.py:2 +experiment=mine", ["judge takes FILE.py:FUNCTION"]),
    "no such file": ("judge nowhere.py:f +experiment=mine", ["nowhere.py does not exist", "working directory"]),
    "a folder": ("judge conf/:f +experiment=mine", ["conf/ is not a file"]),
    "no such package": ("judge nopackage.at:all +experiment=mine", ["no package nopackage", "installed"]),
    "a file as a package": ("judge broken:f +experiment=mine", ["broken cannot be loaded: SyntaxError"]),
    "a file with a slip": ("judge broken.py:f +experiment=mine", ["broken.py cannot be loaded: SyntaxError"]),
    "a file that imports what is not there": (
        "judge lonely.py:f +experiment=mine",
        ["lonely.py cannot be loaded: ModuleNotFoundError: No module named 'nothing_there' (lonely.py, line 2)"],
    ),
    "no such function": ("judge solvers.py:lineer +experiment=mine", ["has no lineer (did you mean linear?)"]),
    "no function like that": ("judge solvers.py:zzz +experiment=mine", ["has no zzz: it has linear, matched_filter"]),
    "a number": ("judge solvers.py:NUMBER +experiment=mine", ["solvers.py:NUMBER must be a function, got int 3"]),
    "name of a curve": ("judge solvers.py:linear --name oracle +experiment=mine", ["no curve of mine, got 'oracle'"]),
    "name that leaves the folder": ("judge solvers.py:linear --name ../x +experiment=mine", ["--name", "'../x'"]),
    "empty name": ("judge solvers.py:linear --name= +experiment=mine", ["--name"]),
    "another figure": ("judge solvers.py:linear +experiment=problems", ["figure.kind=problems", "over layers"]),
    "several problems": ("judge solvers.py:linear +experiment=both", ["several problems", "only=[oracle,lmmse]"]),
    "wrong override": ("judge solvers.py:linear +experiment=mine problem.snr=3", ["problem.snr"]),
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    toy_judge.prepare(monkeypatch, tmp_path)
    Path("broken.py").write_text("def f(:\n")
    Path("lonely.py").write_text("import numpy\nimport nothing_there\n")


class TestLoading:
    def test_what_it_prints_is_printed(self, capsys):
        assert main(["judge", "solvers.py:talks", "+experiment=mine", "plot.formats=[png]"]) == 0
        out, err = capsys.readouterr()
        assert out.startswith("to stdout\ntalks: NMSE ")
        assert err.startswith("to stderr\n")

    def test_from_a_package_and_from_another_folder(self, monkeypatch):
        assert load("solvers", "matched_filter").origin == "solvers:matched_filter"
        Path("elsewhere").mkdir()
        monkeypatch.chdir("elsewhere")
        before = list(sys.path)
        solver = load("../solvers.py", "nested.solve")
        assert (solver.name, sys.path) == ("solve", before)
        y, A = np.ones((20, 3)), np.ones((20, 40))
        assert np.array_equal(solver(y, A, 0.1).estimates[0], A.T @ y)
        assert load("numpy.linalg", "pinv").checksum

    def test_the_working_directory_is_restored(self):
        here = os.getcwd()
        Path("wanders.py").write_text(
            "import os\nos.chdir('/')\ndef f(y, A, s):\n    os.chdir('/')\n    return A.T @ y\n"
        )
        solver = load("wanders.py", "f")
        assert os.getcwd() == here
        solver(np.ones((2, 1)), np.ones((2, 3)), 0.1)
        assert os.getcwd() == here

    def test_ctrl_c_passes(self):
        def stopped(y, A, noise_variance):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run.judge(load_experiment(["+experiment=mine"]), solver_of(stopped))
        assert not Path("outputs").exists()


@pytest.mark.parametrize("name", FAILING)
def test_a_solver_that_fails(name, capsys):
    body, fragments = FAILING[name]
    arguments = "y, A, noise_variance" if body else "y"
    Path("bad.py").write_text(f"import sys\nimport numpy as np\n\ndef solve({arguments}):\n    {body or 'return y'}\n")
    line = said(capsys, "judge bad.py:solve +experiment=mine")
    assert line.startswith("onsager: judge: bad.py:solve")
    for fragment in fragments:
        assert fragment in line
    assert not Path("outputs").exists(), "nothing is written"


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake(name, capsys):
    command, fragments = MISTAKES[name]
    line = said(capsys, command)
    for fragment in fragments:
        assert fragment in line
    assert not Path("outputs").exists(), "nothing is written"


def test_the_traceback_on_request(capsys, monkeypatch):
    monkeypatch.setenv("ONSAGER_DEBUG", "1")
    Path("bad.py").write_text("def solve(y, A, noise_variance):\n    return 1 / 0\n")
    assert main(["judge", "bad.py:solve", "+experiment=mine"]) == 2
    err = capsys.readouterr().err
    assert 'bad.py", line 2, in solve' in err
    assert err.endswith("raised ZeroDivisionError: division by zero (bad.py, line 2)\n")
