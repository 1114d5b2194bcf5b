"""What means "the user can mend this", what means "training gave up", and the warning that means "you should know"."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any


class UserError(Exception):
    """A mistake in a config, a file or a command; its message is one line.

    The message names the key or file, the value found and what is allowed. The command line prints it
    without a traceback and exits with code 2.
    """


class DivergedError(Exception):
    """A stage of training kept diverging although its learning rate was halved again and again.

    `best` are the best weights it had, for `depth` layers.
    """

    def __init__(self, message: str, best: Any, depth: int):
        super().__init__(message)
        self.best, self.depth = best, depth

    def __reduce__(self) -> tuple[Any, ...]:
        """From one process of a pool to another goes what it says, not the weights."""
        return DivergedError, (str(self), None, self.depth)


class Notice(UserWarning):
    """Something that does not stop the command and that its user should know; its message is one line."""


@contextlib.contextmanager
def notices_to(say: Callable[[str], None]) -> Iterator[None]:
    """Sends the text of every warning inside to `say`, each text once, instead of Python's two lines on stderr."""
    said = set()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        text = " ".join(str(message).split())
        if text not in said:
            said.add(text)
            say(text)

    with warnings.catch_warnings():
        warnings.simplefilter("always", Notice)
        warnings.showwarning = show
        yield
