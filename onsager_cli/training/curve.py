"""Train one curve into its folder: resume, stages, points, and the network at the end."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import yaml

from onsager_cli import bounds, classical
from onsager_cli.config import Curve, FastTraining, NoTraining, Settings
from onsager_cli.environment import environment
from onsager_cli.metrics import nmse, to_db
from onsager_cli.networks import build as build_network
from onsager_cli.networks.base import Network, Parameters
from onsager_cli.networks.decoupling import Decoupled, clip_counts
from onsager_cli.problems import Problem
from onsager_cli.problems import build as build_problem
from onsager_cli.results import CurveFolder
from onsager_cli.schema import BOUNDS
from onsager_cli.training.fit import Engine
from onsager_cli.training.plan import Stage, plan
from onsager_cli.training.train import Progress, Report, run_plan

ITERATIONS = "iterations"  # note of an untrained curve: how many there are, and how many were asked for
RESUME = "resume"  # the state after the last finished stage, where that did not end a depth


def depth_name(depth: int) -> str:
    """Name of the file that holds the trained network of this depth."""
    return f"depth_{depth:02d}"


class CurveTrainer:
    """One curve and its folder. What is stored already is never trained again."""

    def __init__(self, curve: Curve, folder: CurveFolder, report: Report):
        self.curve, self.folder = curve, folder
        self.settings: Settings = curve.settings
        self.depth = self.settings.network.depth or 1
        self._report = report
        self.stages: list[Stage] = [] if self.bound else self._plan()
        self.done = self._finished_stages()

    @property
    def bound(self) -> bool:
        return self.settings.network.kind in BOUNDS

    @property
    def untrained(self) -> bool:
        return not self.bound and isinstance(self.settings.training, NoTraining)

    @property
    def work(self) -> float:
        """Work still to do: layers times steps times samples."""
        left = sum(stage.work for stage in self.stages[self.done :])
        return left * engine_of(self.settings, self._network(), 1).batch if left else 0.0

    @property
    def complete(self) -> bool:
        """Whether every layer asked for has its point; an untrained curve may have settled before."""
        if self.untrained:
            note = self.folder.read_json(ITERATIONS)
            return note is not None and (note["iterations"] < note["limit"] or self.depth <= note["limit"])
        wanted = (
            {None}
            if self.settings.network.depth is None
            else {stage.depth for stage in self.stages if stage.closes}
        )
        return wanted <= {row["layer"] for row in self.folder.points()}

    def report(self, event: Mapping[str, Any]) -> None:
        """Sends an event to whoever watches, and to the folder's log."""
        event = {**event, "curve": self.curve.slug}
        self._report(event)
        self.folder.log({**event, "time": time.time()})

    def train(self, index: int, of: int, folder_of: Callable[[Curve], CurveFolder]) -> None:
        """Trains what is missing. `folder_of` finds the tied network that Algorithm 3 compares with."""
        if self.complete:
            self._report({"event": "curve_done", "curve": self.curve.slug, "seconds": 0.0, "shared": True})
            return
        resumed = self.stages[self.done - 1].name if self.done else None
        self.folder.write_config(yaml.safe_dump(dataclasses.asdict(self.settings), sort_keys=False))
        self.report({"event": "curve", "index": index, "of": of, "work": self.work, "resumed_from": resumed})
        self.folder.write_json("made", {**environment(), "device": jax.devices()[0].device_kind})
        started = time.monotonic()
        problem = build_problem(self.settings.problem, self.settings.seed)
        if self.bound:
            self._bound(problem)
        elif self.stages:
            self._train(problem, folder_of)
        else:
            self._untrained(problem)
        self.report({"event": "curve_done", "seconds": time.monotonic() - started, "shared": False})

    # -- the three kinds of curve

    def _bound(self, problem: Problem) -> None:
        x, y = problem.test
        started = time.monotonic()
        A, noise_variance = np.asarray(problem.behind.A), float(problem.noise_variance)
        if self.settings.network.kind == "lmmse":
            x_hat = bounds.lmmse(A, np.asarray(y), noise_variance, np.asarray(problem.known_power))
        else:
            known = 1.0 if problem.test_power is None else np.asarray(problem.test_power)
            x_hat = bounds.support_oracle(A, np.asarray(x), np.asarray(y), noise_variance, known)
        errors, powers = (np.asarray(problem.squared_norm(a)) for a in (x_hat - np.asarray(x), x))
        self._add_point(None, errors, powers, steps=0, seconds=time.monotonic() - started, parameters=0)

    def _untrained(self, problem: Problem) -> None:
        started = time.monotonic()
        errors, powers = classical.run(self.settings, problem)
        more = {"steps": 0, "seconds": time.monotonic() - started, "parameters": 0}
        if self.settings.network.kind in ("lamp", "lvamp"):
            more["nonconverged"] = classical.not_converged(errors, powers)
        if self.settings.network.kind in classical.LAYERED:
            net, params = classical.layers(self.settings, problem)
        else:
            net = self._network()
            params = net.start(problem, min(self.depth, classical.DENSE))
        if isinstance(net, Decoupled):
            depth = min(net.depth_of(params), len(errors))
            more["clipped"] = int(np.sum(clip_counts(net, problem, params, problem.test[1], depth)))
        rows = [
            self._row(int(t), errors[t - 1], powers, **more) for t in classical.worth_keeping(errors, powers)
        ]
        self.folder.add_points(rows)
        if self.settings.network.kind not in ("ista", "fista"):  # those have a λ per sample and no network
            self._save_network(problem, net, params)
        self.folder.write_json(ITERATIONS, {"iterations": len(errors), "limit": self.depth})
        for row in rows:
            if row["layer"] <= 30 or row is rows[-1]:
                self._report_point(row)

    def _train(self, problem: Problem, folder_of: Callable[[Curve], CurveFolder]) -> None:
        net = self._network()
        engine = engine_of(self.settings, net, self.stages[0].check_every)
        params, spent, progress = net.start(problem, self.depth), 0.0, Progress()
        if self.done:
            arrays, meta = self._state_after(self.done - 1)
            params = net.fill(params, unflatten(net, arrays))
            spent, progress = meta["seconds"], Progress(meta["steps"], meta["rescues"])
        started = time.monotonic() - spent
        seed_key = jax.random.key(self.settings.seed)
        stages = run_plan(
            engine,
            problem,
            params,
            self.stages,
            self.done,
            seed_key,
            self._tied(folder_of),
            self.report,
            progress,
        )
        for number, stage, params, best_db in stages:
            seconds = time.monotonic() - started
            if stage.closes:
                errors, powers = engine.errors(problem, params, *problem.test, stage.depth)
                errors = np.asarray(errors)
                inner = [float(to_db(e.sum() / np.sum(powers))) for e in errors[: stage.depth]]
                meta = {"inner_nmse_db": inner, "selection_nmse_db": best_db}
            else:
                meta = {}
            state = {
                **meta, "stage": number, "name": stage.name, "depth": stage.depth, "seconds": seconds,
                "steps": progress.steps, "rescues": progress.rescues,
            }  # fmt: skip
            self.folder.save(
                depth_name(stage.depth) if stage.closes else RESUME, flatten(net, params, stage.depth), state
            )
            if stage is self.stages[-1]:
                self.folder.delete(RESUME)
                self._save_network(problem, net, params)
            if stage.closes:
                # Last, because a run may be stopped anywhere: what has its point lacks nothing.
                self._add_point(
                    stage.depth if self.settings.network.depth else None, errors[stage.depth - 1], powers, steps=progress.steps, seconds=seconds,
                    parameters=net.count(params, stage.depth), selection_nmse_db=best_db, rescued=progress.rescues,
                )  # fmt: skip

    # -- what is stored

    def _add_point(self, layer: int | None, errors: np.ndarray, powers: np.ndarray, **more: Any) -> None:
        row = self._row(layer, errors, powers, **more)
        self.folder.add_point(row)
        self._report_point(row)

    def _row(self, layer: int | None, errors: np.ndarray, powers: np.ndarray, **more: Any) -> dict[str, Any]:
        settings = self.settings
        statistics: dict[str, Any] = nmse(errors, powers, getattr(settings.problem, "antennas", 1))
        network = settings.network
        named = network.depth is not None
        statistics["zero_samples"] = statistics["zero_samples"] or None
        return {
            "curve": self.curve.slug, "network": network.name, "shrinkage": settings.shrinkage.family if named else None,
            "tied": network.tied if named and settings.training.kind != "none" else None, "layer": layer, **statistics,
            "problem": settings.problem.name, "instance": settings.problem.instance, "seed": settings.seed,
            "test_samples": len(powers), "embedding": getattr(settings.problem, "embedding", None), **more,
        }  # fmt: skip

    def _report_point(self, row: Mapping[str, Any]) -> None:
        self.report({
            "event": "point", "layer": row["layer"], "nmse_db": row["nmse_db"], "steps": row["steps"], "seconds": row["seconds"],
        })  # fmt: skip

    def _save_network(self, problem: Problem, net: Network, params: Parameters) -> None:
        depth = net.depth_of(params)
        arrays = {**flatten(net, params, depth), "problem.A": np.asarray(problem.A)}
        self.folder.save("network", arrays, {"depth": depth, "curve": self.curve.slug})

    def _finished_stages(self) -> int:
        """How many stages of the plan are done: one more than the number that the newest whole state carries.

        A depth without its point was stopped between the two; its last stage runs again.
        """
        if self.complete:
            return len(self.stages)
        layers = sorted((row["layer"] for row in self.folder.points() if row["layer"]), reverse=True)
        resumed = self._stage_number(RESUME)
        newest = next((number for t in layers if (number := self._stage_number(depth_name(t)))), 0)
        return min(max(resumed, newest), len(self.stages))

    def _stage_number(self, name: str) -> int:
        loaded = self.folder.load(name)
        return 0 if loaded is None else int(loaded[1]["stage"]) + 1

    def _state_after(self, number: int):
        names = (RESUME, depth_name(self.stages[number].depth))
        for name in names:
            loaded = self.folder.load(name)
            if loaded is not None and loaded[1]["stage"] == number:
                return loaded
        raise RuntimeError(f"{self.folder.path}: the state after stage {number + 1} is gone")

    def _tied(self, folder_of: Callable[[Curve], CurveFolder]):
        """A function depth → tied parameters, or None for a network that is tied itself."""
        from onsager_cli.run import tied_twin

        twin = tied_twin(self.curve)
        if twin is None:
            return lambda _: None
        return lambda depth: stored_network(twin.settings, folder_of(twin), depth)[1]

    def _network(self) -> Network:
        return network_of(self.settings)

    def _plan(self) -> list[Stage]:
        net = self._network()
        return plan(self.settings.training, self.depth, net.tied, net.new_leaves)


