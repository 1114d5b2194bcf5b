"""A foreign solver: a function (y, A, noise_variance) → x_hat of somebody else's file or package, NumPy in and out.

| argument       | what the function receives                                                          |
|----------------|-------------------------------------------------------------------------------------|
| y              | measurements (M, L), a sample to a column, float64 or complex128                    |
| A              | (M, N), as methods are told it: an estimate where the problem does not tell A       |
| noise_variance | σ_w² per entry of w, linear, a float; the mean over the samples where they differ   |

It returns x_hat (N, L), or the estimates of T iterations, (T, N, L) or a list. Arrays are copies. What the function prints
is printed. Each mistake is a UserError of one line, which names the function; Ctrl-C passes.
"""

import contextlib
import hashlib
import importlib
import importlib.machinery
import importlib.util
import inspect
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from onsager_cli.errors import UserError
from onsager_cli.store.files import exists, expanded, is_file, read_bytes
from onsager_cli.text import did_you_mean, one_line, one_of, show

FORM = "FILE.py:FUNCTION or PACKAGE:FUNCTION"
LARGEST_FILE = 2**24  # bytes of a Python file


class Answer(NamedTuple):
    """Estimates (N, L) in double precision, whether they are those of iterations, and the seconds that they took."""

    estimates: list[np.ndarray]
    layered: bool
    seconds: float


@dataclass(frozen=True)
class Solver:
    """A foreign function, where it came from as it was named, and the SHA-256 of its file ("" if it has none).

    Its folder is importable while the function runs, as it was while its file was loaded.
    """

    function: Callable[..., object]
    name: str
    origin: str
    checksum: str = ""
    file: str = ""

    def __call__(self, y: np.ndarray, A: np.ndarray, noise_variance: float) -> Answer:
        """Run the function on copies of y (M, L) and A (M, N). Raises UserError for an exception and a wrong answer."""
        shape, is_complex = (A.shape[1], y.shape[1]), bool(np.iscomplexobj(A) or np.iscomplexobj(y))
        arguments = np.array(y), np.array(A), float(noise_variance)
        with _importable(os.path.dirname(self.file)), _told(f"{self.origin} raised", self.file):
            started = time.perf_counter()
            returned = self.function(*arguments)
            seconds = time.perf_counter() - started
        parts, layered = _parts(returned, self.origin)
        where = [f" of iteration {t}" if layered else "" for t in range(1, len(parts) + 1)]
        checked = [
            _checked(part, shape, is_complex, f"{self.origin}: x_hat{of}")
            for part, of in zip(parts, where, strict=True)
        ]
        return Answer(checked, layered, seconds)


def solver_of(function: object) -> Solver:
    """The solver of a Python function. Raises UserError for what cannot be called."""
    if not callable(function):
        raise UserError(f"judge takes a function (y, A, noise_variance) → x_hat, got {show(function)}")
    name = getattr(function, "__name__", type(function).__name__)
    home = getattr(function, "__module__", None) or type(function).__module__
    return Solver(
        function, name.strip("_"), f"{home}:{getattr(function, '__qualname__', name)}", _checksum(function, None)
    )


def load(home: str, path: str) -> Solver:
    """The function `path` of the file or package `home`: solvers.py and solve, or package.module and Class.method.

    A relative file is one of the working directory. Raises UserError, with what to write, for names that Python does not
    have, for a file, package or function that is not there, and for a file that cannot be loaded.
    """
    is_path = home.endswith(".py") or "/" in home or os.sep in home
    if not all(name.isidentifier() for name in [*([] if is_path else home.split(".")), *path.split(".")]):
        raise UserError(f"judge takes {FORM}, got {show(f'{home}:{path}')}")
    return _of_file(home, path) if is_path else _of_package(home, path)


