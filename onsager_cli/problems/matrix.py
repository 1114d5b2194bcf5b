"""A matrix of the user's own, from a file that is not trusted: no pickle, and every reason to refuse in one sentence."""

from pathlib import Path

import numpy as np

from onsager_cli.errors import UserError


def read(path: str, shape: tuple[int, int]) -> np.ndarray:
    """A of the given shape (M, N) from .npy, .npz (its array `A`, or its only one), .mat (likewise) or .csv; float32.

    Raises UserError naming the file for anything else: unreadable, not real numbers, NaN or infinity, another
    shape, a column of zeros.
    """
    A = _load(Path(path))
    if A.ndim != 2 or A.dtype.kind not in "fiub":
        raise UserError(f"problem.matrix={path} must hold a real matrix, got {A.dtype} of shape {A.shape}")
    if A.shape != shape:
        raise UserError(
            f"problem.matrix={path} is {A.shape[0]} x {A.shape[1]}, but problem.M={shape[0]}, problem.N={shape[1]}: "
            f"add problem.M={A.shape[0]} problem.N={A.shape[1]}"
        )
    A = A.astype(np.float32)
    if not np.isfinite(A).all():
        raise UserError(f"problem.matrix={path} holds NaN or infinity at {np.argwhere(~np.isfinite(A))[0].tolist()}")
    if (zero := np.flatnonzero(~A.any(axis=0))).size:
        raise UserError(f"problem.matrix={path} has a column of zeros: column {zero[0]} never reaches y")
    return A


def _load(path: Path) -> np.ndarray:
    try:
        if path.suffix == ".csv":
            return np.loadtxt(path, delimiter=",", ndmin=2)
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return _only(dict(archive), path)
        from scipy.io import loadmat

        arrays = {name: a for name, a in loadmat(path).items() if not name.startswith("__")}
        return _only(arrays, path)
    except UserError:
        raise
    except Exception as error:  # every reader has exceptions of its own; a file that cannot be read is one sentence
        raise UserError(f"problem.matrix={path} cannot be read: {str(error).splitlines()[0]}") from error


def _only(arrays: dict[str, np.ndarray], path: Path) -> np.ndarray:
    if "A" in arrays:
        return arrays["A"]
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    raise UserError(f"problem.matrix={path} must hold an array named A, got {', '.join(arrays) or 'none'}")
