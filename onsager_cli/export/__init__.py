"""Export of trained networks: files that run without onsager, each compared with JAX before it is kept."""

import re
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onsager_cli import __version__
from onsager_cli.config.names import slug_of
from onsager_cli.errors import Notice, UserError
from onsager_cli.export import formats
from onsager_cli.export.model import COMPARED, Model, difference, from_test_set, is_complex, nmse_db
from onsager_cli.export.texts import page
from onsager_cli.store.files import atomic_write, check_ours, is_file, keep, read_bytes, remove_leftovers
from onsager_cli.text import did_you_mean, one_of, show

__all__ = ["COMPARED", "TOLERANCE", "Exported", "export", "name_of"]

TOLERANCE = 1e-4  # relative: JAX computes in float32, and layers amplify its rounding
CHUNK = 500  # samples at a time for the NMSE
PAGE, MARK = "README.md", "Written by `onsager export`"


@dataclass(frozen=True)
class Exported:
    """What was written, and how it compares.

    Attributes:
        files: the paths, the page first.
        runtime: what ran the files, or what is not installed.
        difference: the largest error of a sample relative to JAX; None without the runtime.
        samples: how many samples were compared.
        nmse_db: the NMSE of the files on the test set, dB; None without the runtime.
    """

    files: tuple[Path, ...]
    runtime: str
    difference: float | None = None
    samples: int = 0
    nmse_db: float | None = None


def export(model: Model, to: str, folder: Path, command: str = "", replace: Callable[[Path], bool] = keep) -> Exported:
    """Write a trained network in another format into `folder`, run what was written, and compare it with JAX.

    Args:
        model: made by `train` or `load`.
        to: numpy, onnx, torch, matlab or stablehlo.
        folder: created if missing.
        command: the command that asks for it, for the page.
        replace: is asked about a file that onsager did not write; True replaces that file.

    The files take y (M, L) and give x̂ (N, L), both in the user's units, linear. Raises UserError for an unknown format,
    for a kind that the format does not take, and for a file that may not be replaced. Warns if the files differ from
    JAX by more than TOLERANCE.
    """
    if to not in formats.NAMES:
        raise UserError(f"--to must be {one_of(formats.NAMES)}, got {show(to)}{did_you_mean(to, formats.NAMES)}")
    form, name = formats.of(to), name_of(model)
    x, y = from_test_set(model)
    files = form.write(model, _about(model, name))
    _check(folder, files, replace)
    with tempfile.TemporaryDirectory() as place:
        for file, content in files.items():
            Path(place, file).write_bytes(content)
        try:
            compared = y[:, :COMPARED]
            found = difference(form.run(Path(place), name, compared), model(compared))
            parts = range(0, y.shape[1], CHUNK)
            x_hat = np.concatenate([form.run(Path(place), name, y[:, k : k + CHUNK]) for k in parts], axis=1)
            made = Exported((), form.runtime, found, compared.shape[1], nmse_db(model, x_hat, x))
        except formats.AbsentError:
            made = Exported((), form.runtime)
    if made.difference is not None and not made.difference <= TOLERANCE:
        warnings.warn(
            f"{name}: {form.runtime} and JAX differ by {made.difference:.1e}, more than rounding explains", Notice, 2
        )
    pages = {PAGE: _page(model, name, form, files, made, command).encode()}
    for file, content in {**pages, **files}.items():  # the page first: it says that onsager wrote the others
        atomic_write(folder / file, content)
    remove_leftovers(folder)
    return Exported(
        tuple(folder / file for file in (*pages, *files)), made.runtime, made.difference, made.samples, made.nmse_db
    )


def name_of(model: Model) -> str:
    """The name of the curve as a name of files and functions: lamp_tied_bg."""
    name = slug_of(model.settings).replace("-", "_")
    return name if re.match("[A-Za-z]", name) else f"network_{name}"


def _about(model: Model, name: str) -> formats.About:
    settings, (M, N) = model.settings, model.problem.A.shape
    layers = f", {model.depth} layers" if settings.network.depth else ""
    record = settings.network.record
    shrinkage = f" with shrinkage {settings.shrinkage.family}" if record.uses_shrinkage or record.shrinkages else ""
    kind = "complex" if is_complex(model) else "real"
    title = f"{name}: network {settings.network.name}{shrinkage}{layers}, {kind}, M = {M}, N = {N}"
    stacked = settings.problem.embedding == "real"
    units = "the units of the problem" + ("; real parts are stacked on imaginary parts" if stacked else "")
    return formats.About(name, title, f"NMSE on the test set: {model.nmse_db:.2f} dB.", units)


def _page(model: Model, name: str, form: formats.Format, files: formats.Files, made: Exported, command: str) -> str:
    """The README.md of the folder."""
    return page(
        "README.md.j2", about=_about(model, name), files=sorted(files), made=made, usage=form.usage(model, name),
        command=command, version=__version__, mark=MARK, M=model.problem.A.shape[0], N=model.problem.A.shape[1],
        kind="complex" if is_complex(model) else "real",
    )  # fmt: skip


def _check(folder: Path, files: formats.Files, replace: Callable[[Path], bool]) -> None:
    """Raises UserError for files in the folder that onsager did not write, as its page says, unless `replace` does."""
    check_ours(folder / PAGE, lambda head: MARK.encode() in head, replace)
    page = read_bytes(folder / PAGE, 2**20).decode(errors="replace") if is_file(folder / PAGE) else ""
    for file in files:
        check_ours(folder / file, lambda _, file=file: MARK in page and f"`{file}`" in page, replace)
