"""Normalized mean squared error in its two stored meanings, with standard errors over the samples.

The literature uses meanings that lie up to 3 dB apart, so both travel together, always under these names:

    nmse_db             10 log10( Σ‖x̂_i - x_i‖² / Σ‖x_i‖² )        ratio of sums, primary
    nmse_mean_ratio_db  10 log10( mean_i ‖x̂_i - x_i‖² / ‖x_i‖² )   mean of ratios, over samples with x_i ≠ 0

Standard errors are those of the linear quantity, carried to dB by the derivative of 10 log10.
"""

from typing import TypedDict

import numpy as np

DB_PER_NEPER = 10 / np.log(10)


class Statistics(TypedDict):
    """What `nmse` returns: dB, but for the number of samples without a signal. A standard error may be unknown."""

    nmse_db: float
    nmse_db_se: float | None
    nmse_mean_ratio_db: float
    nmse_mean_ratio_db_se: float | None
    nmse_median_db: float
    zero_samples: int


def to_db(ratio: float | np.ndarray) -> np.ndarray:
    """10 log10 of a linear ratio; -inf at 0, and never a warning."""
    with np.errstate(divide="ignore"):
        return 10 * np.log10(np.asarray(ratio, np.float64))


def nmse(errors: np.ndarray, powers: np.ndarray, together: int = 1) -> Statistics:
    """NMSE of one estimate, from ‖x̂_i - x_i‖² and ‖x_i‖² per sample, both of shape (L,), linear.

    So many consecutive samples as `together` says depend on each other (the angles of one channel realization), and
    the standard errors are those over independent groups of them.

    Returns `nmse_db`, `nmse_db_se` (delta method for a ratio of means), `nmse_mean_ratio_db`,
    `nmse_mean_ratio_db_se`, `nmse_median_db` (of the per-sample ratios) and `zero_samples`, the number of samples
    with x = 0, which the last three leave out. A standard error is None where nobody knows it: with a single group, and
    where every error is zero. Raises ValueError if every sample is zero.
    """
    errors, powers = np.asarray(errors, np.float64), np.asarray(powers, np.float64)
    present = powers > 0
    if not present.any():
        raise ValueError("the NMSE is undefined if all samples are zero")
    ratio = errors.sum() / powers.sum()
    group = np.arange(len(errors)) // together
    ratios = errors[present] / powers[present]
    mean = ratios.mean()
    groups = len(np.unique(group[present]))
    with np.errstate(invalid="ignore", over="ignore"):  # of a network that diverged
        residual = np.bincount(group, errors - ratio * powers)
        ratio_se = np.sqrt(np.sum(residual**2)) / powers.sum()
        deviation = np.bincount(group[present], ratios - mean)
        mean_se = np.sqrt(np.sum(deviation**2) * groups / max(groups - 1, 1)) / len(ratios)
    return {
        "nmse_db": float(to_db(ratio)),
        "nmse_db_se": _in_db(ratio_se, ratio, len(residual)),
        "nmse_mean_ratio_db": float(to_db(mean)),
        "nmse_mean_ratio_db_se": _in_db(mean_se, mean, groups),
        "nmse_median_db": float(to_db(np.median(ratios))),
        "zero_samples": int(np.sum(~present)),
    }


def _in_db(error: float, value: float, groups: int) -> float | None:
    """The standard error of a linear value, over so many independent groups, in dB; None if it is unknown."""
    return float(DB_PER_NEPER * error / value) if groups > 1 and 0 < value < np.inf else None
