"""Watch the jobs of a sweep in a queue: what starts, ends, fails or goes back into the queue is one line on stderr.

A job notes what becomes of it in a file, its events. The queue tells the rest: a job that was cancelled or killed notes
nothing.
"""

import contextlib
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from onsager_cli.cli.jobs import Failure, Job
from onsager_cli.cli.queues import ALIVE, STUCK, Queue, Seen, SlurmQueue
from onsager_cli.errors import UserError
from onsager_cli.store.files import Json, read_bytes
from onsager_cli.store.notes import parse_json
from onsager_cli.text import clock, one_line

GRACE_SECONDS = 20.0  # for the last event of a job that has ended to arrive through a network file system
STATUS_SECONDS = 60.0  # between lines that tell how far the jobs are
LONGEST_PAUSE = 30.0  # seconds between looks at the queue

WHY = {
    "CANCELLED": "it was cancelled",
    "TIMEOUT": "Slurm stopped it at its time limit: set hydra.launcher.timeout_min higher",
    "OUT_OF_MEMORY": "it used more memory than allowed: set hydra.launcher.mem_gb higher",
    "NODE_FAIL": "its node failed",
    "BOOT_FAIL": "its node did not start",
    "PREEMPTED": "it was preempted, and this partition does not requeue jobs",
}


@dataclass
class Placed:
    """An allocation in the queue, by its `id` there: the jobs of this sweep by their position, its curves, what was seen."""

    id: str
    events: Path
    jobs: Mapping[int, Job]
    curves: frozenset[str] = frozenset()
    seen: int = 0  # events that were read
    state: str = ""
    ended: bool = False
    stuck: bool = False
    missing_since: float | None = None
    unread: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.unread = set(self.jobs)

    @property
    def waiting(self) -> list[Job]:
        """The jobs whose outcome is not known."""
        return [self.jobs[position] for position in sorted(self.unread)]


