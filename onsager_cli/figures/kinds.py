"""Kinds of figures, one file each, chosen by `figure.kind`; each declares a `FigureKind` and offers

    tables(experiment, rows, problem_of) what the figure shows, computed from stored curves: name → rows
    draw(figure, rows, tables)           the drawing, from tables alone, not yet written (if the kind draws)
    page(tables)                         its part of the README of a record, in Markdown

`rows` are those of curves.csv; `problem_of` builds the problem of a curve. Only `tables` may import JAX.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from onsager_cli.config.experiment import Curve, Experiment
from onsager_cli.config.figure import FigureSpec
from onsager_cli.kinds.records import FigureKind
from onsager_cli.kinds.registry import find
from onsager_cli.store.tables import Row
from onsager_cli.text import cell, markdown_table

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from onsager_cli.problems import Problem

Rows = Sequence[Row]
Tables = dict[str, list[Row]]


class ProblemOf(Protocol):
    """The problem of a curve as its network sees it, with A (M, N) of the user's units if given."""

    def __call__(self, curve: Curve, A: "np.ndarray | None" = None, /) -> "Problem": ...


class Kind(Protocol):
    """What the file of a kind offers."""

    def tables(self, experiment: Experiment, rows: Rows, problem_of: ProblemOf) -> Tables: ...
    def draw(self, figure: FigureSpec, rows: Rows, tables: Tables) -> "Figure": ...
    def page(self, tables: Tables) -> str: ...


def kind_of(experiment: Experiment) -> FigureKind:
    """The record of the experiment's kind of figure."""
    return find(FigureKind, experiment.figure.kind)


def implementation_of(experiment: Experiment) -> Kind:
    """The file of the experiment's kind of figure."""
    return cast(Kind, import_module(kind_of(experiment).module))


def columns(rows: Rows, *names: str) -> list[list[Any]]:
    """The values in each of the columns, from all rows."""
    return [[row[name] for row in rows] for name in names]


def as_markdown(rows: Rows, headings: Mapping[str, str]) -> str:
    """A table of the columns that `headings` (column → heading) names; floats have 4 significant digits."""
    return markdown_table([*headings.values()], [[cell(row[name], 4) for name in headings] for row in rows])
