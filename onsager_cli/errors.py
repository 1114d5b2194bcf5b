"""Three errors and a warning, and how an error is told.

The user made a mistake, training diverged, a process was lost; the user should know.
"""

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any


class UserError(Exception):
    """A mistake in a config, a file or a command. The message is one line.

    The message names the key or file, the value, and what is allowed. The command prints it without a traceback and
    exits with code 2.
    """


class DivergedError(Exception):
    """A training stage kept diverging although its learning rate was halved several times.

    `best` are the best parameters before that, of a network with `depth` layers.
    """

    def __init__(self, message: str, best: Any, depth: int):
        super().__init__(message)
        self.best, self.depth = best, depth

    def __reduce__(self) -> tuple[type, tuple[str, None, int]]:
        """Pickle without the parameters: processes of a pool exchange only the message and the depth."""
        return DivergedError, (str(self), None, self.depth)


class LostError(Exception):
    """A process that trained a curve has ended by itself. The message is one line."""


def explained(error: BaseException) -> tuple[str, int]:
    """What an error means to a user, and the exit code: 2 for what the user can mend, else 1."""
    if isinstance(error, UserError):
        return str(error), 2
    if isinstance(error, DivergedError | LostError):
        return str(error), 1
    if isinstance(error, OSError) and error.filename is not None:
        return f"cannot use {os.fspath(error.filename)}: {error.strerror}", 2
    if isinstance(error, MemoryError):
        return "out of memory: choose a smaller problem (problem.N, problem.M) or fewer samples", 1
    text = str(error).strip() or f"at {_place(error)}"
    return f"{type(error).__name__}: {text} (ONSAGER_DEBUG=1 shows the traceback)", 1


def _place(error: BaseException) -> str:
    """`file.py:12`, where an error was raised."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return (
        f"{os.path.basename(at.tb_frame.f_code.co_filename)}:{at.tb_lineno}" if at is not None else "an unknown place"
    )


class Notice(UserWarning):
    """A warning for the user that does not stop the command. The message is one line."""


@contextlib.contextmanager
def notices_to(show: Callable[[str], None]) -> Iterator[None]:
    """Within the block, call `show` with the text of every warning, once per text; Python prints none of them."""
    shown: set[str] = set()

    def showwarning(message: Warning | str, *_: object, **__: object) -> None:
        text = " ".join(str(message).split())
        if text not in shown:
            shown.add(text)
            show(text)

    with warnings.catch_warnings():
        warnings.simplefilter("always", Notice)
        warnings.showwarning = showwarning
        yield
