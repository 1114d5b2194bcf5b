"""Run the jobs of a sweep on a Slurm cluster, or as processes of this machine with the same files: through submitit.

Jobs that share a curve, and jobs that need the tied network of another one, are one allocation, in which they run one
after the other: no allocation waits for another one. A job that is preempted or runs out of time goes back into the
queue and resumes. Each sweep has a folder OUTPUT/sweeps/DATE: what was submitted (jobs.json), what became of it
(*.jsonl), and the logs.
"""

import contextlib
import io
import json
import os
import platform
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onsager_cli.cli.jobs import Failure, Job, failure_of, run_in_child, workers
from onsager_cli.cli.queues import ALIVE, LocalQueue, Queue, SlurmQueue, blocked
from onsager_cli.cli.signals import Stop
from onsager_cli.cli.watch import Placed, Watch, read_events, say, shown
from onsager_cli.config.launchers import Local, Slurm
from onsager_cli.errors import DivergedError, UserError
from onsager_cli.store.environment import share_cores, slurm_cores, slurm_job
from onsager_cli.store.files import Json, append_line, atomic_write, make_folder
from onsager_cli.store.notes import identity_hash, json_bytes, read_json
from onsager_cli.text import clock

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

NOTE = "jobs.json"
OUT_OF_TIME = (
    "it ran out of time, and may not go back into the queue again: run the same command again to resume, or set "
    "hydra.launcher.timeout_min or max_num_timeout higher"
)


@dataclass(frozen=True)
class Allocation:
    """Jobs that run one after the other in one allocation, and the file in which they note their outcomes.

    `patience` is how many seconds a signal that ends the job may wait for the training to save its state. `processes`
    is how many run side by side on this machine; 0 on a cluster. `named`: the job takes the name of its figure in the
    queue. `devices` is CUDA_VISIBLE_DEVICES of the command, which submitit changes on this machine.
    """

    jobs: tuple[Job, ...]
    events: Path
    patience: float = 0.0
    processes: int = 0
    named: bool = False
    devices: str | None = None

    def __call__(self) -> None:
        """Run the jobs that have no outcome yet. Raises SystemExit with the command's exit codes if one has failed."""
        try:
            with Stop():
                code = self._run_all()
        except KeyboardInterrupt as error:
            print("onsager: stopped", file=sys.stderr, flush=True)
            code = getattr(error, "exit_code", 130)
        if code:
            raise SystemExit(code)

    def _run_all(self) -> int:
        """Run the jobs that have no outcome yet; returns the exit code."""
        self._prepare()
        ends = [event for event in read_events(self.events) if event.get("event") in ("done", "failed")]
        outcomes = {event.get("job"): event for event in ends}
        for position, job in enumerate(self.jobs):
            if position in outcomes:
                continue
            late = any(event.get("message") == OUT_OF_TIME for event in outcomes.values())
            outcomes[position] = (
                self._failed(position, Failure(OUT_OF_TIME, True)) if late else self._run(position, job)
            )
        self._note("end")
        failed = [event for event in outcomes.values() if event["event"] == "failed"]
        return 2 * bool(failed) if all(event.get("mistake") for event in failed) else 1

    def checkpoint(self) -> "DelayedSubmission":
        """What submitit puts into the queue when the time is over: the same, which resumes from what is stored."""
        from submitit.helpers import DelayedSubmission

        self._note("time")
        return DelayedSubmission(self)

    def _prepare(self) -> None:
        """Take the share of this machine, the name of the figure in the queue, and the signals."""
        if self.processes:
            share_cores(self.processes)
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)
            if self.devices is not None:
                os.environ["CUDA_VISIBLE_DEVICES"] = self.devices
        else:
            share_cores(1, slurm_cores())
            self._take_name(self.jobs[0].experiment.name)
        self._save_before_the_end()

    def _take_name(self, name: str) -> None:
        """Name the Slurm job of this process, if the user did not."""
        if self.named and name != os.environ.get("SLURM_JOB_NAME"):
            command = ["scontrol", "update", f"JobId={slurm_job()}", f"JobName={name}"]
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                subprocess.run(command, capture_output=True, check=False, timeout=30)

    def _save_before_the_end(self) -> None:
        """Let the signals by which a job ends wait until the training has saved its state, for `patience` at most.

        At the time limit, submitit ends this process and queues it again. Before a preemption, Slurm sends SIGTERM,
        which submitit ignores, and kills the job some time later.
        """
        from onsager_cli.training.checkpoint import save_soon

        numbers = (signal.SIGTERM, signal.SIGUSR2)
        of_submitit = {number: handler for number in numbers if callable(handler := signal.getsignal(number))}
        if len(of_submitit) < len(numbers):
            return

        def preempt(*arguments: Any) -> None:
            of_submitit[signal.SIGTERM](*arguments)
            save_soon()

        def end(*arguments: Any) -> None:
            self._after_saving(lambda: of_submitit[signal.SIGUSR2](*arguments))

        signal.signal(signal.SIGTERM, preempt)
        signal.signal(signal.SIGUSR2, end)

    def _after_saving(self, then: Callable[[], object]) -> None:
        """Call `then` once the training has saved its state, or when patience is at its end."""
        from onsager_cli.training.checkpoint import save_soon

        def now(*_: object) -> None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            then()

        signal.signal(signal.SIGALRM, now)
        signal.setitimer(signal.ITIMER_REAL, self.patience)
        save_soon(now)

    def _run(self, position: int, job: Job) -> Json:
        """Run one job; returns its last event."""
        restarts = int(os.environ.get("SLURM_RESTART_COUNT") or 0)
        self._note("started", job=position, host=platform.node(), restarts=restarts)
        begun, printed = time.monotonic(), io.StringIO()
        with contextlib.redirect_stdout(printed):  # the files of the figure, for the command that waits
            failure = run_in_child(job, _explained)
        if failure is not None:
            print(f"onsager: {job}: {failure.message}", file=sys.stderr, flush=True)
            return self._failed(position, failure)
        print(printed.getvalue(), end="", flush=True)
        return self._note("done", job=position, files=printed.getvalue().splitlines(), seconds=time.monotonic() - begun)

    def _failed(self, position: int, failure: Failure) -> Json:
        """Note a failure; returns the event."""
        return self._note("failed", job=position, message=failure.message, mistake=failure.mistake)

    def _note(self, event: str, **more: object) -> Json:
        """Append an event to the file of outcomes."""
        noted = {"event": event, **more}
        append_line(self.events, json.dumps(noted).encode())
        return noted


