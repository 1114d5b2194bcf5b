"""From an experiment to trained curves, tables and drawings: the only place where everything meets.

Training a figure trains the curves that its store does not hold. A curve is found by its identity, so a curve
that another figure, seed sweep or earlier run has trained is simply there.
"""

import dataclasses
import hashlib
import math
import shlex
import time
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import yaml

from onsager_cli.config.experiment import Curve, Experiment
from onsager_cli.config.own_matrix import check_matrices, own_matrix, remarks_on_own_matrix
from onsager_cli.errors import DivergedError, UserError
from onsager_cli.figures.kinds import Row, Tables, implementation_of, kind_of
from onsager_cli.record import pages, places
from onsager_cli.record.gallery import check_index, write_index
from onsager_cli.record.pages import draw, missing, write_tables
from onsager_cli.store.curves import CurveFolder
from onsager_cli.store.environment import changes, environment, version_changes
from onsager_cli.store.files import keep, remove_leftovers
from onsager_cli.store.locks import holder
from onsager_cli.store.matrix_remarks import warn
from onsager_cli.store.tables import grouped

if TYPE_CHECKING:
    from onsager_cli.problems import Problem
    from onsager_cli.training.curve import Maker
    from onsager_cli.training.loop import Report

WAIT_SECONDS = 1.0  # between looks at a curve that another process trains


def train(experiment: Experiment, report: "Report") -> list[str]:
    """Train every curve of the experiment that is not stored yet; returns what is still missing (nothing).

    If another process trains a curve, this one trains the others first and then waits. A curve that diverges is given
    up, and the others are trained.
    Raises UserError for an output folder that cannot be written, a matrix that cannot be read, a disk or memory
    that does not suffice; DivergedError in the end, for the first curve that was given up.
    """
    from onsager_cli.training.devices import device_kind
    from onsager_cli.training.resources import forecast, needs

    if not kind_of(experiment).trains:
        return []
    device_kind()  # a device that is not there is refused before anything else
    check_matrices([experiment])
    asked = [(curve, maker_of(curve, report)) for curve in in_order(experiment.curves)]
    needed = [needs(curve.slug, curve.settings, maker.work) for curve, maker in asked if not maker.complete]
    line, warnings = forecast(needed, experiment.output)
    work = sum(maker.work for _, maker in asked)
    report({
        "event": "figure", "name": experiment.name, "curves": len(asked), "needs": line, "work": work,
        "seeds": len({curve.settings.seed for curve, _ in asked}),
    })  # fmt: skip
    for text in [*warnings, *_made_elsewhere(maker for _, maker in asked if maker.complete)]:
        report({"event": "warning", "message": text})
    _train_all(asked, report)
    return missing(experiment.curves, rows_of(experiment))


def in_order(curves: Iterable[Curve]) -> list[Curve]:
    """The curves in the order in which they can be trained: the tied network before the untied one that needs it.

    Curves that differ in depth alone are one training, to the largest of their depths.
    """
    curves, ordered = list(curves), {}
    named = {curve.key: curve for curve in reversed(curves)}
    for curve in curves:
        for one in (curve.twin, curve) if curve.twin else (curve,):
            known = ordered.setdefault(one.key, named.get(one.key, one))
            depth, deepest = one.settings.network.depth, known.settings.network.depth
            if depth is not None and deepest is not None and depth > deepest:
                ordered[one.key] = known.to_depth(depth)
    return list(ordered.values())


def maker_of(curve: Curve, report: "Report", place: Callable[[Curve], CurveFolder] = attrgetter("folder")) -> "Maker":
    """What makes this curve: a bound, an algorithm, or the training of a network; `place` says where it is kept."""
    from onsager_cli.training.curve import Algorithm, Bound
    from onsager_cli.training.network import NetworkTrainer

    settings, of_curve = curve.settings, (curve.slug, curve.settings, place(curve), report)
    if settings.network.record.bound:
        return Bound(*of_curve)
    if not settings.training.trains:
        return Algorithm(*of_curve)
    return NetworkTrainer(*of_curve, lambda: curve.twin and (curve.twin.settings, place(curve.twin)))


def _train_one(curve: Curve, maker: "Maker", report: "Report", index: int, of: int) -> str | None:
    """Train the curve if it is not complete. Returns who else trains it; None once it is done."""
    if not maker.complete:
        maker.folder = curve.claim()
        with maker.folder.locked() as held:
            if not held:
                return holder(maker.folder.path) or "another process"
            maker.look()
            if not maker.complete:
                make(curve, maker, index, of)
                return None
    report({"event": "curve_done", "curve": curve.slug, "seconds": 0.0, "shared": True})
    return None


def make(curve: Curve, maker: "Maker", index: int = 1, of: int = 1, problem: "Problem | None" = None) -> None:
    """Make what is missing of one curve, with its config, its log and a note of how it is made.

    `problem` is that of the curve, if it is built already.

    Raises UserError if memory runs out or a file cannot be written, DivergedError with the saved weights named.
    """
    from onsager_cli.problems.base import check_samples
    from onsager_cli.training.resources import memory_errors

    settings = curve.settings
    maker.folder.write_config(yaml.safe_dump(dataclasses.asdict(settings), sort_keys=False))
    maker.report({
        "event": "curve", "index": index, "of": of, "work": maker.work, "resumed_from": maker.resumed_from,
        "seed": settings.seed,
    })  # fmt: skip
    started = time.monotonic()
    with memory_errors(curve.slug, settings):
        problem = problem or problem_of(curve)
        check_samples(problem)
        _note_environment(maker, problem)
        maker.make(problem)
        maker.judge(problem)
    maker.report({"event": "curve_done", "seconds": time.monotonic() - started, "shared": False})


