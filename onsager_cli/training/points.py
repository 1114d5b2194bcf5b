"""Rows of a curve's table: what the test set says of one estimate, with what the estimate is of."""

import numpy as np

from onsager_cli.kinds.settings import Settings
from onsager_cli.metrics import nmse
from onsager_cli.store.tables import Point, Row, Value


def row_of(
    slug: str, settings: Settings, layer: int | None, errors: np.ndarray, powers: np.ndarray, **more: Value
) -> Row:
    """The row of a point: NMSE (dB) from ‖x̂ - x‖² and ‖x‖² per test sample, (L,) each, linear, and the columns `more`.

    Raises ValueError if every sample is zero.
    """
    network, problem = settings.network, settings.problem
    statistics: Row = dict(nmse(errors, powers, problem.together))
    statistics["zero_samples"] = statistics["zero_samples"] or None
    if problem.balancing is not None or problem.noise_varies:
        more = {"told": told(settings), **more}
    named = network.depth is not None
    return {
        "curve": slug, "network": network.name, "shrinkage": settings.shrinkage.family if named else None,
        "tied": network.tied if named and settings.training.trains else None, "layer": layer, **statistics,
        "problem": problem.name, "instance": problem.instance, "seed": settings.seed, "test_samples": len(powers),
        "embedding": problem.embedding, **more,
    }  # fmt: skip


def told(settings: Settings) -> str:
    """What a network is given besides y, in words: "A, prior, noise"."""
    network, record, problem = settings.network, settings.network.record, settings.problem
    if record.bound:
        return "A, support, noise" if record.told else "A, power, noise"
    found = ["A" if problem.known_operator else "A estimated"]
    if settings.training.trains:
        found.append("training samples")
    elif record.uses_shrinkage and settings.shrinkage.family == problem.matched_shrinkage:
        found.append("prior")
    if record.evolution == "vamp" or record.fit:
        known = "noise" if not settings.training.trains and network.noise_start == "known" else ""
        found.append("noise of each sample estimated" if problem.noise_varies else known)
    return ", ".join(filter(None, found))


def event_of(row: Point) -> Row:
    """The event that reports a point."""
    return {"event": "point", **{key: row[key] for key in ("layer", "nmse_db", "nmse_db_se", "steps", "seconds")}}
