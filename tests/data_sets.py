"""Data sets for tests: written by the command, and read by NumPy or h5py alone."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from onsager_cli.cli.main import main

TOY = ("problem.N=12", "problem.M=8", "problem.gamma=0.3", "problem.selection_samples=20", "problem.test_samples=30")
FORMATS = ("npz", "mat", "h5")
COMPLEX = ("signal=qpsk",)


def written(path: Path, *words: str, samples: int | None = 50) -> Path:
    """The path, once `onsager data` has written it."""
    count = () if samples is None else (f"samples={samples}",)
    assert main(["data", *TOY, *count, *words, "-o", str(path)]) == 0
    return path


def plain(path) -> dict[str, Any]:
    """The arrays of a file, by NumPy or h5py alone, as rows of samples."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    file: Any
    with h5py.File(path) as file:
        arrays = {name: file[name][()] for name in file}
    if path.suffix == ".mat":
        arrays["A"] = arrays["A"].T
        arrays = {name: a["real"] + 1j * a["imag"] if a.dtype.names else a for name, a in arrays.items()}
    return arrays


def failure(capsys, *words):
    """The one line by which a command fails."""
    assert main(["data", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line
