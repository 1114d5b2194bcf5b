"""stdout and stderr of the command, whatever the reader does: it may leave, the disk may be full, the stream be closed.

A reader that leaves (`| head`, a lost connection) must not end a training, and never make it look finished.
"""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO


class ReaderGoneError(Exception):
    """The reader of stdout has left a command that only prints."""


class Stream:
    """A text stream whose writes do not fail. `gone`: its reader has left; `failure`: why a write has failed.

    With `ends`, a reader that leaves raises ReaderGoneError. Everything else is as in the stream `inner`.
    """

    def __init__(self, inner: TextIO, failure: str = "", ends: bool = False):
        self.inner, self.failure, self.ends = inner, failure, ends
        self.gone = self.written = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def write(self, text: str) -> int:
        """Write what can be written; returns the length of `text`."""
        self.written = self.written or bool(text)
        with self._noted():
            self.inner.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what can be written."""
        with self._noted():
            self.inner.flush()

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        """Keep the failure of a write instead of raising it."""
        try:
            yield
        except BrokenPipeError as error:
            self.gone = True
            self._discard()
            if self.ends:
                raise ReaderGoneError from error
        except (OSError, ValueError) as error:  # a ValueError: the stream is closed
            full = isinstance(error, OSError) and error.errno == errno.ENOSPC
            self.failure = "the disk is full" if full else str(getattr(error, "strerror", None) or error)
            self._discard()

    def _discard(self) -> None:
        """Send what is still to be written nowhere: Python writes its buffers when it ends, and would complain."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.inner.fileno())
            os.close(nowhere)


@contextlib.contextmanager
def guarded(ends: bool) -> Iterator[Stream]:
    """Within the block, stdout and stderr are `Stream`s; yields stdout. `ends`: the command only prints.

    Letters that the encoding of stdout does not have are written as question marks. The descriptors of closed streams
    are opened on the null device, so that no file of the program gets them.
    """
    before = sys.stdout, sys.stderr
    with contextlib.ExitStack() as stack:
        for number in range(3):
            try:
                os.fstat(number)
            except OSError:
                os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
        out, err = (_opened(stream, stack) for stream in before)
        out.ends = ends
        if hasattr(out.inner, "reconfigure"):
            out.inner.reconfigure(errors="replace")  # type: ignore[union-attr]
        sys.stdout, sys.stderr = out, err  # type: ignore[assignment]
        try:
            yield out
        finally:
            sys.stdout, sys.stderr = before


def _opened(stream: TextIO | None, stack: contextlib.ExitStack) -> Stream:
    """A guarded stream; Python has None for one that was closed when it started."""
    if stream is not None:
        return Stream(stream)
    return Stream(stack.enter_context(open(os.devnull, "w", encoding="utf-8")), "it is closed")
