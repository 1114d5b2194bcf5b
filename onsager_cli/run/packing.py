"""The trained networks of an experiment as files that stand alone (`store.models`), for release."""

import dataclasses
import hashlib
from collections.abc import Mapping

import numpy as np

from onsager_cli.config.experiment import Curve, Experiment
from onsager_cli.errors import UserError
from onsager_cli.kinds.problems import GIVEN
from onsager_cli.store import models
from onsager_cli.store.arrays import pack
from onsager_cli.store.models import PROBLEM, ROW, Y_POWER, StoredModel
from onsager_cli.store.notes import plain

SUMS = "SHA256SUMS"
LEFT_OUT = ("seconds",)  # of points: they differ from run to run
VERSIONS = ("onsager", "jax", "numpy", "device")  # of the note of how a curve was made


def packed(experiment: Experiment) -> dict[str, bytes]:
    """Curve → the bytes of its packed network, for every network of the experiment that learns.

    Raises UserError for curves on several matrices, for a network that is not stored whole, and where none learns.
    """
    if len(experiment.curves) > len(experiment.first_curves):
        raise UserError("pack takes the networks of one matrix: give seed=… instead of seeds=[…]")
    curves = [curve for curve in experiment.curves if curve.settings.trained]
    if not curves:
        raise UserError(f"{experiment.name} has no trained network: there is nothing to pack")
    return {curve.slug: _packed(experiment.name, curve) for curve in curves}


def with_sums(experiment: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files by their names in a tar, with the list of their checksums."""
    members = {f"{experiment}/{name}.npz": data for name, data in files.items()}
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(members.items())]
    return {**members, f"{experiment}/{SUMS}": "".join(lines).encode()}


def _packed(experiment: str, curve: Curve) -> bytes:
    """The bytes of one packed network; the same network gives the same bytes."""
    if not curve.folder.exists:
        raise UserError(f"{curve.slug}: no network is stored in {curve.output}: run onsager train")
    found = models.find(str(curve.folder.path), (), curve.settings.depth)
    settings = dataclasses.replace(
        curve.settings, network=dataclasses.replace(curve.settings.network, depth=found.depth)
    )  # type: ignore[call-arg]
    made = curve.folder.read_json("made") or {}
    points = [{key: value for key, value in row.items() if key not in LEFT_OUT} for row in found.points]
    meta = {
        "format": models.FORMAT, "experiment": experiment, "curve": curve.slug, "depth": found.depth,
        "config": plain(dataclasses.asdict(settings)),
        "points": [row for row in points if (row["layer"] or 0) <= found.depth],
        "versions": {name: made[name] for name in VERSIONS if name in made},
    }  # fmt: skip
    return pack({**found.parameters, **_problem(curve, found)}, meta)


def _problem(curve: Curve, found: StoredModel) -> dict[str, np.ndarray]:
    """What a packed network keeps of its problem: all of it, or the power of y and the first row of an A that is drawn."""
    problem = curve.settings.problem
    if problem.matrix or problem.file or getattr(problem, "ensemble", None) == GIVEN:
        return dict(found.problem)
    A = found.problem.get(f"{PROBLEM}A")
    row = {} if A is None else {ROW: A[0]}
    return row | {name: array for name, array in found.problem.items() if name == Y_POWER}