def problem_of(curve: Curve, A: np.ndarray | None = None) -> "Problem":
    """The problem of a curve, with A (M, N) if given, else with a matrix of the user's own read.

    Raises UserError if that matrix cannot be used, or JAX has no device.
    """
    from onsager_cli.problems import build
    from onsager_cli.training.devices import device_kind

    device_kind()
    if A is None and (A := own_matrix(curve)) is not None:
        warn(remarks_on_own_matrix(curve), f"problem.matrix={curve.settings.problem.matrix}")
    return build(curve.settings.problem, curve.settings.seed, A)


def _note_environment(maker: "Maker", problem: "Problem") -> None:
    """Note how the curve is made, and warn of what has changed since it was begun."""
    from onsager_cli.training.devices import device_kind

    digest = hashlib.sha256(np.asarray(problem.A).tobytes()).hexdigest()
    now = {**environment(), "device": device_kind(), "matrix": digest}
    if (before := maker.folder.read_json("made")) is not None:
        changed = changes(before, now)
        if changed:
            message = f"was begun with {'; '.join(changed)}; training resumes, and its last digits depend on that"
            maker.report({"event": "warning", "message": message})
        if begun := before.get("begun_with", before if changed else None):
            now["begun_with"] = begun
    maker.folder.write_json("made", now)


def _train_all(asked: "Sequence[tuple[Curve, Maker]]", report: "Report") -> None:
    """Train the curves one by one, those that another process holds last. Raises DivergedError as `train` does."""
    waiting, reported = dict(enumerate(asked, 1)), set()
    given_up: dict[str, DivergedError] = {}  # by identity

    def warn(curve: Curve, message: str) -> None:
        report({"event": "warning", "curve": curve.slug, "message": message})

    while waiting:
        before = len(waiting)
        for index, (curve, maker) in list(waiting.items()):
            busy, twin = None, curve.twin  # Algorithm 3 begins from the tied network
            if twin and any(twin.key == other.key for other, _ in waiting.values()):
                continue
            if twin and twin.key in given_up:
                warn(curve, f"not trained: {twin.slug}, from which it would be bootstrapped, was given up")
            else:
                try:
                    busy = _train_one(curve, maker, report, index, len(asked))
                except DivergedError as error:
                    given_up[curve.key] = error
                    warn(curve, f"given up: {error}")
            if not busy:
                del waiting[index]
            elif index not in reported:
                reported.add(index)
                warn(curve, f"{busy} trains it; other curves come first")
        if len(waiting) == before:
            time.sleep(WAIT_SECONDS)
    for error in given_up.values():
        raise error


def _made_elsewhere(makers: "Iterable[Maker]") -> list[str]:
    """Warnings about stored curves that other versions of the libraries made: one line per set of versions."""
    slugs = grouped((version_changes(maker.folder.read_json("made") or {}), maker.slug) for maker in makers)
    return [
        f"made with {versions} and used as stored: {', '.join(names)}" for versions, names in slugs.items() if versions
    ]


def rows_of(experiment: Experiment) -> list[Row]:
    """The stored points of the experiment's curves, up to the depth asked for, under the experiment's names."""
    return [
        {**row, "curve": curve.slug}
        for curve in experiment.curves
        for row in curve.folder.points()
        if (row["layer"] or 0) <= (curve.settings.network.depth or math.inf)
    ]


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


def _seen(experiment: Experiment) -> tuple[list[Row], Tables, list[str]]:
    """The stored points, the tables of its kind of figure, and what is missing; UserError if nothing is there."""
    trains = kind_of(experiment).trains
    rows = rows_of(experiment) if trains else []
    if trains and not rows:
        command = shlex.join(["onsager", "train", *experiment.overrides])
        raise UserError(f"{experiment.name}: nothing is trained yet; first run: {command}")
    lacking = missing(experiment.curves, rows) if trains else []
    return rows, implementation_of(experiment).tables(experiment, rows, _problems()), lacking


def _problems() -> "Callable[[Curve], Problem]":
    """A function that builds the problem of a curve, once for all curves that share it."""
    built: dict[object, Problem] = {}

    def of(curve: Curve) -> "Problem":
        key = (curve.settings.problem, curve.settings.seed)
        return built[key] if key in built else built.setdefault(key, problem_of(curve))

    return of


def record(experiment: Experiment, replace: Callable[[Path], bool] = keep) -> tuple[list[Path], list[str]]:
    """Publish the figure under experiments/: table, drawing and README, and renew the gallery.

    `replace` is asked before a file is replaced that onsager did not write. Raises UserError if it says no.
    """
    folder = Path("experiments") / experiment.name
    pages.check_place(folder, experiment.name, replace)
    check_index(folder.parent, replace)
    rows, tables, lacking = _seen(experiment)
    notes = {(curve.slug, curve.settings.seed): curve.folder.read_json("made") for curve in experiment.curves}
    made = {key: note for key, note in notes.items() if note is not None}
    for place in (folder.parent, folder):
        remove_leftovers(place)
    files = pages.record(experiment, rows, made, folder, tables)
    return [*files, write_index(folder.parent)], lacking
