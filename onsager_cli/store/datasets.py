"""Data sets for other people's code: samples in one .npz, .h5 or .mat, written block by block. No JAX.

| array          | what it is                                                                           |
|----------------|--------------------------------------------------------------------------------------|
| meta           | a JSON object: seed, problem, versions (text)                                        |
| A              | the matrix that methods are told, (M, N)                                             |
| A_true         | the matrix behind the samples, where A is an estimate, (M, N)                        |
| noise_variance | σ_w² per entry of w, linear; the mean where samples differ                           |
| reported       | 1 for each coordinate of x that the NMSE counts, where it does not count all, (N, 1) |
| x, y           | signals and measurements, a sample to a row, (L, N) and (L, M)                       |
| checksum       | SHA-256 over all arrays but meta (text)                                              |

MATLAB shows a .mat with a sample to a column, x (N, L) and y (M, L). It is of version 7.3, an HDF5 file. The same
arrays give the same bytes. `problem=data` reads a set back without further keys.
"""

import contextlib
import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import IO, TYPE_CHECKING, Protocol

import numpy as np

from onsager_cli.errors import UserError
from onsager_cli.store.files import make_folder, replaced, temporary_name, writing
from onsager_cli.text import size_decimal

if TYPE_CHECKING:
    import h5py

SUFFIXES = (".npz", ".mat", ".h5", ".hdf5")
KIND = "onsager data set"  # in meta, by which onsager knows its own files
META, CHECKSUM = "meta", "checksum"
_CODINGS = ("utf-8", "utf-16-le", "utf-32-le")  # of the texts of .h5, .mat and .npz
_COPIED = 2**22  # bytes at a time
_ROOM = 2**20  # bytes that a file has beside its numbers, at most
_BANNER = b"MATLAB 7.3 MAT-file, written by onsager"
_CLASSES = {"float32": "single", "complex64": "single", "float64": "double", "uint16": "char"}

Block = tuple[np.ndarray, np.ndarray]
"""Samples as rows, x (l, N) and y (l, M)."""


