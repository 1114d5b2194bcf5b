"""Report how far a trained network is from what is attainable on its problem, and what may close the gap.

onsager finds what is attainable once per problem, and keeps a note in the output folder. Where one prior and one noise
variance hold for all coefficients and samples, `theory.attainable` finds it. For recorded pairs, the 5G problems,
samples that differ in noise and the real embedding, it is the best of the untrained networks that apply there.
"""

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from onsager_cli.config.experiment import Curve
from onsager_cli.errors import UserError
from onsager_cli.kinds.records import ShrinkageKind
from onsager_cli.kinds.registry import find
from onsager_cli.kinds.settings import Settings, make_network
from onsager_cli.kinds.shrinkages import AUTO, ShrinkageSettings, begun
from onsager_cli.run.problem import seen_by
from onsager_cli.store.problem_notes import ProblemNote
from onsager_cli.store.tables import Point

if TYPE_CHECKING:
    from onsager_cli.problems import Problem
    from onsager_cli.theory.attainable import Attainable
    from onsager_cli.theory.matched_vamp import Prior
    from onsager_cli.training.curve import Maker

EDITION = 2  # raise it with every change to what is found
ITERATIONS = 30  # of untrained networks
FAR_DB = 1.0  # from what is attainable, above which there is advice
UNEVEN = 2.0  # largest column norm over the smallest, above which the advice names it
ABOVE_DB = 0.5  # an untrained algorithm of the same depth, above which there is a warning


def signal_of(curve: Curve) -> "Prior | None":
    """The prior of x in a curve's problem, in NumPy; None if it is unknown."""
    from onsager_cli.problems import signals

    problem = curve.settings.problem
    known = problem.takes_signal and problem.embedding != "real"
    return signals.of(problem, curve.settings.seed) if known else None


def attainable_db(curve: Curve) -> float | None:
    """The NMSE (dB) that is attainable on the problem of a curve, if that is known."""
    note = (_note_of(curve).read() or {}) if curve.attainable else {}
    level = note.get("nmse_db")
    return float(level) if isinstance(level, int | float) else None


def is_missing(curve: Curve) -> bool:
    """Whether a curve is to be compared with what is attainable, and nobody has found that yet."""
    return curve.attainable and curve.settings.trained and _note_of(curve).read() is None


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
            untrained_end = f"{level:.1f} dB of {name} after {depth} iterations, which needs no training"
            message = f"ends at {end:.1f} dB, above the {untrained_end}"
            events.append({"event": "warning", "message": message})
    return events


def _advice(curve: Curve, end: float, found: "Attainable", problem: "Problem") -> list[str]:
    """What a network that ends far from what is attainable may lack, as overrides where there are such."""
    from onsager_cli.problems.frame import column_scales

    network, shrinkage, advice = curve.settings.network, curve.settings.shrinkage, []
    untrained = None if network.depth is None else found.untrained(network.depth)
    if untrained is not None and untrained[1] > found.nmse_db + FAR_DB:
        advice.append("more layers (network.depth)")
        if end <= untrained[1] + ABOVE_DB:  # as good as so few layers can be
            return advice
    if network.record.evolution == "amp" and shrinkage.family == curve.settings.problem.matched_shrinkage:
        advice.append("shrinkage=pwlin")
    if network.record.evolution != "vamp":
        advice.append("network=lvamp")
    c = column_scales(np.asarray(problem.A))
    if (ratio := np.max(c) / max(np.min(c), 1e-9)) > UNEVEN:
        advice.append(f"problem.balance=on (the norms differ by a factor of {ratio:.1f})")
    if network.tied and network.record.twin:
        advice.append("network.tied=false")
    return [*advice, "training=thorough"]


