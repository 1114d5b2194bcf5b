"""Commands in processes of their own, which are stopped, or refused a file operation, at a moment that can be repeated.

A command is a fork of this process, which has imported everything and computed nothing: a start costs little. File
operations are counted below one folder. At the operation of a given number a `Fault` happens.
"""

import contextlib
import errno
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

OPERATIONS = ("open", "write", "fsync", "replace", "unlink", "mkdir", "rmdir", "ftruncate")
OF_DESCRIPTOR = ("write", "fsync", "ftruncate")
LONGEST = 120.0  # seconds after which a command counts as hanging
HANGS = 1000  # stands for the exit code of a command that did not end
XLA = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}


class Fault(NamedTuple):
    """What happens at operation `at` (from 1).

    act: "kill", before the operation; "torn", after half of a write (or after the operation); "term" and "int", a
    signal before it; "error", an OSError `number`, and with `lasting` one at every later operation, too.
    """

    act: str
    at: int
    number: int = 0
    lasting: bool = False

    def __str__(self) -> str:
        name = f" {errno.errorcode[self.number]}{' from there on' if self.lasting else ''}" if self.number else ""
        return f"{self.act}{name} at file operation {self.at}"


@dataclass
class Ended:
    """A command that ended: its exit code (below 0: a signal), what it wrote, its file operations, its seconds."""

    code: int
    out: str
    err: str
    operations: list[str]  # in words: "replace points.csv"; none of one that was killed
    fired: bool  # whether its fault happened
    begun: bool  # whether onsager's own code had begun
    seconds: float


