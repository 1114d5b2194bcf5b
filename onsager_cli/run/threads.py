"""Threads that train curves together on an accelerator: those of one program as one vectorized program."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onsager_cli.run.crew import LOOK_SECONDS, Event, Outcome, Report, Task

if TYPE_CHECKING:
    from onsager_cli.training.together import Group

END_SECONDS = 20.0  # for threads to come to their next event once the training is stopped


class _StoppedError(BaseException):
    """Ends a thread whose command has been stopped."""


@dataclass
class Threads:
    """`size` curves at a time. `group_of` says, by number, which curves share a program.

    Curves of one group begin together, so that they meet from their first step on.
    """

    size: int
    report: Report
    group_of: Callable[[int], Hashable]
    running: dict[int, threading.Thread] = field(default_factory=dict)
    ended: "queue.SimpleQueue[Outcome]" = field(default_factory=queue.SimpleQueue)
    events: "queue.SimpleQueue[Event]" = field(default_factory=queue.SimpleQueue)
    waiting: dict[int, Task] = field(default_factory=dict)
    stopping: bool = False

    def __enter__(self) -> "Threads":
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping = True
        until = time.monotonic() + END_SECONDS
        for thread in self.running.values():
            thread.join(max(0.0, until - time.monotonic()))

    @property
    def free(self) -> bool:
        """Whether one more curve can be started."""
        return len(self.running) + len(self.waiting) < self.size

    def start(self, number: int, task: Task) -> None:
        """Start a curve with the others of this round, in `outcomes`."""
        self.waiting[number] = task

    def outcomes(self) -> Iterator[Outcome]:
        """Report the events that have come, and yield the curves that have ended; waits for the first for a moment."""
        self._begin()
        with contextlib.suppress(queue.Empty):
            self.report(self.events.get(timeout=LOOK_SECONDS))
        ended = [self.ended.get() for _ in range(self.ended.qsize())]
        while not self.events.empty():  # all of those that have ended are among them
            self.report(self.events.get())
        for outcome in ended:
            self.running.pop(outcome.number).join()
            yield outcome

    def _begin(self) -> None:
        from onsager_cli.training.together import Group

        groups: dict[Hashable, Group] = {}
        for number in self.waiting:
            groups.setdefault(self.group_of(number), Group()).join()
        for number, task in self.waiting.items():
            group = groups[self.group_of(number)]
            thread = threading.Thread(target=self._train, args=(number, task, group), daemon=True)
            self.running[number] = thread
            thread.start()
        self.waiting = {}

    def _train(self, number: int, task: Task, group: "Group") -> None:
        from onsager_cli.training.together import meet_in

        def report(event: Event) -> None:
            if self.stopping:
                raise _StoppedError
            self.events.put({**event, "task": number})

        meet_in(group)
        try:
            outcome = Outcome(number, task(report))
        except BaseException as error:
            outcome = Outcome(number, error=error)
        finally:
            group.leave()
        self.ended.put(outcome)
