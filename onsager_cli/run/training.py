"""The training of a figure: which curves, in which order, and how many of them side by side."""

import contextlib
import dataclasses
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from onsager_cli.config.experiment import Curve, Experiment
from onsager_cli.config.own_matrix import check_matrices
from onsager_cli.errors import DivergedError, LostError, UserError
from onsager_cli.figures.kinds import kind_of
from onsager_cli.record.pages import missing
from onsager_cli.run.attainable import is_missing
from onsager_cli.run.crew import Crew, Event, Outcome, Task
from onsager_cli.run.curve import in_order, maker_of, train_one
from onsager_cli.run.figure import rows_of
from onsager_cli.run.pace import Pace
from onsager_cli.run.threads import Threads
from onsager_cli.store.curves import canonical
from onsager_cli.store.environment import cores_here, one_blas_thread, version_changes
from onsager_cli.store.tables import grouped

if TYPE_CHECKING:
    from onsager_cli.training.curve import Maker
    from onsager_cli.training.loop import Report
    from onsager_cli.training.resources import Needs

WAIT_SECONDS = 1.0  # between looks at a curve that another process trains
TOGETHER = 16  # curves at a time on an accelerator, as far as its memory allows
WORTH_SECONDS = 10.0  # of training, from which on processes side by side gain more than their start costs


def train(experiment: Experiment, report: "Report") -> list[str]:
    """Train every curve of the experiment that is not stored yet; returns what is still missing (nothing).

    If another process trains a curve, this one trains the others first and then waits. A curve that diverges is given
    up, and the others are trained.
    Raises UserError for an output folder that cannot be written, a matrix that cannot be read, a disk or memory
    that does not suffice; DivergedError or LostError in the end, for the first curve that was given up.
    """
    from onsager_cli.training.devices import device_kind
    from onsager_cli.training.resources import forecast, needs, product_rate

    parts = [part for part in experiment.parts if kind_of(part).trains]
    if not parts:
        return []
    device_kind()  # a device that is not there is refused before anything else
    check_matrices(parts)
    curves = in_order(curve for part in parts for curve in part.curves)
    asked = [(curve, maker_of(curve, report)) for curve in curves]
    left = [(curve, needs(curve.slug, curve.settings, maker.work)) for curve, maker in asked if not maker.complete]
    needed = [item for _, item in left]
    known = [(curve, item) for curve, item in left if item is not None]
    rate = product_rate() if known else 1.0
    jobs = _jobs(experiment.jobs, [item for _, item in known], len(left), sum(item.flops for _, item in known) / rate)
    pace = Pace(experiment.output, jobs, rate)
    needs_of = {curve.key: item for curve, item in known}
    expected = {curve.key: pace.seconds(curve, item) for curve, item in known}
    line, warnings = forecast(needed, experiment.output, jobs, sum(expected.values()) / jobs)
    work = sum(maker.work for _, maker in asked)
    report({
        "event": "figure", "name": experiment.name, "curves": len(asked), "needs": line, "work": work,
        "seeds": len({curve.settings.seed for curve, _ in asked}), "jobs": jobs,
        "expected": {number: expected[curve.key] for number, (curve, _) in enumerate(asked, 1) if curve.key in expected},
        "known": all(pace.knows(curve) for curve, _ in known if curve.settings.trained),
    })  # fmt: skip
    for text in [*warnings, *_made_elsewhere(maker for _, maker in asked if maker.complete)]:
        report({"event": "warning", "message": text})

    def watch(event: Event) -> None:
        report(event)
        if event["event"] == "curve_done" and not event["shared"]:
            curve = asked[int(str(event["task"])) - 1][0]
            if curve.key in needs_of and curve.settings.trained:
                pace.note(curve, needs_of[curve.key], float(str(event["seconds"])))

    with one_blas_thread(), _trainers(jobs, asked, watch) as crew:
        _Training(asked, crew, watch, expected if jobs > 1 else {}).run()
    return [slug for part in parts for slug in missing(part.curves, rows_of(part))]


