"""What a file from elsewhere has: named arrays that nobody has read yet, and the error for what cannot be read."""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from onsager_cli.errors import UserError

NUMBERS = "numbers"
LARGEST = 10**9  # numbers in one array


class UnreadableError(Exception):
    """The file has no such array. The message continues the name of the file: "is a web page (HTML)"."""


@dataclass(frozen=True)
class Variable:
    """One thing in a file.

    `name` is "" where the file gives no names, `kind` NUMBERS or a word for what it is instead: text, struct, …
    `load` reads the array, `map` maps it into memory where the file has its numbers as they are. `is_complex` is None
    where only the numbers themselves show it.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    load: Callable[[], np.ndarray]
    is_table: bool = False  # whether the numbers stood in a text, without anything that says where they begin
    is_complex: bool | None = None
    map: Callable[[], np.ndarray] | None = None
    words: str | None = None  # the text that a list of the file gives

    def check(self, largest: float = LARGEST) -> None:
        """Raises UnreadableError for what is no array of numbers, or too large a one. Nothing is read."""
        if self.kind != NUMBERS:
            raise UnreadableError(f"must hold numbers, got {described(self)}: save them as a plain array")
        if math.prod(self.shape) > largest:
            raise UnreadableError(f"holds more than {LARGEST:g} numbers: {described(self)}")

    def read(self) -> np.ndarray:
        """The array, real or complex. Raises UnreadableError."""
        self.check()
        with no_other_error():
            array = self.load()
            if array.shape != self.shape:
                raise ValueError("its header has another shape")
        return array

    def text(self) -> str | None:
        """The text that it holds; None if it holds something else."""
        if self.kind == NUMBERS or self.words is not None:
            return self.words
        try:
            with no_other_error():
                array = self.load()
        except UnreadableError:
            return None
        return str(array[()]) if array.dtype.kind == "U" and array.shape == () else None

    def mapped(self) -> np.ndarray:
        """The array, in the file if it can be mapped, of any size; else as `read` returns it. Not to be written to."""
        if self.map is None:
            return self.read()
        self.check(largest=math.inf)
        with no_other_error():
            return self.map()


def described(variable: Variable) -> str:
    """The variable in a message: "Phi (20 x 40)", "prob (struct)"."""
    size = " x ".join(map(str, variable.shape)) or "one number"
    what = size if variable.kind == NUMBERS else variable.kind
    return f"{variable.name} ({what})" if variable.name else what


@contextlib.contextmanager
def no_other_error() -> Iterator[None]:
    """Turn what any library raises at a damaged file into one sentence of our own."""
    try:
        yield
    except (UnreadableError, UserError):
        raise
    except MemoryError:
        raise UnreadableError("does not fit into memory") from None
    except Exception as error:  # every library has its own
        raise UnreadableError("is damaged or cut off") from error
