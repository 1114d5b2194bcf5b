"""Draw more test samples where a few of them carry the error, until its standard error is small."""

from collections.abc import Callable
from dataclasses import replace

import jax
import numpy as np

from onsager_cli.kinds.settings import Settings
from onsager_cli.metrics import nmse
from onsager_cli.problems.base import Problem, Samples
from onsager_cli.problems.linear import TEST_KEY, sample

ENOUGH_DB = 0.2  # standard error of the NMSE at which a test set is large enough
MOST = 100_000  # samples of a test set

Evaluate = Callable[[Samples], tuple[np.ndarray, np.ndarray]]
"""Test samples → ‖x̂_t - x‖² of every sample after every layer, (layers, L), and ‖x‖², (L,)."""


def on_enough_samples(settings: Settings, problem: Problem, evaluate: Evaluate) -> tuple[np.ndarray, np.ndarray]:
    """The errors (layers, L) and powers (L,) on the test set, and on further sets of its size where the problem `grows`.

    More sets are drawn until the standard error of the last layer's NMSE is ENOUGH_DB, or there are MOST samples.
    """
    errors, powers = evaluate(problem.test)
    if not settings.problem.grows:
        return errors, powers
    size, key = len(powers), jax.random.fold_in(jax.random.key(settings.seed), TEST_KEY)
    number = 1
    while (number + 1) * size <= MOST and not _is_enough(errors[-1], powers):
        more, their_powers = evaluate(sample(problem, jax.random.fold_in(key, number), size))
        errors = np.concatenate(_of_one_length(errors, more), axis=1)
        powers, number = np.concatenate([powers, their_powers]), number + 1
    return errors, powers


def with_test(problem: Problem, test: Samples) -> Problem:
    """The problem with another test set."""
    return replace(problem, test=test)


def _is_enough(errors: np.ndarray, powers: np.ndarray) -> bool:
    """Whether the standard error is small, or unknown since all errors are zero or not finite."""
    error = nmse(errors, powers)["nmse_db_se"]
    return error is None or not error > ENOUGH_DB


def _of_one_length(*errors: np.ndarray) -> list[np.ndarray]:
    """Errors over iterations, (iterations, L) each; the last one stands for those after an algorithm has settled."""
    longest = max(map(len, errors))
    return [np.concatenate([a, np.repeat(a[-1:], longest - len(a), axis=0)]) for a in errors]
