"""A network as Python: a file that needs NumPy alone, or a `torch.nn.Module`, each with its arrays in an .npz."""

import importlib.util
import io
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from onsager_cli.export.formats import About, AbsentError, Files, Format
from onsager_cli.export.model import Model
from onsager_cli.export.texts import program


def _write_numpy(model: Model, about: About) -> Files:
    made = program(model, "numpy", "python", "file.py.j2", xp="np", **_values(about))
    return {f"{about.name}.py": made.text.encode(), f"{about.name}.npz": npz(made.arrays)}


def _write_torch(model: Model, about: About) -> Files:
    masks = model.net.learnable(model.params, 0, model.depth - 1, True)
    learned = sorted(name for name, mask in masks.items() if np.any(mask))
    more = {"class_name": class_name(about.name), "learned": learned}
    made = program(model, "torch", "python", "file.py.j2", xp="torch", **_values(about), **more)
    return {f"{about.name}_torch.py": made.text.encode(), f"{about.name}.npz": npz(made.arrays)}


def _values(about: About) -> dict[str, object]:
    return {**vars(about), "arrays_name": f"{about.name}.npz"}


def npz(arrays: Any) -> bytes:
    """Arrays as an .npz file."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def class_name(name: str) -> str:
    """lamp_tied_bg → LampTiedBg."""
    return "".join(word.capitalize() for word in name.split("_"))


def loaded(path: Path) -> ModuleType:
    """The module in a file that was written."""
    spec = importlib.util.spec_from_file_location(f"onsager_exported_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _run_numpy(folder: Path, name: str, y: np.ndarray) -> np.ndarray:
    return loaded(folder / f"{name}.py").estimate(y)


def _run_torch(folder: Path, name: str, y: np.ndarray) -> np.ndarray:
    try:
        torch: Any = import_module("torch")
    except ImportError:
        raise AbsentError from None
    network = getattr(loaded(folder / f"{name}_torch.py"), class_name(name))()
    with torch.no_grad():
        return network(torch.from_numpy(np.array(y))).numpy()


def _use_numpy(model: Model, name: str) -> str:
    del model
    return f"```python\nfrom {name} import estimate\n\nx_hat = estimate(y)\n```\n\nThe file needs only NumPy."


def _use_torch(model: Model, name: str) -> str:
    del model
    lines = (
        f"from {name}_torch import {class_name(name)}",
        "",
        f"network = {class_name(name)}()",
        "x_hat = network(y)",
    )
    return "\n".join(
        ["```python", *lines, "```", "", "Trained arrays are parameters of the module. Other arrays are its buffers."]
    )


NUMPY = Format("NumPy", _write_numpy, _run_numpy, _use_numpy)
TORCH = Format("torch", _write_torch, _run_torch, _use_torch)
