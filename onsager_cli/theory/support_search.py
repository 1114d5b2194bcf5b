"""The posterior mean of sparse Gaussian signals over the supports that a Bayesian beam search meets, in float64 NumPy.

| symbol | name                                                        |
|--------|-------------------------------------------------------------|
| φ, γ   | variance of an active entry, probability that one is active |
| Φ_S    | covariance of y given the support S: σ_w² I + φ A_S A_Sᴴ      |
| u, q   | a_nᴴ Φ_S⁻¹ y, a_nᴴ Φ_S⁻¹ a_n for every column a_n             |
| G      | Aᴴ Φ_S⁻¹ A, of which only rows are computed                 |

To toggle coordinate n is a change of rank one, Φ ± φ a_n a_nᴴ, so that u and q score all N toggles at once:

    Δ log p(y, S) = ± log(γ/(1-γ)) - κ log(1 ± φ q_n) ± κ φ |u_n|² / (1 ± φ q_n),    κ = 1/2, or 1 for complex y

Each of BEAM supports of a sample offers its best toggles. The best new supports survive. A coordinate may enter and leave. Given S, the estimate is φ u on S. Its mean over all supports met, weighted by p(y, S), is x̂. Schniter,
Potter and Ziniel, "Fast Bayesian matching pursuit" (2008), with removals. No JAX.
"""

from dataclasses import dataclass

import numpy as np

from onsager_cli.linalg import double

BEAM = 6  # supports of a sample that survive a round
PATIENCE = 8  # rounds without a better support of any sample, after which the search ends
CHUNK = 25  # samples at a time, or fewer for larger problems
ENTRIES = 5e6  # of the arrays of one chunk, at most


@dataclass
class _Beam:
    """Supports of several samples: arrays with axes (samples, BEAM), the score being log p(y, S) up to a constant."""

    score: np.ndarray
    active: np.ndarray  # (samples, BEAM, N), bool
    u: np.ndarray  # (samples, BEAM, N)
    q: np.ndarray  # (samples, BEAM, N)
    key: np.ndarray  # hash of the support
    rows: np.ndarray  # (samples, BEAM, rounds, N): G = AᴴA/σ_w² - Σ weight rowᴴ row over the rounds
    weight: np.ndarray  # (samples, BEAM, rounds)


def support_search(
    A: np.ndarray, gamma: float, variance: float, noise_variance: float, y: np.ndarray, rounds: int | None = None
) -> np.ndarray:
    """x̂ (N, L) of y (M, L) for entries that are N(0, `variance`) with probability `gamma`, else 0; linear.

    `rounds` limits the toggles of a support; None: by the number of active entries to be expected.
    """
    A, y = double(A), double(y)
    N = A.shape[1]
    limit = rounds or rounds_for(N, gamma)
    noise_variance = max(noise_variance, 1e-9 * float(np.mean(np.abs(y) ** 2)))
    chunk = int(np.clip(ENTRIES / (BEAM * limit * N), 1, CHUNK))
    parts = [
        _search(A, gamma, variance, noise_variance, y[:, first : first + chunk], limit)
        for first in range(0, y.shape[1], chunk)
    ]
    return np.concatenate(parts, axis=1)


def rounds_for(N: int, gamma: float) -> int:
    """Toggles that lead from no support to any that is likely, and some beyond."""
    return int(2 * PATIENCE + gamma * N + 6 * np.sqrt(gamma * N))


