"""A terminal of any width: warnings are wrapped, never cut, and the live line keeps the time left."""

import io

import pytest
from test_progress import Clock

from onsager_cli.cli.estimate import Course
from onsager_cli.cli.main import main
from onsager_cli.cli.progress import Progress, Running
from onsager_cli.cli.verbs import VERBS

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
