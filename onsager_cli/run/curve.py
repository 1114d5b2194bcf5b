"""One curve: what makes it, its problem, its lock, and the note of how it is made."""

import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np
import yaml

from onsager_cli.config.experiment import Curve
from onsager_cli.kinds.records import TrainingKind
from onsager_cli.kinds.registry import find, implementation
from onsager_cli.run import attainable
from onsager_cli.run.problem import balanced, problem_of
from onsager_cli.store.curves import CurveFolder
from onsager_cli.store.environment import changes, environment, one_blas_thread
from onsager_cli.store.locks import holder

if TYPE_CHECKING:
    from onsager_cli.problems import Problem
    from onsager_cli.training.curve import Maker
    from onsager_cli.training.loop import Report


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
    record = find(TrainingKind, settings.training.kind)
    trainer = implementation(record, record.maker) if record.maker else NetworkTrainer
    return trainer(*of_curve, lambda: curve.twin and (curve.twin.settings, place(curve.twin)))


def train_one(curve: Curve, index: int, of: int, report: "Report") -> str | None:
    """Train the curve, number `index` of `of`, if it is not complete. Returns who else trains it; None once it is done."""
    from onsager_cli.training.resources import memory_errors

    maker = maker_of(curve, report)
    if not maker.complete:
        maker.folder = curve.claim()
        with maker.folder.locked() as held:
            if not held:
                return holder(maker.folder.path) or "another process"
            maker.look()
            if not maker.complete:
                make(curve, maker, index, of, compare=True)
                return None
    if attainable.is_missing(curve):  # it was stopped there, or not asked for
        with memory_errors(curve.slug, curve.settings), one_blas_thread():
            attainable.judge(curve, maker, problem_of(curve))
    report({"event": "curve_done", "curve": curve.slug, "seconds": 0.0, "shared": True})
    return None


def make(
    curve: Curve, maker: "Maker", index: int = 1, of: int = 1, problem: "Problem | None" = None, compare: bool = False
) -> None:
    """Make what is missing of one curve, with its config, its log and a note of how it is made.

    `problem` is that of the curve, if it is built already. With `compare`, the curve is compared with what is attainable
    on its problem, if it asks for that; this is kept in the output folder.

    Raises UserError if memory runs out or a file cannot be written, DivergedError with the saved weights named.
    """
    from onsager_cli.problems.base import check_samples
    from onsager_cli.training.programs import make_room_for_programs
    from onsager_cli.training.resources import memory_errors

    make_room_for_programs()
    settings = curve.settings
    maker.folder.write_config(yaml.safe_dump(dataclasses.asdict(settings), sort_keys=False))
    maker.report({
        "event": "curve", "index": index, "of": of, "work": maker.work, "resumed_from": maker.resumed_from,
        "seed": settings.seed,
    })  # fmt: skip
    started = time.monotonic()
    with memory_errors(curve.slug, settings), one_blas_thread():
        problem = problem or problem_of(curve)
        check_samples(problem)
        _note_environment(maker, problem)
        maker.make(problem)
        maker.judge(problem)
        if compare:
            attainable.judge(curve, maker, problem)
    maker.report({"event": "curve_done", "seconds": time.monotonic() - started, "shared": False})


def _note_environment(maker: "Maker", problem: "Problem") -> None:
    """Note how the curve is made, and warn of what has changed since it was begun."""
    from onsager_cli.training.devices import device_kind

    digest = hashlib.sha256(np.asarray(problem.A).tobytes()).hexdigest()
    now = {**environment(), "device": device_kind(), "matrix": digest}
    if words := balanced(problem):
        now["balanced"] = words
    if (before := maker.folder.read_json("made")) is not None:
        changed = changes(before, now)
        if changed:
            message = f"this training began with {'; '.join(changed)}; it resumes, and the last digits may change"
            maker.report({"event": "warning", "message": message})
        if begun := before.get("begun_with", before if changed else None):
            now["begun_with"] = begun
    maker.folder.write_json("made", now)