class Counter:
    """Replaces functions of `os` by ones that count what they do below `root`."""

    def __init__(self, root: Path, fault: Fault | None):
        self.root, self.fault, self.count, self.fired = os.path.abspath(root), fault, 0, False
        self.descriptors: dict[int, str] = {}  # to the names of files
        self.trace: list[str] = []
        self.original: dict[str, Callable[..., Any]] = {name: getattr(os, name) for name in (*OPERATIONS, "close")}

    def install(self) -> None:
        for name in OPERATIONS:
            setattr(os, name, self._wrapped(name))
        os.close = self._close  # type: ignore[assignment]

    def _close(self, descriptor: int) -> None:
        self.descriptors.pop(descriptor, None)
        self.original["close"](descriptor)

    def _wrapped(self, name: str) -> Callable[..., Any]:
        call = self.original[name]

        def counted(*args: Any, **kwargs: Any) -> Any:
            if not self._is_below(name, args, kwargs):
                return call(*args, **kwargs)
            self.count += 1
            file = self.descriptors[args[0]] if name in OF_DESCRIPTOR else _named(args[-1 if name == "replace" else 0])
            self.trace.append(f"{name} {file}")
            done = None if self.fault is None else self._happen(self.fault, name, args)
            result = call(*args, **kwargs) if done is None else done
            if name == "open":
                self.descriptors[result] = file
            return result

        return counted

    def _is_below(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        if name in OF_DESCRIPTOR:
            return args[0] in self.descriptors
        if (folder := kwargs.get("dir_fd")) is not None:
            return folder in self.descriptors
        return isinstance(args[0], str | Path) and os.path.abspath(args[0]).startswith(self.root)

    def _happen(self, fault: Fault, name: str, args: tuple[Any, ...]) -> Any:
        """The fault, if this is its operation; returns what the operation is to return, or None to run it."""
        if self.count != fault.at and not (fault.lasting and self.count > fault.at):
            return None
        first, self.fired = not self.fired, True
        if fault.act == "error":
            reads = name == "open" and not args[1] & (os.O_WRONLY | os.O_RDWR)
            frees = name in ("unlink", "rmdir") and fault.number != errno.EROFS
            if fault.lasting and (reads or frees):  # a full disk can still be read and emptied
                return None
            if fault.lasting and first and name == "write" and len(args[1]) > 1:
                return self.original["write"](args[0], args[1][: len(args[1]) // 2])
            raise OSError(fault.number, os.strerror(fault.number))
        if fault.act == "torn" and name == "write":
            self.original["write"](args[0], args[1][: len(args[1]) // 2])
        elif fault.act == "torn" and name == "fsync":
            self.original["fsync"](args[0])
        number = {"term": signal.SIGTERM, "int": signal.SIGINT}.get(fault.act, signal.SIGKILL)
        os.kill(os.getpid(), number)
        return None


def _named(path: object) -> str:
    """The name of a file; of a temporary one that of its target."""
    return re.sub(r"^\.(.+)\.\d+-\w+-\w+\.onsager-tmp$", r"temporary \1", os.path.basename(str(path)))


def warm(folder: Path) -> None:
    """Import what commands need, once, and keep compiled programs in `folder`."""
    for key, value in {**XLA, "JAX_COMPILATION_CACHE_DIR": str(folder / "xla")}.items():
        os.environ.setdefault(key, value)
    os.environ["HOME"] = str(folder / "home")
    os.environ.pop("ONSAGER_DEBUG", None)
    import hydra  # noqa: F401
    import matplotlib.pyplot  # noqa: F401

    from onsager_cli import run  # noqa: F401
    from onsager_cli.cli import clean, main, progress, record, report, runs, show, signals, sweep, train  # noqa: F401
    from onsager_cli.config import load  # noqa: F401
    from onsager_cli.figures import curves  # noqa: F401
    from onsager_cli.record import pages  # noqa: F401
    from onsager_cli.record import report as page  # noqa: F401
    from onsager_cli.training import network, resources  # noqa: F401


class Command:
    """A command line that runs in a fork of this process.

    Args:
        words: after `onsager`.
        cwd: its working folder.
        said: a file for what it writes; `said`.err and `said`.count are used, too.
        root: the folder below which file operations count.
        fault: what happens to it, if anything.
        often: save the state of a training at every step, not once a minute.
        largest: no file may grow beyond this number of bytes.
    """

    def __init__(
        self, words: Sequence[str], cwd: Path, said: Path, root: Path, fault: Fault | None = None, often: bool = True,
        largest: int | None = None,
    ):  # fmt: skip
        self.words, self.files = list(words), [said.with_suffix(ending) for ending in (".out", ".err", ".count")]
        for file in self.files:
            file.write_bytes(b"")
        self.started, self.code = time.monotonic(), None
        sys.stdout.flush()
        self.process = os.fork()
        if not self.process:
            try:
                self._run(cwd, Counter(root, fault), often, largest)
            finally:
                os._exit(70)  # nothing of this process may go on in the fork

    def _run(self, cwd: Path, counter: Counter, often: bool, largest: int | None) -> None:
        from onsager_cli.cli import main
        from onsager_cli.run import training
        from onsager_cli.training import checkpoint

        for descriptor, file in zip((1, 2), self.files, strict=False):
            os.dup2(os.open(file, os.O_WRONLY | os.O_APPEND), descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.chdir(cwd)
        if often:
            checkpoint.SECONDS = checkpoint.PIECE_SECONDS = 0.0
        training.WAIT_SECONDS = 0.05
        if largest is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
        counter.install()
        self.files[2].write_text("0")
        code = main.main(self.words)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        sys.stdout.flush()
        sys.stderr.flush()
        self.files[2].write_text("\n".join([str(int(counter.fired)), *counter.trace]))
        os._exit(code)

    def kill(self, number: int) -> None:
        """Send a signal if it still runs."""
        if self.code is None and not self.ended():
            os.kill(self.process, number)  # not reaped yet, so the number is still its own

    def ended(self) -> bool:
        """Whether it has ended; keeps the exit code."""
        if self.code is None:
            found, status = os.waitpid(self.process, os.WNOHANG)
            if found:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    def wait(self, longest: float = LONGEST) -> Ended:
        """Wait for its end. One that does not end is killed and has the code HANGS."""
        end = time.monotonic() + longest
        while not self.ended() and time.monotonic() < end:
            time.sleep(0.003)
        if self.code is None:
            os.kill(self.process, signal.SIGKILL)
            os.waitpid(self.process, 0)
            self.code = HANGS
        out, err, counted = (file.read_text(encoding="utf-8", errors="replace") for file in self.files)
        fired, *operations = counted.splitlines() or ["0"]
        seconds = time.monotonic() - self.started
        return Ended(self.code, out, err, operations, fired == "1", bool(counted), seconds)


def stop_all(commands: Sequence[Command]) -> None:
    """Kill and reap what still runs."""
    for command in commands:
        if not command.ended():
            with contextlib.suppress(ProcessLookupError):
                os.kill(command.process, signal.SIGKILL)
            command.wait()


def of_session(session: int) -> list[int]:
    """The processes of a session that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, of = path.read_text().rpartition(")")[2].split()[:4]
            if int(of) == session and state != "Z":
                found.append(int(path.parent.name))
    return found
