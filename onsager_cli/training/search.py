"""`training=search`: few numbers of a network, found without gradients on the selection set.

Nelder and Mead's simplex moves the logarithms of the numbers, which are positive. The search of each depth begins at the
numbers of the depth before it, and looks at the first samples of the selection set a fixed number of times. Nothing is
drawn: the same settings find the same numbers. Each depth is stored when it is done, and a stopped training resumes there.
"""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np

from onsager_cli.errors import DivergedError
from onsager_cli.kinds.records import TrainingKind
from onsager_cli.kinds.trainings import SearchTraining
from onsager_cli.networks.base import RATES, Parameters
from onsager_cli.problems import Problem
from onsager_cli.training.checkpoint import Progress
from onsager_cli.training.engine import Engine
from onsager_cli.training.loop import OVERFLOWS, selection_db
from onsager_cli.training.network import NetworkTrainer
from onsager_cli.training.plan import Stage
from onsager_cli.training.together import Meeting

SEARCH = TrainingKind("search", of="search", settings=SearchTraining, maker="Searcher", searches=True)
REPORTED = 10  # evaluations between two reports
TOLERANCE = 1e-3  # of the simplex, in logarithms and in dB, at which a search ends before its evaluations are used up


def search(training: SearchTraining, depth: int, tied: bool, new_leaves: str) -> list[Stage]:
    """One search for each of `depth` layers; a step of a stage is an evaluation."""
    del tied, new_leaves

    def stage(t: int) -> Stage:
        evaluations = training.evaluations[min(t, len(training.evaluations)) - 1]
        name = "layer 1: search" if t == 1 else f"layers 1-{t}: search"
        return Stage(name, t, False, "grow", dict.fromkeys(RATES, 0.0), evaluations, REPORTED, closes=True)

    return [stage(t) for t in range(1, depth + 1)]


class Searcher(NetworkTrainer):
    """Finds the numbers that the record of the network names (`searched`)."""

    def _run(
        self, engine: Engine | Meeting, problem: Problem, params: Parameters, progress: Progress, begun: int
    ) -> Iterator[tuple[int, Stage, Parameters, float]]:
        del begun  # a search begins with the numbers that there are
        for number in range(self.done, len(self.stages)):
            stage = self.stages[number]
            self.report({
                "event": "stage", "stage": stage.name, "index": number + 1, "of": len(self.stages),
                "steps": stage.steps, "depth": stage.depth, "rate": 0.0, "work": stage.work * engine.batch,
            })  # fmt: skip
            params = self._found(engine, problem, params, stage, progress)
            now_db = selection_db(engine, problem, params, stage.depth)
            if not now_db < np.inf:
                raise DivergedError(
                    f"{stage.name}: {OVERFLOWS} (NMSE {now_db} dB on the selection set)", params, stage.depth
                )
            yield number, stage, params, now_db

    def _found(
        self, engine: Engine | Meeting, problem: Problem, params: Parameters, stage: Stage, progress: Progress
    ) -> Parameters:
        """`params` with the numbers of the lowest NMSE that the search of one depth met."""
        from scipy.optimize import minimize

        training, names = self.settings.training, self.settings.network.record.searched
        assert isinstance(training, SearchTraining)
        x, y = (a[:, : training.samples] for a in problem.selection)
        best: tuple[float, Parameters] = (np.inf, params)
        count = 0

        def with_numbers(logs: np.ndarray) -> Parameters:
            return params | {n: jnp.asarray(np.exp(one), params[n].dtype) for n, one in zip(names, logs, strict=True)}

        def level(logs: np.ndarray) -> float:
            """NMSE on the samples, in dB; of numbers that overflow, a high one."""
            nonlocal best, count
            here = with_numbers(logs)
            errors, powers = engine.errors(problem, here, x, y, stage.depth)
            ratio = float(
                np.sum(np.asarray(errors, np.float64)[stage.depth - 1]) / np.sum(np.asarray(powers, np.float64))
            )
            found = 10 * np.log10(ratio) if np.isfinite(ratio) and ratio > 0 else 1e3
            if found < best[0]:
                best = found, here
            count += 1
            if count % REPORTED == 0 or count == stage.steps:
                self.report({
                    "event": "eval", "stage": stage.name, "step": count, "nmse_db": found, "best_db": best[0],
                    "seconds": progress.seconds,
                })  # fmt: skip
            return found

        start = np.log([float(params[name]) for name in names])
        simplex = np.vstack([start, start + training.step * np.eye(len(names))])
        options = {
            "maxfev": stage.steps, "initial_simplex": simplex, "xatol": TOLERANCE, "fatol": TOLERANCE, "adaptive": False,
        }  # fmt: skip
        self.report({"event": "started", "stage": stage.name, "step": 0, "compiling_seconds": 0.0})
        minimize(level, start, method="Nelder-Mead", options=options)
        progress.steps += count
        return best[1]
