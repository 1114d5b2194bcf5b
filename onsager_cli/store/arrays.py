"""Plain arrays in one .npz file: dotted names, no pickle, sealed with a checksum, the same bytes every time.

The file is an ordinary uncompressed .npz that `numpy.load(path, allow_pickle=False)` reads. Two things are
added: an array `meta`, a JSON string, and a zip comment `sha256:…` at the very end, the digest of every byte
before it, so that one flipped bit anywhere is noticed.
"""

import hashlib
import io
import json
import math
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from onsager_cli.errors import UserError
from onsager_cli.store.files import Json, read_bytes

_SEAL = b"sha256:"
_META = "meta"
_KINDS = "biufcU"  # bool, integers, floats, complex, text; never objects, and no extension types
_MAX_ARRAYS = 100_000
_MAX_COMPRESSED = 2**30  # bytes that the compressed arrays of one file may unfold to


class DamagedFileError(Exception):
    """The bytes are not a whole, unchanged .npz of plain arrays; the message says what is wrong."""


def pack(arrays: Mapping[str, np.ndarray], meta: Mapping[str, object]) -> bytes:
    """The bytes of a sealed .npz. The same arrays and meta give the same bytes.

    Raises TypeError for an array that plain NumPy cannot hold (objects, bfloat16: convert them first).
    """
    if _META in arrays:
        raise ValueError(f"the array name {_META!r} is reserved")
    everything = {name: np.asarray(array) for name, array in arrays.items()}
    everything[_META] = np.array(json.dumps(meta, sort_keys=True))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in sorted(everything.items()):
            if array.dtype.kind not in _KINDS:
                raise TypeError(f"array {name!r} has dtype {array.dtype}, which a plain .npz cannot hold")
            # A fixed date (ZipInfo's default, 1980) keeps the bytes reproducible.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
        archive.comment = _SEAL + b"0" * 64
    with buffer.getbuffer() as view:
        view[-64:] = hashlib.sha256(view[:-64]).hexdigest().encode()
    return buffer.getvalue()


def unpack(data: bytes, *, sealed: bool = False) -> tuple[dict[str, np.ndarray], Json]:
    """(arrays, meta) from the bytes of an .npz; meta is {} if it has none.

    With `sealed` the checksum must be there; without, it is checked only if it is. Sizes are checked against
    the bytes present before anything is allocated, and nothing is ever unpickled. Raises DamagedFileError.
    """
    if sealed or data[-71:-64] == _SEAL:
        check_seal(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            arrays = _members(archive)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise DamagedFileError(f"not a readable .npz: {error}") from error
    return arrays, _meta(arrays.pop(_META, None))


def check_seal(data: bytes) -> None:
    """Raises DamagedFileError unless the checksum at the end of the bytes is that of all others."""
    if data[-71:-64] != _SEAL:
        raise DamagedFileError("its checksum is missing: it was cut off, or another program wrote it")
    with memoryview(data) as view:
        if hashlib.sha256(view[:-64]).hexdigest().encode() != data[-64:]:
            raise DamagedFileError("its checksum does not match")


def read_arrays(path: Path | str) -> tuple[dict[str, np.ndarray], Json]:
    """(arrays, meta) of a network file that a user names. Raises UserError naming the file."""
    path = Path(path)
    try:
        return unpack(read_bytes(path))
    except DamagedFileError as error:
        raise UserError(f"{path}: {error}") from error


def check_shapes(arrays: Mapping[str, np.ndarray], expected: Mapping[str, tuple[int, ...]], source: Path | str) -> None:
    """UserError naming `source` and the first array that is missing, unexpected or of another shape."""
    for name, shape in expected.items():
        if name not in arrays:
            raise UserError(f"{source}: array {name} is missing; it must have shape {tuple(shape)}")
        if arrays[name].shape != tuple(shape):
            raise UserError(f"{source}: {name} must have shape {tuple(shape)}, got {arrays[name].shape}")
    for name in arrays:
        if name not in expected:
            raise UserError(f"{source}: array {name} is not expected; allowed are {', '.join(expected)}")


def _members(archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    """The arrays of an archive. Raises DamagedFileError for what this program does not write."""
    members = archive.infolist()
    if len(members) > _MAX_ARRAYS:
        raise DamagedFileError(f"it holds {len(members)} arrays; at most {_MAX_ARRAYS} are allowed")
    # zipfile never returns more than the size the directory states, and compressed members (which could state any
    # size) are not what this program writes.
    unfolded = sum(member.file_size for member in members if member.compress_type != zipfile.ZIP_STORED)
    if unfolded > _MAX_COMPRESSED:
        raise DamagedFileError(f"its compressed arrays state {unfolded} bytes; at most {_MAX_COMPRESSED} are allowed")
    arrays: dict[str, np.ndarray] = {}
    for member in members:
        name = member.filename.removesuffix(".npy")
        if name == member.filename or name in arrays:
            raise DamagedFileError(f"its member {member.filename!r} is not one array")
        arrays[name] = unpack_array(archive.read(member), name)
    return arrays


def unpack_array(data: bytes, name: str) -> np.ndarray:
    """The array in the bytes of an .npy, whose size is checked before anything is allocated.

    Raises DamagedFileError or, for a header that NumPy cannot read, ValueError.
    """
    stream = io.BytesIO(data)
    shape, fortran, dtype = npy_header(stream)
    if dtype.hasobject or dtype.kind not in _KINDS:
        raise DamagedFileError(f"its array {name} has dtype {dtype}; only plain numbers and text are read, no pickle")
    if math.prod(shape) * dtype.itemsize != len(data) - stream.tell():
        raise DamagedFileError(f"its array {name} is not as long as its header says")
    flat = np.frombuffer(data, dtype, count=math.prod(shape), offset=stream.tell())
    # A copy, because a view of the file's bytes would be read-only.
    return flat.reshape(shape, order="F" if fortran else "C").copy()


def npy_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """(shape, whether in Fortran's order, dtype) from the beginning of an .npy, whose numbers follow in `stream`.

    Raises ValueError for a header that NumPy cannot read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that Python 2 wrote it
        try:
            if np.lib.format.read_magic(stream) == (1, 0):
                return np.lib.format.read_array_header_1_0(stream)
            return np.lib.format.read_array_header_2_0(stream)  # version 3 encodes names of fields otherwise
        except Exception as error:  # NumPy's parser has several
            raise ValueError("the header of an array is damaged") from error


def _meta(array: np.ndarray | None) -> Json:
    """The JSON object in the array `meta`; {} without one. Raises DamagedFileError if it is something else."""
    if array is None:
        return {}
    try:
        meta = json.loads(str(array[()])) if array.shape == () and array.dtype.kind == "U" else None
    except ValueError:
        meta = None
    if not isinstance(meta, dict):
        raise DamagedFileError("its meta is not one JSON object")
    return meta