def _jobs(asked: int | None, needed: "Sequence[Needs]", count: int, seconds: float) -> int:
    """How many of `count` curves are trained side by side: as asked, or one on each core as far as memory allows.

    Raises UserError for several where several devices share the batch of one.
    """
    from onsager_cli.training.devices import curves_share, on_cpu
    from onsager_cli.training.resources import memory

    together = not on_cpu()
    if not curves_share():
        if (asked or 1) > 1:
            raise UserError(f"jobs must be 1 or auto if several devices share a batch, got {asked}")
        return 1
    if asked is not None:
        return min(asked, max(count, 1))
    if (seconds < WORTH_SECONDS and not together) or count < 2:
        return 1
    largest, free = max((item.memory for item in needed), default=0.0), memory()
    fitting = int(free // largest) if free and largest else count
    return max(1, min(TOGETHER if together else cores_here() or 1, count, fitting))


def _trainers(jobs: int, asked: Sequence[tuple[Curve, "Maker"]], report: "Report") -> "Crew | Threads | Alone":
    """Whoever trains `jobs` curves at a time: this process, processes on the CPU, threads on an accelerator."""
    from onsager_cli.training.devices import on_cpu

    if jobs == 1:
        return Alone(report)
    if on_cpu():
        return Crew(jobs, report)
    return Threads(jobs, report, lambda number: _program(asked[number - 1][0]))


def _program(curve: Curve) -> str:
    """Equal for curves that may share a program: what differs is the seed and the matrix."""
    settings = curve.settings
    return canonical({
        "problem": [settings.problem.kind, settings.problem.shape], "network": dataclasses.asdict(settings.network),
        "shrinkage": settings.shrinkage.family, "training": dataclasses.asdict(settings.training),
    })  # fmt: skip


class Trainers(Protocol):
    """Whoever trains: tasks are started while somebody is free, and end with an outcome."""

    @property
    def free(self) -> bool: ...

    def start(self, number: int, task: Task) -> None: ...

    def outcomes(self) -> Iterator[Outcome]: ...


@dataclass
class Alone(contextlib.nullcontext):
    """This process, which does a task when it is started."""

    report: "Report"
    ended: list[Outcome] = field(default_factory=list)

    def __enter__(self) -> "Alone":
        return self

    @property
    def free(self) -> bool:
        return not self.ended

    def start(self, number: int, task: Task) -> None:
        try:
            self.ended.append(Outcome(number, task(lambda event: self.report({**event, "task": number}))))
        except DivergedError as error:
            self.ended.append(Outcome(number, error=error))

    def outcomes(self) -> Iterator[Outcome]:
        while self.ended:
            yield self.ended.pop()


class _Training:
    """The curves that wait and those that run.

    `weights` (by key) is what a curve takes: those begin first that take longest, with what has to follow them. Without
    weights, curves are trained in their order.
    """

    def __init__(
        self, asked: "Sequence[tuple[Curve, Maker]]", crew: Trainers, report: "Report", weights: dict[str, float]
    ):
        self.crew, self.report, self.of = crew, report, len(asked)
        self.waiting = {number: curve for number, (curve, _) in enumerate(asked, 1)}
        self.complete = {
            number for number, (curve, maker) in enumerate(asked, 1) if maker.complete and not is_missing(curve)
        }
        self.running: dict[int, Curve] = {}
        self.given_up: dict[str, DivergedError | LostError] = {}  # by key
        self.look_at: dict[int, float] = {}  # of a curve that another process trains: when to look again
        chains = dict(weights)
        for curve in self.waiting.values():
            if curve.twin and curve.twin.key in chains:
                chains[curve.twin.key] = max(
                    chains[curve.twin.key], weights[curve.twin.key] + weights.get(curve.key, 0.0)
                )
        self.order = sorted(self.waiting, key=lambda number: -chains.get(self.waiting[number].key, 0.0))

    def run(self) -> None:
        """Train all curves. Raises DivergedError or LostError in the end, for the first one that was given up."""
        while self.waiting or self.running:
            started = [self._start(number) for number in self._ready() if self.crew.free]
            for outcome in self.crew.outcomes():
                self._end(outcome)
            if not started and not self.running:
                time.sleep(WAIT_SECONDS)
        for error in self.given_up.values():
            raise error

    def _ready(self) -> Iterator[int]:
        """The curves that can be trained now: an untied network begins from the tied one (Algorithm 3)."""
        for number in self.order:
            curve = self.waiting.get(number)
            if curve is None or time.monotonic() < self.look_at.get(number, 0.0):
                continue
            ahead = [*self.waiting.values(), *self.running.values()]
            if not (curve.twin and any(curve.twin.key == other.key for other in ahead)):
                yield number

    def _start(self, number: int) -> None:
        curve = self.waiting.pop(number)
        if curve.twin and curve.twin.key in self.given_up:
            twin = curve.twin.slug
            self._give_up(number, curve, f"not trained: its tied network {twin} was given up")
        elif number in self.complete:
            self.report({"event": "curve_done", "curve": curve.slug, "task": number, "seconds": 0.0, "shared": True})
        else:
            self.running[number] = curve
            self.crew.start(number, partial(train_one, curve, number, self.of))

    def _end(self, outcome: Outcome) -> None:
        number, busy = outcome.number, outcome.result
        curve = self.running.pop(number)
        if isinstance(outcome.error, DivergedError | LostError):
            lost = isinstance(outcome.error, LostError)
            self.given_up[curve.key] = LostError(f"{curve.slug}: {outcome.error}") if lost else outcome.error
            self._give_up(number, curve, f"given up: {outcome.error}")
        elif outcome.error is not None:
            raise outcome.error
        elif busy is not None:
            self.waiting[number] = curve
            if number not in self.look_at:
                self._warn(number, curve, f"{busy} trains this curve; onsager trains other curves first")
            self.look_at[number] = time.monotonic() + WAIT_SECONDS

    def _give_up(self, number: int, curve: Curve, message: str) -> None:
        self._warn(number, curve, message)
        self.report({"event": "curve_given_up", "curve": curve.slug, "task": number})

    def _warn(self, number: int, curve: Curve, message: str) -> None:
        self.report({"event": "warning", "curve": curve.slug, "task": number, "message": message})


def _made_elsewhere(makers: "Iterable[Maker]") -> list[str]:
    """Warnings about stored curves that other versions of the libraries made: one line per set of versions."""
    slugs = grouped((version_changes(maker.folder.read_json("made") or {}), maker.slug) for maker in makers)
    return [
        f"these stored curves were trained with {versions}: {', '.join(names)}"
        for versions, names in slugs.items()
        if versions
    ]
