"""Two errors and a warning: the user made a mistake, training diverged, the user should know."""

import contextlib
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
