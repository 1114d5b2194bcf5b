"""Run the stages of a plan on one network: the loop around the compiled steps."""

import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from onsager_cli.errors import DivergedError
from onsager_cli.metrics import to_db
from onsager_cli.networks.base import Network, Parameters
from onsager_cli.problems.base import Problem
from onsager_cli.training.checkpoint import Checkpoint, Progress, StageState
from onsager_cli.training.engine import Engine
from onsager_cli.training.plan import Stage
from onsager_cli.training.together import Meeting

DIVERGED_DB = 3.0  # above the stage's start
SIGNIFICANT = 3.0  # standard errors by which the samples of a diverged network are worse than those of the best one
MAX_RESCUES = 5
ABOVE_DB = (
    0.02  # a network that ends further above the one with a layer less has a second pass, where its stage allows it
)
ROOM = 5  # layers by which an untied network grows in memory
TRAINING_KEY = 1000  # stage i draws from the seed folded with TRAINING_KEY + i

OVERFLOWS = "overflows float32: scale the matrix and the signals so that columns of A have norms near 1"

Report = Callable[[dict[str, object]], None]


def copied(params: Parameters) -> Parameters:
    """A copy of the parameters, since the compiled steps consume (donate) their buffers."""
    return jax.tree.map(jnp.array, params)


def selection_db(engine: Engine | Meeting, problem: Problem, params: Parameters, depth: int) -> float:
    """NMSE (dB, ratio of sums) of the `depth`-layer network on the selection set."""
    errors, powers = engine.errors(problem, params, *problem.selection, depth)
    error, power = _sums(errors, powers, depth - 1)
    return float(to_db(float(error) / float(power)))


def is_worse(engine: Engine | Meeting, problem: Problem, params: Parameters, best: Parameters, depth: int) -> bool:
    """Whether `params` are worse than `best` on the selection set, sample by sample, beyond what a few samples explain."""
    errors = [engine.errors(problem, each, *problem.selection, depth)[0] for each in (params, best)]
    difference = np.asarray(errors[0][depth - 1], np.float64) - np.asarray(errors[1][depth - 1], np.float64)
    error = np.std(difference) / np.sqrt(len(difference))
    return not np.mean(difference) <= SIGNIFICANT * error


@jax.jit
def _sums(errors: Array, powers: Array, row: int) -> tuple[Array, Array]:
    """Both sums in one program: outside, every operation takes a tenth of a second to compile."""
    return jnp.sum(errors[row]), jnp.sum(powers)


def room(net: Network, params: Parameters, depth: int) -> int:
    """Number of layers of the parameters in a stage of `depth` layers: an optimizer pays for layers still to come.

    Every number of layers compiles a new program, so that the number goes up by ROOM. A tied network has all layers.
    """
    return net.depth_of(params) if net.tied else min(net.depth_of(params), rounded_up(depth))


