"""How long a training still takes: from the steps that were measured, and from what was expected of what is to come.

Work is counted in layers times steps times samples. The time for compiling is never taken for that of steps.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field

FIRST = 10  # steps of a curve, from which on its speed is known


@dataclass
class Course:
    """One running curve: its work, how much of it is done, and the seconds of the steps so far."""

    work: float
    began: float
    expected: float | None = None  # seconds of the whole curve, before it began
    done: float = 0.0  # by finished stages
    in_stage: float = 0.0  # work of the steps of the running stage
    seconds: float = 0.0  # since the first step, without compiling
    measured: float = 0.0  # work in these seconds
    steps: int = 0
    at: float | None = None  # the time up to which seconds are counted; None: not now
    pending: float = 0.0  # seconds since the last step, which compiling would take back

    def begin(self, now: float) -> None:
        """A stage begins, or its program is compiled: seconds count from now on."""
        self._count(now)
        self.at = now

    def compile(self) -> None:
        """Seconds do not count until `begin`."""
        self.pending, self.at = 0.0, None

    def step(self, now: float, steps: int, work: float) -> None:
        """Steps of this work were taken."""
        self._count(now)
        self.seconds, self.pending = self.seconds + self.pending, 0.0
        self.steps, self.measured, self.in_stage = self.steps + steps, self.measured + work, self.in_stage + work

    def end_stage(self, work: float) -> None:
        """A stage of this work is over, however many of its steps were taken."""
        self.done, self.in_stage = self.done + work, 0.0
        self.pending, self.at = 0.0, None  # the test set, and what is stored

    def _count(self, now: float) -> None:
        if self.at is not None:
            self.pending, self.at = self.pending + now - self.at, now

    @property
    def pace(self) -> float | None:
        """Seconds per work; None before the first steps."""
        return self.seconds / self.measured if self.steps >= FIRST and self.measured > 0 else None

    @property
    def left(self) -> float:
        """Work to do."""
        return max(0.0, self.work - self.done - self.in_stage)

    def seconds_left(self, now: float, scale: float | None = None) -> float | None:
        """Seconds to the end of the curve; None before its speed is known, unless `scale` is: that of what was expected."""
        if self.pace is not None:
            return max(0.0, self.left * self.pace - self.pending - (now - self.at if self.at is not None else 0.0))
        if self.expected is None or scale is None:
            return None
        return max(0.0, self.expected * scale - (now - self.began))


@dataclass
class Estimate:
    """The curves of a figure, `jobs` of them side by side.

    `expected` are the seconds of each curve to be trained, by its number. They count before the first curve has a
    speed only if `known`, which is to say that this machine has trained such curves before.
    """

    jobs: int = 1
    expected: Mapping[object, float] = field(default_factory=dict)
    known: bool = False
    running: dict[object, Course] = field(default_factory=dict)
    begun: set[object] = field(default_factory=set)
    actual: float = 0.0  # seconds of the finished curves
    foreseen: float = 0.0  # what was expected of these

    def begin(self, key: object, work: float, now: float) -> Course:
        """A curve begins."""
        self.begun.add(key)
        self.running[key] = Course(work, now, self.expected.get(key))
        return self.running[key]

    def end(self, key: object, now: float) -> None:
        """A curve has ended."""
        self.begun.add(key)
        course = self.running.pop(key, None)
        if course is not None and course.expected is not None:
            self.actual += now - course.began
            self.foreseen += course.expected

    def give_up(self, key: object) -> None:
        """A curve is not trained to its end: that says nothing of the others."""
        self.begun.add(key)
        self.running.pop(key, None)

    def _scale(self, now: float) -> float | None:
        """What curves take over what was expected of them; None if nothing is known of that yet."""
        actual, foreseen = self.actual, self.foreseen
        for course in self.running.values():
            if course.pace is not None and course.expected is not None and course.work > 0:
                share = (course.done + course.in_stage) / course.work  # what has hardly begun says little
                left = course.seconds_left(now) or 0.0
                actual += share * (now - course.began + left)
                foreseen += share * course.expected
        return actual / foreseen if foreseen > 0 else 1.0 if self.known else None

    def seconds_left(self, now: float) -> float | None:
        """Seconds to the end of the figure; None while nothing is known."""
        scale = self._scale(now)
        waiting = [seconds for key, seconds in self.expected.items() if key not in self.begun]
        if scale is None and (waiting or not self.running):
            return None
        lanes = [course.seconds_left(now, scale) for course in self.running.values()]
        if any(lane is None for lane in lanes):
            return None
        ends = [lane for lane in lanes if lane is not None] + [0.0] * (self.jobs - len(lanes))
        heapq.heapify(ends)
        for seconds in sorted(waiting, reverse=True):
            heapq.heapreplace(ends, ends[0] + seconds * (scale or 1.0))
        return max(ends, default=0.0)
