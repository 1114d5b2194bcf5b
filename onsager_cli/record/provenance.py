"""How a record was made, for its page: command, problem, schedule, versions, machine. No JAX."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from onsager_cli.config.experiment import Experiment
from onsager_cli.kinds.problems import ProblemSettings
from onsager_cli.kinds.trainings import TrainingSettings
from onsager_cli.store.tables import grouped
from onsager_cli.text import markdown_table

# The keys of a training that hold the rates of a network, and of the tied network that it is compared with.
_DESCENTS = ("descent", "tied_descent")
_CONTENT = "content"  # the checksum of a file of the user's own

Note = Mapping[str, Any]
"""What the store noted of a curve: `environment()` with "device"."""

Notes = Mapping[tuple[str, int], Note]
"""(slug, seed) → the note of a curve on a matrix."""

Owner = TypeVar("Owner", str, int)


def command(experiment: Experiment) -> str:
    """The overrides that make the same record."""
    # The output folder and the logs of Hydra change no number, and a path may name its author.
    return shlex.join(item for item in experiment.overrides if not item.lstrip("+~").startswith(("output=", "hydra")))


def settings(experiment: Experiment, made: Notes) -> str:
    """A table of what the curves have in common and where they differ, the versions and the machine included."""
    named = [(curve.slug, curve.settings) for curve in experiment.curves]
    trained = [(slug, of) for slug, of in named if of.training.kind != "none"] or named
    notes = [(of.seed, made[slug, of.seed]) for slug, of in named if (slug, of.seed) in made]
    left_out = ("kind", "instance", "matrix", "matrix_name", "selection_samples")
    schedules = ((f"`{slug}`", f"kind {_fields(of.training, _DESCENTS)}") for slug, of in trained)
    versions = ((seed, ", ".join(f"{k} {v}" for k, v in _group(note, "versions").items())) for seed, note in notes)
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


def descents(experiment: Experiment) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Rates, steps and batches → the slugs of the curves that were trained with them.

    First those of the curves themselves, then those of the tied networks that untied curves are compared with.
    """
    trainings = {curve.slug: asdict(curve.settings.training) for curve in experiment.curves}
    own, tied = (
        grouped((_phrase(training[name])[1:-1], slug) for slug, training in trainings.items() if training.get(name))
        for name in _DESCENTS
    )
    return own, tied


def _machine(note: Note) -> str:
    machine = _group(note, "machine")
    cores, memory, threads = (machine.get(key) for key in ("cores", "memory_gib", "threads"))
    shared = f" ({threads} for each curve, several at a time)" if threads else ""
    parts = [
        machine.get("cpu"),
        cores and f"{cores} core{'s' * (cores != 1)}{shared}",
        memory and f"{memory} GiB memory",
        machine.get("system"),
        note.get("device"),
    ]
    return ", ".join(str(part) for part in parts if part)


def _group(note: Note, key: str) -> Mapping[str, Any]:
    """A part of a note; empty if the file of the note has something else there."""
    return part if isinstance(part := note.get(key), Mapping) else {}


def _fields(settings: ProblemSettings | TrainingSettings, without: Sequence[str]) -> str:
    """A dataclass in one line: its name or kind, then what is set."""
    values = {
        key: value for key, value in asdict(settings).items() if value not in (None, {}, ()) and key not in without
    }
    values.pop(_CONTENT, None)
    name = values.pop("name", None) or values.pop("kind", "")
    values.pop("kind", None)
    return f"{name} {_phrase(values)}" if values else str(name)


def _phrase(value: object) -> str:
    """A value for people: (key value, key value) for a group, numbers of a list with spaces between them."""
    if isinstance(value, Mapping):
        said = {key: item for key, item in value.items() if item is not None and key != _CONTENT}
        return f"({', '.join(f'{key} {_phrase(item)}' for key, item in said.items())})"
    if isinstance(value, tuple):
        return " ".join(map(_phrase, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _unique(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(text for text in texts if text))


def _by_seed(texts: Iterable[tuple[int, str]]) -> str:
    """Each text once, followed by the seeds that it belongs to if seeds differ."""
    found = _owners(texts)
    if len(found) < 2 or len({seed for seeds in found.values() for seed in seeds}) < 2:
        return "; ".join(found)
    numbers = {text: ", ".join(map(str, seeds)) for text, seeds in found.items()}
    return "; ".join(f"{text} (seed{'s' * (len(found[text]) > 1)} {seeds})" for text, seeds in numbers.items())


def _by_curve(texts: Iterable[tuple[str, str]]) -> str:
    """Each text once, preceded by the curves that it belongs to if curves differ."""
    found = _owners(texts)
    return "; ".join(found if len(found) < 2 else (f"{', '.join(slugs)}: {text}" for text, slugs in found.items()))


def _owners(texts: Iterable[tuple[Owner, str]]) -> dict[str, list[Owner]]:
    """Text → the curves or seeds that it belongs to, each once; empty texts are left out."""
    return grouped(dict.fromkeys((text, owner) for owner, text in texts if text))