class Digest:
    """SHA-256 over arrays: of each one its name, type, shape and bytes, whatever file they are in."""

    def __init__(self) -> None:
        self._bytes: dict[str, hashlib._Hash] = {}
        self._rows: dict[str, int] = {}
        self._forms: dict[str, tuple[str, tuple[int, ...]]] = {}

    def add(self, name: str, array: np.ndarray) -> None:
        """Add an array, or further rows of it."""
        plain = np.ascontiguousarray(array).reshape(array.shape)
        plain = plain.astype(plain.dtype.newbyteorder("<"), copy=False)
        self._bytes.setdefault(name, hashlib.sha256()).update(plain.data.cast("B") if plain.ndim else plain.tobytes())
        self._rows[name] = self._rows.get(name, 0) + (len(plain) if plain.ndim else 1)
        self._forms[name] = (plain.dtype.name, plain.shape[1:])

    def hexdigest(self) -> str:
        """The checksum in hexadecimal."""
        lines = (
            f"{name} {self._forms[name][0]} {[self._rows[name], *self._forms[name][1]]} {self._bytes[name].hexdigest()}"
            for name in sorted(self._bytes)
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class _File(Protocol):
    """A file that is being written: whole arrays, texts, and samples by blocks."""

    def array(self, name: str, array: np.ndarray) -> None: ...

    def text(self, name: str, text: str) -> None: ...

    def samples(self, blocks: Iterable[Block], count: int, like: Block) -> None: ...


def write(
    path: Path, meta: Mapping[str, object], arrays: Mapping[str, np.ndarray], blocks: Iterable[Block], count: int
) -> None:
    """Write a data set of `count` samples, which come in blocks. `path` is whole after that, or what it was.

    Raises UserError for a suffix that is not known, a disk without room, and HDF5 without h5py.
    """
    check_suffix(path)
    library = None if path.suffix == ".npz" else _h5py(path)
    meta = {**meta, "kind": KIND}
    digest, blocks = Digest(), iter(blocks)
    first = next(blocks)
    make_folder(path.parent)
    _check_room(path, count, arrays, first)

    def seen() -> Iterator[Block]:
        for x, y in _with_first(first, blocks):
            digest.add("x", x)
            digest.add("y", y)
            yield x, y

    with replaced(path) as temporary, _opened(path, temporary, library) as file:
        file.text(META, json.dumps(meta, sort_keys=True, ensure_ascii=True))
        for name, array in arrays.items():
            digest.add(name, array)
            file.array(name, array)
        file.samples(seen(), count, first)
        file.text(CHECKSUM, digest.hexdigest())


def check_suffix(path: Path) -> None:
    """Raises UserError for a file of another format."""
    if path.suffix not in SUFFIXES:
        raise UserError(f"a data set must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}, got {str(path)!r}")


def is_ours(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a data set that onsager wrote."""
    return any(f'"kind": "{KIND}"'.encode(coding) in head for coding in _CODINGS)


def _with_first(first: Block, others: Iterator[Block]) -> Iterator[Block]:
    yield first
    yield from others


def _check_room(path: Path, count: int, arrays: Mapping[str, np.ndarray], like: Block) -> None:
    """Raises UserError where the disk has less room than the file takes; an .npz needs room for y twice."""
    x, y = (array[:1].nbytes * count for array in like)
    need = x + y * (2 if path.suffix == ".npz" else 1) + sum(array.nbytes for array in arrays.values()) + _ROOM
    with writing(path):
        free = shutil.disk_usage(path.parent).free
    if need > free:
        raise UserError(f"{path} would take {size_decimal(need)}, and the disk has {size_decimal(free)} left")


def _h5py(path: Path) -> ModuleType:
    """h5py. Raises UserError without it."""
    try:
        import h5py
    except ImportError:
        raise UserError(f"{path} needs h5py: pip install h5py, or write an .npz") from None
    return h5py


@contextlib.contextmanager
def _opened(path: Path, temporary: Path, library: ModuleType | None) -> Iterator[_File]:
    """The file at `temporary` while it is written; UserErrors name `path`."""
    if library is None:
        with _Npz(path, temporary) as file:
            yield file
        return
    matlab = path.suffix == ".mat"
    with writing(path):
        opened = library.File(temporary, "w", libver="earliest", userblock_size=512 if matlab else 0)
    try:
        yield _Hdf5(path, opened, matlab)
    finally:
        with writing(path):
            opened.close()
    if matlab:
        with writing(path), temporary.open("r+b") as raw:
            raw.write(_BANNER.ljust(116) + bytes(8) + b"\x00\x02IM")


class _Npz:
    """An uncompressed .npz. Its members follow each other, so that y waits in a file of its own until x is whole."""

    def __init__(self, path: Path, temporary: Path) -> None:
        self.path, self.waiting = path, temporary_name(path)
        with writing(path):
            self.archive = zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED)

    def __enter__(self) -> "_Npz":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self.waiting)
        with writing(self.path):
            self.archive.close()

    def array(self, name: str, array: np.ndarray) -> None:
        """Write an array."""
        with writing(self.path), self._member(name) as member:
            np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)

    def text(self, name: str, text: str) -> None:
        """Write a text."""
        self.array(name, np.array(text))

    def samples(self, blocks: Iterable[Block], count: int, like: Block) -> None:
        """Write x and y."""
        with contextlib.ExitStack() as stack:
            with writing(self.path):
                waiting = stack.enter_context(self.waiting.open("x+b"))
            member = stack.enter_context(self._member("x"))
            with writing(self.path):
                _header(member, like[0], count)
            for x, y in blocks:
                with writing(self.path):
                    member.write(np.ascontiguousarray(x).data.cast("B"))
                    waiting.write(np.ascontiguousarray(y).data.cast("B"))
            with writing(self.path):
                member.close()
                waiting.seek(0)
                with self._member("y") as own:
                    _header(own, like[1], count)
                    shutil.copyfileobj(waiting, own, _COPIED)

    def _member(self, name: str) -> IO[bytes]:
        """A new member. A fixed date (ZipInfo's default, 1980) keeps the bytes reproducible."""
        return self.archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True)


def _header(member: IO[bytes], like: np.ndarray, count: int) -> None:
    """The header of an .npy of `count` rows like these."""
    form = {"descr": like.dtype.str, "fortran_order": False, "shape": (count, *like.shape[1:])}
    np.lib.format.write_array_header_1_0(member, form)


class _Hdf5:
    """An HDF5 file: plain, or as MATLAB's -v7.3, which stores sizes in reverse and complex numbers as pairs."""

    def __init__(self, path: Path, file: "h5py.File", matlab: bool) -> None:
        self.path, self.file, self.matlab = path, file, matlab

    def array(self, name: str, array: np.ndarray) -> None:
        """Write an array; one number is 1 x 1 for MATLAB."""
        array = np.asarray(array)
        if self.matlab:
            array = np.atleast_2d(array).T
        with self._errors():
            self._dataset(name, array.dtype, array.shape)[...] = self._plain(array)

    def text(self, name: str, text: str) -> None:
        """Write a text, which is ASCII."""
        with self._errors():
            if self.matlab:
                codes = np.frombuffer(text.encode("utf-16-le"), np.uint16)[:, None]
                self._dataset(name, codes.dtype, codes.shape)[...] = codes
                self.file[name].attrs["MATLAB_int_decode"] = np.int32(2)
            else:
                self.file.create_dataset(name, data=np.bytes_(text), track_times=False)

    def samples(self, blocks: Iterable[Block], count: int, like: Block) -> None:
        """Write x and y."""
        with self._errors():
            x, y = (
                self._dataset(name, array.dtype, (count, *array.shape[1:]))
                for name, array in zip("xy", like, strict=True)
            )
        start = 0
        for of_x, of_y in blocks:
            stop = start + len(of_x)
            with self._errors():
                x[start:stop], y[start:stop] = self._plain(of_x), self._plain(of_y)
            start = stop

    def _dataset(self, name: str, kind: np.dtype, shape: tuple[int, ...]) -> "h5py.Dataset":
        """A new dataset, whose numbers lie in one piece."""
        pair = np.dtype([("real", "<f4"), ("imag", "<f4")])
        stored = pair if self.matlab and kind == np.complex64 else kind
        made = self.file.create_dataset(name, shape, stored, track_times=False)
        if self.matlab:
            made.attrs["MATLAB_class"] = np.bytes_(_CLASSES[kind.name])
        return made

    def _plain(self, array: np.ndarray) -> np.ndarray:
        """The numbers as they are stored."""
        if not (self.matlab and array.dtype == np.complex64):
            return array
        found = np.empty(array.shape, [("real", "<f4"), ("imag", "<f4")])
        found["real"], found["imag"] = np.real(array), np.imag(array)
        return found

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn what HDF5 raises where it cannot write into a UserError."""
        with writing(self.path):
            try:
                yield
            except RuntimeError as error:
                raise OSError(str(error)) from error
