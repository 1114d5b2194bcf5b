"""From an experiment to trained curves, tables and drawings: the only place where everything meets.

Training a figure trains the curves that its store does not hold. A curve is found by its identity, so a curve
that another figure, seed sweep or earlier run has trained is simply there.
"""

import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onsager_cli.config.experiment import Curve, Experiment
from onsager_cli.config.settings import FastTraining
from onsager_cli.errors import DivergedError, UserError
from onsager_cli.figures.kinds import Tables, kind_of
from onsager_cli.record.pages import draw, missing, write_tables
from onsager_cli.store.curves import CurveFolder, Store
from onsager_cli.store.environment import version_changes
from onsager_cli.store.files import remove_leftovers
from onsager_cli.store.locks import holder
from onsager_cli.store.seeds import spread

if TYPE_CHECKING:
    from onsager_cli.training.curve import CurveTrainer
    from onsager_cli.training.loop import Report

Row = dict[str, Any]

# Raised with every change that moves a trained number, of all networks, of one kind, or of those trained on hard samples
# of the 5G problems: stored curves are then trained anew.
NUMERICS, NUMERICS_OF, NUMERICS_OF_HARD_CELLULAR = 6, {"lvamp": 7}, 7

WAIT_SECONDS = 1.0  # between looks at a curve that another process trains


def identity(curve: Curve) -> dict[str, Any]:
    """Everything that decides the numbers of a curve, the code that computes them included."""
    asked = curve.identity()
    return {**asked, "numerics": numerics(asked)}


def numerics(identity: Mapping[str, Any]) -> int:
    """Version of the numerics that a curve of this identity is made with now; part of the identity."""

    def value(*keys: str) -> Any:
        at: Any = identity
        for key in keys:
            at = at.get(key) if isinstance(at, Mapping) else None
        return at

    of_kind = NUMERICS_OF.get(str(value("network", "kind")), NUMERICS)
    asked = [value("training", descent, "emphasis") for descent in ("descent", "tied_descent")]
    hard = any(isinstance(emphasis, Sequence) and set(emphasis) != {1} for emphasis in asked)
    return (
        max(of_kind, NUMERICS_OF_HARD_CELLULAR)
        if hard and value("problem", "kind") == "cellular"
        else of_kind
    )


def folder_of(store: Store, curve: Curve) -> CurveFolder:
    """Where the store keeps this curve."""
    return store.curve(identity(curve), label_of(curve))


def label_of(curve: Curve) -> str:
    """What its folder is called, beside the hash."""
    return f"{curve.settings.problem.name}-{curve.slug}"


def train(experiment: Experiment, report: "Report") -> list[str]:
    """Trains every curve of the experiment that is not stored yet; returns what is still missing (nothing).

    A curve that another process is training is left to it: the others come first, and then this one waits. One that
    diverges is given up and the others are trained.
    Raises UserError for an output folder that cannot be written, a matrix that cannot be read, a disk or memory
    that does not suffice; DivergedError in the end, for the first curve that was given up.
    """
    from onsager_cli.training.curve import CurveTrainer
    from onsager_cli.training.resources import forecast

    kind = kind_of(experiment)
    if kind is not None and not kind.TRAINS:
        return []
    store = Store(experiment.output)
    trainers = [
        CurveTrainer(curve, folder_of(store, curve), report) for curve in _with_tied(experiment.curves)
    ]
    needed = [trainer for trainer in trainers if not trainer.complete]
    line, warnings = forecast([(trainer.curve, trainer.work) for trainer in needed], experiment.output)
    report({
        "event": "figure", "name": experiment.name, "curves": len(trainers), "needs": line,
        "work": sum(trainer.work for trainer in trainers),
    })  # fmt: skip
    for text in [*warnings, *_made_elsewhere(trainer for trainer in trainers if trainer.complete)]:
        report({"event": "warning", "message": text})
    _train_all(trainers, store, report)
    return missing(experiment.curves, rows_of(experiment))


