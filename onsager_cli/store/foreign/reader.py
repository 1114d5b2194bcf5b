"""Reads .mat and HDF5 files in a process of its own, for the libraries crash at some damaged files.

    python -P reader.py FORMAT PATH          what the file has: a list of [name, shape, kind, stored] in JSON
    python -P reader.py FORMAT PATH NAME     the array NAME as an .npy

FORMAT is mat4, mat5 or hdf5. The answer goes to stdout; a reason to refuse the file is one line on stderr, with exit
code 3. Nothing imports this script, and it imports nothing of onsager. With -P, Python looks for modules neither in the
working directory nor in this folder.
"""

import json
import struct
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np

REFUSED = 3
MANY = 10_000  # things in an HDF5 file
LONGEST_TEXT = 10**5  # characters that the listing has
NUMBERS = "numbers"
CLASSES = {"double", "single", "logical", "sparse", *(f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64))}
"""MATLAB's classes of numbers."""
COMPRESSED, COMPLEX = 15, 0x0800  # the type of a variable, and the flag of one, in a .mat of version 5

Stored = dict[str, Any]
"""How an array is stored, as far as that is known: is_complex; dtype, offset and by_columns of one that can be mapped; text."""
Array = tuple[tuple[int, ...], str, Callable[[], np.ndarray], Stored]
Item = tuple[str, tuple[int, ...], str, Callable[[], np.ndarray], Stored]
"""Name, shape, kind, what reads the array, and how it is stored."""


def refuse(reason: str = "is damaged or cut off") -> NoReturn:
    """End with this reason, which continues the name of the file."""
    print(reason, file=sys.stderr)
    sys.exit(REFUSED)


def dense(sparse: Any) -> np.ndarray:
    """A sparse matrix of SciPy as an array, once its indices are checked: SciPy trusts them."""
    if sparse.format == "csc":
        if np.diff(sparse.indptr).min(initial=0) < 0:
            refuse()
        sparse.check_format(full_check=True)
    return sparse.toarray()


def matlab(path: str, version: int) -> Iterator[Item]:
    """The variables of a .mat of version 4 or 5 to 7."""
    from scipy.io import loadmat, whosmat
    from scipy.io.matlab import varmats_from_mat

    def load(name: str) -> np.ndarray:
        array = loadmat(path, variable_names=[name])[name]
        return dense(array) if hasattr(array, "toarray") else array

    with open(path, "rb") as file:
        for own, part in [("", file)] if version == 4 else varmats_from_mat(file):
            try:
                found = whosmat(part)
            except Exception:  # SciPy finds neither a name nor a size in an object of MATLAB
                found = [("" if own == "None" else own, (), "an object, as a string or a table")]
            stored = {} if version == 4 else of_flags(part)
            for name, shape, kind in found:
                if not name.startswith("__"):  # the workspace of functions
                    yield name, shape, NUMBERS if kind in CLASSES else kind, lambda name=name: load(name), stored


def of_flags(part: Any) -> Stored:
    """Whether the one variable of a .mat of version 5 is complex, by its flags; nothing if they cannot be read."""
    part.seek(126)
    order = "<" if part.read(2) == b"IM" else ">"
    kind, _ = struct.unpack(f"{order}2I", part.read(8))
    flags = part.read(256)
    try:
        flags = zlib.decompressobj().decompress(flags, 64)[8:] if kind == COMPRESSED else flags
        return {"is_complex": bool(struct.unpack(f"{order}I", flags[8:12])[0] & COMPLEX)}
    except (zlib.error, struct.error):
        return {}


def hdf5(path: str) -> Iterator[Item]:
    """The arrays of an HDF5 file by their paths in it; of h5py, MATLAB -v7.3 or Octave."""
    try:
        h5py: Any = import_module("h5py")
    except ImportError:
        refuse(
            "is an HDF5 file, such as MATLAB's -v7.3, which needs h5py: pip install h5py, or save it with -v7 or as .npy"
        )
    with h5py.File(path, "r", locking=False) as file:
        waiting: list[tuple[str, Any]] = [("", file)]
        seen = 0
        while waiting:
            prefix, group = waiting.pop()
            for name in group:
                if (seen := seen + 1) > MANY:
                    refuse(f"has more than {MANY} arrays and groups")
                if name.startswith("#"):  # what MATLAB's objects and cells refer to
                    continue
                try:
                    item = inside(group, name)
                    found = described(item)
                except Exception:  # one that is damaged, or a link, is no reason to refuse the others
                    yield f"{prefix}{name}", (), "nothing of this file", refuse, {}
                    continue
                if found is None:
                    waiting.append((f"{prefix}{name}/", item))
                else:
                    yield f"{prefix}{name}", *found


def inside(group: Any, name: str) -> Any:
    """A member of a group in this very file. Raises KeyError for a link: it could lead to another file."""
    if type(group.get(name, getlink=True)).__name__ != "HardLink":
        raise KeyError(name)
    return group[name]


