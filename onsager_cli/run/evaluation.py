"""Trained networks under conditions that a command names, beside references that are told the truth there."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from onsager_cli.config.elsewhere import Condition
from onsager_cli.config.experiment import Curve
from onsager_cli.config.load import load_experiment
from onsager_cli.errors import UserError
from onsager_cli.figures.elsewhere import Method, judged, own_matrix
from onsager_cli.figures.mismatch import place_of
from onsager_cli.kinds.settings import Settings
from onsager_cli.run.figure import problems
from onsager_cli.store.tables import Row

if TYPE_CHECKING:
    import numpy as np

    from onsager_cli.figures.kinds import ProblemOf

ITERATIONS = 20  # of the references
# Words that make a reference: of signals by the paper's law, of other signals, of other problems.
VAMP = {
    "plain": ("network=vamp", "shrinkage=bg", "shrinkage.theta=auto"),
    "signal": ("network=vamp", "shrinkage=matched"),
}
EM_VAMP, ORACLE = ("network=em_vamp",), ("network=oracle",)

Report = Callable[[Mapping[str, object]], None]


def evaluated(method: Method, asked: Sequence[Condition], references: bool, report: Report) -> list[Row]:
    """A row for each condition and method: the NMSE in both meanings (dB), with standard errors.

    `references` adds matched VAMP and EM-VAMP with ITERATIONS iterations, and the oracle. Raises UserError for samples
    that the network has no shape for, and where it has learned the matrix of another A than a condition names.
    """
    problem_of, A = problems(), own_matrix(method.problem)
    found: list[Row] = []
    for number, condition in enumerate(asked, 1):
        _check_shape(method, condition)
        rows = [_row(method, condition, judged(method, condition, problem_of, A))]
        if references:
            rows += [
                _row(one, condition, judged(one, condition, problem_of, A))
                for one in _references(condition, method, problem_of, A)
            ]
        found += rows
        report({"event": "evaluated", "condition": condition.label, "index": number, "of": len(asked), "rows": rows})
    return found


def _check_shape(method: Method, condition: Condition) -> None:
    """Raises UserError for samples of another size than the network has."""
    trained, there = method.settings.problem.shape, condition.settings.problem.shape
    if trained != there:
        raise UserError(
            f"{condition.label}: y has {there[0]} and x {there[1]} numbers, the network {method.name} has {trained[0]} and "
            f"{trained[1]}"
        )


def _references(
    condition: Condition, method: Method, problem_of: "ProblemOf", A: "np.ndarray | None"
) -> Iterator[Method]:
    """The untrained methods that apply under a condition, each told the truth there."""
    from onsager_cli.theory.damping import settled
    from onsager_cli.training.curve import how_to_iterate
    from onsager_cli.training.networks_on_disk import network_of

    problem = condition.settings.problem
    words = []
    if problem.takes_signal:
        words.append(VAMP["plain" if problem.signal is None else "signal"])
    words += [EM_VAMP, ORACLE]
    for one in words:
        (curve,) = load_experiment([*one, *_depth(one)]).curves
        settings: Settings = dataclasses.replace(
            curve.settings, problem=problem, seed=condition.settings.seed, precision=method.settings.precision
        )
        given = A if condition.same_matrix and hasattr(problem, "ensemble") else None
        here = problem_of(Curve(curve.slug, settings), given)
        name = "matched_vamp" if one in VAMP.values() else curve.slug
        if settings.network.record.bound:
            if problem.training_samples:
                continue  # recorded x need not be sparse
            yield Method(name, settings, here, 1)
            continue
        try:
            net = settled(network_of(settings), here, ITERATIONS, **how_to_iterate(settings))
        except UserError:  # a problem that this algorithm does not take
            continue
        yield Method(name, settings, here, ITERATIONS, net)


def _depth(words: tuple[str, ...]) -> tuple[str, ...]:
    return () if words == ORACLE else (f"network.depth={ITERATIONS}",)


def _row(method: Method, condition: Condition, found: Row) -> Row:
    """A row of the table of an evaluation."""
    network, trained = method.settings.network, method.params is not None
    values = {key: value for key, _, value in (word.partition("=") for word in condition.words)}
    about = {
        "curve": method.name,
        "network": network.name,
        "shrinkage": method.settings.shrinkage.family if network.record.uses_shrinkage else "",
        "tied": network.tied if trained else None,
        "layer": None if network.record.bound else method.depth,
        "embedding": method.settings.problem.embedding or "",
    }
    return {**about, **values, **place_of("", condition), **found}
