"""The formats that a network can be exported to: what writes the files of each, and what runs them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

from onsager_cli.export.model import Model

Files = dict[str, bytes]
"""The files of an export: name → content."""


class AbsentError(Exception):
    """The runtime of a format is not installed."""


@dataclass(frozen=True)
class About:
    """What the files say of a network: a name for files and functions, and sentences."""

    name: str
    title: str
    about: str
    units: str


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        runtime: what runs the files.
        write: (model, about) → its files.
        run: (folder of the files, name, y (M, L)) → x̂ (N, L). Raises AbsentError without its runtime.
        usage: (model, name) → lines of Markdown that say how to call it.
    """

    runtime: str
    write: Callable[[Model, About], Files]
    run: Callable[[Path, str, np.ndarray], np.ndarray]
    usage: Callable[[Model, str], str]


# Name → module, imported when it is asked for.
NAMES: Mapping[str, str] = {
    "numpy": "python_text", "onnx": "onnx_graph", "torch": "python_text", "matlab": "matlab_text",
    "stablehlo": "stablehlo",
}  # fmt: skip


def of(name: str) -> Format:
    """The format of this name, one of NAMES."""
    return getattr(import_module(f"onsager_cli.export.{NAMES[name]}"), name.upper())