def described(item: Any) -> Array | None:
    """Shape, kind, reader and storage of a thing in an HDF5 file; None for a group that only holds others."""
    given = item.attrs.get("MATLAB_class", "")
    kind = given.decode("latin-1") if isinstance(given, bytes) else str(given)
    if hasattr(item, "shape"):
        return of_dataset(item, kind, by_columns=bool(kind))
    if "MATLAB_sparse" in item.attrs:
        return of_sparse(item, ("data", "ir", "jc"), int(item.attrs["MATLAB_sparse"]))
    if kind:
        return (), kind, refuse, {}
    if not {"type", "value"} <= set(item):
        return None
    word, value = inside(item, "type")[()].decode("latin-1"), inside(item, "value")  # of Octave
    if not word.endswith("matrix") or word.startswith(("diagonal", "permutation")):
        return (), word, refuse, {}
    if hasattr(value, "shape"):
        return of_dataset(value, "", by_columns=True)
    return of_sparse(value, ("data", "ridx", "cidx"), int(inside(value, "nr")[()]))


def of_dataset(dataset: Any, kind: str, by_columns: bool) -> Array:
    """Shape, kind, reader and storage of a dataset; `kind` is the class that MATLAB gave it, or "".

    MATLAB and Octave store arrays column by column, so that their sizes stand in reverse.
    """
    if dataset.external or dataset.is_virtual:
        return (), "data in another file", refuse, {}
    if "MATLAB_empty" in dataset.attrs:  # the dataset has its sizes
        shape = tuple(map(int, dataset[()].ravel()))
        return shape, NUMBERS, lambda: np.zeros(shape), {"is_complex": False}
    numeric = dataset.dtype.kind in "biufc" or set(dataset.dtype.names or ()) == {"real", "imag"}
    if dataset.shape is None or not numeric or kind not in ("", *CLASSES):
        return (), kind or str(dataset.dtype), refuse, text_of(dataset, kind)

    def load() -> np.ndarray:
        check_filters(dataset)
        array = dataset[()]
        array = joined(array) if array.dtype.names else array
        return array.T if by_columns else array

    stored: Stored = {"is_complex": dataset.dtype.kind == "c" or bool(dataset.dtype.names)}
    offset = dataset.id.get_offset()  # None unless the numbers lie there as they are
    if offset is not None and not dataset.file.userblock_size and not dataset.dtype.names:
        stored |= {"dtype": dataset.dtype.str, "offset": offset, "by_columns": by_columns}
    return dataset.shape[::-1] if by_columns else dataset.shape, NUMBERS, load, stored


def joined(pairs: np.ndarray) -> np.ndarray:
    """The complex numbers of pairs of real and imaginary parts, bit by bit."""
    found = np.empty(pairs.shape, np.result_type(pairs["real"], np.complex64))
    found.real, found.imag = pairs["real"], pairs["imag"]
    return found


def text_of(dataset: Any, kind: str) -> Stored:
    """The text in a dataset, as a part of the listing: MATLAB's characters, or one string of h5py; {} for anything else."""
    if dataset.shape is None or max(dataset.size, dataset.dtype.itemsize) > LONGEST_TEXT:
        return {}
    try:
        if kind == "char" and dataset.dtype == np.uint16:
            return {"text": dataset[()].T.tobytes(order="F").decode("utf-16-le")}
        if not kind and not dataset.shape and dataset.dtype.kind == "S":
            return {"text": dataset[()].decode()}
    except Exception:  # a damaged one is no reason to refuse the others
        return {}
    return {}


def of_sparse(group: Any, names: Sequence[str], rows: int) -> Array:
    """Shape, kind, reader and storage of a sparse matrix in a group: its entries, their rows, where its columns begin."""
    columns = inside(group, names[2]).size - 1

    def load() -> np.ndarray:
        from scipy.sparse import csc_matrix

        parts = []
        for name in names:  # a matrix of zeros has no entries
            part = of_dataset(inside(group, name), "", by_columns=False)[2]().ravel() if name in group else np.zeros(0)
            parts.append(part)
        return dense(csc_matrix((parts[0], parts[1].astype(np.int64), parts[2].astype(np.int64)), (rows, columns)))

    return (rows, columns), NUMBERS, load, {}


def check_filters(dataset: Any) -> None:
    """End with a reason if the dataset is compressed in a way that this h5py lacks."""
    available = import_module("h5py.h5z").filter_avail
    plan = dataset.id.get_create_plist()
    if not all(available(plan.get_filter(number)[0]) for number in range(plan.get_nfilters())):
        refuse("is compressed by a filter that h5py lacks: save it with gzip, or without compression")


def main(form: str, path: str, name: str | None = None) -> None:
    """Answer one question about one file."""
    warnings.simplefilter("ignore")
    found = hdf5(path) if form == "hdf5" else matlab(path, int(form.removeprefix("mat")))
    if name is None:
        listed = [(own, list(map(int, shape)), kind, stored) for own, shape, kind, _, stored in found]
        json.dump(listed, sys.stdout)
    else:
        array = next(load() for own, _, _, load, _ in found if own == name)
        pipe: Any = SimpleNamespace(write=sys.stdout.buffer.write)  # NumPy would ask a file for its position
        np.lib.format.write_array(pipe, array, allow_pickle=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
