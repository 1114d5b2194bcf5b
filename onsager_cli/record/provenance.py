"""How a record was made, for its page: commands, problem, schedule, versions, machine. No JAX."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from onsager_cli.store.tables import markdown

# How one kind of network descends; the second is that of the tied one that an untied network is compared with.
_DESCENTS = ("descent", "tied_descent")


# What the store noted of a curve on a matrix, (slug, seed) → `environment()` with "device".
Notes = Mapping[tuple[str, int], Mapping[str, Any]]


def told(experiment: Any, made: Notes) -> str:
    """All of it in Markdown."""
    parts = [commands(experiment), _settings(experiment, made), _descents(experiment)]
    return "\n\n".join(part for part in parts if part)


def commands(experiment: Any) -> str:
    """What to type for the same record."""
    # Where files go and how Hydra logs decide no number, and a path tells about the author, not the figure.
    kept = [item for item in experiment.overrides if not item.lstrip("+~").startswith(("output=", "hydra"))]
    words = shlex.join(kept)
    return f"```sh\nonsager train {words}\nonsager record {words}\n```".replace(" \n", "\n")


def _settings(experiment: Any, made: Notes) -> str:
    settings = [curve.settings for curve in experiment.curves]
    named = [(curve.slug, curve.settings) for curve in experiment.curves]
    trained = [item for item in named if item[1].training.kind != "none"] or named
    keys = [(curve.slug, curve.settings.seed) for curve in experiment.curves]
    notes = [(key[1], made[key]) for key in keys if key in made]
    lines = [
        ("seed", _unique(str(item.seed) for item in settings)),
        (
            "problem",
            _unique(
                _fields(item.problem, ("kind", "instance", "matrix", "selection_samples"))
                for item in settings
            ),
        ),
        ("instance", _unique(item.problem.instance for item in settings)),
        (
            "schedule",
            _by_curve((f"`{slug}`", f"kind {_fields(item.training, _DESCENTS)}") for slug, item in trained),
        ),
        ("precision", _unique(item.precision for item in settings)),
        (
            "versions",
            _by_seed(
                (seed, ", ".join(f"{k} {v}" for k, v in note.get("versions", {}).items()))
                for seed, note in notes
            ),
        ),
        ("machine", _by_seed((seed, _machine(note)) for seed, note in notes)),
    ]
    return markdown(["", ""], [[name, text] for name, text in lines if text])


def _descents(experiment: Any) -> str:
    """The rates, steps and batches of each curve that was trained, curves that share them together."""
    owners: dict[str, list[str]] = {}
    rivals: dict[str, list[str]] = {}
    for slug, settings in {curve.slug: curve.settings for curve in experiment.curves}.items():
        training = asdict(settings.training)
        own, tied = (training.get(name) for name in _DESCENTS)
        if own:
            owners.setdefault(_told(own)[1:-1], []).append(f"`{slug}`")
        if tied:
            rivals.setdefault(_told(tied)[1:-1], []).append(f"`{slug}`")
    if not owners:
        return ""
    lines = [f"- {', '.join(slugs)}: {text}." for text, slugs in owners.items()]
    lines += [
        f"- The tied network that {', '.join(slugs)} {'is' if len(slugs) == 1 else 'are'} compared with: {text}."
        for text, slugs in rivals.items()
        if text not in owners
    ]
    told = (
        "These numbers made the record; an option of the program may have others by now. Lists go by depth; the last value "
        "repeats."
    )
    return "\n".join([told, "", *lines])


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
    """How many of the cores a curve had, where several were trained at a time."""
    return f" ({machine['threads']} for each curve, several at a time)" if "threads" in machine else ""


def _fields(settings: Any, without: Sequence[str]) -> str:
    """A dataclass in one line: its name or kind, then what is set."""
    values = {
        key: value
        for key, value in asdict(settings).items()
        if value not in (None, {}, ()) and key not in without
    }
    name = values.pop("name", None) or values.pop("kind", "")
    values.pop("kind", None)
    return f"{name} {_told(values)}" if values else str(name)


def _told(value: Any) -> str:
    """A value for people: (key value, key value) for a group, numbers of a list with spaces between them."""
    if isinstance(value, Mapping):
        return f"({', '.join(f'{key} {_told(item)}' for key, item in value.items() if item is not None)})"
    if isinstance(value, tuple):
        return " ".join(map(_told, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _unique(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(text for text in texts if text))


def _by_seed(texts: Iterable[tuple[int, str]]) -> str:
    """Each text once; where they differ between seeds, with the seeds that it is true of."""
    found = _owners(texts)
    seeds = [seed for of in found.values() for seed in of]
    if len(found) < 2 or len(set(seeds)) < 2:
        return "; ".join(found)
    return "; ".join(
        f"{text} ({'seed' if len(of) == 1 else 'seeds'} {', '.join(map(str, of))})"
        for text, of in found.items()
    )


def _by_curve(texts: Iterable[tuple[str, str]]) -> str:
    """Each text once; where they differ between curves, after those that it is true of."""
    found = _owners(texts)
    if len(found) < 2:
        return "; ".join(found)
    return "; ".join(f"{', '.join(of)}: {text}" for text, of in found.items())


def _owners(texts: Iterable[tuple[Any, str]]) -> dict[str, list[Any]]:
    """Text → what it is true of, each once; empty texts are left out."""
    found: dict[str, dict[Any, None]] = {}
    for owner, text in texts:
        if text:
            found.setdefault(text, {})[owner] = None
    return {text: list(of) for text, of in found.items()}
