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
    named = network.depth is not None
    return {
        "curve": slug, "network": network.name, "shrinkage": settings.shrinkage.family if named else None,
        "tied": network.tied if named and settings.training.trains else None, "layer": layer, **statistics,
        "problem": problem.name, "instance": problem.instance, "seed": settings.seed, "test_samples": len(powers),
        "embedding": problem.embedding, **more,
    }  # fmt: skip


def event_of(row: Point) -> Row:
    """The event that reports a point."""
    return {"event": "point", **{key: row[key] for key in ("layer", "nmse_db", "nmse_db_se", "steps", "seconds")}}
