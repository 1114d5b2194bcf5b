"""Arrays of NumPy's .npy and .npz, and of SciPy's sparse .npz: no pickle, and no member that nobody asked for."""

import math
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from onsager_cli.store.arrays import npy_header
from onsager_cli.store.foreign.sparse import from_scipy
from onsager_cli.store.foreign.strangers import of_archive
from onsager_cli.store.foreign.variable import NUMBERS, UnreadableError, Variable

PLAIN = "biufc"  # bool, integers, floats, complex
PAIRS = (("real", "imag"), ("re", "im"), ("r", "i"))  # the fields of complex numbers in tools for HDF5
LOCAL_HEADER, LENGTHS = 30, 26  # bytes of a member's header in a zip, and where it has the lengths of name and extra
SPARSE = {"format", "shape", "data"}  # what every file of scipy.sparse.save_npz has

Opener = Callable[[], AbstractContextManager[IO[bytes]]]


def npy(path: Path) -> list[Variable]:
    """The array of an .npy."""
    with path.open("rb") as stream:
        return [_variable("", stream, path.stat().st_size, partial(path.open, "rb"), (path, 0))]


def npz(path: Path) -> list[Variable]:
    """The arrays of an .npz; one without a name if SciPy has saved a sparse matrix. Raises UnreadableError."""
    found: dict[str, Variable] = {}
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        for item in members:
            if item.filename.endswith(".npy"):
                name, opener = item.filename.removesuffix(".npy"), partial(_member, path, item)
                try:
                    with archive.open(item) as stream:
                        found[name] = _variable(name, stream, item.file_size, opener, _place(path, item))
                except Exception as error:  # one that is damaged is no reason to refuse the others
                    encrypted = isinstance(error, RuntimeError)
                    found[name] = Variable(name, (), "encrypted" if encrypted else "damaged", lambda: np.empty(0))
    if not found:
        raise UnreadableError(of_archive([item.filename for item in members]))
    return [_sparse(found)] if set(found) >= SPARSE else list(found.values())


@contextmanager
def _member(path: Path, item: zipfile.ZipInfo) -> Iterator[IO[bytes]]:
    """One member of an archive. zipfile returns at most as many bytes as the archive's directory states."""
    with zipfile.ZipFile(path) as archive, archive.open(item) as stream:
        yield stream


def _place(path: Path, item: zipfile.ZipInfo) -> tuple[Path, int] | None:
    """Where the bytes of a member begin in the archive; None if it is compressed or encrypted."""
    if item.compress_type != zipfile.ZIP_STORED or item.flag_bits & 1:
        return None
    with path.open("rb") as file:
        file.seek(item.header_offset + LENGTHS)
        return path, item.header_offset + LOCAL_HEADER + sum(struct.unpack("<2H", file.read(4)))


def _variable(
    name: str, stream: IO[bytes], size: int, opener: Opener, place: tuple[Path, int] | None = None
) -> Variable:
    """The array at the beginning of `stream`, of `size` bytes with its header; `opener` opens the same again.

    `place` is the file that has these bytes as they are, and where they begin in it.
    """
    shape, by_columns, dtype = npy_header(stream)
    kind, count, begin = _kind(dtype), math.prod(shape), stream.tell()
    if kind == NUMBERS and (min(shape, default=0) < 0 or count * dtype.itemsize != size - stream.tell()):
        raise ValueError("it is not as long as its header says")

    def load() -> np.ndarray:
        with opener() as again:
            _, fortran, _ = npy_header(again)
            flat = np.frombuffer(again.read(count * dtype.itemsize), dtype, count=count)
        return _plain(flat).reshape(shape, order="F" if fortran else "C")

    def mapped() -> np.ndarray:
        assert place is not None
        path, offset = place
        return np.memmap(path, dtype, "r", offset + begin, shape, order="F" if by_columns else "C")

    can_be_mapped = place is not None and dtype.kind in PLAIN and count > 0
    is_complex = dtype.kind == "c" or dtype.names in PAIRS
    return Variable(name, shape, kind, load, is_complex=is_complex, map=mapped if can_be_mapped else None)


def _kind(dtype: np.dtype) -> str:
    """NUMBERS, or what else an .npy of this dtype has."""
    if dtype.hasobject:
        return "Python objects (a pickle, which could run code)"
    if dtype.kind in PLAIN or _is_bfloat16(dtype) or dtype.names in PAIRS:
        return NUMBERS
    if dtype.names:
        return f"a table with the fields {', '.join(dtype.names)}"
    words = {"U": "text", "S": "text", "M": "dates", "m": "times"}
    return words.get(dtype.kind, f"values of {dtype.itemsize} bytes without a type, as JAX's float8")


def _is_bfloat16(dtype: np.dtype) -> bool:
    """Whether the type is lost and has two bytes: so NumPy saves bfloat16."""
    return dtype.kind == "V" and dtype.names is None and dtype.itemsize == 2


def _plain(flat: np.ndarray) -> np.ndarray:
    """A copy, which can be written, in a type that NumPy computes with."""
    if flat.dtype.names:
        real, imag = (flat[name] for name in flat.dtype.names)
        return real + 1j * imag
    if _is_bfloat16(flat.dtype):  # the upper half of a float32
        return (flat.view("<u2").astype(np.uint32) << 16).view(np.float32)
    return flat.copy()


def _sparse(parts: Mapping[str, Variable]) -> Variable:
    """The matrix of scipy.sparse.save_npz, dense once it is loaded."""
    sizes = parts["shape"].load()
    shape = tuple(int(size) for size in sizes.ravel()[:3])

    def load() -> np.ndarray:
        form = parts["format"].load().item()  # text, or bytes from older versions
        name = form.decode("ascii", "replace") if isinstance(form, bytes) else str(form)
        arrays = {key: part.read() for key, part in parts.items() if part.kind == NUMBERS}
        return from_scipy(name, (shape[0], shape[1]), arrays)

    return Variable("", shape, NUMBERS, load)