def _explained(error: Exception) -> Failure:
    """The failure that an exception means in a job, whose log has the traceback of what nobody foresaw."""
    if type(error).__name__ == "UncompletedJobError":  # submitit does not queue the job again
        return Failure(OUT_OF_TIME, True)
    if not isinstance(error, UserError | DivergedError):
        traceback.print_exception(error)
    return failure_of(error)


def run_jobs(jobs: Sequence[Job], launcher: Slurm | Local) -> dict[int, Failure]:
    """Submit jobs, wait for them, and print their figures; returns the failures by the number of the job.

    A job of an earlier command that is still in the queue is not submitted again. Raises UserError if Slurm refuses.
    """
    begun = time.monotonic()
    folder = _new_folder(jobs[0].experiment.output)
    queue = _queue(jobs, launcher, folder)
    placed = _adopted(jobs, queue) if isinstance(queue, SlurmQueue) else []
    found = {job.number for place in placed for job in place.jobs.values()}
    with blocked(signal.SIGINT, signal.SIGTERM) if isinstance(queue, SlurmQueue) else contextlib.nullcontext():
        placed += _submit([job for job in jobs if job.number not in found], launcher, queue, folder, placed)
    watch = Watch(queue, placed)
    try:
        watch.wait()
        if isinstance(queue, LocalQueue):
            queue.join()
    except KeyboardInterrupt:
        watch.interrupted()
        raise
    for number in sorted(watch.files):
        for path in watch.files[number]:
            print(path)
    say(f"{len(watch.files)} of {len(jobs)} jobs are done, after {clock(time.monotonic() - begun)}")
    return watch.failures


def groups(jobs: Sequence[Job]) -> list[list[Job]]:
    """The jobs that share trained curves, together; in each group and among the groups in their order."""
    found: list[tuple[set[str], list[Job]]] = []
    for job in jobs:
        curves = set(_curves(job))
        joined = [group for group in found if group[0] & curves]
        found = [group for group in found if group not in joined]
        members = sorted([*(one for group in joined for one in group[1]), job], key=lambda one: one.number)
        found.append((curves.union(*(group[0] for group in joined)), members))
    return sorted((members for _, members in found), key=lambda members: members[0].number)


def _curves(job: Job) -> Iterator[str]:
    """What identifies the trained curves of a job, and the tied networks that they begin from: store and hash."""
    for part in job.experiment.parts:
        for curve in part.curves:
            if curve.settings.trained:
                for one in filter(None, (curve, curve.twin)):
                    yield f"{one.output.absolute()}/{identity_hash(one.identity)}"


def _queue(jobs: Sequence[Job], launcher: Slurm | Local, folder: Path) -> Queue:
    """The queue of a launcher. Raises UserError if there is none here."""
    if isinstance(launcher, Local):
        return LocalQueue(launcher, folder, workers(launcher.n_jobs, len(groups(jobs))))
    names = list(dict.fromkeys(job.name for job in jobs))
    more = f"+{len(names) - 1}" if len(names) > 1 else ""
    return SlurmQueue(launcher, folder, launcher.name or f"{names[0]}{more}")