def network_of(settings: Settings) -> Network:
    """The network that the settings describe."""
    return build_network(settings.network, settings.shrinkage, settings.seed, settings.problem)


def stored_network(settings: Settings, folder: CurveFolder, depth: int) -> tuple[Network, Parameters]:
    """The trained network of `depth` layers. Raises RuntimeError if the folder does not have it whole."""
    net, loaded = network_of(settings), folder.load(depth_name(depth))
    if loaded is None:
        raise RuntimeError(f"{folder.path}: the network of depth {depth} is gone")
    return net, unflatten(net, loaded[0])


def engine_of(settings: Settings, net: Network, chunk: int) -> Engine:
    """The compiled programs for these settings, `chunk` steps to a call."""
    training = settings.training
    if isinstance(training, FastTraining):
        d = training.descent
        return Engine(net, d.batch, chunk, d.optimizer, d.clip, settings.precision)
    batch = 1 if isinstance(training, NoTraining) else training.batch
    return Engine(net, batch, chunk, "adam", None, settings.precision)


def flatten(net: Network, params: Parameters, depth: int) -> dict[str, np.ndarray]:
    """Parameters as they are stored: `B`, `layers.3.theta`, ... of the first `depth` layers."""
    arrays = {}
    for name, leaf in params.items():
        if name in net.layered:
            arrays |= {f"layers.{t}.{name}": np.asarray(leaf[t]) for t in range(depth)}
        else:
            arrays[name] = np.asarray(leaf)
    return arrays


def unflatten(net: Network, arrays: Mapping[str, np.ndarray]) -> Parameters:
    """The inverse of `flatten`: leaves stacked over as many layers as there are."""
    params: dict[str, Any] = {name: jnp.asarray(a) for name, a in arrays.items() if "." not in name}
    for name in net.layered:
        rows = []
        while f"layers.{len(rows)}.{name}" in arrays:
            rows.append(arrays[f"layers.{len(rows)}.{name}"])
        params[name] = jnp.asarray(np.stack(rows))
    return params
