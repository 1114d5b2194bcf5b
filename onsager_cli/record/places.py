"""Where the figure of an experiment is written, so that it never replaces the figure of other settings.

A figure's folder notes the identities and depths of its curves. An experiment that covers all of them replaces the
figure: more layers, more curves, another look. Any other experiment of that name gets a longer name, which says what
differs.
"""

import hashlib
import warnings
from collections.abc import Iterator

from onsager_cli.config.experiment import Experiment
from onsager_cli.config.names import suffix
from onsager_cli.errors import Notice
from onsager_cli.store.files import Json, atomic_write, is_file
from onsager_cli.store.notes import canonical, flat, json_bytes, plain, read_json
from onsager_cli.text import show

NOTE = "settings.json"  # in the folder of a figure
CURVES = "curves"


def kept_apart(experiment: Experiment) -> Experiment:
    """The experiment, under a longer name if the folder of its name shows other settings; then with a Notice."""
    asked = _settings(experiment)
    there = _noted(experiment)
    if there is None or not (different := list(_differences(there, asked))):
        return experiment
    renamed = experiment.renamed(_suffix(different, asked))
    warnings.warn(
        f"{experiment.place} has a figure with {_told(different, 0)}; onsager writes this one, with "
        f"{_told(different, 1)}, to {renamed.name}",
        Notice, stacklevel=2,
    )  # fmt: skip
    return renamed


def note(experiment: Experiment) -> None:
    """Note in the folder of a figure what it shows. Raises UserError if the file cannot be written."""
    atomic_write(experiment.place / NOTE, json_bytes({CURVES: _settings(experiment)}))


def _settings(experiment: Experiment) -> Json:
    """Curve and number of its matrix → its identity without the version of the numerics, and how many layers it has."""
    found: Json = {}
    for curve in experiment.curves:
        identity = {key: value for key, value in curve.identity.items() if key != "numerics"}
        settings = plain({"depth": curve.settings.network.depth, **identity})
        number = sum(name.partition(",")[0] == curve.slug for name in found) + 1
        found[f"{curve.slug}, matrix {number}"] = settings
    return found


def _noted(experiment: Experiment) -> Json | None:
    """What the folder of an experiment's name shows; None if there is no figure, or one that does not say."""
    path = experiment.place / NOTE
    found = (read_json(path) or {}).get(CURVES) if is_file(path) else None
    return found if isinstance(found, dict) else None


Difference = tuple[str, object, object]
"""A key, its value in the figure that is there, and its value in this one."""


def _differences(there: Json, asked: Json) -> Iterator[Difference]:
    """What keeps the experiment `asked` from replacing the figure `there`, each key once."""
    if set(there) - set(asked):
        yield CURVES, _slugs(there), _slugs(asked)
    found: dict[str, Difference] = {}
    for name in set(there) & set(asked):
        before, now = flat(there[name]), flat(asked[name])
        for key in sorted(before.keys() | now.keys()):
            old, new = before.get(key), now.get(key)
            deeper = key == "depth" and isinstance(old, int) and isinstance(new, int) and new >= old
            if canonical({"": old}) != canonical({"": new}) and not deeper:
                found.setdefault(key, (key, old, new))
    yield from found.values()


def _slugs(settings: Json) -> str:
    """The names of the curves, without the numbers of their matrices."""
    return "+".join(dict.fromkeys(name.partition(",")[0] for name in settings))


def _told(different: list[Difference], side: int) -> str:
    """`problem.snr_db=40, seed=0`, of the figure that is there (0) or of this one (1); at most three keys."""
    words = [f"{key}={show(pair[side], 40)}".replace("'", "") for key, *pair in different[:3]]
    return ", ".join(words) + (" …" if len(different) > 3 else "")


def _suffix(different: list[Difference], asked: Json) -> str:
    """`-snr_db=20`, or eight hexadecimal digits where that would be long."""
    # θ may follow from the problem, and then says nothing more.
    of_problem = any(key.startswith("problem.") for key, *_ in different)
    told = [item for item in different if not (of_problem and item[0] == "shrinkage.theta")]
    named = suffix(("" if key == CURVES else key, value) for key, _, value in told)
    if named is not None:
        return named
    return f"-{hashlib.sha256(canonical(asked).encode()).hexdigest()[:8]}"
