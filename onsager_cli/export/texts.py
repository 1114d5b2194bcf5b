"""The text of a network as a program: templates, one for each kind of network, family of shrinkage and law of signals.

A template has the name of its kind, in `templates/LANGUAGE/networks`, `…/shrinkages` or `…/signals`. A package that
brings a kind puts its template into a folder `export` with the same subfolders, beside the file of the kind.

| a template of | defines                                                                                      |
|---------------|----------------------------------------------------------------------------------------------|
| a network     | `slope` (whether it uses ⟨η'⟩), `arrays` (names in the .npz), `symbols`, `functions`, `body` |
| a shrinkage   | `functions(slope)`; `constants` (arrays that it adds to the .npz) if there are any           |
| a signal      | `title`, `constants`, `functions`, `posterior(slope)`                                        |
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onsager_cli.errors import UserError
from onsager_cli.export.model import Model, is_complex
from onsager_cli.text import columns

if TYPE_CHECKING:
    from jinja2 import Environment, Template

TEMPLATES = Path(__file__).parent / "templates"
KEYS = {"networks": "network.kind", "shrinkages": "shrinkage", "signals": "signal"}


@dataclass(frozen=True)
class Program:
    """The text of a program, and the arrays that it reads, name → array."""

    text: str
    arrays: Mapping[str, np.ndarray]


def program(model: Model, to: str, language: str, file: str, **values: object) -> Program:
    """The network as a program.

    Args:
        model: the network with its parameters and its problem.
        to: the format, for messages.
        language: the folder of the templates of kinds.
        file: the template of the whole file.
        values: what that template needs beside what is known of the model.

    Raises UserError for a kind that has no template of this language.
    """
    record, family = model.settings.network.record, model.settings.shrinkage.record
    shrinks = bool(record.uses_shrinkage or record.shrinkages)
    law = _law(model) if shrinks and family.of_signal else {}
    brought = (record.module, family.module, type(law.get("signal")).__module__)
    environment = _environment(tuple(map(_folder, brought)))
    find = partial(_template, environment, to, language)
    known = {**_known(model), **law, **values, "extras": ()}
    shrinkage, constants = None, {}
    if law:
        known["law"] = find("signals", law["names_of_law"])
    if shrinks:
        shrinkage = find("shrinkages", [family.name]).make_module(known)
        constants = dict(getattr(shrinkage, "constants", {}))
    known["extras"] = tuple(constants)
    layers = vars(find("networks", [record.name]).make_module(known))
    functions = vars(shrinkage)["functions"](layers["slope"]) if shrinkage is not None else ""
    arrays = {**_arrays(model, layers["arrays"]), **{name: _single(model, one) for name, one in constants.items()}}
    known |= {
        "network": layers, "functions": functions, "names": list(arrays),
        "macros": environment.get_template(f"{language}/macros.j2").make_module(known),
    }  # fmt: skip
    return Program(tidy(environment.get_template(file).render(known)), arrays)


def page(template: str, **values: object) -> str:
    """Fill in the template of a page."""
    return tidy(_environment(()).get_template(template).render(values))


def tidy(text: str) -> str:
    """The text without blanks at the ends of lines, with at most two blank lines in a row and a newline at its end."""
    return re.sub(r"\n{4,}", "\n\n\n", re.sub(r"[ \t]+\n", "\n", text)).strip() + "\n"


def _known(model: Model) -> dict[str, object]:
    """What every template may ask of a model."""
    net, problem, frame = model.net, model.problem, model.problem.frame
    return {
        "net": net, "problem": problem, "complex": is_complex(model), "depth": model.depth, "layered": net.layered,
        "M": problem.A.shape[0], "N": problem.A.shape[1], "groups": bool(net.groups),
        "columns": problem.columns is not None,
        "rows": None if frame is None else "matrix" if frame.rows.ndim else "number",
        "uses_sigma": not model.settings.shrinkage.record.absolute,
        "embedded": model.settings.problem.embedding == "real",
    }  # fmt: skip


def _arrays(model: Model, names: Iterable[str]) -> dict[str, np.ndarray]:
    """The arrays of these names: parameters, the matrix A, what the frame needs, and the group of each coordinate."""
    leaves = model.net.head(model.params, model.depth)
    arrays = {name: np.asarray(model.problem.A if name == "A" else leaves[name]) for name in names}
    if model.net.groups and "theta" in arrays:
        arrays["groups"] = np.array(model.net.groups)
    if (frame := model.problem.frame) is not None:
        arrays |= {"rows": np.asarray(frame.rows), "unit": np.asarray(frame.unit)}
        arrays |= {} if frame.columns is None else {"columns": np.asarray(frame.columns)}
    return arrays


def _single(model: Model, array: np.ndarray) -> np.ndarray:
    """An array in the precision of the network."""
    complex_type = np.result_type(np.asarray(model.problem.A).dtype, np.complex64)
    return array.astype(complex_type if np.iscomplexobj(array) else np.real(np.zeros(0, complex_type)).dtype)


def _law(model: Model) -> dict[str, Any]:
    """The signal as the network sees it, its scale if it has one, and the names that the template of its law may have."""
    from onsager_cli.problems import signals
    from onsager_cli.problems.signals.base import Scaled

    signal, scale = signals.seen(model.settings.problem, model.settings.seed), None
    while isinstance(signal, Scaled):
        signal, scale = signal.base, float(signal.c) * (scale or 1)
    names = [re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower() for cls in type(signal).__mro__]
    return {"signal": signal, "scale": scale, "names_of_law": names}


def _template(environment: "Environment", to: str, language: str, group: str, names: list[str]) -> "Template":
    """The template of the first of these names that has one. Raises UserError if none has."""
    folder = f"{language}/{group}/"
    known = [path[len(folder) : -3] for path in environment.list_templates() if path.startswith(folder)]
    for name in names:
        if name in known:
            return environment.get_template(f"{folder}{name}.j2")
    raise UserError(f"{KEYS[group]}={names[0]} cannot be exported to {to}, which takes {', '.join(known)}")


def _folder(module: str) -> Path | None:
    """The folder `export` beside a file of a package that brings a kind."""
    spec = find_spec(module) if module else None
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / "export"


def _aligned(lines: str) -> str:
    """Lines whose cells are parted by " | ", with aligned columns; lines without cells follow."""
    rows = [line.split(" | ") for line in lines.strip().splitlines() if line.strip()]
    cells = [[*row, ""][:3] for row in rows if len(row) > 1]
    return "\n".join([columns(cells), *(row[0] for row in rows if len(row) == 1)])


@cache
def _environment(more: tuple[Path | None, ...]) -> "Environment":
    """The environment of all templates, with those in further folders."""
    # Imported here: nothing else of an export needs it to begin.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folders = [TEMPLATES, *(folder for folder in more if folder is not None)]
    made = Environment(
        loader=FileSystemLoader(folders), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters |= {"aligned": _aligned, "log": lambda a: math.log(a) if isinstance(a, float) else np.log(a)}
    return made
