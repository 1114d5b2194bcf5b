"""From an experiment to trained curves, tables and drawings: the only place where everything meets.

Training a figure trains the curves that its store does not hold. A curve is found by its identity, so a curve
that another figure, seed sweep or earlier run has trained is simply there.
"""

import dataclasses
import hashlib
import shlex
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from onsager_cli.config.experiment import Curve, Experiment
from onsager_cli.errors import DivergedError, UserError
from onsager_cli.figures.kinds import Row, Tables, implementation_of, kind_of
from onsager_cli.kinds.problems import Linear
from onsager_cli.record import pages
from onsager_cli.record.gallery import write_index
from onsager_cli.record.pages import draw, missing, write_tables
from onsager_cli.store import matrix
from onsager_cli.store.curves import CurveFolder
from onsager_cli.store.environment import changes, environment, version_changes
from onsager_cli.store.files import remove_leftovers
from onsager_cli.store.locks import holder

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
    from onsager_cli.training.resources import forecast, needs

    if not kind_of(experiment).trains:
        return []
    asked = [_Asked(curve, maker_of(curve, report)) for curve in in_order(experiment.curves)]
    needed = [needs(one.curve.slug, one.curve.settings, one.maker.work) for one in asked if not one.maker.complete]
    line, warnings = forecast(needed, experiment.output)
    report({
        "event": "figure", "name": experiment.name, "curves": len(asked), "needs": line,
        "work": sum(one.maker.work for one in asked),
    })  # fmt: skip
    for text in [*warnings, *_made_elsewhere(one for one in asked if one.maker.complete)]:
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


@dataclasses.dataclass
class _Asked:
    """A curve to train and what makes it."""

    curve: Curve
    maker: "Maker"

    def train(self, report: "Report", index: int, of: int) -> str | None:
        """Train the curve if it is not complete. Returns who else trains it; None once it is done."""
        if not self.maker.complete:
            self.maker.folder = self.curve.claim()
            with self.maker.folder.locked() as held:
                if not held:
                    return holder(self.maker.folder.path) or "another process"
                self.maker.look()
                if not self.maker.complete:
                    make(self.curve, self.maker, index, of)
                    return None
        report({"event": "curve_done", "curve": self.curve.slug, "seconds": 0.0, "shared": True})
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
    })  # fmt: skip
    started = time.monotonic()
    with memory_errors(curve.slug, settings):
        problem = problem or problem_of(curve)
        check_samples(problem)
        _note_environment(maker, problem)
        maker.make(problem)
    maker.report({"event": "curve_done", "seconds": time.monotonic() - started, "shared": False})


def problem_of(curve: Curve) -> "Problem":
    """The problem of a curve, with a matrix of the user's own read. Raises UserError if that cannot be used."""
    from onsager_cli.problems import build

    settings, A = curve.settings.problem, None
    if isinstance(settings, Linear) and settings.matrix is not None:
        A = matrix.read(settings.matrix, settings.shape)
        matrix.warn(A, settings.matrix)
    return build(settings, curve.settings.seed, A)


def _note_environment(maker: "Maker", problem: "Problem") -> None:
    """Note how the curve is made, and warn of what has changed since it was begun."""
    import jax

    digest = hashlib.sha256(np.asarray(problem.A).tobytes()).hexdigest()
    now = {**environment(), "device": jax.devices()[0].device_kind, "matrix": digest}
    if (before := maker.folder.read_json("made")) is not None:
        changed = changes(before, now)
        if changed:
            message = f"was begun with {'; '.join(changed)}; training resumes, and its last digits depend on that"
            maker.report({"event": "warning", "message": message})
        if begun := before.get("begun_with", before if changed else None):
            now["begun_with"] = begun
    maker.folder.write_json("made", now)