def _submit(
    jobs: Sequence[Job], launcher: Slurm | Local, queue: Queue, folder: Path, earlier: Sequence[Placed]
) -> list[Placed]:
    """Submit jobs, note that in `folder`, and say so. What needs a curve of an earlier allocation begins after it."""
    here = queue.at_a_time if isinstance(queue, LocalQueue) else 0
    named, devices = isinstance(launcher, Slurm) and launcher.name is None, os.environ.get("CUDA_VISIBLE_DEVICES")
    by_need: dict[tuple[str, ...], list[Allocation]] = {}
    for number, members in enumerate(groups(jobs), 1):
        curves = {curve for job in members for curve in _curves(job)}
        after = tuple(place.id for place in earlier if not place.curves.isdisjoint(curves))
        allocation = Allocation(
            tuple(members), folder / f"{number}.jsonl", launcher.signal_delay_s / 2, here, named, devices
        )
        by_need.setdefault(after, []).append(allocation)
    placed: list[Placed] = []
    if not by_need:
        return placed
    make_folder(folder)
    for after, allocations in by_need.items():
        try:
            for allocation, job in zip(allocations, queue.submit(allocations, after), strict=True):
                curves = frozenset(curve for one in allocation.jobs for curve in _curves(one))
                placed.append(Placed(job, allocation.events, dict(enumerate(allocation.jobs)), curves))
        finally:  # Slurm may refuse some of them
            if placed:
                _write_note(folder, queue, placed)
        if after:
            waiting = ", ".join(str(job) for one in allocations for job in one.jobs)
            say(f"{waiting}: begins after {queue.label} {', '.join(after)}, which trains the same curves")
    together = "; jobs that share curves run one after the other" if len(placed) < len(jobs) else ""
    ids = [place.id for place in placed]
    names = "" if here else f" as {queue.label} {ids[0]}" + (f" … {ids[-1]}" if len(ids) > 1 else "")
    verb = f"started {here} at a time" if here else "submitted"
    say(f"{len(jobs)} job{'s' * (len(jobs) > 1)} {verb}{names}; logs: {shown(queue.folder)}{together}")
    return placed


def _new_folder(output: Path) -> Path:
    """The absolute path of a folder for one sweep, which is not there yet."""
    place = output.absolute() / "sweeps" / time.strftime("%Y-%m-%d_%H-%M-%S")
    number = 1
    while (path := place.with_name(f"{place.name}{f'-{number}' * (number > 1)}")).exists():
        number += 1
    return path


def _write_note(folder: Path, queue: Queue, placed: Sequence[Placed]) -> None:
    """Note what was submitted, so that a later command finds the jobs."""
    allocations = [
        {
            "id": place.id, "log": str(queue.log(place.id) or ""), "events": place.events.name,
            "curves": sorted(place.curves), "jobs": [_described(job) for job in place.jobs.values()],
        }
        for place in placed
    ]  # fmt: skip
    note = {"queue": queue.label, "folder": os.getcwd(), "allocations": allocations}
    atomic_write(folder / NOTE, json_bytes(note))


def _described(job: Job) -> Json:
    """A job in a note: two commands mean the same job if it is equal."""
    return {"overrides": list(job.overrides), "figure": job.experiment.name}


def _adopted(jobs: Sequence[Job], queue: SlurmQueue) -> list[Placed]:
    """The allocations of earlier commands of this folder that are still in the queue, with those of `jobs` that they run."""
    outputs = dict.fromkeys(job.experiment.output.absolute() for job in jobs)
    notes = [path for output in outputs for path in sorted((output / "sweeps").glob(f"*/{NOTE}"))]
    states = queue.states() if notes else {}
    if states is None:
        raise UserError("squeue does not answer, and earlier jobs of this sweep may be in the queue: try again later")
    wanted = [(job, _described(job)) for job in jobs]
    placed = []
    for path, allocation in _noted(notes):
        seen = states.get(str(allocation.get("id")))
        if seen is None or seen.state not in ALIVE or seen.folder != os.getcwd():
            continue
        listed = allocation.get("jobs") or []
        mine = {listed.index(what): job for job, what in wanted if what in listed}
        wanted = [(job, what) for job, what in wanted if job not in mine.values()]
        place = Placed(
            str(allocation["id"]),
            path.parent / str(allocation.get("events")),
            mine,
            frozenset(allocation.get("curves") or ()),
        )
        queue.logs[place.id] = Path(str(allocation.get("log")))
        placed.append(place)
        if mine:
            say(f"{', '.join(map(str, mine.values()))}: still in the queue as Slurm {place.id}; not submitted again")
    return placed


def _noted(notes: Iterable[Path]) -> Iterator[tuple[Path, Json]]:
    """The allocations that notes list; what cannot be read is left out."""
    for path in notes:
        with contextlib.suppress(UserError):
            note = read_json(path) or {}
            if note.get("queue") == SlurmQueue.label:
                yield from ((path, item) for item in note.get("allocations") or () if isinstance(item, dict))
