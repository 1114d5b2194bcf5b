"""Where the jobs of a sweep wait and run: a Slurm cluster, or processes of this machine. Both through submitit."""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from onsager_cli.config.launchers import Local, Slurm
from onsager_cli.errors import UserError
from onsager_cli.text import cell, one_line

if TYPE_CHECKING:
    from submitit import Job

Task = Callable[[], None]
_SHARED = ("timeout_min", "mem_gb", "cpus_per_task", "gpus_per_node")  # keys that submitit has for every cluster
LARGEST_ARRAY = 1000  # tasks; the limit of a Slurm that is not told another one

# States of a job of Slurm that may still change by itself.
ALIVE = (
    "PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING", "STAGE_OUT",
    "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT",
)  # fmt: skip

# Reasons for which a job waits until somebody changes it, the partition or an account.
STUCK = (
    "PartitionConfig", "PartitionNodeLimit", "PartitionTimeLimit", "PartitionDown", "PartitionInactive", "BadConstraints",
    "AccountNotAllowed", "InvalidAccount", "QOSNotAllowed", "InvalidQOS", "JobHeldUser", "JobHeldAdmin",
    "DependencyNeverSatisfied", "launch failed requeued held",
)  # fmt: skip

# A word in sbatch's refusal → the keys of the launcher that are about it.
_KEYS = {
    "time limit": ("timeout_min",), "account": ("account", "partition"), "partition": ("partition",), "qos": ("qos",),
    "node configuration": ("cpus_per_task", "mem_gb", "gpus_per_node", "constraint"), "memory": ("mem_gb",),
    "cpu": ("cpus_per_task",), "feature": ("constraint",), "gres": ("gres", "gpus_per_node"),
    "array": ("array_parallelism",),
}  # fmt: skip


class Seen(NamedTuple):
    """A job as the queue shows it: its state, why it waits, and the working directory of its command."""

    state: str
    reason: str = ""
    folder: str = ""


class SlurmQueue:
    """The queue of a Slurm cluster."""

    label = "Slurm"

    def __init__(self, launcher: Slurm, folder: Path, name: str) -> None:
        self.launcher = launcher
        self.folder = _folder(launcher, folder)
        self.logs: dict[str, Path] = {}
        self.arrays: set[str] = set()
        more = {
            key.replace("_", "-"): value for key, value in launcher.additional_parameters.items() if value is not False
        }
        if "no-requeue" not in more:
            more["requeue"] = True  # some clusters give a job back to the queue only if it asks for that
        own = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(launcher).items()
            if value is not None and key not in ("kind", "name", "max_num_timeout", "submitit_folder")
        }
        own["additional_parameters"] = more
        self.parameters = {key if key in _SHARED else f"slurm_{key}": value for key, value in own.items()}
        self.parameters |= {"name": name, "stderr_to_stdout": True}
        if launcher.cpus_per_task is not None:  # from Slurm 22.05 on, srun does not take it from sbatch
            self.parameters["slurm_srun_args"] = [f"--cpus-per-task={launcher.cpus_per_task}"]
        if shutil.which("srun") is None:
            raise UserError("hydra/launcher=submitit_slurm: Slurm is not installed here (no command srun)")

    def submit(self, tasks: Sequence[Task], after: Sequence[str] = ()) -> Iterator[str]:
        """Submit tasks that begin when the jobs `after` have ended; yields their ids. Raises UserError if Slurm refuses."""
        from submitit import AutoExecutor
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        limits = {
            "slurm_max_num_timeout": self.launcher.max_num_timeout,
            "slurm_python": f"{_UNTIL_STARTED} {_python()}",
        }
        executor = AutoExecutor(self.launcher.submitit_folder or self.folder, cluster="slurm", **limits)
        begin = {"slurm_dependency": ":".join(["afterany", *after])} if after else {}
        executor.update_parameters(**self.parameters, **begin)
        with _outside_of_a_job():
            for start in range(0, len(tasks), LARGEST_ARRAY):
                try:
                    jobs = executor.submit_array(tasks[start : start + LARGEST_ARRAY])
                except (FailedJobError, FailedSubmissionError) as error:
                    raise UserError(self._refusal(str(error))) from error
                for job in jobs:
                    self.logs[job.job_id] = job.paths.stdout
                    self.arrays.add(job.job_id.partition("_")[0])
                    yield job.job_id

    def states(self) -> Mapping[str, Seen] | None:
        """The user's jobs that Slurm knows, by id, with those that ended a short time ago; None if it does not answer."""
        command = ["squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}", "--format=%i|%T|%r|%Z"]
        lines = _output(command)
        if lines is None:
            return None
        fields = (line.split("|", 3) for line in lines.splitlines())
        return {found[0].strip(): Seen(*found[1:]) for found in fields if len(found) == 4}

    def last_state(self, job: str) -> str:
        """The state in which a job ended that the queue no longer shows, from Slurm's accounting; empty if there is none."""
        lines = _output(["sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={job}", "--format=State"])
        return next(iter((lines or "").split()), "")

    def log(self, job: str) -> Path | None:
        """The log of a job."""
        return self.logs.get(job)

    def cancel_command(self, jobs: Sequence[str]) -> list[str]:
        """The command that cancels jobs."""
        # One number for all tasks of an array that this process has submitted.
        return [
            "scancel",
            *dict.fromkeys(array if (array := job.partition("_")[0]) in self.arrays else job for job in jobs),
        ]

    def _refusal(self, text: str) -> str:
        """What sbatch says, and the keys that it may be about."""
        lines = [line.removeprefix("sbatch: ").removeprefix("error: ") for line in text.splitlines() if line.strip()]
        line = (lines or ["it gives no reason"])[-1].removeprefix("Batch job submission failed: ")
        keys = next((keys for word, keys in _KEYS.items() if word in line.lower()), ())
        given = {key: getattr(self.launcher, key) for key in keys}
        here = [f"hydra.launcher.{key}={cell(value)}" for key, value in given.items() if value is not None]
        return f"Slurm refuses the jobs: {one_line(line)}" + (f" (here {', '.join(here)})" if here else "")


