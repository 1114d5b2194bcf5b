"""A terminal of any width: warnings are wrapped, never cut, and the live line keeps the time left."""

import io
import os

import pytest
from conftest import slow
from test_progress import Clock

from onsager_cli.cli.estimate import Course
from onsager_cli.cli.main import main
from onsager_cli.cli.progress import Progress, Running
from onsager_cli.cli.verbs import VERBS
from onsager_cli.text import columns

WARNING = "problem.matrix=i8.npy has ‖A‖_F² = 20 N: problem.snr_db sets the noise; multiply the matrix by 0.2236"


@pytest.fixture
def running() -> Running:
    """A curve in the middle of a stage, an hour before its end."""
    course = Course(5640.0, began=-100.0, seconds=120.0, measured=120.0, in_stage=120.0, steps=120, at=100.0)
    curve = Running("lamp_untied_pwlin", "7/11", course, "layers 1-12: all", steps=200, per_step=1.0, step=120)
    curve.nmse_db, curve.best_db = -45.12, -45.2
    return curve


@pytest.fixture
def progress(running) -> Progress:
    """A display of a figure of this curve."""
    made = Progress(io.StringIO(), live=False, clock=Clock())
    made.estimate.running[7] = running.course
    return made


@pytest.mark.parametrize("width", [200, 115, 100, 80, 72, 60, 52])
def test_the_line_fits_and_keeps_the_name_the_level_and_the_time_left(progress, running, width):
    line = progress.line(running, width)
    assert len(line) <= width
    assert line.startswith("lamp_untied_pwlin")
    assert "-45.12 dB" in line
    assert "figure 1:32 h" in line


def test_a_log_has_everything(progress, running):
    line = progress.line(running)
    assert line == (
        "lamp_untied_pwlin (7/11) | layers 1-12: all | step 120/200 | -45.12 dB, best -45.20 | "
        "left: stage 1:20 min, figure 1:32 h"
    )


@pytest.mark.parametrize(("columns", "most"), [(40, 40), (80, 80), (0, 80)])
def test_a_warning_is_wrapped_and_whole(columns, most, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = io.StringIO()
    with Progress(stream, live=True) as progress:
        progress({"event": "warning", "message": WARNING})
    shown = stream.getvalue()
    assert f"warning: {WARNING}" in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= most


def test_a_figure_on_several_matrices_says_which_seed():
    stream = io.StringIO()
    progress = Progress(stream, live=False)
    progress({"event": "figure", "name": "f", "curves": 2, "work": 1, "seeds": 2})
    progress({"event": "curve", "curve": "bg", "index": 2, "of": 2, "work": 1.0, "resumed_from": None, "seed": 3})
    progress({"event": "curve_done", "curve": "bg", "seconds": 1.0, "shared": False})
    assert "bg (2/2, seed 3): done" in stream.getvalue()


@pytest.mark.parametrize("words", [[], *([verb, "--help"] for verb in VERBS)])
def test_the_help_fits_a_terminal_of_80_columns(words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(words) == 0
    commands = (">", "bash:", "zsh:", "fish:")  # lines to copy stay whole
    assert not [
        line for line in capsys.readouterr().out.splitlines() if len(line) > 80 and not line.startswith(commands)
    ]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch):
    """A function that makes stdout and stderr a terminal of so many columns; returns both."""

    def make(columns: int, colours: bool = True) -> tuple[Terminal, Terminal]:
        monkeypatch.setattr("shutil.get_terminal_size", lambda *_: os.terminal_size((columns, 24)))
        (monkeypatch.delenv if colours else monkeypatch.setenv)("NO_COLOR", *([False] if colours else ["1"]))
        monkeypatch.setenv("TERM", "xterm")
        out, err = Terminal(), Terminal()
        monkeypatch.setattr("sys.stdout", out)
        monkeypatch.setattr("sys.stderr", err)
        return out, err

    return make


@pytest.mark.slow
@pytest.mark.parametrize("wide", [60, *slow(80, 120)])
@pytest.mark.parametrize("words", [["verify"], ["list"], ["list", "keys"]], ids=" ".join)
def test_tables_fold_to_the_width(words, wide, terminal):
    out, _ = terminal(wide, colours=False)
    assert main(words) == 0
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= wide
    assert "\x1b" not in out.getvalue()


def test_folding_loses_no_word():
    rows = [("claim", "statement"), ("10-alike", "LAMP follows matched VAMP for six layers, and then some more")]
    text = columns(rows, width=40)
    assert max(map(len, text.splitlines())) <= 40
    assert sorted(text.split()) == sorted(" ".join(cell for row in rows for cell in row).split())
    assert columns(rows).count("\n") == 1


def test_colours_where_there_is_a_terminal(terminal):
    out, err = terminal(200)
    assert main(["verify", "1a-fista", "1a-vamp"]) == 0
    assert "\x1b[31mfails, known\x1b[0m" in out.getvalue() or "\x1b[31mfails\x1b[0m, known" in out.getvalue()
    assert "\x1b[32mholds\x1b[0m" in out.getvalue()
    assert main(["verify", "nothing"]) == 2
    assert err.getvalue().startswith("\x1b[31monsager:\x1b[0m ")


@pytest.mark.parametrize("name", ["NO_COLOR", "TERM"])
def test_no_colours_where_they_are_not_wanted(name, terminal, monkeypatch):
    out, err = terminal(200)
    monkeypatch.setenv(name, "1" if name == "NO_COLOR" else "dumb")
    assert main(["verify", "1a-vamp"]) == 0
    assert main(["verify", "nothing"]) == 2
    assert "\x1b" not in out.getvalue() + err.getvalue()


def test_the_points_of_a_training_stay_on_the_screen(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    stream = io.StringIO()
    with Progress(stream, live=True) as progress:
        for layer in (1, 2):
            progress(
                {
                    "event": "point",
                    "curve": "lista_tied",
                    "layer": layer,
                    "nmse_db": -6.4 * layer,
                    "steps": 400,
                    "seconds": 16,
                }
            )
    shown = stream.getvalue()
    assert "lista_tied: layer 1: -6.40 dB on the test set, 400 steps, 16 s" in shown
    assert "lista_tied: layer 2: -12.80 dB on the test set" in shown