def _search(
    A: np.ndarray, gamma: float, variance: float, noise_variance: float, y: np.ndarray, limit: int
) -> np.ndarray:
    N, L = A.shape[1], y.shape[1]
    kappa = 1.0 if np.iscomplexobj(y) or np.iscomplexobj(A) else 0.5
    log_odds = np.log(gamma / (1 - gamma))
    gram = A.conj().T @ A / noise_variance
    keys = np.random.default_rng(0).integers(1, 2**62, N)
    samples = np.arange(L)[:, None]
    u = (A.conj().T @ y).T[:, None] / noise_variance
    q = np.broadcast_to(np.diag(gram).real, (L, 1, N)).copy()
    shape = (L, 1, limit)
    beam = _Beam(
        np.zeros((L, 1)), np.zeros((L, 1, N), bool), u, q, np.zeros((L, 1), np.int64),
        np.zeros((*shape, N), gram.dtype), np.zeros(shape),
    )  # fmt: skip
    met: list[set[int]] = [{0} for _ in range(L)]
    top, mass, mean = np.zeros(L), np.ones(L), np.zeros((L, N), u.dtype)  # of the empty support
    waiting = 0
    for round_ in range(limit):
        signed = np.where(beam.active, -variance, variance)
        grown = np.maximum(1 + signed * beam.q, 1e-12)
        gain = np.where(beam.active, -log_odds, log_odds) - kappa * np.log(grown)
        gain += kappa * signed * np.abs(beam.u) ** 2 / grown
        parent, toggled, found = _best(beam.score[:, :, None] + gain, beam.key, keys, met)
        chosen = samples, parent
        sign, u, q = signed[(*chosen, toggled)], beam.u[chosen], beam.q[chosen]
        rows, weight = beam.rows[chosen], beam.weight[chosen]
        # Row n of G for the support of the parent.
        past = rows[:, :, :round_]
        factor = weight[:, :, :round_] * np.take_along_axis(past, toggled[:, :, None, None], 3)[..., 0].conj()
        row = gram[toggled] - (factor[:, :, None] @ past)[:, :, 0]
        change = sign / grown[(*chosen, toggled)]
        of_n = np.take_along_axis(u, toggled[..., None], 2)
        u = u - change[..., None] * row.conj() * of_n
        q = np.maximum(q - change[..., None] * np.abs(row) ** 2, 0)
        rows[:, :, round_], weight[:, :, round_] = row, change
        active = beam.active[chosen]
        np.put_along_axis(active, toggled[..., None], ~np.take_along_axis(active, toggled[..., None], 2), 2)
        beam = _Beam(found, active, u, q, beam.key[chosen] ^ keys[toggled], rows, weight)
        best = np.max(found, axis=1)
        waiting = 0 if np.any(best > top + 1e-9) else waiting + 1
        higher = np.maximum(top, best)
        share = np.exp(found - higher[:, None])
        kept = np.exp(top - higher)
        mass = kept * mass + share.sum(axis=1)
        mean = kept[:, None] * mean + np.sum(share[..., None] * np.where(active, variance * u, 0), axis=1)
        top = higher
        if waiting >= PATIENCE:
            break
    return (mean / mass[:, None]).T


def _best(
    scores: np.ndarray, parents: np.ndarray, keys: np.ndarray, met: list[set[int]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every sample the best toggles that lead to supports not met before: parent, coordinate, score, (L, beams)."""
    L, N = len(scores), scores.shape[2]
    flat = scores.reshape(L, -1)
    count = min(4 * BEAM, flat.shape[1])
    offered = np.argpartition(-flat, count - 1, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(flat, offered, 1), axis=1)
    offered = np.take_along_axis(offered, order, 1)
    parent, toggled = offered // N, offered % N
    results = np.take_along_axis(parents, parent, 1) ^ keys[toggled]
    taken = np.zeros((L, min(BEAM, N)), int)
    score = np.full(taken.shape, -np.inf)
    for sample in range(L):
        places = []
        for place, key in enumerate(results[sample].tolist()):
            if key not in met[sample]:
                met[sample].add(key)
                places.append(place)
                if len(places) == taken.shape[1]:
                    break
        taken[sample, : len(places)] = places
        score[sample, : len(places)] = flat[sample, offered[sample, places]]
    return np.take_along_axis(parent, taken, 1), np.take_along_axis(toggled, taken, 1), score
