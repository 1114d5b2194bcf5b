"""What the tests of stages, curves, checkpoints and plans share: toy networks, stages, stores, a run that is stopped."""

import dataclasses
from functools import cache

import jax
import numpy as np
from conftest import toy_overrides

from onsager_cli.config.load import load_experiment
from onsager_cli.networks.base import RATES
from onsager_cli.problems import Problem
from onsager_cli.problems import build as build_problem
from onsager_cli.problems.base import with_singular_vectors
from onsager_cli.store.curves import CurveFolder, Store
from onsager_cli.training.engine import Engine, engine_of
from onsager_cli.training.loop import Progress, fit, selection_db
from onsager_cli.training.networks_on_disk import network_of
from onsager_cli.training.plan import Stage, plan

KEY = 0  # of jax.random, made where it is used: JAX starts with the first test, not with the collection


@cache
def settings(*overrides: str):
    """The settings of one curve at toy size; later overrides win."""
    merged = {text.partition("=")[0]: text for text in (*toy_overrides(), *overrides)}
    (curve,) = load_experiment(list(merged.values())).curves
    return curve.settings


@cache
def full_size(*overrides: str):
    (curve,) = load_experiment(overrides).curves
    return curve.settings


def stages_of(curve, depth: int, tied: bool = True, new_leaves: str = "θ") -> list[Stage]:
    return plan(curve.training, depth, tied, new_leaves)


ROOM = 3  # layers of the toy networks


@dataclasses.dataclass
class Setup:
    """What `fit` needs for one kind of curve, and the parameters it starts from."""

    engine: Engine
    problem: Problem
    params: dict

    def fit(self, stage: Stage, report=lambda event: None, progress=None):
        return fit(self.engine, self.problem, self.params, stage, jax.random.key(KEY), report, progress or Progress())

    def db(self, params, depth: int) -> float:
        return selection_db(self.engine, self.problem, params, depth)


def setup_of(*overrides: str) -> Setup:
    curve = settings(*overrides, f"network.depth={ROOM}")
    net = network_of(curve)
    problem = with_singular_vectors(build_problem(curve.problem, curve.seed))
    engine = engine_of(net, curve, 10)
    return Setup(engine, problem, net.start(problem, ROOM))


def stage(depth: int = 2, new_only: bool = False, rate: float = 1e-3, steps: int = 20, **more) -> Stage:
    return Stage(
        f"layers 1-{depth}: all", depth, new_only, "keep", dict.fromkeys(RATES, rate), steps, check_every=10, **more
    )


def bits(leaf) -> bytes:
    return np.asarray(leaf).tobytes()


class Stopped(BaseException):
    """Stands for Ctrl-C: not an Exception that something could swallow."""


class Watch:
    """Notes all events; raises Stopped at those that `stop_at` picks."""

    def __init__(self, stop_at=lambda event: False):
        self.events, self.stop_at = [], stop_at

    def __call__(self, event):
        self.events.append(event)
        if self.stop_at(event):
            raise Stopped

    def of(self, kind: str) -> list:
        return [event for event in self.events if event["event"] == kind]


CURVES = {
    "fast": ["shrinkage=bg", "network.tied=false"],
    "paper": ["shrinkage=bg", "network.tied=false", "training=paper", "training.batch=16", "training.max_steps=20",
              "training.refinements=1", "training.patience=1"],
}  # fmt: skip


def experiment(output, *overrides: str, depth: int = ROOM, training: str = "fast"):
    """One untied curve, whose training includes its tied twin."""
    asked = {text.partition("=")[0]: text for text in (*toy_overrides(), *CURVES[training], *overrides)}
    if training == "paper":
        asked = {key: text for key, text in asked.items() if key.count(".") < 2 and key != "training.steps_new"}
    asked["network.depth"] = f"network.depth={depth}"
    return load_experiment([*asked.values(), f"output={output}"])


def state_of(folder: CurveFolder, name: str):
    """The arrays and the meta of a saved state, which is there."""
    state = folder.load(name)
    assert state is not None
    return state


def stored(output) -> dict:
    """Everything of a store that must be the same in every run: arrays bit for bit, points without their seconds."""
    found = {}
    for folder in Store(output).curves():
        states = {name: state_of(folder, name) for name in folder.saved()}
        found[folder.path.name] = {
            "arrays": {name: {key: bits(a) for key, a in arrays.items()} for name, (arrays, _) in states.items()},
            "meta": {name: {k: v for k, v in meta.items() if k != "seconds"} for name, (_, meta) in states.items()},
            "points": [{k: v for k, v in row.items() if k != "seconds"} for row in folder.points()],
        }
    return found


def joint(output, depth, *more):
    own = [text for text in toy_overrides() if not text.startswith("network.depth")]
    return load_experiment([*own, f"network.depth={depth}", "training.joint=true", f"output={output}", *more])