def rounded_up(depth: int) -> int:
    """The next multiple of ROOM.

    An untied network has that many layers in memory. The programs of its stages then do not depend on the depth that is
    asked for, and neither do its last bits: with other shapes, XLA rounds differently.
    """
    return -(-depth // ROOM) * ROOM


def fit(
    engine: Engine | Meeting,
    problem: Problem,
    params: Parameters,
    stage: Stage,
    key: Array,
    report: Report,
    progress: Progress,
    checkpoint: Checkpoint | None = None,
    start_db: float | None = None,
    before_db: float | None = None,
) -> tuple[Parameters, float]:
    """Run one stage; return the best weights and their NMSE (dB) on the selection set.

    `start_db` is the NMSE of `params` there, `before_db` that of the network with a layer less, if the caller knows
    them. If the loss or the NMSE is not finite, or the NMSE
    is DIVERGED_DB above the start and not by a few samples alone, the stage returns to the best weights and halves the
    learning rate. (A gradient that
    is not finite makes the weights and the NMSE not finite.) Raises DivergedError after MAX_RESCUES halvings. A stage
    that was stopped resumes from its `checkpoint`. A start whose NMSE is not finite has no gradient: it is returned.
    """
    engine = engine.with_optimizer(stage.optimizer)
    net, last, whole = engine.net, stage.depth - 1, params
    params = net.head(params, room(net, params, stage.depth))
    first_learned = last if stage.new_only else 0
    masks = jax.tree.map(jnp.asarray, net.learnable(params, first_learned, last, shared=not stage.new_only))
    started = time.monotonic()
    compiles = engine.is_new(problem, params)
    if compiles:
        report({"event": "compiling", "stage": stage.name})
    if start_db is None:
        start_db = selection_db(engine, problem, params, stage.depth)
    if not start_db < np.inf:
        return whole, start_db
    optimizer, buffers = engine.begin(problem, params)
    s = StageState(copied(params), optimizer, copied(params), key, start_db, start_db)
    if checkpoint is not None:
        s = checkpoint.restore(s, stage.depth)

    def steps(count: int) -> bool:
        """Take steps; whether all losses were finite."""
        nonlocal buffers
        step = s.step - (s.passes - 1) * stage.steps
        rates = {name: np.float32(s.scale) * a for name, a in stage.rates_at(step, engine.chunk).items()}
        s.params, s.optimizer, buffers, losses = engine.steps(
            problem, s.params, s.optimizer, buffers, masks, stage.depth, first_learned, s.key, s.step, rates,
            stage.emphasis, count,
        )  # fmt: skip
        return bool(np.isfinite(losses))

    if compiles:
        steps(0)
    compiling = time.monotonic() - started if compiles else 0.0
    report({"event": "started", "stage": stage.name, "step": s.step, "compiling_seconds": compiling})
    if checkpoint is not None:
        checkpoint.start_clock()
    while True:
        last_step = s.passes * stage.steps
        if s.step == last_step or (stage.patience is not None and s.stale >= stage.patience):
            if not _again(s, stage, before_db, report):
                break
            s.optimizer, buffers = engine.begin(problem, s.params)
            continue
        end = min((s.step // engine.chunk + 1) * engine.chunk, last_step)  # the next check
        count = end - s.step if checkpoint is None else min(end - s.step, checkpoint.piece)
        s.finite = steps(count) and s.finite
        s.step += count
        report({"event": "step", "stage": stage.name, "step": s.step})
        if s.step == end:
            now_db = selection_db(engine, problem, s.params, stage.depth)
            if not (s.finite and np.isfinite(now_db)) or (
                now_db > s.start_db + DIVERGED_DB and is_worse(engine, problem, s.params, s.best_params, stage.depth)
            ):
                _rescue(s, stage, now_db, report)
                s.optimizer, buffers = engine.begin(problem, s.params)
            else:
                s.stale = 0 if now_db < s.best_db - stage.min_gain else s.stale + 1
                if now_db < s.best_db:
                    s.best_db, s.best_params = now_db, copied(s.params)
                report({
                    "event": "eval", "stage": stage.name, "step": s.step, "nmse_db": now_db, "best_db": s.best_db,
                    "seconds": time.monotonic() - started,
                })  # fmt: skip
        if checkpoint is not None:
            checkpoint.offer(s)
    progress.steps += s.step
    progress.rescues += s.rescues
    return net.fill(whole, s.best_params), s.best_db


def _again(s: StageState, stage: Stage, before_db: float | None, report: Report) -> bool:
    """Begin the second pass of a stage, from its best weights, where its network ends above the one with a layer less."""
    if not stage.again or s.passes > 1 or before_db is None or not s.best_db > before_db + ABOVE_DB:
        return False
    s.passes, s.scale, s.params = s.passes + 1, s.scale * stage.again, copied(s.best_params)
    message = f"{stage.name}: {s.best_db:.2f} dB, above the {before_db:.2f} dB of one layer less: onsager trains this stage again at {stage.again:.2g} times the learning rates"
    report({"event": "again", "message": message})
    return True


def _rescue(s: StageState, stage: Stage, now_db: float, report: Report) -> None:
    """Return to the best weights and halve the learning rate. Raises DivergedError after MAX_RESCUES halvings."""
    if s.rescues == MAX_RESCUES:
        raise DivergedError(
            f"{stage.name}: still diverging at a learning rate of {stage.rates['matrices'] * s.scale:g}, after {MAX_RESCUES} halvings",
            s.best_params,
            stage.depth,
        )
    s.rescues += 1
    s.scale, s.finite = s.scale / 2, True
    s.params = copied(s.best_params)
    report(
        {
            "event": "warning",
            "message": f"{stage.name}: diverged at step {s.step} ({now_db:.1f} dB); returns to the best weights at half the learning rate",
        }
    )


def run_plan(
    engine: Engine | Meeting,
    problem: Problem,
    params: Parameters,
    stages: list[Stage],
    done: int,
    seed_key: Array,
    tied_network: Callable[[int], Parameters | None],
    report: Report,
    progress: Progress,
    checkpoint_of: Callable[[int], Checkpoint | None] = lambda _: None,
    ended: Callable[[int], float | None] = lambda _: None,
    begun: int = 0,
) -> Iterator[tuple[int, Stage, Parameters, float]]:
    """Run the stages from number `done` on; yield (number, stage, parameters, NMSE on the selection set in dB) after each.

    `tied_network(depth)` returns the tied parameters that an untied network may take over (Algorithm 3), or None.
    `checkpoint_of(number)` returns the place of the state inside a stage, or None. `ended(depth)` returns the NMSE of
    the network of another depth on the selection set (dB), or None. The first `begun` layers have a start of their own
    (`network.start`): they do not grow from the layer before them.
    """
    net, now_db = engine.net, None
    for number in range(done, len(stages)):
        stage = stages[number]
        if stage.begin in ("grow", "grow or bootstrap") and stage.depth > begun:
            params, now_db = net.grow(params, stage.depth - 1, problem), None
        if stage.begin.endswith("bootstrap"):
            params, now_db = _better(engine, problem, params, now_db, tied_network(stage.depth), stage, report)
        report({
            "event": "stage", "stage": stage.name, "index": number + 1, "of": len(stages), "steps": stage.expected,
            "depth": stage.depth, "rate": stage.rates["matrices"], "work": stage.work * engine.batch,
        })  # fmt: skip
        key = jax.random.fold_in(seed_key, TRAINING_KEY + number)
        before_db = ended(stage.depth - 1) if stage.again else None
        params, now_db = fit(
            engine, problem, params, stage, key, report, progress, checkpoint_of(number), now_db, before_db
        )
        if stage.bootstrap_after:
            params, now_db = _better(engine, problem, params, now_db, tied_network(stage.depth), stage, report)
        if not now_db < np.inf:
            raise DivergedError(
                f"{stage.name}: {OVERFLOWS} (NMSE {now_db} dB on the selection set)", params, stage.depth
            )
        yield number, stage, params, now_db


def _better(
    engine: Engine | Meeting,
    problem: Problem,
    own: Parameters,
    own_db: float | None,
    tied: Parameters | None,
    stage: Stage,
    report: Report,
) -> tuple[Parameters, float]:
    """Algorithm 3, lines 8-10: the tied network of this depth, untied, if it is better on the selection set; else `own`.

    Also returns its NMSE (dB) there. `own_db` is the NMSE of `own`, if the caller knows it.
    """
    if own_db is None:
        own_db = selection_db(engine, problem, own, stage.depth)
    if tied is None:
        return own, own_db
    other = engine.net.untie(tied, own)
    tied_db = selection_db(engine, problem, other, stage.depth)
    taken = tied_db < own_db or np.isnan(own_db)
    report({
        "event": "bootstrap", "stage": stage.name, "own_db": own_db, "tied_db": tied_db, "taken": bool(taken),
    })  # fmt: skip
    return (other, tied_db) if taken else (own, own_db)
