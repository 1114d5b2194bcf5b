"""Arrays in files from elsewhere, which are not trusted: .npy, .npz, .mat, .h5 and text.

The content of a file says what it is, not its name. `variables` lists what a file has and reads no array. Reading one
opens nothing else in the file, so that objects, strings and tables beside it do not matter.

| module          | reads                                                      |
|-----------------|------------------------------------------------------------|
| `numpy_files`   | .npy, .npz, and sparse .npz of SciPy                       |
| `binary`        | .mat of versions 4 to 7.3, .h5, by the script `reader.py`  |
| `octave`        | what Octave's `save` writes                                |
| `text`          | rows of numbers with any separator                         |
| `strangers`     | nothing: it says what files are that hold no array         |
"""

import re
import struct
from pathlib import Path

from onsager_cli.store.files import read_bytes, writing
from onsager_cli.store.foreign import numpy_files
from onsager_cli.store.foreign.binary import reader_of
from onsager_cli.store.foreign.octave import is_octave, octave
from onsager_cli.store.foreign.strangers import stranger
from onsager_cli.store.foreign.text import NO_TABLE, table
from onsager_cli.store.foreign.variable import UnreadableError, Variable, no_other_error

__all__ = ["UnreadableError", "Variable", "variables"]

HEAD = 4096  # bytes by which a file is known
BINARY = (".npy", ".npz", ".mat", ".h5", ".hdf5")  # names of files that are expected to be no text
HDF5 = b"\x89HDF\r\n\x1a\n"
MATLAB_5 = re.compile(rb".{124}(\x00[\x01\x02]IM|[\x01\x02]\x00MI)", re.DOTALL)


def variables(path: Path) -> list[Variable]:
    """What the file has. Raises UnreadableError for a file without arrays, UserError for one that cannot be opened."""
    with writing(path, "read"), path.open("rb") as file:
        head = file.read(HEAD)
    with no_other_error():
        return _variables(path, head)


def _variables(path: Path, head: bytes) -> list[Variable]:
    if not head:
        raise UnreadableError("is empty")
    if head.startswith(b"\x93NUMPY"):
        return numpy_files.npy(path)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return numpy_files.npz(path)
    if any(head.startswith(HDF5, offset) for offset in (0, 512, 1024, 2048)):
        return reader_of("hdf5")(path)
    if MATLAB_5.match(head):
        return reader_of("mat5")(path)
    if words := stranger(head):
        raise UnreadableError(words)
    if _is_matlab_4(head):
        return reader_of("mat4")(path)
    data = read_bytes(path)
    if is_octave(head):
        return octave(data)
    try:
        return table(data)
    except UnreadableError as error:
        if path.suffix in BINARY and str(error).startswith(NO_TABLE):
            raise UnreadableError(f"is damaged, or neither a {path.suffix} file nor a table of numbers") from None
        raise


def _is_matlab_4(head: bytes) -> bool:
    """Whether a file begins like a .mat of version 4, which has no mark: five numbers, then a name."""
    for order in "<>":
        if len(head) < 21:
            return False
        kind, rows, columns, is_complex, length = struct.unpack(f"{order}5i", head[:20])
        name = head[20 : 20 + max(length, 0)]
        plausible = 0 <= kind % 1000 <= 52 and kind // 1000 == (order == ">") and min(rows, columns) >= 0
        if plausible and is_complex in (0, 1) and re.fullmatch(rb"[A-Za-z]\w*\0", name):
            return True
    return False
