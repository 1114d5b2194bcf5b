"""What decides the numbers of a curve: the identity by which the store finds it, and its tied twin."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from onsager_cli.config.stored import settings_of
from onsager_cli.errors import UserError
from onsager_cli.kinds.records import NUMERICS, Kind, NetworkKind, ProblemKind
from onsager_cli.kinds.registry import find
from onsager_cli.kinds.settings import Settings
from onsager_cli.store import models
from onsager_cli.store.content import checksum, of_arrays
from onsager_cli.store.files import Json
from onsager_cli.text import cell

# Keys that came later, with what was meant before: there the identity stays what it was.
OLDER_MEANING = {
    "theta_per": "group",
    "learn": ("B", "theta"),
    "warmup": 0,
    "few_first": False,
    "canonical": True,
    "min_gain": 0.0,
    "free": (),
    "weight": "transpose",
}


def identity_of(settings: Settings) -> Json:
    """Everything that decides the numbers, the code that computes them included, as plain JSON.

    It leaves out the depth, since more layers continue the same training (unless all learn at once), names, and keys
    that make no difference. A matrix and pairs of the user's own, and a network that training begins with, count by
    their content, not by their path.
    Raises UserError if their file cannot be read.
    """
    record, whole = settings.network.record, dataclasses.asdict(settings)
    problem, network, training = whole["problem"], whole["network"], whole["training"]
    joint = training.pop("joint", None)
    for key in ("name", "depth", *(() if settings.training.trains else record.untrained_ignores)):
        network.pop(key, None)
    del problem["name"]
    content = problem.pop("content", None)
    if settings.network.start is not None:
        network["start"] = _checked_start(settings, settings.network.start)
    if settings.problem.known_operator:
        problem.pop("known_operator", None)
    for key in settings.problem.unmeant:
        problem.pop(key, None)
    if (signal := problem.pop("signal", None)) is not None:
        problem["signal"] = _signal(signal)
    if settings.problem.matrix is not None:
        problem["matrix"] = content or checksum(Path(settings.problem.matrix), "problem.matrix")
    if settings.problem.file is not None:
        problem["file"] = content or of_arrays(Path(settings.problem.file), "problem.file")
    whole |= {"network": _used(network), "training": _used(training)}
    if joint:
        whole["training"]["joint"] = settings.network.depth
    if not record.uses_shrinkage:
        del whole["shrinkage"]
    whole = json.loads(json.dumps(whole))  # tuples as lists
    return {**whole, "numerics": numerics(whole)}


def _checked_start(settings: Settings, word: str) -> str:
    """The checksum of the network that training begins with.

    Raises UserError for what is no trained network, and for one of another shrinkage, size or tying. Its leaves are
    compared when the training begins.
    """
    try:
        found = models.find(word, models.places())
        stored = settings_of(found.config, found.source)
    except UserError as error:
        raise UserError(
            f"network.start must be a trained network (a folder, a file, a released name): {error}"
        ) from error
    for key, theirs, ours in (
        ("shrinkage", stored.shrinkage.family, settings.shrinkage.family),
        ("network.tied", stored.network.tied, settings.network.tied),
        *zip(settings.problem.sizes, stored.problem.shape, settings.problem.shape, strict=True),
    ):
        if theirs != ours and None not in (theirs, ours):
            raise UserError(
                f"network.start={word}: {key} must be {cell(ours)}, as in the network to train, got {cell(theirs)}"
            )
    return models.digest(found)


def _signal(part: Json) -> Json:
    """A signal in an identity; one from a file counts by its content."""
    content = part.pop("content", None)
    if "file" in part:
        part["file"] = content or checksum(Path(part["file"]), "signal.file")
    return _used(part)


def _used(part: Json) -> Json:
    """A part of an identity without the keys that are not used, at any level."""
    return {
        key: _used(value) if isinstance(value, dict) else value
        for key, value in part.items()
        if value is not None and value != OLDER_MEANING.get(key)
    }


def numerics(identity: Json) -> int:
    """Version of the numerics that a curve of this identity is made with now.

    That of its network or, for one that is trained on hard samples, the version of such samples of its problem.
    """
    version = _version(NetworkKind, identity.get("network"), "numerics")
    training = identity.get("training") or {}
    schedules = [training.get(name) or {} for name in ("descent", "tied_descent")]
    emphases = [schedule.get("emphasis") for schedule in schedules if isinstance(schedule, Mapping)]
    if any(isinstance(emphasis, Sequence) and set(emphasis) != {1} for emphasis in emphases):
        version = max(version, _version(ProblemKind, identity.get("problem"), "numerics_of_hard"))
    return version


def _version(group: type[Kind], part: object, attribute: str) -> int:
    """A version out of the record of a part's kind; that of all networks for a kind that nobody offers any more."""
    try:
        return getattr(find(group, str(part["kind"] if isinstance(part, Mapping) else part)), attribute)
    except (KeyError, ValueError):
        return NUMERICS


def tied_twin(settings: Settings) -> Settings | None:
    """The tied network that an untied one is bootstrapped from (Algorithm 3), if its training asks for one."""
    network, training = settings.network, settings.training
    if network.tied is not False or not network.record.twin or not training.trains or getattr(training, "joint", False):
        return None
    if network.start is not None:  # it begins with more than a tied network has
        return None
    if (tied_descent := getattr(training, "tied_descent", None)) is not None:
        training = replace(training, descent=tied_descent, tied_descent=None)  # type: ignore[call-arg]
    return replace(settings, network=replace(network, tied=True), training=training)  # type: ignore[call-arg]