def _of_file(home: str, path: str) -> Solver:
    file = expanded(home)
    if not is_file(file):
        what = "is not a file" if exists(file) else f"does not exist (the working directory is {Path.cwd()})"
        raise UserError(f"judge: {home} {what}")
    file, data = file.resolve(), read_bytes(file, LARGEST_FILE)
    digest = hashlib.sha256(data).hexdigest()
    name = f"_judged_{digest[:12]}"  # no package has this name, and another file has another one
    loader = importlib.machinery.SourceFileLoader(name, str(file))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        with _importable(str(file.parent)), _told(f"{home} cannot be loaded:", str(file)):
            # The bytes of the checksum, without a cache: that goes by the time of the file, in whole seconds.
            exec(loader.source_to_code(data, str(file)), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    function = _attribute(module, path, home)
    return Solver(function, _name(path), f"{home}:{path}", digest, str(file))


def _of_package(home: str, path: str) -> Solver:
    try:
        # Packages of the working directory come last.
        with _importable(str(Path.cwd()), first=False), _told(f"{home} cannot be loaded:", ""):
            module = importlib.import_module(home)
    except UserError as error:
        missing = error.__cause__
        if isinstance(missing, ModuleNotFoundError) and f"{home}.".startswith(f"{missing.name}."):
            near = f": write {home}.py:{path} for the file" if is_file(Path(f"{home}.py")) else ""
            raise UserError(
                f"judge: there is no package {missing.name} to import{near or ', is it installed?'}"
            ) from missing
        raise
    function = _attribute(module, path, home)
    return Solver(function, _name(path), f"{home}:{path}", _checksum(function, module))


def _name(path: str) -> str:
    """What a curve of a function is called."""
    return path.rpartition(".")[2].strip("_")


def _attribute(module: object, path: str, home: str) -> Callable[..., object]:
    """What `path`, such as solve or Solver.solve, names in a module. Raises UserError if nothing can be called there."""
    found = module
    for name in path.split("."):
        if not hasattr(found, name):
            public = [(one, value) for one, value in vars(module).items() if inspect.isroutine(value) and one[0] != "_"]
            own = [
                one for one, value in public if getattr(value, "__module__", None) == getattr(module, "__name__", None)
            ]
            known = own or [one for one, _ in public]
            there = f": it has {one_of(known[:20])}" if known else ""
            raise UserError(f"judge: {home} has no {path}{did_you_mean(path, known) or there}")
        found = getattr(found, name)
    if not callable(found):
        raise UserError(f"judge: {home}:{path} must be a function, got {type(found).__name__} {show(found)}")
    return found


def _checksum(function: object, module: object) -> str:
    """SHA-256 of the file that a function, or else its module, was loaded from; "" if there is none."""
    of_function = sys.modules.get(getattr(function, "__module__", None) or "", module)
    file = getattr(of_function, "__file__", None) or getattr(module, "__file__", None)
    return hashlib.sha256(read_bytes(Path(file))).hexdigest() if file and is_file(Path(file)) else ""


@contextlib.contextmanager
def _importable(folder: str, first: bool = True) -> Iterator[None]:
    """Within the block, modules of `folder` ("": of none) can be imported; the working directory is restored after it."""
    if added := bool(folder) and folder not in sys.path:
        sys.path.insert(0 if first else len(sys.path), folder)
    try:
        with contextlib.chdir("."):
            yield
    finally:
        if added and folder in sys.path:
            sys.path.remove(folder)


@contextlib.contextmanager
def _told(what: str, file: str) -> Iterator[None]:
    """Turn what the block raises, also an exit, into a UserError that begins with `what` and names the line of `file`."""
    try:
        yield
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if file and frame.filename == file]
        at = f" ({os.path.basename(file)}, line {lines[-1]})" if lines else ""
        text = f"{type(error).__name__}: {one_line(str(error))}".removesuffix(": ")
        raise UserError(f"judge: {what} {text}{at}") from error


def _parts(returned: object, origin: str) -> tuple[list[object], bool]:
    """The estimates that a function has returned, and whether they are those of iterations. Raises UserError."""
    if returned is None:
        raise UserError(f"judge: {origin} returned None: does it end with return x_hat?")
    if isinstance(returned, list | tuple) and returned and all(_axes(part) == 2 for part in returned):
        return list(returned), True
    array = _array(returned, origin)
    if array.ndim == 3:
        if not len(array):
            raise UserError(f"judge: {origin} returned no estimate, an array of shape {array.shape}")
        return list(array), True
    return [array], False


def _axes(part: object) -> int:
    """The number of axes of an array; 0 for what is none."""
    try:
        return np.ndim(part)  # type: ignore[arg-type]
    except Exception:  # rows of different lengths, or an array of another library that NumPy cannot read
        return 0


def _array(value: object, where: str) -> np.ndarray:
    """`value` as numbers. Raises UserError for anything else."""
    try:
        array = np.asarray(value)
    except Exception as error:  # whatever another library raises
        of = f" of {len(value)}" if isinstance(value, Sequence) else ""
        text = f"returned a {type(value).__name__}{of}, which NumPy cannot read as numbers: return x_hat alone"
        raise UserError(f"judge: {where} {text}") from error
    if array.dtype.kind not in "biufc":
        what = type(value).__name__ if array.dtype == object else f"{array.dtype} values"
        raise UserError(f"judge: {where} returned {what}, not an array of numbers")
    return array


def _checked(part: object, shape: tuple[int, int], is_complex: bool, where: str) -> np.ndarray:
    """One estimate in double precision. Raises UserError for another shape than (N, L), complex for real, NaN or ∞."""
    array = _array(part, where)
    if array.shape != shape:
        hint = ": transpose it" if array.shape == shape[::-1] else ""
        raise UserError(f"judge: {where} must have shape (N, L) = {shape}, got {array.shape}{hint}")
    if np.iscomplexobj(array) and not is_complex:
        raise UserError(f"judge: {where} must be real, as A and y are, got {array.dtype}: return its real part")
    if not (finite := np.isfinite(array)).all():
        bad = int(np.sum(~finite.all(axis=0)))
        raise UserError(f"judge: {where} must be finite, got {array[~finite][0]} in {bad} of {shape[1]} samples")
    return array.astype(np.complex128 if is_complex else np.float64)