def _train_all(trainers: "Sequence[CurveTrainer]", store: Store, report: "Report") -> None:
    """Trains the curves one by one, those that another process holds last. Raises DivergedError as `train` does."""
    own = {index: identity(trainer.curve) for index, trainer in enumerate(trainers, 1)}
    # Algorithm 3 begins from the tied network.
    twins = {index: twin for index, trainer in enumerate(trainers, 1) if (twin := tied_twin(trainer.curve))}
    needs = {index: identity(twin) for index, twin in twins.items()}
    waiting, told = dict(enumerate(trainers, 1)), set()
    given_up: list[tuple[dict[str, Any], DivergedError]] = []  # with the identity

    while waiting:
        before = len(waiting)
        for index, trainer in list(waiting.items()):
            warn = partial(_warn, report, trainer.curve)
            if needs.get(index) in [gone for gone, _ in given_up]:
                warn(f"not trained: {twins[index].slug}, from which it would be bootstrapped, was given up")
            elif needs.get(index) in [own[other] for other in waiting]:
                continue
            else:
                try:
                    busy = _attempt(trainer, own[index], store, report, index, len(trainers))
                except DivergedError as error:
                    given_up.append((own[index], error))
                    busy = None
                    warn(f"given up: {error}")
                if busy:
                    if index not in told:
                        told.add(index)
                        warn(f"{busy} trains it; other curves go first")
                    continue
            del waiting[index]
        if len(waiting) == before:
            time.sleep(WAIT_SECONDS)
    for _, error in given_up:
        raise error


def _attempt(
    trainer: "CurveTrainer", own: dict[str, Any], store: Store, report: "Report", index: int, of: int
) -> str | None:
    """Trains a curve, of the identity `own`, if it is not complete. Returns who else trains it; None: it is done."""
    if not trainer.complete:
        trainer.folder = store.claim(own, label_of(trainer.curve))
        with trainer.folder.locked() as held:
            if not held:
                return holder(trainer.folder.path) or "another process"
            trainer.look()
            if not trainer.complete:
                trainer.train(index, of, lambda tied: folder_of(store, tied))
                return None
    report({"event": "curve_done", "curve": trainer.curve.slug, "seconds": 0.0, "shared": True})
    return None


def _warn(report: "Report", curve: Curve, message: str) -> None:
    report({"event": "warning", "curve": curve.slug, "message": message})


def _made_elsewhere(trainers: "Iterable[CurveTrainer]") -> list[str]:
    """What to say of stored curves that other versions of the libraries made: one line per set of versions."""
    slugs: dict[str, list[str]] = {}
    for trainer in trainers:
        if changes := version_changes(trainer.folder.read_json("made") or {}):
            slugs.setdefault(changes, []).append(trainer.curve.slug)
    return [f"made with {changes} and used as stored: {', '.join(names)}" for changes, names in slugs.items()]


def _with_tied(curves: Iterable[Curve]) -> list[Curve]:
    """The curves in the order in which they can be trained: the tied network before the untied one that needs it.

    Curves that differ in depth alone are one training, to the largest of their depths.
    """
    curves, ordered = list(curves), {}
    names = {str(curve.identity()): curve for curve in reversed(curves)}

    def add(curve: Curve) -> None:
        key = str(curve.identity())
        known = ordered.setdefault(key, names.get(key, curve))
        depth, deepest = curve.settings.network.depth, known.settings.network.depth
        if depth is not None and deepest is not None and depth > deepest:
            network = replace(known.settings.network, depth=depth)
            ordered[key] = replace(known, settings=replace(known.settings, network=network))

    for curve in curves:
        if (tied := tied_twin(curve)) is not None:
            add(tied)
        add(curve)
    return list(ordered.values())


def tied_twin(curve: Curve) -> Curve | None:
    """The tied network that an untied one is bootstrapped from (Algorithm 3), if its training asks for one."""
    settings = curve.settings
    if settings.network.tied is not False or settings.training.kind == "none":
        return None
    if isinstance(settings.training, FastTraining) and settings.training.joint:
        return None
    if settings.network.kind == "lvamp_gh":
        return None  # each G, H is made for what reaches its layer: one pair for all is no rival
    network, training = replace(settings.network, tied=True), settings.training
    if isinstance(training, FastTraining) and training.tied_descent is not None:
        training = replace(training, descent=training.tied_descent, tied_descent=None)
    return Curve(curve.slug.replace("untied", "tied"), replace(settings, network=network, training=training))