def _found(curve: Curve, problem: "Problem") -> "Attainable | None":
    """What is attainable on the problem of a curve, from its note if there is one; None if every method fails."""
    from onsager_cli.theory.attainable import Attainable, attainable

    signal = signal_of(curve)

    def make() -> dict[str, object]:
        if signal is None or problem.noise is not None:  # noise of each sample
            found = by_networks(curve, problem)
            return {} if found is None else found.as_json()
        true = (problem.original or problem).behind
        selection = np.asarray(true.selection.x), np.asarray(true.selection.y)
        reported = None if true.reported is None else np.asarray(true.reported)
        x, y = (np.asarray(a) for a in true.test)
        found = attainable(np.asarray(true.A), signal, float(true.noise_variance), x, y, selection, reported)
        return {} if found is None else found.as_json()

    note = _note_of(curve).made(lambda: json.loads(json.dumps(make())))
    return Attainable(**note) if note else None


def by_networks(curve: Curve, problem: "Problem") -> "Attainable | None":
    """The better of EM-VAMP and, where the prior is known, VAMP that is told it; None if both overflow."""
    from onsager_cli.metrics import nmse, to_db
    from onsager_cli.theory.attainable import REPORTING, Attainable
    from onsager_cli.training.growth import with_test

    started = time.monotonic()
    true = problem.original or problem
    M, N = true.A.shape
    size, together = int(np.clip(REPORTING / (N * M), 200, 2000)), curve.settings.problem.together
    x, y = (a[:, : max(size - size % together, together)] for a in true.test)
    if not np.any(np.asarray(true.squared_norm(x))):
        return None
    true = with_test(true, type(true.test)(x, y))
    statistics: dict[str, tuple[float, float]] = {}
    levels: dict[str, list[float]] = {}
    for name, settings in _untrained(curve).items():
        try:
            errors, powers = _iterated(settings, true)
        except UserError:  # it overflows
            continue
        if np.isfinite(errors).all():
            levels[name] = [float(to_db(each.sum() / powers.sum())) for each in errors]
            statistics[name] = levels[name][-1], nmse(errors[-1], powers, together)["nmse_db_se"] or 0.0
    if not statistics:
        return None
    method = min(statistics, key=lambda name: statistics[name][0])
    level, error = statistics[method]
    found = {name: statistic[0] for name, statistic in statistics.items()}
    return Attainable(level, error, method, x.shape[1], found, levels, None, None, time.monotonic() - started)


def _untrained(curve: Curve) -> dict[str, Settings]:
    """The settings of EM-VAMP and, where the prior is known, of VAMP that is told it."""
    general = {"depth": ITERATIONS, "theta_per": "group", "damping": "auto"}
    em = {**general, "kind": "em_vamp", "name": "em_vamp", "noise_start": "energy"}
    found = {"EM-VAMP": _with(curve, em, ShrinkageSettings("bg", (1.0, 0.0)))}
    problem = curve.settings.problem
    if problem.takes_signal and problem.embedding != "real":
        vamp = {
            **general,
            "kind": "lvamp",
            "name": "vamp",
            "tied": True,
            "init": "svd",
            "noise_start": "known",
            "learn": [],
        }
        found["VAMP"] = _with(curve, vamp, begun(find(ShrinkageKind, "matched"), AUTO, problem))
    return found


def _with(curve: Curve, network: dict[str, object], shrinkage: ShrinkageSettings) -> Settings:
    return replace(curve.settings, network=make_network(network), shrinkage=shrinkage)


def _iterated(settings: Settings, problem: "Problem") -> tuple[np.ndarray, np.ndarray]:
    """‖x̂_t - x‖² (iterations, L) and ‖x‖² (L,) of an untrained network on the test set of a problem in the user's units."""
    from onsager_cli.theory import damping, iterate
    from onsager_cli.training.curve import how_to_iterate
    from onsager_cli.training.networks_on_disk import network_of

    seen, how = seen_by(settings, problem), how_to_iterate(settings)
    net = damping.settled(network_of(settings), seen, ITERATIONS, settings.precision, **how)
    return iterate.run(net, seen, ITERATIONS, settings.precision, **how)


def _note_of(curve: Curve) -> ProblemNote:
    about = {"problem": curve.identity["problem"], "seed": curve.settings.seed, "edition": EDITION}
    return ProblemNote(curve.output, curve.settings.problem.name, about)
