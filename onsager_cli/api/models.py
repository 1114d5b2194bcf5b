"""Find a trained network by one word, or by the overrides that trained it."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onsager_cli.api.checks import in_float32, place, texts
from onsager_cli.api.inputs import curve_of
from onsager_cli.api.trained import Trained
from onsager_cli.config.experiment import Curve
from onsager_cli.config.stored import settings_of
from onsager_cli.errors import UserError
from onsager_cli.store import models
from onsager_cli.store.models import StoredModel
from onsager_cli.text import show

if TYPE_CHECKING:
    from onsager_cli.kinds.problems import ProblemSettings
    from onsager_cli.problems import Problem

SAME = 1e-3  # of A's row: other versions of libraries round differently, another draw differs by 1


@in_float32
def model(*words: str, depth: int | None = None, folder: str | Path | None = None) -> Trained:
    """The trained network of a command line, ready for use: arguments and errors of `load`.

    What the network sees comes with it where that is stored, so that nothing is drawn.
    """
    asked = texts(words, "a word", "'fig10/lamp_tied_bg'")
    if not any(asked):
        raise UserError(
            "no network is named: write its folder, its file, a released name, or the overrides that trained it"
        )
    if is_overrides(asked):
        return _of_overrides(asked, depth)
    if len(asked) > 1:
        raise UserError(f"one network at a time, got {show(asked[0])} and {show(asked[1])}")
    return made_of(models.find(asked[0], models.places(None if folder is None else place(folder, "folder")), depth))


def is_overrides(words: Sequence[str]) -> bool:
    """Whether words are overrides, not the one word that names a network."""
    return any("=" in word or word.startswith("+") for word in words)


def made_of(found: StoredModel, problem_settings: "ProblemSettings | None" = None) -> Trained:
    """The network of files, with its problem: what they keep of it, else what the config draws again.

    `problem_settings` replaces those of the training: its files may be at another place now.
    """
    from onsager_cli.training.networks_on_disk import network_of, seen_problem, unflatten

    settings = settings_of(found.config, found.source)
    if problem_settings is not None:
        settings = dataclasses.replace(settings, problem=problem_settings)
    curve = Curve(found.curve, settings)
    problem = seen_problem(found.problem) or _drawn(curve, found)
    net = network_of(settings, found.parameters)
    _check(found, net.layered, found.depth)
    params = unflatten(net, found.parameters)
    power = found.problem.get(models.Y_POWER)
    return Trained(
        settings, net, params, problem, found.depth, list(found.points), found.curve, lambda: _problem(curve),
        None if power is None else float(power),
    )  # fmt: skip


def _check(found: StoredModel, layered: frozenset[str], depth: int) -> None:
    """Raises UserError for a file that lacks a leaf of a layer."""
    for name in sorted(layered):
        for t in range(depth):
            if f"layers.{t}.{name}" not in found.parameters:
                raise UserError(f"{found.source}: array layers.{t}.{name} is missing")


def _of_overrides(words: Sequence[str], depth: int | None) -> Trained:
    """The stored network of one curve, named by the overrides of its training."""
    curve = curve_of(words)
    if not curve.settings.trained:
        raise UserError(f"{curve.slug} is not a trained network: `onsager recover` estimates without training")
    wanted = depth or curve.settings.depth
    if not curve.folder.exists:
        raise UserError(f"{curve.slug}: no network is stored in {curve.output}: run onsager train")
    found = dataclasses.replace(models.find(str(curve.folder.path), (), wanted), curve=curve.slug)
    return made_of(found, curve.settings.problem)


def _problem(curve: Curve) -> "Problem":
    from onsager_cli.run import problem_of

    return problem_of(curve)


def _drawn(curve: Curve, found: StoredModel) -> "Problem":
    """The problem as the config draws it again. Raises UserError where that is another A than the network's."""
    problem = _problem(curve)
    row = found.problem.get(models.ROW)
    if row is not None and not np.allclose(np.asarray(problem.A[0]), row, atol=SAME * np.abs(row).max()):
        raise UserError(
            f"{found.source}: this version of JAX or NumPy draws another A than that of the training: use the folder of the "
            "curve, which stores A, or the versions of the training"
        )
    return problem
