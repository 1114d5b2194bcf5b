"""Kinds of figures beside curves over layers, one file each, chosen by `figure.kind`.

A kind has three functions and three flags:

    tables(experiment, folder_of)         what the figure shows, computed from stored curves: name → rows
    draw(figure, tables, folder, formats) the drawing (if DRAWS), from the tables alone; the files
    page(tables)                          the same for the README of a record, in Markdown
    TRAINS, DRAWS                         whether its curves have to be trained, whether there is a drawing
    OVER_LAYERS                           whether the drawing has the curves over layers, too, as other figures

`folder_of` gives the store's folder of a curve. Only `tables` imports JAX.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from matplotlib.figure import Figure

from onsager_cli.config.experiment import Curve, Experiment
from onsager_cli.config.figure import FigureSpec
from onsager_cli.store.curves import CurveFolder

Row = dict[str, Any]
Tables = dict[str, list[Row]]
FolderOf = Callable[[Curve], CurveFolder]


class Kind(Protocol):
    """What each module of this package offers."""

    TRAINS: bool
    DRAWS: bool
    OVER_LAYERS: bool

    def tables(self, experiment: Experiment, folder_of: FolderOf) -> Tables: ...
    def draw(
        self, figure: FigureSpec, tables: Tables, folder: Path, formats: Sequence[str]
    ) -> list[Path]: ...
    def page(self, tables: Tables) -> str: ...


def kind_of(experiment: Experiment) -> Kind | None:
    """The module for the experiment's kind of figure; None for curves over layers."""
    name = experiment.figure.kind
    return None if name == "curves" else import_module(f"onsager_cli.figures.{name}")  # type: ignore[return-value]


def csv_bytes(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows with the same keys as UTF-8 CSV: numbers with 6 significant digits, None as an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: show(value) for key, value in row.items()})
    return text.getvalue().encode()


def show(value: Any, digits: int = 6) -> str:
    """A value as text: true, false, numbers with so many significant digits, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def panels(rows: int, columns: int, width: float, height: float) -> tuple[Figure, list[Any]]:
    """A figure of so many axes, in inches, and the axes row by row. To be called within the style of `figures`."""
    drawing = Figure(figsize=(width, height))
    return drawing, list(drawing.subplots(rows, columns, squeeze=False).flat)
