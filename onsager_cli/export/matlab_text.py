"""A network as a function of MATLAB, which runs in Octave, too, with its arrays in a .mat.

Of a parameter with a row for each layer, the layer is the last index; θ has a row for each group of coordinates.
"""

import io
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from scipy.io import loadmat, savemat

from onsager_cli.export.formats import About, AbsentError, Files, Format
from onsager_cli.export.model import Model
from onsager_cli.export.texts import program


def _write(model: Model, about: About) -> Files:
    made = program(model, "matlab", "matlab", "file.m.j2", **vars(about))
    layered, arrays = model.net.layered, {}
    for name, array in made.arrays.items():
        last = np.moveaxis(array, 0, -1) if name in layered else array
        if name == "theta" and not model.net.groups:
            last = last[None]
        arrays[name] = last + 1 if name == "groups" else last.astype(np.result_type(last.dtype, np.float64))
    buffer = io.BytesIO()
    savemat(buffer, arrays, oned_as="column")
    return {f"{about.name}.m": made.text.encode(), f"{about.name}.mat": buffer.getvalue()}


def octave() -> str | None:
    """The program that runs a .m without a window; None if Octave is not installed."""
    return shutil.which("octave-cli") or shutil.which("octave")


def _run(folder: Path, name: str, y: np.ndarray) -> np.ndarray:
    command = octave()
    if command is None:
        raise AbsentError
    with tempfile.TemporaryDirectory() as place:
        savemat(Path(place, "y.mat"), {"y": y.astype(np.result_type(y.dtype, np.float64))})
        quoted = str(folder).replace("'", "''")
        script = f"addpath('{quoted}'); load('y.mat'); x_hat = {name}(y); save('-v7', 'x.mat', 'x_hat');"
        words = [command, "--quiet", "--no-init-file", "--no-window-system", "--eval", script]
        done = subprocess.run(words, cwd=place, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"Octave cannot run {name}.m: {done.stderr.strip()}")
        return loadmat(Path(place, "x.mat"))["x_hat"]


def _use(model: Model, name: str) -> str:
    del model
    return f"```matlab\nx_hat = {name}(y);\n```\n\nFor MATLAB (R2016b or later) and Octave, in double precision."


MATLAB = Format("Octave", _write, _run, _use)
