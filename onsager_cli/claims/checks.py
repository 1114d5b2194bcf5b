"""Checks: a measure, its limits, and how sure it is that the measured numbers are within them."""

import contextlib
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from onsager_cli.claims.measures import Data, Limits, Measure, Range
from onsager_cli.claims.recorded import NotRecordedError, Place, Realization
from onsager_cli.store.tables import REPLICATES

SURE = 2.0  # standard errors from a limit, from which on a number is decided
ENOUGH = 3  # matrices that may decide what the first one leaves open
STUDENT = {
    3: 4.303,
    4: 3.182,
    5: 2.776,
    6: 2.571,
    7: 2.447,
    8: 2.365,
}  # two-sided 95 % of the t distribution, by matrices
HOLDS, FAILS, UNDECIDED = "holds", "fails", "undecided"


@dataclass(frozen=True)
class Outcome:
    """A check that was run: the number that decides, where it is, and how far it is inside the limits.

    `error` is the standard error of the margin, over the test samples, or over `matrices` where more than one decide.
    """

    value: Range
    at: Place
    margin: float
    holds: bool
    unit: str
    error: float = 0.0
    matrices: int = 1

    @property
    def score(self) -> float:
        """The margin in standard errors: infinite where nothing is uncertain, 0 where the error is infinite."""
        if self.error > 0:
            return self.margin / self.error if math.isfinite(self.margin) and math.isfinite(self.error) else 0.0
        return math.inf if self.holds else -math.inf

    @property
    def word(self) -> str:
        """`holds` or `fails` where the margin is SURE standard errors, else `undecided`."""
        return UNDECIDED if abs(self.score) < SURE else HOLDS if self.holds else FAILS


@dataclass(frozen=True)
class Check:
    """A measure and its limits; `source` is the mapping that it was made from."""

    measure: Measure
    limits: Limits
    source: Mapping[str, object]

    def run(self, data: Data, matrices: Sequence[Realization] = ()) -> Outcome:
        """Measure, and compare with the limits; the number with the lowest score decides.

        What is undecided on the test samples is decided by the mean over `matrices`, if there are ENOUGH. Raises
        NotRecordedError if a number is not recorded, UserError for an unknown curve or column.
        """
        found = self._outcomes(data)
        if len(matrices) >= ENOUGH and any(outcome.word == UNDECIDED for outcome in found.values()):
            all_found = []
            for matrix in matrices:
                with contextlib.suppress(NotRecordedError):
                    all_found.append(self._outcomes(replace(data, realization=matrix)))
            for place, outcome in found.items():
                there = [of[place] for of in all_found if place in of]
                if outcome.word == UNDECIDED and len(there) >= ENOUGH:
                    found[place] = self._pooled(there)
        return min(found.values(), key=lambda outcome: (outcome.score, outcome.margin))

    def _outcomes(self, data: Data) -> dict[Place, Outcome]:
        """What is measured at each place, with the standard error of its margin over replicates of the test samples."""
        series, moved = self.measure.series(data), []
        for number in range(REPLICATES):
            with contextlib.suppress(NotRecordedError):  # a condition that no layer fulfils there
                moved.append(self.measure.series(replace(data, replicate=number)))
        found = {}
        for place, value in series.items():
            margins = [self.limits.margin(of[place]) for of in moved if place in of]
            margin = self.limits.margin(value)
            found[place] = Outcome(
                value, place, margin, self.limits.hold(value), self.measure.unit, _deviation(margin, margins)
            )
        return found

    def _pooled(self, outcomes: Sequence[Outcome]) -> Outcome:
        """The mean over matrices, with a standard error that makes SURE of them Student's limit of 95 % for so few.

        The error of the mean is at least that of the test samples, and infinite where a matrix has no finite number.
        """
        count, first = len(outcomes), outcomes[0]
        value = Range(*(statistics.fmean(of.value[end] for of in outcomes) for end in (0, 1)))
        margin = self.limits.margin(value)
        numbers = [[of.value[end] for of in outcomes] for end in (0, 1)]
        if not all(math.isfinite(number) for ends in numbers for number in ends):
            return replace(first, error=math.inf, matrices=count)
        of_samples = math.sqrt(statistics.fmean(of.error**2 for of in outcomes))
        error = max(*map(statistics.stdev, numbers), of_samples) / math.sqrt(count)
        error *= STUDENT.get(count, SURE) / SURE
        return replace(first, value=value, margin=margin, holds=self.limits.hold(value), error=error, matrices=count)


def _deviation(margin: float, margins: Sequence[float]) -> float:
    """How far replicates are from a margin, root mean square; infinite where some of them are infinite, but not all."""
    finite = [of for of in margins if math.isfinite(of)]
    if not math.isfinite(margin):
        return math.inf if finite else 0.0
    if len(finite) < len(margins):
        return math.inf
    return math.sqrt(statistics.fmean((of - margin) ** 2 for of in finite)) if finite else 0.0
