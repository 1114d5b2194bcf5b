"""Kinds of figures beside curves over layers, one file each. `figure.kind` chooses one.

A kind has three functions and three flags:

    tables(experiment, folder_of)         compute what the figure shows from stored curves: name → rows
    draw(figure, tables, folder, formats) draw it (if DRAWS) from the tables alone; the files
    page(tables)                          its part of a record page, in Markdown, from the tables alone
    TRAINS, DRAWS                         whether its curves have to be trained, whether there is a drawing
    OVER_LAYERS                           whether the drawing also has the curves over layers, as other figures

`folder_of` gives the folder of a curve in the store. Only `tables` imports JAX.
"""

from collections.abc import Callable, Sequence
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


def panels(rows: int, columns: int, width: float, height: float) -> tuple[Figure, list[Any]]:
    """A figure of so many axes, in inches, and the axes row by row. To be called within the style of `figures`."""
    drawing = Figure(figsize=(width, height))
    return drawing, list(drawing.subplots(rows, columns, squeeze=False).flat)
