"""Says how far a trained network is from what is attainable on its problem, and what may close the gap.

What is attainable is found once per problem, and kept as a note in the output folder. Problems whose prior has no file
of its own are left out.
"""

import json
from typing import TYPE_CHECKING

import numpy as np

from onsager_cli.config.experiment import Curve
from onsager_cli.store.problem_notes import ProblemNote
from onsager_cli.store.tables import Point

if TYPE_CHECKING:
    from onsager_cli.problems import Problem
    from onsager_cli.theory.attainable import Attainable
    from onsager_cli.theory.matched_vamp import Prior
    from onsager_cli.training.curve import Maker

EDITION = 1  # raised with every change of what is found
FAR_DB = 1.0  # from what is attainable, above which there is advice
UNEVEN = 2.0  # ratio of the norms of columns, from which on it is named
ABOVE_DB = 0.5  # an untrained algorithm of the same depth, above which there is a warning


def signal_of(curve: Curve) -> "Prior | None":
    """The prior of x in a curve's problem, in NumPy; None if nobody knows it."""
    from onsager_cli.problems import signals

    problem = curve.settings.problem
    known = problem.takes_signal and problem.embedding != "real"
    return signals.of(problem, curve.settings.seed) if known else None


def attainable_db(curve: Curve) -> float | None:
    """The NMSE (dB) that is attainable on the problem of a curve, if that is known."""
    note = (_note_of(curve).read() or {}) if curve.attainable else {}
    level = note.get("nmse_db")
    return float(level) if isinstance(level, int | float) else None


def judge(curve: Curve, maker: "Maker", problem: "Problem") -> None:
    """Report the gap of a trained curve to what is attainable, and warn if an untrained algorithm is better."""
    points = maker.folder.points()
    if not (curve.attainable and curve.settings.trained and points) or (found := _found(curve, problem)) is None:
        return
    last = max(points, key=lambda row: row["layer"] or 0)
    for event in compared(curve, last, found, problem):
        maker.report(event)


def compared(curve: Curve, last: Point, found: "Attainable", problem: "Problem") -> list[dict[str, object]]:
    """The events about a curve whose last point is `last`."""
    end = float(last["nmse_db"])
    gap = end - found.nmse_db
    where = f"{abs(gap):.1f} dB {'above' if gap >= 0 else 'below'} what is attainable"
    line = f"ends at {end:.1f} dB, {where} ({found.method}, {found.nmse_db:.1f} dB)"
    if gap > FAR_DB and (advice := _advice(curve, end, found, problem)):
        line += f"; what may help: {', '.join(advice)}"
    events: list[dict[str, object]] = [{"event": "attainable", "message": line, "attainable_db": found.nmse_db}]
    depth = last["layer"]
    if depth is not None and (untrained := found.untrained(depth)) is not None:
        name, level = untrained
        if end > level + ABOVE_DB + 2 * float(last.get("nmse_db_se") or 0):
            message = f"ends at {end:.1f} dB, above the {level:.1f} dB of {name} after {depth} iterations, which nobody trains"
            events.append({"event": "warning", "message": message})
    return events


def _advice(curve: Curve, end: float, found: "Attainable", problem: "Problem") -> list[str]:
    """What a network that ends far from what is attainable may lack, as overrides where there are such."""
    from onsager_cli.theory.matched_vamp import column_scales

    network, shrinkage, advice = curve.settings.network, curve.settings.shrinkage, []
    untrained = None if network.depth is None else found.untrained(network.depth)
    if untrained is not None and untrained[1] > found.nmse_db + FAR_DB:
        advice.append("more layers (network.depth)")
        if end <= untrained[1] + ABOVE_DB:  # as good as such few layers can be
            return advice
    if network.record.evolution == "amp" and shrinkage.family == curve.settings.problem.matched_shrinkage:
        advice.append("shrinkage=pwlin")
    if network.record.evolution != "vamp":
        advice.append("network=lvamp")
    c = column_scales(np.asarray(problem.A))
    if (ratio := np.max(c) / max(np.min(c), 1e-9)) > UNEVEN:
        wanted = "problem.balance=on" if hasattr(curve.settings.problem, "balance") else "columns of A of one norm"
        advice.append(f"{wanted} (the norms differ by a factor of {ratio:.1f})")
    if network.tied and network.record.twin:
        advice.append("network.tied=false")
    return [*advice, "training=thorough"]


def _found(curve: Curve, problem: "Problem") -> "Attainable | None":
    """What is attainable on the problem of a curve, from its note if there is one; None if nobody knows."""
    from onsager_cli.theory.attainable import Attainable, attainable

    if problem.noise is not None or (signal := signal_of(curve)) is None:  # samples of different noise
        return None

    def make() -> dict[str, object]:
        true = (problem.original or problem).behind
        selection = np.asarray(true.selection.x), np.asarray(true.selection.y)
        reported = None if true.reported is None else np.asarray(true.reported)
        x, y = (np.asarray(a) for a in true.test)
        found = attainable(np.asarray(true.A), signal, float(true.noise_variance), x, y, selection, reported)
        return {} if found is None else found.as_json()

    note = _note_of(curve).made(lambda: json.loads(json.dumps(make())))
    return Attainable(**note) if note else None


def _note_of(curve: Curve) -> ProblemNote:
    about = {"problem": curve.identity["problem"], "seed": curve.settings.seed, "edition": EDITION}
    return ProblemNote(curve.output, curve.settings.problem.name, about)
