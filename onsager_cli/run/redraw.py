"""The drawings of recorded experiments, made anew from their tables: nothing is trained, judged or recorded."""

import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from onsager_cli.config.experiment import Experiment
from onsager_cli.config.load import load_experiment
from onsager_cli.errors import UserError
from onsager_cli.figures.kinds import Rows, Tables
from onsager_cli.record.pages import FORMATS, check_place, draw
from onsager_cli.store.files import entries, is_file, keep, read_bytes
from onsager_cli.store.tables import read_rows, read_table

UNDRAWN = ("curves", "replicates")  # tables that no kind of figure reads beside the curves


def recorded(root: Path) -> list[Experiment]:
    """Every experiment that is recorded under `root`, as the command on its page asks for it.

    Raises UserError if there is none, and for a command that this version refuses.
    """
    pages = {place.name: place / "README.md" for place in entries(root) if is_file(place / "README.md")}
    texts = {name: read_bytes(page, 2**24).decode("utf-8", "replace") for name, page in pages.items()}
    made = {name: re.search(r"^onsager record (.+)$", text, re.MULTILINE) for name, text in texts.items()}
    found = [
        part
        for name, command in made.items()
        if command is not None
        for part in load_experiment(shlex.split(command[1])).parts
        if part.name == name
    ]
    if not found:
        raise UserError(f"there is nothing to redraw: no page in {root}/*/README.md names an experiment")
    return found


def redraw(experiment: Experiment, root: Path, replace: Callable[[Path], bool] = keep) -> list[Path]:
    """Draw the figure of ROOT/NAME from the tables there; the paths written, none for a figure that draws nothing.

    `replace` is asked before a file is replaced that onsager did not write. Raises UserError if it says no, if the
    experiment is not recorded, or its tables cannot be read.
    """
    folder = root / experiment.name
    rows, tables = tables_of(folder)
    check_place(folder, experiment.name, replace)
    return draw(experiment, rows, tables, folder, FORMATS)


def tables_of(folder: Path) -> tuple[Rows, Tables]:
    """The points of curves.csv, and the other tables beside it. Raises UserError if there is no table at all."""
    paths: Sequence[Path] = sorted(entries(folder, "*.csv"))
    if not paths:
        raise UserError(f"{folder} has no table: `onsager record` writes it")
    tables = {path.stem: read_rows(path) for path in paths if path.stem not in UNDRAWN}
    curves = folder / "curves.csv"
    return read_table(curves) if is_file(curves) else [], tables
