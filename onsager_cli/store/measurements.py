"""Measurements that a user hands in, and the arrays that he gets back: read and written block by block. No JAX.

y has a sample to a column, (M, L), or with `samples_in` rows a sample to a row, (L, M); the sets that `onsager data`
writes say so themselves. What comes back has the format and the orientation of y.
"""

import contextlib
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onsager_cli.errors import UserError
from onsager_cli.store.files import replaced, temporary_name, writing
from onsager_cli.store.foreign import UnreadableError, Variable, variables
from onsager_cli.store.foreign.variable import described
from onsager_cli.text import did_you_mean, further, one_of, show, size_decimal

SUFFIXES = (".npy", ".npz", ".mat", ".csv")
ALONE = (".npy", ".csv")  # formats of one array
ROWS, COLUMNS = "rows", "columns"
ORIENTATIONS = (COLUMNS, ROWS)
DATA_SET = {"meta", "checksum"}  # arrays by which a set of `onsager data` is known, whose samples are rows
LARGEST_MAT = 2**31  # bytes of an array in a .mat of version 5
NAMED = 8  # of many arrays, how many a message names
_COPIED = 2**22  # bytes at a time


@dataclass(frozen=True, eq=False)
class Measurements:
    """y in its file: `array` as it lies there, perhaps mapped, and where the samples are."""

    path: str
    array: np.ndarray
    samples_in: str
    single: bool  # one sample, without an axis of samples

    @property
    def count(self) -> int:
        """Number of samples."""
        return 1 if self.single else self.array.shape[0 if self.samples_in == ROWS else 1]

    @property
    def complex(self) -> bool:
        """Whether the numbers are complex."""
        return bool(np.iscomplexobj(self.array))

    def block(self, start: int, stop: int) -> np.ndarray:
        """y (M, stop - start). Raises UserError for a number that is not finite in single precision."""
        if self.single:
            found = self.array[:, None]
        else:
            found = self.array[start:stop].T if self.samples_in == ROWS else self.array[:, start:stop]
        found = np.ascontiguousarray(found)
        with np.errstate(over="ignore"):
            wrong = ~np.isfinite(found.astype(np.complex64 if self.complex else np.float32)).all(axis=0)
        if wrong.any():
            sample = start + int(np.argmax(wrong)) + 1
            what = "a number too large for single precision" if np.isfinite(found).all() else "NaN or infinity"
            raise UserError(f"{self.path} holds {what} in sample {sample} (counted from 1)")
        return found


def read(path: str, rows: tuple[int, ...], name: str | None = None, samples_in: str | None = None) -> Measurements:
    """The measurements in a file, of which a sample has M numbers; `rows` are the M that there may be.

    The array is `name`, else the one named y or Y, else the only one. Raises UserError, which names the file, for what
    cannot be used.
    """
    try:
        found = variables(Path(path))
        chosen = _chosen(found, name)
        chosen.check(largest=float("inf"))
        array = chosen.mapped()
    except UnreadableError as error:
        raise UserError(f"{path} {error}") from error
    of_set = Path(path).suffix != ".mat" and {one.name for one in found} >= DATA_SET
    where = samples_in or (ROWS if of_set else COLUMNS)
    label = f"{path}: {chosen.name}" if len(found) > 1 else path
    if array.dtype.kind not in "iufc":
        raise UserError(f"{label} must be numbers, got {array.dtype} values")
    if (
        (chosen.is_table or Path(path).suffix == ".mat") and 1 in array.shape and array.size in rows
    ):  # both know no vectors
        array = array.reshape(-1)
    return Measurements(path, array, where, _check_shape(array, rows, where, label))


def _check_shape(array: np.ndarray, rows: tuple[int, ...], where: str, label: str) -> bool:
    """Whether the array is one sample. Raises UserError for a shape that does not fit."""
    M = " or ".join(map(str, rows))
    form = f"{M} x samples" if where == COLUMNS else f"samples x {M}"
    size = " x ".join(map(str, array.shape)) or "one number"
    if array.ndim == 1 and array.shape[0] in rows:
        return True
    if array.ndim != 2 or 0 in array.shape:
        raise UserError(f"{label} must be {form}, got {size}")
    along, across = array.shape[::-1] if where == ROWS else array.shape
    if along in rows:
        return False
    if across in rows:
        other = ROWS if where == COLUMNS else COLUMNS
        raise UserError(f"{label} is {size}, the transpose of {form}: add --samples-in {other}, or save its transpose")
    raise UserError(f"{label} must be {form}, got {size}")


def _chosen(found: list[Variable], name: str | None) -> Variable:
    """The variable that is y. Raises UnreadableError if that is not clear."""
    named = {one.name: one for one in found if one.name}
    there = ", ".join(map(described, found[:NAMED])) + further(len(found), NAMED)
    if name is not None:
        if name not in named:
            raise UnreadableError(f"has no array {name}{did_you_mean(name, named)}: it has {there}")
        return named[name]
    for usual in ("y", "Y"):
        if usual in named:
            return named[usual]
    if len(found) == 1:
        return found[0]
    raise UnreadableError(f"has no array y: it has {there}: add --name NAME")


