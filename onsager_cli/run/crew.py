"""Processes that train curves side by side, each with its share of the cores.

A process receives a task, sends the events of its training, then the outcome, and waits for the next one. Several
processes on a core each are faster than one process on all cores, whose matrix products do not split evenly.
"""

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait

from onsager_cli.errors import LostError, notices_to
from onsager_cli.store.environment import cores_here, run_as_batch, take_cores
from onsager_cli.store.variables import NOT_OURS

GRACE_SECONDS = 2.0  # to end in order after a SIGTERM; a kill loses no more than the work since the last checkpoint
LOOK_SECONDS = 0.5  # the longest time without a look at who asks this process to stop

Event = dict[str, object]
Report = Callable[[Event], None]
Task = Callable[[Report], object]
"""A picklable function of a report; what it returns is sent back."""


@dataclass(frozen=True)
class Outcome:
    """How a task ended: what it returned, or the exception that it raised."""

    number: int
    result: object = None
    error: BaseException | None = None


class RemoteError(Exception):
    """The traceback of another process, as the cause of the exception that it raised."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


@dataclass
class Worker:
    """A process, the connection to it, and the number of its task."""

    process: "subprocess.Popen[bytes]"
    connection: Connection
    number: int | None = None


@dataclass
class Crew:
    """`size` processes, started with the first tasks. As a context manager it ends them on the way out.

    `report` receives the events of all tasks, each with the number of its task under "task".
    """

    size: int
    report: Report
    workers: list[Worker] = field(default_factory=list)

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.process.terminate()
        until = time.monotonic() + GRACE_SECONDS
        for worker in self.workers:
            try:
                worker.process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:  # it is in a compiled step
                worker.process.kill()
                worker.process.wait()
            worker.connection.close()

    @property
    def free(self) -> bool:
        """Whether a process has no task, or one more may be started."""
        return len(self.workers) < self.size or any(worker.number is None for worker in self.workers)

    def start(self, number: int, task: Task) -> None:
        """Give a task to a free process."""
        self.workers = [one for one in self.workers if one.number is not None or one.process.poll() is None]
        worker = next((one for one in self.workers if one.number is None), None) or self._hire()
        worker.number = number
        with contextlib.suppress(BrokenPipeError):  # it has just ended: `outcomes` tells
            worker.connection.send_bytes(pickle.dumps(task))

    def _hire(self) -> Worker:
        ours, theirs = Pipe()
        try:
            number, cores = theirs.fileno(), max(1, (cores_here() or 1) // self.size)
            code = f"import sys; sys.path[:] = {sys.path!r}; from onsager_cli.run.crew import work; work({number}, {cores})"
            environment = {name: value for name, value in os.environ.items() if name not in NOT_OURS}
            environment["JAX_PLATFORMS"] = "cpu"
            with _without_ctrl_c():
                process = subprocess.Popen(
                    [sys.executable, "-P", "-c", code], pass_fds=[number], stdin=subprocess.DEVNULL, env=environment
                )
        finally:
            theirs.close()
        self.workers.append(Worker(process, ours))
        return self.workers[-1]

    def outcomes(self) -> Iterator[Outcome]:
        """Report the events that have come, and yield the tasks that have ended; waits for the first for a moment."""
        busy = {worker.connection: worker for worker in self.workers if worker.number is not None}
        for connection in wait(list(busy), LOOK_SECONDS):
            worker = busy[connection]  # type: ignore[index]
            assert worker.number is not None
            try:
                kind, content = pickle.loads(worker.connection.recv_bytes())
            except (EOFError, OSError):
                yield Outcome(worker.number, error=self._lost(worker))
                continue
            if kind == "event":
                self.report({**content, "task": worker.number})
                continue
            number, worker.number = worker.number, None
            yield Outcome(number, content) if kind == "done" else Outcome(number, error=_raised(*content))

    def _lost(self, worker: Worker) -> LostError:
        """The error of a process that has ended by itself."""
        self.workers.remove(worker)
        worker.connection.close()
        code = worker.process.wait()
        if code == -signal.SIGKILL:
            why = "was killed, perhaps for lack of memory (jobs=1 trains one curve at a time)"
        else:
            why = f"ended with {f'signal {-code}' if code < 0 else f'exit code {code}'}"
        return LostError(f"the process that trained it {why}; run the same command again to resume")


@contextlib.contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """A process that is started within the block never gets a Ctrl-C: whoever started it gets it, too, and ends it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def work(descriptor: int, cores: int) -> None:
    """Do the tasks of a connection on so many cores; the process ends with the one that started it."""
    take_cores(cores)
    run_as_batch()
    signal.signal(signal.SIGTERM, _end)
    connection = Connection(descriptor)
    tasks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, tasks), daemon=True).start()

    def send(kind: str, content: object) -> None:
        try:
            connection.send_bytes(pickle.dumps((kind, content)))
        except OSError:  # nobody listens any more
            os._exit(1)

    def report(event: Event) -> None:
        send("event", event)

    with notices_to(lambda text: report({"event": "warning", "message": text})):
        while True:
            task = pickle.loads(tasks.get())
            try:
                result = task(report)
            except Exception as error:
                send("failed", _portable(error))
            else:
                send("done", result)


def _receive(connection: Connection, tasks: "queue.SimpleQueue[bytes]") -> None:
    """Queue the tasks that come; end this process once nobody is there to send any."""
    while True:
        try:
            tasks.put(connection.recv_bytes())
        except (EOFError, OSError):
            os._exit(1)


def _end(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def _portable(error: Exception) -> tuple[bytes, str]:
    """The pickled exception, or one that says the same and can be pickled, and its traceback."""
    text = "".join(traceback.format_exception(error))
    try:
        found = pickle.dumps(error)
        pickle.loads(found)
    except Exception:
        found = pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
    return found, text


def _raised(found: bytes, text: str) -> BaseException:
    """The exception of another process, with the traceback there as its cause."""
    error = pickle.loads(found)
    error.__cause__ = RemoteError(text)
    return error