class Watch:
    """Waits for allocations. `failures` and `files` are the outcomes so far, by the number of the job."""

    def __init__(self, queue: Queue, placed: Iterable[Placed] = ()) -> None:
        self.queue = queue
        self.placed: list[Placed] = []
        self.pending: list[Placed] = []
        self.failures: dict[int, Failure] = {}
        self.files: dict[int, list[str]] = {}
        self.started = self.told = time.monotonic()
        self.answers = True
        self.add(placed)

    def add(self, placed: Iterable[Placed]) -> None:
        """Watch these allocations, too."""
        self.placed += placed
        self.pending = [place for place in self.placed if place.unread]

    def wait(self) -> None:
        """Return when every job has ended."""
        while self.pending:
            states = self.queue.states()
            if self.answers and states is None:
                say("squeue does not answer; asking again")
            self.answers = states is not None
            for place in list(self.pending):
                self._look(place, states)
            if self.pending:
                self._stuck(states or {})
                self._status(states or {})
                time.sleep(self._pause())

    def _pause(self) -> float:
        """Seconds until the next look: few at the start, for the first words; more in a long wait, for the cluster."""
        if not isinstance(self.queue, SlurmQueue):
            return 0.2
        return min(LONGEST_PAUSE, 2 + (time.monotonic() - self.started) / 20)

    def _look(self, place: Placed, states: Mapping[str, Seen] | None) -> None:
        """Tell what is new of an allocation, and take it from the pending ones if it has ended."""
        for event in read_events(place.events)[place.seen :]:
            place.seen += 1
            self._on_event(place, event)
        state = place.state if states is None else states.get(place.id, Seen("")).state
        if place.unread and state == "PENDING" and place.state not in ("", "PENDING"):
            self._say(place, "is queued again, and will resume")
        place.state = state
        if not place.unread:
            self.pending.remove(place)
        elif place.ended:
            self._lost(place)
        elif state in ALIVE or states is None:
            place.missing_since = None
        else:
            place.missing_since = place.missing_since or time.monotonic()
            if time.monotonic() - place.missing_since >= GRACE_SECONDS:
                self._lost(place)

    def _on_event(self, place: Placed, event: Json) -> None:
        """Tell one event, and keep the outcome of a job."""
        kind, position = event.get("event"), event.get("job")
        if kind == "end":
            place.ended = True
        if kind == "time":
            self._say(place, "has reached its time limit")
        if not isinstance(position, int) or (job := place.jobs.get(position)) is None:
            return
        if kind == "started":
            verb = "resumes" if event.get("restarts") else "starts"
            say(f"{job.title}: {verb} as {self._name(place)} on {event.get('host')}")
            return
        if position not in place.unread:
            return
        if kind == "done":
            self.files[job.number] = [str(path) for path in event.get("files") or ()]
            say(f"{job}: done after {clock(float(event.get('seconds') or 0))}")
        elif kind == "failed":
            self._failed(place, job, str(event.get("message")), bool(event.get("mistake")))
        place.unread -= {position} if kind in ("done", "failed") else set()

    def _lost(self, place: Placed) -> None:
        """The jobs of an allocation that ended without noting their outcome have failed."""
        state = (place.state or self.queue.last_state(place.id)).rstrip("+")
        reason = WHY.get(state) or (f"it ended as {state}" if state else "it is no longer in the queue")
        if last := _last_line(self.queue.log(place.id)):
            reason += f"; its log ends with: {last}"
        for job in place.waiting:
            self._failed(place, job, reason, False)
        place.unread.clear()
        self.pending.remove(place)

    def _failed(self, place: Placed, job: Job, message: str, mistake: bool) -> None:
        """Keep a failure, and tell it."""
        log = self.queue.log(place.id)
        where = self._name(place) + (f", log {shown(log)}" if log else "")
        self.failures[job.number] = Failure(one_line(message), mistake, where)
        say(f"{job} failed: {one_line(message)}")

    def _stuck(self, states: Mapping[str, Seen]) -> None:
        """Tell, once, which allocations do not start by themselves, and why."""
        found: dict[str, list[Placed]] = {}
        for place in self.pending:
            reason = _reason(place, states)
            if reason in STUCK and not place.stuck:
                place.stuck = True
                found.setdefault(reason, []).append(place)
        for reason, places in found.items():
            command = shlex.join(["scancel", *(place.id for place in places)])
            jobs = ", ".join(str(job) for place in places for job in place.waiting)
            say(
                f"{jobs}: Slurm will not start {'these jobs' if ', ' in jobs else 'this job'} ({reason}); to cancel: {command}"
            )

    def _status(self, states: Mapping[str, Seen]) -> None:
        """Tell how far the jobs are, now and then."""
        if time.monotonic() - self.told < STATUS_SECONDS:
            return
        self.told = time.monotonic()
        total = sum(len(place.jobs) for place in self.placed)
        left = [place for place in self.pending if place.state != "PENDING"]
        running = [f"{self._name(place)}: {_stored(place.waiting[0])}" for place in left if place.waiting]
        queued = Counter(_reason(place, states) for place in self.pending if place.state == "PENDING")
        parts = [f"{len(self.files) + len(self.failures)} of {total} jobs have ended", *running[:10]]
        if len(running) > 10:
            parts.append(f"{len(running) - 10} more are running")
        parts += [f"{count} queued{reason and f' ({reason})'}" for reason, count in queued.items()]
        say("; ".join(parts))

    def _say(self, place: Placed, text: str) -> None:
        """Tell something of an allocation."""
        say(f"{', '.join(map(str, place.waiting))}: {self._name(place)} {text}")

    def _name(self, place: Placed) -> str:
        """`Slurm 17_3`."""
        return f"{self.queue.label} {place.id}"

    def interrupted(self) -> None:
        """Tell what becomes of the jobs when this process is stopped, and how to cancel them; ask that on a terminal."""
        if not self.pending:
            return
        left = {place.id: "queued" if place.state in ("", "PENDING") else "running" for place in self.pending}
        if not isinstance(self.queue, SlurmQueue):
            self.queue.stop(list(left))
            return
        command = self.queue.cancel_command(list(left))
        words = ("running", "queued")
        parts = [f"{', '.join(ids)} {word}" for word in words if (ids := [one for one in left if left[one] == word])]
        say(
            f"the jobs stay in the queue of {self.queue.label}: {'; '.join(parts)}; to cancel them: {shlex.join(command)}"
        )
        if sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty() and _agrees("cancel them now? [y/N] "):
            subprocess.run(command, check=False)
            say("cancelled")


def _reason(place: Placed, states: Mapping[str, Seen]) -> str:
    """Why an allocation waits; empty if it does not, or Slurm gives no reason."""
    reason = states[place.id].reason.strip("()") if place.state == "PENDING" and place.id in states else ""
    return "" if reason == "None" else reason


def say(text: str) -> None:
    """Print one line on stderr."""
    print(one_line(text), file=sys.stderr, flush=True)


def _agrees(question: str) -> bool:
    """Whether the user answers yes. A Ctrl-C is a no."""
    print(question, end="", file=sys.stderr, flush=True)
    try:
        return sys.stdin.readline().strip().lower() in ("y", "yes")
    except KeyboardInterrupt:
        return False


def read_events(path: Path) -> list[Json]:
    """The events that the jobs of an allocation have noted; [] if there are none yet."""
    try:
        lines = read_bytes(path).splitlines()
    except UserError:
        return []
    return [event for line in lines if (event := parse_json(line)) is not None]


def _stored(job: Job) -> str:
    """`5 of 8 layers`: how far the curves of a job are."""
    curves = [curve for part in job.experiment.parts for curve in part.curves]
    stored = 0
    for curve in curves:
        depth = curve.settings.network.depth
        with contextlib.suppress(UserError):
            stored += sum(depth is None or (row["layer"] or 0) <= depth for row in curve.folder.points())
    return f"{stored} of {sum(curve.settings.network.depth or 1 for curve in curves)} layers"


def shown(path: Path) -> str:
    """A path as short as it can be written: from the working directory, if it is below."""
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


def _last_line(path: Path | None) -> str:
    """The last line of a log that is not empty; empty if there is none."""
    try:
        lines = [] if path is None else read_bytes(path).decode(errors="replace").splitlines()
    except UserError:
        return ""
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")