@dataclass(frozen=True)
class Column:
    """One array that comes back: its name, the numbers of a sample (0: one number), and its type."""

    name: str
    size: int
    kind: str


class Writer:
    """Arrays of `count` samples that arrive block by block; `arrays` maps names to (numbers, L) or (L,) in memory maps."""

    def __init__(self, arrays: Mapping[str, np.ndarray], samples_in: str):
        self._arrays, self._rows = arrays, samples_in == ROWS

    def put(self, start: int, blocks: Mapping[str, np.ndarray]) -> None:
        """Blocks (numbers, l) or (l,) of the samples from `start` on."""
        for name, block in blocks.items():
            array, stop = self._arrays[name], start + block.shape[-1]
            if array.ndim == 1:
                array[start:stop] = block
            elif self._rows:
                array[start:stop] = block.T
            else:
                array[:, start:stop] = block


def check_output(path: Path, columns: int) -> None:
    """Raises UserError for a format that is not known, or that cannot hold so many arrays."""
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path} must end in {one_of(SUFFIXES)}, got {show(path.suffix or path.name)}")
    if columns > 1 and path.suffix in ALONE:
        rest = [suffix for suffix in SUFFIXES if suffix not in ALONE]
        raise UserError(
            f"{path} can hold only one array, and the output has {columns}: write a file that ends in {one_of(rest)}"
        )


@contextlib.contextmanager
def written(path: Path, columns: list[Column], count: int, like: Measurements) -> Iterator[Writer]:
    """Yield a writer; when the block ends, `path` has its arrays. If it raises, `path` is what it was.

    Blocks go to files beside `path`, so that memory does not limit how many samples there are.
    """
    check_output(path, len(columns))
    with contextlib.ExitStack() as stack:
        temporary = stack.enter_context(replaced(path))
        parts = {one.name: temporary_name(path.with_name(f"{path.name}.{one.name}")) for one in columns}
        if path.suffix == ".npy":
            parts[columns[0].name] = temporary
        _check_room(path, columns, count)
        arrays = {}
        for one in columns:
            place = parts[one.name]
            if place != temporary:
                stack.callback(_remove, place)
            shape = (count,) if one.size == 0 else (count, one.size) if like.samples_in == ROWS else (one.size, count)
            with writing(path):
                arrays[one.name] = np.lib.format.open_memmap(place, mode="w+", dtype=one.kind, shape=shape)
        yield Writer(arrays, like.samples_in)
        with writing(path):
            for array in arrays.values():
                array.flush()
        single = {name: np.asarray(a[0] if a.ndim == 1 else a.reshape(-1)) for name, a in arrays.items()}
        _finish(path, temporary, parts, single if like.single else arrays, like.single)


def _check_room(path: Path, columns: list[Column], count: int) -> None:
    """Raises UserError where the disk has no room for the parts and the file that is made of them.

    A mapped file without room would end the process by a signal.
    """
    parts = sum(count * max(one.size, 1) * np.dtype(one.kind).itemsize for one in columns)
    need = parts if path.suffix == ".npy" else 2 * parts
    with writing(path):
        free = shutil.disk_usage(path.parent).free
    if need > free:
        raise UserError(f"{path} would take {size_decimal(need)}, and the disk has {size_decimal(free)} left")


def _finish(
    path: Path, temporary: Path, parts: Mapping[str, Path], arrays: Mapping[str, np.ndarray], single: bool
) -> None:
    """Make the file at `temporary` from the arrays."""
    with writing(path):
        if path.suffix == ".npy":
            if single:
                (array,) = arrays.values()
                array = np.array(array)
                temporary.unlink()
                with temporary.open("xb") as file:
                    np.lib.format.write_array(file, array, allow_pickle=False)
        elif path.suffix == ".csv":
            (array,) = arrays.values()
            with temporary.open("x", encoding="utf-8") as file:
                for row in np.atleast_2d(array if not single else np.reshape(array, (-1, 1))):
                    file.write(",".join(map(_number, row)) + "\n")
        elif path.suffix == ".npz":
            with zipfile.ZipFile(temporary, "x", zipfile.ZIP_STORED) as archive:
                for name, array in arrays.items():
                    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                        if single:
                            np.lib.format.write_array(member, np.array(array), allow_pickle=False)
                        else:
                            with parts[name].open("rb") as part:
                                shutil.copyfileobj(part, member, _COPIED)
        else:
            _matlab(path, temporary, arrays)


def _matlab(path: Path, temporary: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """A .mat of version 5. Raises UserError for an array that it cannot hold."""
    import scipy.io

    for name, array in arrays.items():
        if array.nbytes >= LARGEST_MAT:
            raise UserError(
                f"{path}: {name} needs {array.nbytes / 1e9:.1f} GB, and a .mat can hold 2 GB: write an .npy or .npz"
            )
    with temporary.open("xb") as file:
        scipy.io.savemat(file, {name: np.asarray(array) for name, array in arrays.items()}, oned_as="row")


def _number(value: complex) -> str:
    """A number as text, from which its bits come back."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, complex):
        return f"{np.float32(value.real)}{np.float32(value.imag):+}j"
    return str(np.float32(value)) if isinstance(value, float) else str(value)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
