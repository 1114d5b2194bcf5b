"""What tests of files with arrays share: two matrices, and what a file is read as."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onsager_cli.store.foreign import UnreadableError, variables

A = np.array([[0.25, -1.5, 2.0], [3.0, 4.125, 0.0]])
Z = A + 1j * np.array([[1, 0, 0], [0, 0, 2]])


def contents(path: Path, data: bytes | None = None) -> dict[str, Any]:
    """name → array, or the kind of what is none, of everything in the file; `data` is written to it before."""
    if data is not None:
        path.write_bytes(data)
    return {one.name: one.read() if one.kind == "numbers" else one.kind for one in variables(path)}


def only(path: Path, data: bytes | None = None) -> Any:
    """The only thing in the file."""
    (one,) = contents(path, data).values()
    return one


def refusal(path: Path, data: bytes | None = None) -> str:
    """The one sentence by which a file is refused."""
    with pytest.raises(UnreadableError) as caught:
        contents(path, data)
    assert "\n" not in str(caught.value)
    return str(caught.value)
