"""Arrays of .mat and HDF5 files, which `reader.py` reads in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from onsager_cli.store.arrays import unpack_array
from onsager_cli.store.foreign.reader import REFUSED
from onsager_cli.store.foreign.variable import UnreadableError, Variable

SCRIPT = Path(__file__).with_name("reader.py")


def reader_of(form: str) -> Callable[[Path], list[Variable]]:
    """What lists the variables of a file in one of the formats of `reader.py`."""

    def variables(path: Path) -> list[Variable]:
        listed = json.loads(_answer(form, path))
        return [
            Variable(
                name, tuple(shape), kind, partial(_array, form, path, name), **_stored(path, tuple(shape), **stored)
            )
            for name, shape, kind, stored in listed
        ]

    return variables


def _stored(
    path: Path, shape: tuple[int, ...], is_complex: bool | None = None, dtype: str = "", offset: int = 0,
    by_columns: bool = False, text: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """What the listing says of how an array is stored, as fields of its Variable; without `dtype` it cannot be mapped."""
    if not dtype:
        return {"is_complex": is_complex, "words": text}
    order: Literal["F", "C"] = "F" if by_columns else "C"
    return {"is_complex": is_complex, "map": partial(np.memmap, path, np.dtype(dtype), "r", offset, shape, order)}


def _array(form: str, path: Path, name: str) -> np.ndarray:
    """The array of this name."""
    return unpack_array(_answer(form, path, name), name)


def _answer(form: str, path: Path, *name: str) -> bytes:
    """What the script answers. Raises UnreadableError with its reason, or for a crash.

    It runs in a folder without modules, so that an empty entry of PYTHONPATH leads to none of the user's.
    """
    command = [sys.executable, "-P", str(SCRIPT), form, str(path.absolute()), *name]
    done = subprocess.run(command, capture_output=True, check=False, cwd=sys.prefix)
    if done.returncode == REFUSED:
        raise UnreadableError(done.stderr.decode(errors="replace").strip().splitlines()[-1])
    if done.returncode:
        raise UnreadableError("is damaged or cut off")
    return done.stdout
