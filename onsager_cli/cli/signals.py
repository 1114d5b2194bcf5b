"""Ctrl-C and SIGTERM end a training in order: files are whole and the terminal is as it was."""

import os
import signal
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Handler = Callable[[int, FrameType | None], object] | int | None


class Terminated(KeyboardInterrupt):
    """SIGTERM, raised like a Ctrl-C wherever the program is."""

    exit_code = 128 + signal.SIGTERM


class Stop:
    """Within the block, Ctrl-C raises KeyboardInterrupt and SIGTERM raises `Terminated` (in the main thread).

    Python drops an exception that a signal raises inside a destructor or a callback of the garbage collector. `check`
    raises it then; call `check` often.

    In a job that submitit runs on Slurm, SIGTERM stays what submitit makes of it. Slurm sends it before it preempts
    a job: a job that ends then has failed, and one that waits to be killed is queued again and resumes.
    """

    def __init__(self) -> None:
        self._requested: BaseException | None = None

    @property
    def requested(self) -> BaseException | None:
        """The exception of the signal that has come, whatever has become of the exception."""
        return self._requested

    def check(self) -> None:
        """Raise the exception of a signal that Python dropped."""
        if self._requested is not None:
            raise self._requested

    def __enter__(self) -> "Stop":
        self._before: dict[int, Handler] = {}
        self._hook = sys.unraisablehook
        if threading.current_thread() is threading.main_thread():
            by_slurm = os.environ.get("SUBMITIT_EXECUTOR") == "slurm"
            for number in (signal.SIGINT,) if by_slurm else (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._on_signal)
            sys.unraisablehook = self._on_dropped
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        sys.unraisablehook = self._hook
        if kind is None:
            self.check()

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        self._requested = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
        raise self._requested

    def _on_dropped(self, dropped: "sys.UnraisableHookArgs") -> None:
        """Keep Python from printing the exception that `check` is going to raise."""
        if dropped.exc_value is None or dropped.exc_value is not self._requested:
            self._hook(dropped)
