"""Checks of what Python callers hand in; every mistake is a UserError of one line."""

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np

from onsager_cli.errors import UserError
from onsager_cli.store.files import expanded
from onsager_cli.text import show

P = ParamSpec("P")
R = TypeVar("R")


def in_float32(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, which computes in float32 even where the caller has enabled JAX's 64-bit numbers."""

    @functools.wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        import jax

        with jax.enable_x64(False):
            return function(*args, **kwargs)

    return inner


def numbers(value: object, name: str, form: str, dimensions: Iterable[int]) -> np.ndarray:
    """`value` as an array of finite real or complex numbers, in double precision.

    `form` says what shape it must have, `dimensions` how many axes that can be. Raises UserError for anything else.
    """
    try:
        array = np.asarray(value)
    except ValueError:
        raise UserError(f"{name} must be numbers of shape {form}, got rows of different lengths") from None
    if array.dtype.kind not in "iufc":
        raise UserError(f"{name} must be numbers of shape {form}, got {array.dtype} values")
    if array.ndim not in dimensions or array.size == 0:
        raise UserError(f"{name} must have shape {form}, got {array.shape}")
    if not np.isfinite(array).all():
        raise UserError(f"{name} must be finite numbers, got {array[~np.isfinite(array)][0]}")
    return array.astype(np.complex128 if np.iscomplexobj(array) else np.float64)


def measurements(y: object, M: int, complex_allowed: bool) -> np.ndarray:
    """y (M, L) or (M,), in double precision. Raises UserError for anything else."""
    form = f"({M},) or ({M}, samples)"
    given = numbers(y, "y", form, (1, 2))
    if given.shape[0] != M:
        raise UserError(f"y must have shape {form}, got {given.shape}")
    if np.iscomplexobj(given) and not complex_allowed:
        raise UserError("y must be real, as A is: stack the real parts on the imaginary parts")
    return given


def whole(value: object, name: str, low: int, high: int) -> int:
    """A whole number from `low` to `high`. Raises UserError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
        raise UserError(f"{name} must be a whole number from {low} to {high}, got {show(value)}")
    return int(value)


def place(path: object, name: str) -> Path:
    """A path as a caller gives it, with ~ as the home folder. Raises UserError for what is no path."""
    if not isinstance(path, str | Path):
        raise UserError(f"{name} must be a path, got {show(path)}")
    return expanded(str(path))


def texts(values: Iterable[object], name: str = "an override", example: str = "'network.depth=8'") -> list[str]:
    """The values, if all are texts. Raises UserError otherwise."""
    values = list(values)
    for value in values:
        if not isinstance(value, str):
            raise UserError(f"{name} must be text such as {example}, got {show(value)}")
    return [str(value) for value in values]
