"""Kinds of figures, one file each, chosen by `figure.kind`; each declares a `FigureKind` and offers

    tables(experiment, rows, problem_of)        what the figure shows, computed from stored curves: name → rows
    draw(figure, rows, tables, folder, formats) the drawing, from tables alone (if the kind draws); the files
    page(tables)                                its part of the README of a record, in Markdown

`rows` are those of curves.csv; `problem_of` builds the problem of a curve. Only `tables` may import JAX.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from onsager_cli.config.experiment import Curve, Experiment
from onsager_cli.config.figure import FigureSpec
from onsager_cli.kinds.records import FigureKind
from onsager_cli.kinds.registry import find

if TYPE_CHECKING:
    from onsager_cli.problems import Problem

Row = dict[str, Any]
Tables = dict[str, list[Row]]
ProblemOf = Callable[[Curve], "Problem"]


class Kind(Protocol):
    """What the file of a kind offers."""

    def tables(self, experiment: Experiment, rows: Sequence[Row], problem_of: ProblemOf) -> Tables: ...
    def draw(
        self,
        figure: FigureSpec,
        rows: Sequence[Mapping[str, Any]],
        tables: Tables,
        folder: Path,
        formats: Sequence[str],
    ) -> list[Path]: ...
    def page(self, tables: Tables) -> str: ...


def kind_of(experiment: Experiment) -> FigureKind:
    """The record of the experiment's kind of figure."""
    return find(FigureKind, experiment.figure.kind)


def implementation_of(experiment: Experiment) -> Kind:
    """The file of the experiment's kind of figure."""
    return import_module(kind_of(experiment).module)  # type: ignore[return-value]
