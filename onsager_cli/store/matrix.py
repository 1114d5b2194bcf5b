"""A matrix of the user's own, from a file that is not trusted: no pickle, and every reason to refuse in one sentence."""

import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from onsager_cli.errors import Notice, UserError
from onsager_cli.store.arrays import unpack, unpack_array
from onsager_cli.store.files import read_bytes

LARGEST_SVD = 2000  # rows or columns, the fewer of them, up to which the rank is looked at
SCALE = 1.1  # how far ‖A‖_F² may be from N without a word

# Sizes are known before anything is read. Sparse matrices become dense once their size is known.
READ_MAT = """
import sys, warnings
import numpy as np
from scipy.io import loadmat, whosmat
warnings.simplefilter("error", UserWarning)
if sum(np.prod(shape, dtype=float) for _, shape, _ in whosmat(sys.argv[1])) > 1e9:
    sys.exit("it holds more than 1e9 numbers")
arrays = {name: a for name, a in loadmat(sys.argv[1]).items() if not name.startswith("__")}
dense = {name: a.toarray() if hasattr(a, "toarray") else a for name, a in arrays.items()}
np.savez(sys.stdout.buffer, **{name: a for name, a in dense.items() if a.dtype.kind in "biufc"})
"""


def read(path: str, shape: tuple[int, int]) -> np.ndarray:
    """A of the given shape (M, N) from .npy, .npz (its array `A`, or its only one), .mat (likewise) or .csv; float32.

    Raises UserError naming the file for anything else: unreadable, not real numbers, NaN or infinity, another
    shape, a column of zeros.
    """
    return checked(_load(Path(path)), f"problem.matrix={path}", shape)


def checked(A: np.ndarray, name: str, shape: tuple[int, int]) -> np.ndarray:
    """A (M, N) in float32. Raises UserError, which calls it `name`, for what is no real matrix of this shape."""
    if A.ndim != 2 or A.dtype.kind not in "fiub":
        raise UserError(f"{name} must hold a real matrix, got {A.dtype} of shape {A.shape}")
    if A.shape != shape:
        own, asked = (f"problem.M={M} problem.N={N}" for M, N in (A.shape, shape))
        raise UserError(f"{name} is {A.shape[0]} x {A.shape[1]}, the config has {asked}: add {own}")
    with np.errstate(over="ignore"):  # too large for float32 becomes infinity, which is refused
        A = A.astype(np.float32)
    if not np.isfinite(A).all():
        raise UserError(f"{name} holds NaN or infinity at {np.argwhere(~np.isfinite(A))[0].tolist()}")
    if (zero := np.flatnonzero(~A.any(axis=0))).size:
        raise UserError(f"{name} has a column of zeros: column {zero[0]} never reaches y")
    return A


def warn(A: np.ndarray, name: str) -> None:
    """A Notice for what training can live with and its user should know: repeated measurements, another scale."""
    for text in _remarks(A):
        warnings.warn(f"{name} {text}", Notice, stacklevel=2)


def _remarks(A: np.ndarray) -> Iterator[str]:
    """What is unusual in A (M, N): its scale, its rank."""
    M, N = A.shape
    energy = float(np.sum(np.square(A, dtype=np.float64))) / N
    if not 1 / SCALE < energy < SCALE:
        yield (
            f"has ‖A‖_F² = {energy:.3g} N: problem.snr_db sets the noise for ‖A‖_F² = N, so the SNR is "
            f"{10 * np.log10(energy):+.1f} dB off; multiply the matrix by {energy**-0.5:.4g}"
        )
    if (full := min(M, N)) <= LARGEST_SVD:
        s = np.linalg.svd(A.astype(np.float64), compute_uv=False)
        rank = int(np.sum(s > s[0] * max(M, N) * np.finfo(np.float32).eps))
        if rank < full:
            yield f"has rank {rank} instead of {full}: {full - rank} of its measurements say nothing that the others do not"


def _load(path: Path) -> np.ndarray:
    """The array in the file. Raises UserError if it cannot be read or is not clear which one is meant."""
    try:
        # What a reader warns of (an empty file, a variable twice) is a reason to refuse.
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            if path.suffix.lower() == ".mat":
                return _only(_read_mat(path), path)
            data = read_bytes(path)
            if path.suffix.lower() == ".csv":
                return np.loadtxt(data.decode().splitlines(), delimiter=",", ndmin=2)
            if data[:2] == b"PK":  # by the content, .npy or .npz
                return _only(unpack(data)[0], path)
            return unpack_array(data, "A")
    except UserError:
        raise
    except Exception as error:  # every reader has its own; a file that cannot be read is one sentence
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"problem.matrix={path} cannot be read: {reason}") from error


def _read_mat(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a .mat file, read in a process of its own: SciPy's reader crashes on some damaged files."""
    done = subprocess.run([sys.executable, "-c", READ_MAT, str(path)], capture_output=True, check=False)
    if done.returncode:  # negative after a crash, whose last words are of no use
        reasons = done.stderr.decode(errors="replace").strip().splitlines() if done.returncode > 0 else []
        raise ValueError(reasons[-1] if reasons else "it is damaged")
    return unpack(done.stdout)[0]


def _only(arrays: dict[str, np.ndarray], path: Path) -> np.ndarray:
    """The array `A`, or the only one. Raises UserError if there is neither."""
    if "A" not in arrays and len(arrays) != 1:
        raise UserError(f"problem.matrix={path} must hold an array named A, got {', '.join(arrays) or 'none'}")
    return arrays["A"] if "A" in arrays else next(iter(arrays.values()))
