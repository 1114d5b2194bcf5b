"""The start of a shrinkage function's parameters (`shrinkage.theta`): how many a family has, and their ranges."""

from dataclasses import dataclass
from typing import Any

from onsager_cli.errors import UserError
from onsager_cli.kinds.checks import finite_tuple, in_range
from onsager_cli.kinds.limits import POSITIVE
from onsager_cli.text import show

# Family → bounds (low, high; None: unbounded) of each start value of θ, in the paper's order. A strict bound at
# zero is written with the smallest float32 that is safe to divide by.
_TINY = 1e-30
FAMILIES: dict[str, tuple[tuple[float | None, float | None], ...]] = {
    "bg": ((_TINY, None), (None, None)),
    "pwlin": ((0, None), (0, None), (None, None), (None, None), (None, None)),
    "exp": ((_TINY, None), (None, None), (None, None)),
    "spline": ((_TINY, None), (None, None), (None, None)),
    "soft": ((None, None), (0, None)),
    "threshold": ((0, None),),
}


@dataclass(frozen=True)
class Shrinkage:
    """The family of η and the start values of θ, in the paper's order: one row, or one per group of coordinates."""

    family: str
    theta: tuple[Any, ...]  # numbers, or a row of them per group

    @property
    def label(self) -> str:
        """Its name in slugs: the scaled soft threshold is the paper's l1."""
        return "l1" if self.family == "soft" else self.family


def check_learnable(shrinkage: Shrinkage) -> None:
    """Raises UserError for a start that the first step of training would move to what it keeps values above."""
    rows = shrinkage.theta if isinstance(shrinkage.theta[0], tuple) else (shrinkage.theta,)
    for row in rows:
        for index, (value, (low, _)) in enumerate(zip(row, FAMILIES.get(shrinkage.family, ()), strict=False)):
            if low == _TINY and value < POSITIVE:
                raise UserError(
                    f"shrinkage.theta must be at least {POSITIVE} at position {index + 1} for {shrinkage.family} that learns, got "
                    f"{show(value)}: scale the signals up"
                )


def start_of_theta(raw: Any, family: str | None) -> tuple[Any, ...]:
    """One row of numbers, or a list of rows; of a family that is not built in (None), any numbers. Raises UserError."""
    nested = isinstance(raw, list) and bool(raw) and all(isinstance(row, list) for row in raw)
    try:
        rows = tuple(_row(row, family) for row in (raw if nested else [raw]))
    except ValueError as error:
        raise UserError(f"shrinkage.theta {error}, got {show(raw)}") from None
    return rows if nested else rows[0]


def _row(raw: object, family: str | None) -> tuple[float, ...]:
    if family is None:
        return finite_tuple(raw)
    theta = finite_tuple(raw, len(FAMILIES[family]))
    for index, (low, high) in enumerate(FAMILIES[family]):
        try:
            in_range(theta[index], low, high)
        except ValueError as error:
            allowed = "must be greater than 0" if low == _TINY else str(error)
            raise ValueError(f"{allowed} at position {index + 1} for {family}") from None
    if family == "pwlin" and theta[0] > theta[1]:
        raise ValueError("must start with two knots in rising order for pwlin")
    return theta
