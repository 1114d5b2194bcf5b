"""Run the jobs of a sweep on a Slurm cluster, or as processes of this machine with the same files: through submitit.

Jobs that share a curve, and jobs that need the tied network of another one, are one allocation, in which they run one
after the other: no allocation waits for another one. Each sweep has a folder OUTPUT/sweeps/DATE: what was submitted
(jobs.json), what became of it (*.jsonl), and the logs.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from onsager_cli.cli.allocation import Allocation
from onsager_cli.cli.jobs import Failure, Job, workers
from onsager_cli.cli.queues import ALIVE, LocalQueue, Queue, SlurmQueue, blocked
from onsager_cli.cli.watch import Placed, Watch, say, shown
from onsager_cli.config.launchers import Local, Slurm
from onsager_cli.errors import UserError
from onsager_cli.store.files import Json, atomic_write, make_folder
from onsager_cli.store.notes import identity_hash, json_bytes, read_json
from onsager_cli.text import clock

NOTE = "jobs.json"


def run_jobs(jobs: Sequence[Job], launcher: Slurm | Local) -> dict[int, Failure]:
    """Submit jobs, wait for them, and print their figures; returns the failures by the number of the job.

    A job of an earlier command that is still in the queue is not submitted again. Raises UserError if Slurm refuses.
    """
    begun = time.monotonic()
    folder = _new_folder(jobs[0].experiment.output)
    queue = _queue(jobs, launcher, folder)
    watch = Watch(queue)
    try:
        if isinstance(queue, SlurmQueue):
            watch.add(_adopted(jobs, queue))
        found = {job.number for place in watch.placed for job in place.jobs.values()}
        # No signal comes between a submission and its note.
        with blocked(signal.SIGINT, signal.SIGTERM) if isinstance(queue, SlurmQueue) else contextlib.nullcontext():
            rest = [job for job in jobs if job.number not in found]
            watch.add(_submit(rest, launcher, queue, folder, watch.placed))
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
    first: dict[str, int] = {}  # of the jobs that train a curve
    leader = list(range(len(jobs)))  # an earlier job of the same group, or the job itself

    def leads(index: int) -> int:
        while leader[index] != index:
            index = leader[index]
        return index

    for index, job in enumerate(jobs):
        for curve in _curves(job):
            one, other = sorted((leads(index), leads(first.setdefault(curve, index))))
            leader[other] = one
    found: dict[int, list[Job]] = {}
    for index, job in enumerate(jobs):
        found.setdefault(leads(index), []).append(job)
    return list(found.values())


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
        except UserError:
            if placed:
                submitted = ", ".join(str(job) for place in placed for job in place.jobs.values())
                say(f"already submitted: {submitted}; the same command waits for them")
            raise
        finally:  # Slurm may refuse some of them
            if placed:
                _write_note(folder, queue, placed)
        if after:
            waiting = ", ".join(str(job) for one in allocations for job in one.jobs)
            say(f"{waiting}: starts after {queue.label} {', '.join(after)}, which trains the same curves")
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
