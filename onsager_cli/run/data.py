"""A data set of a problem for other people's code: the frozen test set, the selection set, or fresh samples.

Fresh samples come in blocks, block i from the seed folded with DATA_KEY and then with i. Hence the first samples are
the same however many are asked for. They belong neither to the training nor to the selection or test set.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onsager_cli.config.experiment import Curve, Experiment
from onsager_cli.errors import UserError
from onsager_cli.kinds.settings import Settings
from onsager_cli.run.problem import in_users_units
from onsager_cli.store import datasets
from onsager_cli.store.datasets import Block
from onsager_cli.store.environment import environment, one_blas_thread
from onsager_cli.store.files import Json
from onsager_cli.text import show

if TYPE_CHECKING:
    from onsager_cli.problems import Problem

FRESH = "fresh"
SETS = (FRESH, "test", "selection")
MOST = 10**9  # samples
DATA_KEY = 12  # folded into the seed, beside those of matrix, selection and test set
LARGEST_BLOCK = 4096  # samples
LARGEST_ENTRIES = 2**22  # numbers in the x and y of a block

Report = Callable[[int, int], None]
"""Is told how many samples of how many are drawn."""


@dataclass(frozen=True)
class DataSet:
    """What a file is to hold: its arrays, and the samples, which come in blocks."""

    meta: Json
    arrays: dict[str, np.ndarray]
    count: int
    blocks: Iterable[Block]


def problem_curve(experiment: Experiment) -> Curve:
    """A curve on the one problem that all curves of a command see. Raises UserError for several problems."""
    curves = [curve for part in experiment.parts for curve in part.curves]
    found = {(curve.settings.problem, curve.settings.seed): curve for curve in reversed(curves)}
    if len(found) > 1:
        names = dict.fromkeys(
            f"{curve.slug} ({curve.settings.problem.name}, seed {curve.settings.seed})" for curve in found.values()
        )
        raise UserError(
            f"data writes the samples of one problem, and these curves have {len(found)}: choose by only=[…] one of "
            f"{', '.join(reversed(names))}"
        )
    return next(iter(found.values()))


def write(path: Path, curve: Curve, part: str, samples: int | None, report: Report = lambda *_: None) -> None:
    """Write a data set of the problem of a curve.

    Args:
        path: the file, .npz, .mat, .h5 or .hdf5.
        part: which samples, of SETS.
        samples: how many; None: all of the test or selection set.

    Raises UserError for a part that has fewer samples, and as `datasets.write` does.
    """
    _check(curve.settings, part, samples)
    with one_blas_thread():
        problem = in_users_units(curve)
        of = data_set(curve, problem, part, samples)
        datasets.write(path, of.meta, of.arrays, _reported(of, report), of.count)


def _check(settings: Settings, part: str, samples: int | None) -> None:
    """Raises UserError for fresh samples of recorded pairs, and for fresh ones without a number."""
    if part != FRESH:
        return
    if settings.problem.file is not None:
        raise UserError(f"problem={settings.problem.name} has only recorded pairs: add --set test or selection")
    if samples is None:
        raise UserError("data needs the number of samples: add samples=100000, or --set test for the test set")


def data_set(curve: Curve, problem: "Problem", part: str, samples: int | None) -> DataSet:
    """What the file is to hold, of a problem in the user's units. Raises UserError for a part with fewer samples."""
    settings = curve.settings
    if part == FRESH:
        assert samples is not None
        count, blocks = samples, fresh(settings, problem, samples)
    else:
        x, y = (np.asarray(array).T for array in getattr(problem, part))
        count = len(x) if samples is None else samples
        if count > len(x):
            raise UserError(
                f"samples={count}, and the {part} set has {len(x)}: leave samples out, or set "
                f"problem.{part}_samples={count}"
            )
        blocks = iter([(x[:count], y[:count])])
    return DataSet(_meta(curve, part, count), _arrays(problem), count, blocks)


def fresh(settings: Settings, problem: "Problem", samples: int) -> Iterator[Block]:
    """Fresh samples of a problem in the user's units, as rows, in blocks."""
    import jax

    draw = jax.jit(lambda problem, key, size: problem.sample(key, size), static_argnums=2)
    key = jax.random.fold_in(jax.random.key(settings.seed), DATA_KEY)
    size = block_size(*problem.A.shape, together=settings.problem.together)
    for number, start in enumerate(range(0, samples, size)):
        x, y = draw(problem, jax.random.fold_in(key, number), size)
        rows = slice(0, samples - start)
        yield np.ascontiguousarray(np.asarray(x).T[rows]), np.ascontiguousarray(np.asarray(y).T[rows])


def block_size(M: int, N: int, together: int = 1) -> int:
    """The samples of a block; as many depend on each other as are `together`."""
    size = max(1, min(LARGEST_BLOCK, LARGEST_ENTRIES // (M + N)))
    return max(together, size - size % together)


def _arrays(problem: "Problem") -> dict[str, np.ndarray]:
    """The arrays beside the samples."""
    silent = problem.noise is not None and problem.noise.silent
    found = {
        "A": problem.A, "A_true": problem.source, "reported": problem.reported,
        "noise_variance": np.float64(0 if silent else problem.noise_variance),
    }  # fmt: skip
    return {name: np.asarray(array) for name, array in found.items() if array is not None}


def _meta(curve: Curve, part: str, count: int) -> Json:
    """Where the samples come from."""
    settings = curve.settings
    problem = {"name": settings.problem.name, **curve.identity["problem"]}
    return {
        "seed": settings.seed, "set": part, "samples": count, "samples_in": "rows", "problem": problem,
        "versions": environment()["versions"],
    }  # fmt: skip


def _reported(of: DataSet, report: Report) -> Iterator[Block]:
    """The blocks, each reported. Raises UserError for samples that are not finite."""
    done = 0
    for x, y in of.blocks:
        for name, array in (("x", x), ("y", y)):
            if not np.isfinite(array).all():
                raise UserError(
                    f"{name} is not finite in samples {done + 1} to {done + len(x)}: {show(of.meta['problem'])}"
                )
        yield x, y
        done += len(x)
        report(done, of.count)
