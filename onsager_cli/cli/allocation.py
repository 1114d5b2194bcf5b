"""What an allocation of a cluster runs: jobs one after the other, which note their outcomes and end in order.

A job that is preempted or runs out of time saves its state, goes back into the queue, and resumes.
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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onsager_cli.cli.jobs import Failure, Job, failure_of, run_in_child
from onsager_cli.cli.signals import Stop
from onsager_cli.cli.watch import read_events
from onsager_cli.errors import DivergedError, UserError
from onsager_cli.store.environment import share_cores, slurm_cores, slurm_job
from onsager_cli.store.files import Json, append_line

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

OUT_OF_TIME = (
    "the job reached its time limit, and hydra.launcher.max_num_timeout allows no further restart: run the same command "
    "again to resume, or raise hydra.launcher.timeout_min"
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
