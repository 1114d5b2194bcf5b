"""What is attainable on a problem: the best of untrained algorithms with the true prior, A and noise; and bounds.

| method            | what it is                                                               |
|-------------------|--------------------------------------------------------------------------|
| VAMP              | matched VAMP; "damped" with the weight of LADDER that is best on the selection set |
| balanced VAMP     | the same on columns scaled to one norm, if the norms differ by more than ALIKE |
| support search    | posterior mean over the supports that a beam search meets, if few entries are active |

The selection samples choose the damping, and the other samples are reported. A larger problem gets fewer samples, so that
the whole takes seconds. Float64 NumPy. No JAX in the algorithms.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import numpy as np

from onsager_cli.linalg import double
from onsager_cli.metrics import nmse, to_db
from onsager_cli.problems.frame import ALIKE, column_scales
from onsager_cli.problems.signals import GaussianMixture
from onsager_cli.theory import damping as automatic
from onsager_cli.theory import state_evolution
from onsager_cli.theory.bounds import support_oracle
from onsager_cli.theory.matched_vamp import Prior, balanced_vamp, damped_vamp
from onsager_cli.theory.support_search import rounds_for, support_search

LADDER = (1.0, *automatic.LADDER)  # weights of the new pseudo-prior
ITERATIONS = 60
EXACT_DB = -200.0  # of an estimate without any error
SETTLED_DB = 1e-3  # a run that moves less than this in each of STILL iterations has settled
STILL = 4
TIED_DB = 0.2  # dampings that end so close count as equal
RISE_DB = 0.5
SEARCHED = 30  # active entries of a sample, up to which supports are searched
LARGEST = 4e6  # entries of A, above which this takes more than seconds
# Work that decides how many samples there are: N M for VAMP, N rounds² for the search.
CHOOSING, REPORTING, SEARCHING = 2.5e7, 6e7, 1.3e8


@dataclass(frozen=True)
class Attainable:
    """The best NMSE that was found (dB, over `samples`), and what else was found.

    `methods` has the NMSE at the end of every method, `levels` those after each iteration where there are iterations.
    `state_evolution_db` is its fixed point, for an A like an i.i.d. one. `seconds` is the time that all of it took.
    """

    nmse_db: float
    se_db: float
    method: str
    samples: int
    methods: Mapping[str, float]
    levels: Mapping[str, list[float]]
    oracle_db: float | None
    state_evolution_db: float | None
    seconds: float = 0.0

    def as_json(self) -> dict[str, object]:
        """Plain JSON, the inverse of `Attainable(**note)`; without `seconds`, so that equal problems have equal notes."""
        return {name: value for name, value in asdict(self).items() if name != "seconds"}

    def untrained(self, depth: int) -> tuple[str, float] | None:
        """The method with the lowest NMSE (dB) after `depth` iterations; None if there is none."""
        found = {name: levels[min(depth, len(levels)) - 1] for name, levels in self.levels.items()}
        return min(found.items(), key=lambda item: item[1]) if found else None


@dataclass(frozen=True)
class _Samples:
    """Signals x (N, L), measurements y (M, L), and which coordinates count, (N, 1) of 0 and 1."""

    x: np.ndarray
    y: np.ndarray
    counted: np.ndarray

    def first(self, count: float) -> "_Samples":
        return _Samples(self.x[:, : int(count)], self.y[:, : int(count)], self.counted)

    @property
    def powers(self) -> np.ndarray:
        """‖x‖² per sample, (L,)."""
        return np.sum(self.counted * np.abs(self.x) ** 2, axis=0)

    def errors(self, x_hat: np.ndarray) -> np.ndarray:
        """‖x̂ - x‖² per sample, (L,)."""
        return np.sum(self.counted * np.abs(x_hat - self.x) ** 2, axis=0)


def attainable(
    A: np.ndarray,
    signal: Prior,
    noise_variance: float,
    x: np.ndarray,
    y: np.ndarray,
    selection: tuple[np.ndarray, np.ndarray] | None = None,
    reported: np.ndarray | None = None,
) -> Attainable | None:
    """What untrained algorithms attain on samples x (N, L) and y (M, L); `noise_variance` is linear.

    `selection` (x, y) chooses the damping; None: the first half of the samples, and the others are reported. `reported`
    (N, 1) is 1 where the NMSE counts a coordinate. For Bernoulli-Gaussian signals of zero mean, supports are searched, and
    oracle and state evolution are computed. None if every method fails, or if A has more than LARGEST entries.
    """
    started = time.monotonic()
    A, x, y = double(A), double(x), double(y)
    M, N = A.shape
    if N * M > LARGEST:
        return None
    counted = np.ones((N, 1)) if reported is None else np.asarray(reported, np.float64).reshape(N, 1)
    if selection is None:
        half = max(1, x.shape[1] // 2)
        selection, x, y = (x[:, :half], y[:, :half]), x[:, -half:], y[:, -half:]
    choosing = _Samples(double(selection[0]), double(selection[1]), counted).first(np.clip(CHOOSING / (N * M), 20, 500))
    samples = _Samples(x, y, counted).first(np.clip(REPORTING / (N * M), 50, 1000))
    statistics: dict[str, tuple[float, float, int]] = {}
    levels: dict[str, list[float]] = {}
    c = column_scales(A)
    for name in ("VAMP", "balanced VAMP") if np.max(c) > ALIKE * np.min(c) else ("VAMP",):
        damping = _chosen(A, signal, noise_variance, choosing, name)
        if damping is None:
            continue
        full = name if damping == 1 else f"damped {name}"
        run, final = _run(A, signal, noise_variance, samples, name, damping)
        if run and np.isfinite(run).all():
            levels[full], statistics[full] = run, (*_nmse(final, samples.powers), len(final))
    sparse = _sparse(signal)
    oracle_db = predicted = None
    if sparse is not None:
        gamma, variance = sparse
        oracle_db = _nmse(
            samples.errors(support_oracle(A, samples.x, samples.y, noise_variance, variance)), samples.powers
        )[0]
        predicted = _predicted(A, gamma, variance, noise_variance, c)
        if gamma * N <= SEARCHED:
            few = samples.first(np.clip(SEARCHING / (N * rounds_for(N, gamma) ** 2), 20, 300))
            errors = few.errors(support_search(A, gamma, variance, noise_variance, few.y))
            statistics["support search"] = (*_nmse(errors, few.powers), len(errors))
    statistics = {name: found for name, found in statistics.items() if np.isfinite(found[0])}
    if not statistics:
        return None
    method = min(statistics, key=lambda name: statistics[name][0])
    nmse_db, se_db, count = statistics[method]
    return Attainable(
        nmse_db, se_db if np.isfinite(se_db) else 0.0, method, count, {name: found[0] for name, found in statistics.items()},
        levels, oracle_db if oracle_db is not None and np.isfinite(oracle_db) else None, predicted,
        time.monotonic() - started,
    )  # fmt: skip


def _estimates(
    A: np.ndarray, signal: Prior, noise_variance: float, y: np.ndarray, name: str, damping: float
) -> Iterator[np.ndarray]:
    algorithm = balanced_vamp if name == "balanced VAMP" else damped_vamp
    return algorithm(A, signal, noise_variance, y, ITERATIONS, damping)


def _run(
    A: np.ndarray, signal: Prior, noise_variance: float, samples: _Samples, name: str, damping: float
) -> tuple[list[float], np.ndarray]:
    """The NMSE (dB) after each iteration until it settles, and ‖x̂ - x‖² (L,) at the end; (NaN) if it overflows."""
    levels: list[float] = []
    errors, power = np.full(samples.x.shape[1], np.nan), np.sum(samples.powers)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for x_hat in _estimates(A, signal, noise_variance, samples.y, name, damping):
            errors = samples.errors(x_hat)
            levels.append(float(np.maximum(to_db(np.sum(errors) / power), EXACT_DB)))
            if len(levels) > STILL and np.ptp(levels[-STILL:]) < SETTLED_DB:
                return levels, errors
    return (levels, errors) if len(levels) == ITERATIONS else ([*levels, np.nan], errors)


def _chosen(A: np.ndarray, signal: Prior, noise_variance: float, samples: _Samples, name: str) -> float | None:
    """The damping that ends lowest on the samples; None if all overflow.

    Of those within TIED_DB of the lowest end it is the least one without a rise of more than RISE_DB on its way, for a
    run that rises may end otherwise on other samples.
    """
    runs = {d: np.array(_run(A, signal, noise_variance, samples, name, d)[0]) for d in LADDER}
    finite = {d: levels for d, levels in runs.items() if len(levels) and np.isfinite(levels).all()}
    if not finite:
        return None
    lowest = min(levels[-1] for levels in finite.values())
    tied = [d for d, levels in finite.items() if levels[-1] <= lowest + TIED_DB]
    falling = [d for d in tied if np.all(finite[d] <= np.minimum.accumulate(finite[d]) + RISE_DB)]
    return (falling or tied)[0]


def _nmse(errors: np.ndarray, powers: np.ndarray) -> tuple[float, float]:
    """The NMSE (dB) and its standard error (dB)."""
    found = nmse(errors, powers)
    return float(np.maximum(found["nmse_db"], EXACT_DB)), float(found["nmse_db_se"] or 0)


def _sparse(signal: Prior) -> tuple[float, float] | None:
    """γ and the variance of active entries of a Bernoulli-Gaussian signal of zero mean; None for another one."""
    if not isinstance(signal, GaussianMixture) or len(signal.weights) > 1 or any(signal.means) or signal.gamma == 1:
        return None
    return signal.gamma, signal.variances[0]


def _predicted(A: np.ndarray, gamma: float, variance: float, noise_variance: float, c: np.ndarray) -> float | None:
    """The NMSE (dB) at state evolution's fixed point, for a large real A whose columns are alike and not correlated."""
    M, N = A.shape
    if min(M, N) < 100 or np.iscomplexobj(A) or np.max(c) > ALIKE * np.min(c) or noise_variance <= 0:
        return None
    columns = A / np.maximum(np.linalg.norm(A, axis=0), 1e-300)
    if np.max(np.abs(np.triu(columns.T @ columns, 1))) > 6 / np.sqrt(M):
        return None
    law = state_evolution.Signal(gamma, variance)
    eta, s = state_evolution.conditional_mean(law), np.linalg.svd(A, compute_uv=False)
    return float(state_evolution.vamp(law, eta, noise_variance, s, N, 30)[-1])