def rows_of(experiment: Experiment) -> list[Row]:
    """The stored points of the experiment's curves, up to the depth asked for, under the experiment's names."""
    store = Store(experiment.output)
    rows = []
    for curve in experiment.curves:
        depth = curve.settings.network.depth
        for row in folder_of(store, curve).points():
            if row["layer"] is None or depth is None or row["layer"] <= depth:
                rows.append({**row, "curve": curve.slug})
    return rows


def plot(experiment: Experiment) -> tuple[list[Path], list[str]]:
    """Writes the table and draws the figure from what is stored; returns the files and what is missing.

    Raises UserError if nothing is stored yet.
    """
    rows, tables, lacking = _seen(experiment)
    folder = Store(experiment.output).figure(experiment.name)
    remove_leftovers(folder)
    files = write_tables(folder, rows, tables)
    return [*files, *draw(experiment, rows, tables, folder, experiment.plot.formats)], lacking


def _seen(experiment: Experiment) -> tuple[list[Row], Tables, list[str]]:
    """The stored points, the tables of its kind of figure, and what is missing; UserError if nothing is there."""
    kind = kind_of(experiment)
    trains = kind is None or kind.TRAINS
    rows = rows_of(experiment) if trains else []
    if trains and not rows:
        raise UserError(
            f"{experiment.name}: nothing is trained yet; first run: onsager train {shlex.join(experiment.overrides)}"
        )
    if kind is not None:
        tables = kind.tables(experiment, partial(folder_of, Store(experiment.output)))
    else:
        tables = {"seeds": spread(rows)}
        if experiment.plot.state_evolution:
            tables["state_evolution"] = predictions(experiment, rows)
    lacking = missing(experiment.curves, rows) if trains else []
    return rows, tables, lacking


def predictions(experiment: Experiment, rows: list[Row]) -> list[Row]:
    """What state evolution says of the drawn curves that it knows, each algorithm once, as rows to draw."""
    from onsager_cli.theory.state_evolution import predict, textbook

    found: dict[tuple[str, float], list[float]] = {}
    for curve in experiment.first_curves:
        layers = [row["layer"] for row in rows if row["curve"] == curve.slug and row["layer"]]
        stored = folder_of(Store(experiment.output), curve).load("network")
        name = textbook(curve.settings)
        if name is None or stored is None or not layers or curve.slug in experiment.figure.hidden:
            continue
        levels = predict(curve.settings, stored[0]["problem.A"], max(layers))
        assert levels is not None
        key = (name, round(float(levels[0]), 6))
        found[key] = max(found.get(key, []), levels.tolist(), key=len)
    names = [name for name, _ in found]
    return [
        {
            "curve": f"{name}_state_evolution" + (f"_{number}" if number > names.index(name) else ""),
            "network": "state_evolution", "shrinkage": name.split("_")[1], "layer": t,
            # In the limit of large N all samples have the same ratio.
            "nmse_db": level, "nmse_mean_ratio_db": level,
        }
        for number, ((name, _), levels) in enumerate(found.items())
        for t, level in enumerate(levels, 1)
    ]  # fmt: skip


def record(experiment: Experiment) -> tuple[list[Path], list[str]]:
    """Publishes the figure under experiments/: table, drawing and README, and renews the gallery."""
    from onsager_cli.record import pages as published

    store, (rows, tables, lacking) = Store(experiment.output), _seen(experiment)
    made = {
        (curve.slug, curve.settings.seed): note
        for curve in experiment.curves
        if (note := folder_of(store, curve).read_json("made")) is not None
    }
    folder = Path("experiments") / experiment.name
    files = published.record(experiment, rows, made, folder, tables)
    return [*files, published.write_index(folder.parent)], lacking
