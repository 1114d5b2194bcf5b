"""The one exception that means "the user can mend this", and the one warning that means "you should know"."""

import contextlib
import warnings
from collections.abc import Callable, Iterator


class UserError(Exception):
    """A mistake in a config, a file or a command; its message is one line.

    The message names the key or file, the value found and what is allowed. The command line prints it
    without a traceback and exits with code 2.
    """


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