class LocalQueue:
    """Processes of this machine, a few at a time."""

    label = "process"

    def __init__(self, launcher: Local, folder: Path, at_a_time: int) -> None:
        from submitit import LocalExecutor

        self.folder = _folder(launcher, folder)
        self.executor = LocalExecutor(
            launcher.submitit_folder or folder, max_num_timeout=launcher.max_num_timeout, python=_python()
        )
        self.executor.update_parameters(
            timeout_min=launcher.timeout_min, signal_delay_s=launcher.signal_delay_s, stderr_to_stdout=True
        )
        self.at_a_time = at_a_time
        self.waiting: dict[str, Task] = {}
        self.started: dict[str, Job[None]] = {}

    def submit(self, tasks: Sequence[Task], after: Sequence[str] = ()) -> Iterator[str]:
        """Queue tasks; yields a number for each. `states` starts them."""
        del after  # only Slurm has jobs of earlier commands
        for number, task in enumerate(tasks, 1):
            self.waiting[str(number)] = task
            yield str(number)

    def states(self) -> Mapping[str, Seen]:
        """The tasks by number; starts those that have a place."""
        running = sum(not job.done() for job in self.started.values())
        # The processes leave a Ctrl-C on the terminal to this one, which ends them in order.
        with blocked(signal.SIGINT):
            for number in list(self.waiting)[: max(0, self.at_a_time - running)]:
                self.started[number] = self.executor.submit(self.waiting.pop(number))
        states = {number: "FAILED" if job.done() else "RUNNING" for number, job in self.started.items()}
        return {number: Seen(state) for number, state in (states | dict.fromkeys(self.waiting, "PENDING")).items()}

    def last_state(self, job: str) -> str:
        """Nothing: a process that has ended is still in `states`."""
        del job
        return ""

    def log(self, job: str) -> Path | None:
        """The log of a task; None before it starts."""
        return self.started[job].paths.stdout if job in self.started else None

    def stop(self, jobs: Sequence[str]) -> None:
        """End the tasks in order, and wait for that."""
        self.waiting.clear()
        for job in jobs:
            if job in self.started and not self.started[job].done():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(self.started[job].job_id), signal.SIGTERM)
        self.join()

    def join(self) -> None:
        """Wait for the end of every process that was started."""
        for job in self.started.values():
            job.wait()


Queue = SlurmQueue | LocalQueue


def _folder(launcher: Slurm | Local, folder: Path) -> Path:
    """The folder of the logs; that of the user's own may end in names that depend on the job (%j)."""
    from submitit.core.utils import JobPaths

    return JobPaths.get_first_id_independent_folder(launcher.submitit_folder or folder)


def _python() -> str:
    """The command of this Python, for jobs: they do not import modules from the working directory."""
    return f"{shlex.quote(sys.executable)} -P"


# A job that Slurm preempts while it starts must not end by the signal, but be killed: then it is queued again.
_UNTIL_STARTED = """sh -c 'trap "" TERM USR2; exec "$0" "$@"'"""


@contextlib.contextmanager
def blocked(*numbers: int) -> Iterator[None]:
    """Within the block, these signals wait, and processes that are started never get them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _outside_of_a_job() -> Iterator[None]:
    """Within the block, the environment is not that of the Slurm job in which this process may run itself."""
    from submitit.helpers import clean_env

    if "SLURM_JOB_ID" not in os.environ:
        yield
        return
    # What the user set for every sbatch stays.
    kept = {key: value for key, value in os.environ.items() if re.match(r"SBATCH_|SLURM_CONF$", key)}
    with clean_env():
        os.environ.update(kept)
        yield


def _output(command: Sequence[str]) -> str | None:
    """What a command prints; None if it fails or takes longer than a minute."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return None
