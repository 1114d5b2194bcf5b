"""Settings of shrinkage (`shrinkage.*`): the family and the start of θ, and θ that is left to the problem. No JAX."""

import math
from dataclasses import dataclass
from typing import Any

from onsager_cli.errors import UserError
from onsager_cli.kinds.checks import finite_tuple
from onsager_cli.kinds.problems import ProblemSettings
from onsager_cli.kinds.records import ShrinkageKind
from onsager_cli.kinds.registry import find

AUTO, MINIMAX = "auto", "minimax"  # words that stand for θ
LARGEST = 1e18  # what float32 can square
MINIMAX_OF_PAPER = 1.1402  # for γ = 0.1: 1.140171 rounded as in the paper
GAMMA = 0.1  # of the paper's problem, for which the records have their `start`


@dataclass(frozen=True)
class ShrinkageSettings:
    """The family of η and the start values of θ, in the paper's order: one row, or one per group of coordinates.

    θ is a word, "auto" or "minimax", where finding it for the signal of the problem takes arrays.
    """

    family: str
    theta: Any  # a tuple of numbers, or of a row per group; or a word

    @property
    def record(self) -> ShrinkageKind:
        """The record of the family."""
        return find(ShrinkageKind, self.family)

    @property
    def by_group(self) -> bool:
        """Whether θ has rows, one for each group of coordinates."""
        return isinstance(self.theta[0], tuple)

    @property
    def rows(self) -> tuple[tuple[float, ...], ...]:
        """The rows of θ, of which there may be one; none where θ is a word."""
        if isinstance(self.theta, str):
            return ()
        return self.theta if self.by_group else (self.theta,)

    @property
    def lower(self) -> tuple[float, ...]:
        """The lowest value of each parameter in a row, when it learns."""
        return lower(self.record, len(self.rows[0])) if self.rows else ()

    @property
    def parameters(self) -> int:
        """Parameters of θ in a row; of those that are repeated as few as there may be where θ is a word."""
        kind = self.record
        return len(self.rows[0]) if self.rows else len(kind.parameters) + kind.counts[0] * len(kind.repeated)


def lower(kind: ShrinkageKind, size: int) -> tuple[float, ...]:
    """The lowest value of each of `size` parameters, when it learns."""
    if not kind.repeated:
        return kind.lower
    return kind.lower + kind.repeated_lower * ((size - len(kind.lower)) // len(kind.repeated))


def in_unit(kind: ShrinkageKind, theta: tuple[float, ...], u: float) -> tuple[float, ...]:
    """θ of η for signals u x, from that for signals x."""
    head, each = len(kind.parameters), len(kind.repeated)
    count = (len(theta) - head) // each if each else 0
    powers = (kind.units or (0.0,) * head) + (kind.repeated_units or (0.0,) * each) * count
    shifts = (0.0,) * head + (kind.repeated_shifts or (0.0,) * each) * count
    return tuple(
        value * u**power + shift * math.log(u) for value, power, shift in zip(theta, powers, shifts, strict=True)
    )


def row(raw: object, kind: ShrinkageKind) -> tuple[float, ...]:
    """One row of θ. Raises ValueError for a wrong number of parameters and for values out of range."""
    head, each = len(kind.parameters), len(kind.repeated)
    theta = finite_tuple(raw, None if each else head)
    if each and (len(theta) - head) / each not in range(kind.counts[0], kind.counts[1] + 1):
        few, most = kind.counts
        raise ValueError(
            f"must be auto, or {head} number and then {each} for each of {few} to {most} components, for {kind.name}"
        )
    for position, (value, low) in enumerate(zip(theta, lower(kind, len(theta)), strict=True), 1):
        if abs(value) > LARGEST:
            raise ValueError(f"must be at most {LARGEST:g} at position {position}, so that float32 can hold its square")
        if value < 0 <= low or value == 0 < low:
            limit = "greater than 0" if low else "at least 0"
            raise ValueError(f"must be {limit} at position {position} for {kind.name}")
    if kind.ordered and theta[0] > theta[1]:
        raise ValueError(f"must start with two knees in rising order for {kind.name}")
    return theta


def begun(kind: ShrinkageKind, word: str, problem: ProblemSettings, lasso: bool = False) -> ShrinkageSettings:
    """The settings where θ is left to the problem: numbers as far as no arrays are needed, else the word.

    θ is the `start` of the record for the paper's signal, and for problems that do not tell their signal. A `lasso` has
    no scale, so its start is the minimax threshold for other signals. Raises UserError for a family that needs another
    signal.
    """
    if kind.of_signal:
        return _of_signal(kind, problem)
    if not kind.start:
        if problem.takes_signal:
            return ShrinkageSettings(kind.name, word)
        raise UserError(f"shrinkage.theta must be a list of numbers for problem.kind={problem.kind}, got 'auto'")
    paper = problem.signal is None and getattr(problem, "gamma", None) == GAMMA
    if not problem.takes_signal or paper or kind.begins == "start":
        return ShrinkageSettings(kind.name, (1.0, MINIMAX_OF_PAPER) if word == MINIMAX else kind.start)
    prior = problem.matched_theta if problem.matched_shrinkage == "bg" else None
    gamma = getattr(problem, "gamma", None)
    if word == MINIMAX or lasso:
        known = None if gamma is None or gamma == 1 else (1.0, minimax(gamma))
        return ShrinkageSettings(kind.name, known or MINIMAX)
    if kind.begins == "prior" and prior is not None:
        return ShrinkageSettings(kind.name, prior)
    return ShrinkageSettings(kind.name, word)


def _of_signal(kind: ShrinkageKind, problem: ProblemSettings) -> ShrinkageSettings:
    """The settings of a family that is made from the signal of the problem."""
    general = kind.begins == "start"  # the posterior mean of any signal
    if general and not problem.takes_signal:
        return begun(find(ShrinkageKind, "bg"), AUTO, problem)
    if general and problem.matched_shrinkage != "matched":
        return ShrinkageSettings(str(problem.matched_shrinkage), problem.matched_theta or ())
    if general:
        return ShrinkageSettings(kind.name, kind.start)
    if problem.matched_shrinkage != kind.name:
        raise UserError(f"shrinkage={kind.name} is only for signal={kind.name}: add signal={kind.name}")
    return ShrinkageSettings(kind.name, problem.matched_theta or ())


def minimax(gamma: float) -> float:
    """The threshold α, in units of σ, whose worst case over all signals with activity γ is best for AMP.

    It solves γ α = 2 (1 - γ) (φ(α) - α Q(α)), with the density φ and the tail Q of N(0, 1): the minimum of
    γ (1 + α²) + 2 (1 - γ) ((1 + α²) Q(α) - α φ(α)).  Donoho, Maleki and Montanari (2009).

    Example:
        >>> round(minimax(0.1), 4)
        1.1402
    """

    def excess(alpha: float) -> float:
        density, tail = math.exp(-(alpha**2) / 2) / math.sqrt(2 * math.pi), math.erfc(alpha / math.sqrt(2)) / 2
        return gamma * alpha - 2 * (1 - gamma) * (density - alpha * tail)

    low, high = 0.0, 40.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) < 0 else (low, middle)
    return round(high, 6)