def _train_all(asked: Sequence[_Asked], report: "Report") -> None:
    """Train the curves one by one, those that another process holds last. Raises DivergedError as `train` does."""
    waiting, reported = dict(enumerate(asked, 1)), set()
    given_up: dict[str, DivergedError] = {}  # by identity

    while waiting:
        before = len(waiting)
        for index, one in list(waiting.items()):
            curve, twin = one.curve, one.curve.twin  # Algorithm 3 begins from the tied network
            warn = partial(_warn, report, curve)
            if twin and twin.key in given_up:
                warn(f"not trained: {twin.slug}, from which it would be bootstrapped, was given up")
            elif twin and any(twin.key == other.curve.key for other in waiting.values()):
                continue
            else:
                try:
                    busy = one.train(report, index, len(asked))
                except DivergedError as error:
                    given_up[curve.key], busy = error, None
                    warn(f"given up: {error}")
                if busy:
                    if index not in reported:
                        reported.add(index)
                        warn(f"{busy} trains it; other curves come first")
                    continue
            del waiting[index]
        if len(waiting) == before:
            time.sleep(WAIT_SECONDS)
    for error in given_up.values():
        raise error


def _warn(report: "Report", curve: Curve, message: str) -> None:
    report({"event": "warning", "curve": curve.slug, "message": message})


def _made_elsewhere(asked: Iterable[_Asked]) -> list[str]:
    """Warnings about stored curves that other versions of the libraries made: one line per set of versions."""
    slugs: dict[str, list[str]] = {}
    for one in asked:
        if found := version_changes(one.maker.folder.read_json("made") or {}):
            slugs.setdefault(found, []).append(one.curve.slug)
    return [f"made with {versions} and used as stored: {', '.join(names)}" for versions, names in slugs.items()]


def rows_of(experiment: Experiment) -> list[Row]:
    """The stored points of the experiment's curves, up to the depth asked for, under the experiment's names."""
    rows = []
    for curve in experiment.curves:
        depth = curve.settings.network.depth
        for row in curve.folder.points():
            if row["layer"] is None or depth is None or row["layer"] <= depth:
                rows.append({**row, "curve": curve.slug})
    return rows


def plot(experiment: Experiment) -> tuple[list[Path], list[str]]:
    """Write the table and draw the figure from what is stored; returns the files and what is missing.

    Raises UserError if nothing is stored yet.
    """
    rows, tables, lacking = _seen(experiment)
    remove_leftovers(experiment.place)
    files = write_tables(experiment.place, rows, tables)
    return [*files, *draw(experiment, rows, tables, experiment.place, experiment.plot.formats)], lacking


def _seen(experiment: Experiment) -> tuple[list[Row], Tables, list[str]]:
    """The stored points, the tables of its kind of figure, and what is missing; UserError if nothing is there."""
    trains = kind_of(experiment).trains
    rows = rows_of(experiment) if trains else []
    if trains and not rows:
        raise UserError(
            f"{experiment.name}: nothing is trained yet; first run: onsager train {shlex.join(experiment.overrides)}"
        )
    lacking = missing(experiment.curves, rows) if trains else []
    return rows, implementation_of(experiment).tables(experiment, rows, _problems()), lacking


def _problems() -> "Callable[[Curve], Problem]":
    """A function that builds the problem of a curve, once for all curves that share it."""
    built: dict[Any, Problem] = {}

    def of(curve: Curve) -> "Problem":
        key = (curve.settings.problem, curve.settings.seed)
        if key not in built:
            built[key] = problem_of(curve)
        return built[key]

    return of


def record(experiment: Experiment) -> tuple[list[Path], list[str]]:
    """Publish the figure under experiments/: table, drawing and README, and renew the gallery."""
    rows, tables, lacking = _seen(experiment)
    made: dict[tuple[str, int], Any] = {
        (curve.slug, curve.settings.seed): note
        for curve in experiment.curves
        if (note := curve.folder.read_json("made")) is not None
    }
    folder = Path("experiments") / experiment.name
    files = pages.record(experiment, rows, made, folder, tables)
    return [*files, write_index(folder.parent)], lacking
