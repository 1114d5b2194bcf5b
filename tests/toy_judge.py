"""A working directory with two small experiments and files of foreign solvers, for the tests of `onsager judge`."""

import sys
from pathlib import Path

EXPERIMENT = """# @package _global_
# title: Two bounds on a small problem
defaults:
  - override /problem: gaussian
problem: {N: 40, M: 20, selection_samples: 50, test_samples: 50}
figure: {title: Two bounds}
curves: {oracle: network=oracle, lmmse: network=lmmse}
"""

SOLVERS = '''
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from beside import POWER


def linear(y, A, noise_variance):
    """The LMMSE estimate for E|x_n|² = POWER."""
    C = POWER * A @ A.T + noise_variance * np.eye(len(A))
    return POWER * A.T @ np.linalg.solve(C, y)


def matched_filter(y, A, noise_variance):
    return A.T @ y


def destroys(y, A, noise_variance):
    x_hat = A.T @ y
    y[:], A[:] = 0, np.nan
    return x_hat


def landweber(y, A, noise_variance):
    x = [A.T @ y]
    for _ in range(3):
        x.append(x[-1] + 0.1 * A.T @ (y - A @ x[-1]))
    return x


def stacked(y, A, noise_variance):
    return np.stack(landweber(y, A, noise_variance))


def talks(y, A, noise_variance):
    print("to stdout")
    print("to stderr", file=sys.stderr)
    return A.T @ y


@dataclass
class Scaled:
    by: float

    def __call__(self, y, A, noise_variance):
        return self.by * A.T @ y


nested = SimpleNamespace(solve=Scaled(1.0))
NUMBER = 3
'''


def prepare(monkeypatch, folder: Path) -> None:
    """Makes `folder` the working directory and fills it."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("ONSAGER_DEBUG", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    place = Path("conf/experiment")
    place.mkdir(parents=True)
    (place / "mine.yaml").write_text(EXPERIMENT)
    both = EXPERIMENT.replace("lmmse: network=lmmse", "lmmse: network=lmmse, noisy: network=lmmse problem.snr_db=10")
    (place / "both.yaml").write_text(both)
    Path("beside.py").write_text("POWER = 0.1\n")
    Path("solvers.py").write_text(SOLVERS)
    for name in ("beside", "solvers", "broken", "lonely"):
        sys.modules.pop(name, None)
