"""Recorded pairs for tests: drawn, saved in every format, and read back."""

from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from onsager_cli.config.load import load_experiment
from onsager_cli.config.own_pairs import own_pairs
from onsager_cli.errors import UserError
from onsager_cli.run import problem_of

N, M, L = 12, 8, 300
FILES = ("set.npz", "set.mat", "set.h5", "folder")
SOME = (("set.npz", 0, 0), ("set.mat", 1, 0), ("set.h5", 1, 1), ("folder", 0, 1))
QUICK = ("network=lamp", "network.depth=2", "training.lamp.steps=[40]", "training.lamp.batch=50", "jobs=1")


def drawn(count=L, is_complex=False, noise=0.01, seed=0, gamma=0.3):
    """A (M, N), x (N, count) and y (M, count)."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return rng.normal(size=shape) + 1j * rng.normal(size=shape) if is_complex else rng.normal(size=shape)

    A = normal(M, N) / np.sqrt(M)
    x = normal(N, count) * (rng.uniform(size=(N, count)) < gamma)
    return A, x, A @ x + noise * normal(M, count)


def saved(path, **arrays):
    """The path, with the arrays in the format of its suffix; a folder without one."""
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".mat":
        savemat(path, arrays)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
    else:
        path.mkdir()
        for name, array in arrays.items():
            np.save(path / f"{name}.npy", array)
    return str(path)


def curve_of(path, *overrides):
    """The oracle's curve on the pairs of a file."""
    words = ["problem=data", f'problem.file="{path}"', "network=oracle", *overrides]
    (curve,) = load_experiment(words).curves
    return curve


def settings_of(path, *overrides) -> Any:
    """The settings of the problem."""
    return curve_of(path, *overrides).settings.problem


def pairs_of(path, *overrides) -> Any:
    """The pairs of the file."""
    return own_pairs(settings_of(path, *overrides))


def problem(path, *overrides) -> Any:
    """The problem as arrays."""
    return problem_of(curve_of(path, *overrides))


def refusal(path, *overrides):
    """The one line that refuses a file."""
    with pytest.raises(UserError) as caught:
        own_pairs(settings_of(path, *overrides))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def columns(samples):
    """The measurements of a set as a set of tuples: signals may be zero."""
    return {tuple(column) for column in np.asarray(samples.y).T.tolist()}
