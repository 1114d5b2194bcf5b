"""How sure an NMSE is: standard errors and bootstrap replicates from sums over samples that come in parts.

| symbol | name                                                                        |
|--------|-----------------------------------------------------------------------------|
| e, p   | ‖x̂ - x‖² and ‖x‖² of a group of samples that depend on each other, linear    |
| q, n   | sum of the ratios ‖x̂ - x‖²/‖x‖² of a group, and the number of its samples with x ≠ 0 |
| w_b    | how often replicate b draws a group: Poisson with mean 1, the same for all estimates |

Replicate b of the ratio of sums is Σ w_b e / Σ w_b p, that of the mean of ratios Σ w_b q / Σ w_b n. Two networks that are
judged on the same samples share w_b, so that the spread of the difference of their replicates is the paired standard
error of their difference. No JAX.
"""

from dataclasses import dataclass, field

import numpy as np

from onsager_cli.metrics import DB_PER_NEPER, to_db
from onsager_cli.store.tables import REPLICATES

SEED = 0


def weights(part: int, groups: int) -> np.ndarray:
    """w_b of the groups of one part of the samples, (REPLICATES, groups); the same for every estimate."""
    return np.random.default_rng([SEED, part]).poisson(1.0, (REPLICATES, groups)).astype(np.float64)


@dataclass
class Resampled:
    """Sums over the parts of a set of samples, for several estimates at once (layers)."""

    together: int = 1
    parts: int = 0
    sums: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, errors: np.ndarray, powers: np.ndarray) -> None:
        """Add a part: ‖x̂_t - x‖² (layers, L) and ‖x‖² (L,); L is a multiple of `together`, but for the last part."""
        errors, powers = np.asarray(errors, np.float64), np.asarray(powers, np.float64)
        present = powers > 0
        ratios = np.where(present, errors / np.where(present, powers, 1), 0)
        starts = np.arange(0, len(powers), self.together)
        e, q = (np.add.reduceat(a, starts, axis=1) for a in (errors, ratios))
        p, n = (np.add.reduceat(a, starts) for a in (powers, present.astype(np.float64)))
        w = weights(self.parts, len(starts))
        found = {
            "e": e.sum(axis=1), "p": p.sum(), "q": q.sum(axis=1), "n": n.sum(), "groups": np.float64(np.sum(n > 0)),
            "ee": np.sum(e * e, axis=1), "ep": e @ p, "pp": p @ p, "qq": np.sum(q * q, axis=1), "qn": q @ n, "nn": n @ n,
            "we": e @ w.T, "wp": w @ p, "wq": q @ w.T, "wn": w @ n,
        }  # fmt: skip
        self.sums = {name: value + self.sums.get(name, 0) for name, value in found.items()}
        self.parts += 1

    def statistics(self) -> dict[str, np.ndarray]:
        """The NMSE (dB) in both meanings, (layers,), their standard errors, and replicates minus NMSE, (layers, REPLICATES)."""
        s = self.sums
        found: dict[str, np.ndarray] = {}
        for name, top, bottom in (("nmse_db", "e", "p"), ("nmse_mean_ratio_db", "q", "n")):
            value = s[top] / s[bottom]
            residual = s[2 * top] - 2 * value * s[top + bottom] + value**2 * s[2 * bottom]
            error = np.sqrt(np.maximum(residual * s["groups"] / max(float(s["groups"]) - 1, 1), 0)) / s[bottom]
            with np.errstate(divide="ignore", invalid="ignore"):
                found[name] = to_db(value)
                found[f"{name}_se"] = DB_PER_NEPER * error / value
                found[f"{name}_replicates"] = to_db(s["w" + top] / s["w" + bottom]) - found[name][:, None]
        return found
