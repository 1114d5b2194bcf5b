"""One job of a sweep: an experiment to train and draw, wherever it runs, and how it may fail."""

import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onsager_cli.cli.train import train
from onsager_cli.errors import explained, notices_to
from onsager_cli.store.environment import cores
from onsager_cli.store.variables import NOT_OURS
from onsager_cli.text import one_line

if TYPE_CHECKING:
    from onsager_cli.config.experiment import Experiment


@dataclass(frozen=True)
class Job:
    """A job: its place among all jobs of the sweep, its overrides, and its experiment.

    `own` are the overrides in which it differs from other jobs. `name` is that of the experiment without them.
    """

    number: int
    total: int
    overrides: tuple[str, ...]
    experiment: "Experiment"
    name: str
    own: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"job {self.number}/{self.total}"

    @property
    def title(self) -> str:
        """`job 3/8 (seed=2)`."""
        return f"{self} ({' '.join(self.own)})" if self.own else str(self)


@dataclass(frozen=True)
class Failure:
    """Why a job failed, in one line. `mistake`: the user can mend it. `place`: where it ran, and its log."""

    message: str
    mistake: bool
    place: str = ""


def failure_of(error: Exception) -> Failure:
    """The failure that an exception means."""
    message, code = explained(error)
    return Failure(one_line(message), code == 2)


def run(job: Job, live: bool | None = None, explain: Callable[[Exception], Failure] = failure_of) -> Failure | None:
    """Train and draw the experiment of a job; returns why that failed. `live` is that of `train`."""
    print(f"{job}: {' '.join(job.overrides)}", file=sys.stderr, flush=True)
    try:
        train(job.experiment, live=live)
    except Exception as error:
        if os.environ.get("ONSAGER_DEBUG"):
            traceback.print_exception(error)
        return explain(error)
    return None


def run_in_child(job: Job, explain: Callable[[Exception], Failure] = failure_of) -> Failure | None:
    """`run` in a process for jobs: with the settings of the command, and without a live display, which is one line."""
    for name in NOT_OURS:
        os.environ.pop(name, None)
    # One curve at a time: the process of a job is the one that saves its state before Slurm ends it.
    alone = replace(job, experiment=replace(job.experiment, jobs=1))
    with notices_to(lambda text: print(f"onsager: warning: {text}", file=sys.stderr, flush=True)):
        return run(alone, live=False, explain=explain)


def workers(n_jobs: int, jobs: int) -> int:
    """How many of `jobs` run side by side on this machine; `n_jobs` is -1 for one on each core, -2 for one fewer."""
    return min(n_jobs if n_jobs > 0 else max(1, (cores() or 1) + 1 + n_jobs), jobs)


def tell(jobs: Sequence[Job], failures: Mapping[int, Failure]) -> int:
    """Print every failure, by the number of its job, and how many there are; returns the exit code of the sweep.

    Jobs that failed for one reason share a line.
    """
    reasons: dict[tuple[str, str], list[Job]] = {}
    for job in jobs:
        if failure := failures.get(job.number):
            reasons.setdefault((failure.message, failure.place), []).append(job)
    for (message, place), failed in reasons.items():
        numbers = ", ".join(str(job.number) for job in failed)
        who = failed[0].title if len(failed) == 1 else f"jobs {numbers} of {len(jobs)}"
        print(f"onsager: {f'{who}: ' if len(jobs) > 1 else ''}{message}{place and f' ({place})'}", file=sys.stderr)
    if not failures:
        return 0
    if len(jobs) > 1:
        print(f"onsager: {len(failures)} of {len(jobs)} jobs failed", file=sys.stderr)
    return 2 if all(failure.mistake for failure in failures.values()) else 1
