"""`onsager plot`: draw what is trained so far."""

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from onsager_cli.config import overrides as grammar
from onsager_cli.text import printable

if TYPE_CHECKING:
    from onsager_cli.config.experiment import Experiment


def main(options: Namespace) -> int:
    """Draw the experiment."""
    draw(experiment_of(options.overrides))
    return 0


def experiment_of(overrides: Sequence[str]) -> "Experiment":
    """The experiment of a command that is no sweep. Raises UserError, also for overrides without effect."""
    from onsager_cli.config.load import load_parsed
    from onsager_cli.config.schedules import check_command

    parsed = grammar.parse(overrides)
    grammar.check_hydra(parsed)
    experiment = load_parsed(parsed)
    check_command(parsed, [experiment])
    return experiment


def draw(experiment: "Experiment") -> None:
    """Draw every figure of the experiment. Raises UserError if nothing is trained."""
    from onsager_cli import run

    for part in experiment.parts:
        show_files(part, *run.plot(part))


def show_files(experiment: "Experiment", files: Sequence[Path], missing: Sequence[str]) -> None:
    """Print the written files on stdout and the curves that are not trained yet on stderr."""
    for path in files:
        print(printable(str(path)))
    if missing:
        print(f"missing in {experiment.name}: {', '.join(missing)}", file=sys.stderr)
