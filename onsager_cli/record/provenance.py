"""How a record was made, for its page: command, problem, schedule, versions, machine. No JAX."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from onsager_cli.text import markdown_table

# The keys of a training that hold the rates of a network, and of the tied network that it is compared with.
_DESCENTS = ("descent", "tied_descent")


# What the store noted of a curve on a matrix, (slug, seed) → `environment()` with "device".
Notes = Mapping[tuple[str, int], Mapping[str, Any]]


def command(experiment: Any) -> str:
    """The overrides that make the same record."""
    # The output folder and the logs of Hydra change no number, and a path may name its author.
    return shlex.join(item for item in experiment.overrides if not item.lstrip("+~").startswith(("output=", "hydra")))


def settings(experiment: Any, made: Notes) -> str:
    """A table of what the curves have in common and where they differ, the versions and the machine included."""
    named = [(curve.slug, curve.settings) for curve in experiment.curves]
    trained = [item for item in named if item[1].training.kind != "none"] or named
    keys = [(slug, of.seed) for slug, of in named]
    notes = [(key[1], made[key]) for key in keys if key in made]
    left_out = ("kind", "instance", "matrix", "selection_samples")
    schedules = ((f"`{slug}`", f"kind {_fields(of.training, _DESCENTS)}") for slug, of in trained)
    versions = ((seed, ", ".join(f"{k} {v}" for k, v in note.get("versions", {}).items())) for seed, note in notes)
    lines = {
        "seed": _unique(str(of.seed) for _, of in named),
        "problem": _unique(_fields(of.problem, left_out) for _, of in named),
        "instance": _unique(of.problem.instance for _, of in named),
        "schedule": _by_curve(schedules),
        "precision": _unique(of.precision for _, of in named),
        "versions": _by_seed(versions),
        "machine": _by_seed((seed, _machine(note)) for seed, note in notes),
    }
    return markdown_table(["", ""], [[name, text] for name, text in lines.items() if text])


def descents(experiment: Any) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Rates, steps and batches → the slugs of the curves that were trained with them.

    First those of the curves themselves, then those of the tied networks that untied curves are compared with.
    """
    found: tuple[dict[str, list[str]], dict[str, list[str]]] = ({}, {})
    for slug, of in {curve.slug: curve.settings for curve in experiment.curves}.items():
        training = asdict(of.training)
        for slugs, name in zip(found, _DESCENTS, strict=True):
            if training.get(name):
                slugs.setdefault(_phrase(training[name])[1:-1], []).append(slug)
    return found


def _machine(note: Mapping[str, Any]) -> str:
    machine = note.get("machine", {})
    parts = [
        machine.get("cpu"),
        f"{machine['cores']} core{'' if machine['cores'] == 1 else 's'}{_shared(machine)}"
        if "cores" in machine
        else None,
        f"{machine['memory_gib']} GiB memory" if "memory_gib" in machine else None,
        machine.get("system"),
        note.get("device"),
    ]
    return ", ".join(str(part) for part in parts if part)


def _shared(machine: Mapping[str, Any]) -> str:
    """How many of the cores each curve had, if several were trained at a time."""
    return f" ({machine['threads']} for each curve, several at a time)" if "threads" in machine else ""


def _fields(settings: Any, without: Sequence[str]) -> str:
    """A dataclass in one line: its name or kind, then what is set."""
    values = {
        key: value for key, value in asdict(settings).items() if value not in (None, {}, ()) and key not in without
    }
    name = values.pop("name", None) or values.pop("kind", "")
    values.pop("kind", None)
    return f"{name} {_phrase(values)}" if values else str(name)


def _phrase(value: Any) -> str:
    """A value for people: (key value, key value) for a group, numbers of a list with spaces between them."""
    if isinstance(value, Mapping):
        return f"({', '.join(f'{key} {_phrase(item)}' for key, item in value.items() if item is not None)})"
    if isinstance(value, tuple):
        return " ".join(map(_phrase, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _unique(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(text for text in texts if text))


def _by_seed(texts: Iterable[tuple[int, str]]) -> str:
    """Each text once, followed by the seeds that it belongs to if seeds differ."""
    found = _owners(texts)
    seeds = [seed for of in found.values() for seed in of]
    if len(found) < 2 or len(set(seeds)) < 2:
        return "; ".join(found)
    return "; ".join(
        f"{text} ({'seed' if len(of) == 1 else 'seeds'} {', '.join(map(str, of))})" for text, of in found.items()
    )


def _by_curve(texts: Iterable[tuple[str, str]]) -> str:
    """Each text once, preceded by the curves that it belongs to if curves differ."""
    found = _owners(texts)
    if len(found) < 2:
        return "; ".join(found)
    return "; ".join(f"{', '.join(of)}: {text}" for text, of in found.items())


def _owners(texts: Iterable[tuple[Any, str]]) -> dict[str, list[Any]]:
    """Text → the curves or seeds that it belongs to, each once; empty texts are left out."""
    found: dict[str, dict[Any, None]] = {}
    for owner, text in texts:
        if text:
            found.setdefault(text, {})[owner] = None
    return {text: list(of) for text, of in found.items()}
