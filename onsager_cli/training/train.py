"""Run the stages of a plan over one network: the loop around the compiled steps."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.metrics import to_db
from onsager_cli.networks.base import Parameters
from onsager_cli.problems import Problem
from onsager_cli.training.fit import Engine
from onsager_cli.training.plan import Stage

DIVERGED_DB = 3.0  # above the stage's start
MAX_RESCUES = 5
TRAINING_KEY = 1000  # stage i draws from the seed folded with TRAINING_KEY + i

Report = Callable[[dict[str, Any]], None]


class DivergedError(Exception):
    """A stage kept diverging although its learning rate was halved MAX_RESCUES times."""


@dataclass
class Progress:
    """What a stage adds to: steps and rescues since the start of the curve."""

    steps: int = 0
    rescues: int = 0


def copied(params: Parameters) -> Parameters:
    """Fresh buffers, since the compiled steps consume (donate) theirs."""
    return jax.tree.map(jnp.array, params)


def selection_db(engine: Engine, problem: Problem, params: Parameters, depth: int) -> float:
    """NMSE (dB, ratio of sums) of the `depth`-layer network on the selection set."""
    errors, powers = engine.errors(problem, params, *problem.selection, depth)
    return float(to_db(float(jnp.sum(errors[depth - 1])) / float(jnp.sum(powers))))


def fit(
    engine: Engine,
    problem: Problem,
    params: Parameters,
    stage: Stage,
    key: Array,
    report: Report,
    progress: Progress,
) -> tuple[Parameters, float]:
    """Runs one stage; returns the best weights and their NMSE (dB) on the selection set.

    A loss that is not finite, or an NMSE DIVERGED_DB above the start, brings back the best weights and halves the
    learning rate for the rest of the stage. Raises DivergedError after MAX_RESCUES of them.
    """
    net, last = engine.net, stage.depth - 1
    first_learned = last if stage.new_only else 0
    masks = jax.tree.map(jnp.asarray, net.learnable(params, first_learned, last, shared=not stage.new_only))
    started, best_params = time.monotonic(), copied(params)
    start_db = best_db = selection_db(engine, problem, params, stage.depth)
    params = copied(params)
    state, buffers = engine.begin(problem, params)
    scale, rescues, step, stale = 1.0, 0, 0, 0
    while step < stage.steps and (stage.patience is None or stale < stage.patience):
        count = min(engine.chunk, stage.steps - step)
        rates = np.float32(scale) * stage.rates(step, engine.chunk)
        params, state, buffers, losses = engine.steps(
            problem,
            params,
            state,
            buffers,
            masks,
            stage.depth,
            first_learned,
            key,
            step,
            rates,
            stage.emphasis,
            count,
        )
        step += count
        now_db = selection_db(engine, problem, params, stage.depth)
        if not (np.isfinite(now_db) and np.isfinite(float(losses))) or now_db > start_db + DIVERGED_DB:
            rescues += 1
            if rescues > MAX_RESCUES:
                raise DivergedError(
                    f"{stage.name}: still diverging at a learning rate of {stage.rate * scale:g}"
                )
            scale /= 2
            report(
                {
                    "event": "warning",
                    "message": f"{stage.name}: diverged at step {step} ({now_db:.1f} dB); back to the best weights with half the learning rate",
                }
            )
            params = copied(best_params)
            state, buffers = engine.begin(problem, params)
            continue
        if now_db < best_db:
            best_db, best_params, stale = now_db, copied(params), 0
        else:
            stale += 1
        report({
            "event": "eval", "stage": stage.name, "step": step, "nmse_db": now_db, "best_db": best_db,
            "seconds": time.monotonic() - started,
        })  # fmt: skip
    progress.steps += step
    progress.rescues += rescues
    return best_params, best_db


def run_plan(
    engine: Engine,
    problem: Problem,
    params: Parameters,
    stages: list[Stage],
    done: int,
    seed_key: Array,
    tied_network: Callable[[int], Parameters | None],
    report: Report,
    progress: Progress,
) -> Iterator[tuple[int, Stage, Parameters, float]]:
    """Runs the stages from number `done` on; yields (number, stage, parameters, selection dB) after each.

    `tied_network(depth)` gives the tied parameters that an untied network may take over (Algorithm 3).
    """
    net = engine.net
    for number in range(done, len(stages)):
        stage = stages[number]
        if stage.begin in ("grow", "grow or bootstrap"):
            params = net.grow(params, stage.depth - 1, problem)
        if stage.begin.endswith("bootstrap"):
            params = _better(engine, problem, params, tied_network(stage.depth), stage.depth)
        report({
            "event": "stage", "stage": stage.name, "index": number + 1, "of": len(stages), "steps": stage.steps,
            "depth": stage.depth, "rate": stage.rate, "work": stage.work * engine.batch,
        })  # fmt: skip
        key = jax.random.fold_in(seed_key, TRAINING_KEY + number)
        params, best_db = fit(engine, problem, params, stage, key, report, progress)
        yield number, stage, params, best_db


def _better(
    engine: Engine, problem: Problem, own: Parameters, tied: Parameters | None, depth: int
) -> Parameters:
    """Algorithm 3, lines 8-10: the tied network of this depth, untied, if it is better on the selection set."""
    if tied is None:
        return own
    other = engine.net.untie(tied, own)
    return min((own, other), key=lambda params: selection_db(engine, problem, params, depth))
