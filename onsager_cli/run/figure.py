"""The table and the drawings of a figure, made from what is stored."""

import math
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from onsager_cli.config.experiment import Curve, Experiment
from onsager_cli.config.told import told
from onsager_cli.errors import UserError
from onsager_cli.figures.kinds import ProblemOf, Row, Tables, implementation_of, kind_of
from onsager_cli.record import pages, places
from onsager_cli.record.gallery import check_index, write_index
from onsager_cli.record.kept import NAME as MADE
from onsager_cli.record.kept import Kept, kept, lost, note
from onsager_cli.record.pages import draw, missing, write_tables
from onsager_cli.run import judging, precision
from onsager_cli.run.attainable import attainable_db
from onsager_cli.run.problem import problem_of
from onsager_cli.store import judged
from onsager_cli.store.files import atomic_write, keep, remove_leftovers
from onsager_cli.store.tables import read_table

if TYPE_CHECKING:
    import numpy as np

    from onsager_cli.problems import Problem

Report = Callable[[Mapping[str, object]], None]


def rows_of(experiment: Experiment) -> list[Row]:
    """The stored points of the experiment's curves, up to the depth asked for, under the experiment's names.

    Those of foreign solvers that were judged on the same test set follow (`run.judging`).
    """
    rows = []
    for curve in experiment.curves:
        level = attainable_db(curve)
        more: Row = {} if level is None else {"attainable_db": level}
        problem = curve.settings.problem
        if problem.balancing is not None or problem.noise_varies:
            balanced = (curve.folder.read_json("made") or {}).get("balanced")
            more["told"] = told(curve.settings) + (f"; {balanced}" if balanced else "")
        depth, fresh = curve.settings.network.depth or math.inf, precision.columns(curve)
        rows += [
            {**row, "curve": curve.slug, **more, **fresh.get(row["layer"], {})}
            for row in curve.folder.points()
            if (row["layer"] or 0) <= depth
        ]
    return rows + [judged.of_curves(row) for row in judging.rows_of(experiment)]


def plot(experiment: Experiment) -> tuple[list[Path], list[str]]:
    """Write the table and draw the figure from what is stored; returns the files and what is missing.

    A figure of other settings that is there keeps its name (`places`). Raises UserError if nothing is stored yet.
    """
    rows, tables, lacking = _seen(experiment)
    experiment = places.kept_apart(experiment)
    remove_leftovers(experiment.place)
    files = write_tables(experiment.place, rows, tables)
    places.note(experiment)
    return [*files, *draw(experiment, rows, tables, experiment.place, experiment.plot.formats)], lacking


def _seen(experiment: Experiment, foreign: bool = True, old: Kept | None = None) -> tuple[list[Row], Tables, list[str]]:
    """The stored points, the tables of its kind of figure, and what is missing; UserError if nothing is there.

    Points of a foreign solver alone are something if `foreign`. Those of `old` replace the stored points of its curves.
    """
    trains, slugs, old = kind_of(experiment).trains, {curve.slug for curve in experiment.curves}, old or Kept()
    own = (row for row in rows_of(experiment) if row not in old)
    rows = _in_order(experiment, [*own, *old.rows]) if trains else []
    if trains and not any(foreign or row["curve"] in slugs for row in rows):
        command = shlex.join(["onsager", "train", *experiment.overrides])
        raise UserError(f"{experiment.name}: nothing is trained yet; first run: {command}")
    lacking = missing(experiment.curves, rows) if trains else []
    return rows, implementation_of(experiment).tables(experiment, rows, problems()), lacking


def _in_order(experiment: Experiment, rows: Sequence[Row]) -> list[Row]:
    """Rows in the order of the curves and of their matrices; those of foreign solvers come last."""
    order = {(curve.slug, curve.settings.seed): number for number, curve in enumerate(experiment.curves)}
    return sorted(rows, key=lambda row: order.get((row["curve"], row["seed"]), len(order)))


def problems() -> ProblemOf:
    """A function that builds the problem of a curve, once for all curves that see the same."""
    built: dict[object, tuple[Problem, np.ndarray | None]] = {}

    def of(curve: Curve, A: "np.ndarray | None" = None, /) -> "Problem":
        settings, record = curve.settings, curve.settings.network.record
        sees = (record.bound, record.lasso, record.whitens) if settings.problem.balancing else None
        key = (settings.problem, settings.seed, sees, id(A))
        if key not in built:
            built[key] = problem_of(curve, A), A  # A is kept, so that no other array gets its number
        return built[key][0]

    return of


def _judge(curves: Sequence[Curve], fresh: int, report: Report) -> None:
    """Judge stored curves on fresh samples, with an event for each."""
    problem_of = problems()
    for index, curve in enumerate(curves, 1):
        started = time.monotonic()
        drawn = precision.precise(curve, fresh, partial(problem_of, curve))
        if drawn is not None:
            report({
                "event": "judged", "curve": curve.slug, "index": index, "of": len(curves), "samples": drawn,
                "seconds": time.monotonic() - started,
            })  # fmt: skip


def record(
    experiment: Experiment, replace: Callable[[Path], bool] = keep, report: Report = lambda _: None
) -> tuple[list[Path], list[str]]:
    """Publish the figure under experiments/: table, drawing and README, and renew the gallery.

    Where the experiment asks for `fresh` samples, every stored curve is judged on them first. Recorded curves of which
    fewer layers are stored stay in the record (`record.kept`), if the kind of figure shows several matrices. `replace` is
    asked before a file is replaced that onsager did not write. Raises UserError if it says no, and if another kind of
    figure would lose recorded layers: its tables come from stored networks.
    """
    folder = Path("experiments") / experiment.name
    pages.check_place(folder, experiment.name, replace)
    check_index(folder.parent, replace)
    merges = kind_of(experiment).matrices
    if not merges and (fewer := lost(folder, experiment.curves)):
        command = shlex.join(["onsager", "train", *experiment.overrides])
        raise UserError(
            f"{folder} would lose layers of {', '.join(fewer)}, because fewer are stored here: first run {command}, or "
            f"remove {folder / 'curves.csv'}"
        )
    old = kept(folder, experiment.curves) if merges else Kept()
    own = [
        curve
        for curve in experiment.curves
        if curve.folder.exists and (curve.slug, curve.settings.seed) not in old.made
    ]
    if experiment.fresh:
        _judge(own, experiment.fresh, report)
    if old.names:
        report({"event": "kept", "curves": old.names})
    rows, tables, lacking = _seen(experiment, foreign=False, old=old)
    replicates = (row for curve in own for row in precision.replicates(curve))
    resampled = _in_order(experiment, [*replicates, *old.replicates])
    tables = {**tables, "replicates": resampled, "judged": judging.rows_of(experiment)}
    notes = {(curve.slug, curve.settings.seed): curve.folder.read_json("made") for curve in own}
    made = {**old.made, **{key: note for key, note in notes.items() if note is not None}}
    for place in (folder.parent, folder):
        remove_leftovers(place)
    files = pages.record(experiment, rows, made, folder, tables)
    if made and merges:
        atomic_write(folder / MADE, note(experiment.curves, made, read_table(folder / "curves.csv")))
        files.append(folder / MADE)
    return [*files, write_index(folder.parent)], lacking
