"""Train one curve into its folder: resume, stages, points, and the network at the end."""

import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
import yaml

from onsager_cli.config.experiment import Curve
from onsager_cli.config.settings import BOUNDS, LASSO, FastTraining, NoTraining, Settings
from onsager_cli.errors import DivergedError
from onsager_cli.metrics import nmse, to_db
from onsager_cli.networks.base import Network, Parameters
from onsager_cli.networks.decoupling import Decoupled
from onsager_cli.networks.guards import GUARDS, clipped_divergences, frequent, guard_counts
from onsager_cli.problems import Problem
from onsager_cli.problems import build as build_problem
from onsager_cli.problems.base import check_samples, with_singular_vectors
from onsager_cli.store.arrays import check_shapes
from onsager_cli.store.curves import CurveFolder
from onsager_cli.store.environment import changes, environment
from onsager_cli.theory import bounds, em_vamp, iterate
from onsager_cli.training import checkpoint
from onsager_cli.training.checkpoint import Checkpoint, Progress
from onsager_cli.training.engine import Engine
from onsager_cli.training.loop import Report, run_plan
from onsager_cli.training.networks_on_disk import (
    NETWORK,
    depth_name,
    flatten,
    network_of,
    save_deepest,
    save_network,
    stored_network,
    unflatten,
)
from onsager_cli.training.plan import Stage, plan
from onsager_cli.training.resources import out_of_memory_said

ITERATIONS = "iterations"  # note of an untrained curve: how many there are, and how many were asked for
RESUME = "resume"  # the state after the last finished stage, where that did not end a depth
DIVERGED = "diverged"  # the best weights of a stage that was given up
WORSE_DB = 0.1  # by which a network may end above the one with a layer less, which is said beyond


class CurveTrainer:
    """One curve and its folder. What is stored already is never trained again."""

    def __init__(self, curve: Curve, folder: CurveFolder, report: Report):
        self.curve, self.folder = curve, folder
        self.settings: Settings = curve.settings
        self.depth = self.settings.network.depth or 1
        self._report = report
        self.stages: list[Stage] = [] if self.bound else self._plan()
        self.look()

    def look(self) -> None:
        """Sees what is stored: another process may have trained in the meantime."""
        self.done = self._finished_stages()

    @property
    def bound(self) -> bool:
        return self.settings.network.kind in BOUNDS

    @property
    def untrained(self) -> bool:
        return not self.bound and isinstance(self.settings.training, NoTraining)

    @property
    def has_network(self) -> bool:
        """Whether network.npz belongs to it; ISTA and FISTA have a λ per sample and no network."""
        return not self.bound and self.settings.network.kind not in LASSO

    @property
    def work(self) -> float:
        """Work still to do: layers times steps times samples."""
        left = sum(stage.work for stage in self.stages[self.done :])
        return left * engine_of(self.settings, self._network(), 1).batch if left else 0.0

    @property
    def complete(self) -> bool:
        """Whether every layer asked for has its point, and the network is there; an untrained curve may have settled before."""
        stored = set(self.folder.saved())
        if self.has_network and NETWORK not in stored:
            return False
        if self.untrained:
            note = self.folder.read_json(ITERATIONS) or {}
            made, limit = note.get("iterations"), note.get("limit")
            return isinstance(made, int) and isinstance(limit, int) and (made < limit or self.depth <= limit)
        layers = {row["layer"] for row in self.folder.points()}
        if self.settings.network.depth is None:
            return None in layers
        wanted = {stage.depth for stage in self.stages if stage.closes}
        return all(t in layers and depth_name(t) in stored for t in wanted)

    def report(self, event: Mapping[str, Any]) -> None:
        """Sends an event to whoever watches, and to the folder's log."""
        event = {**event, "curve": self.curve.slug}
        self._report(event)
        self.folder.log({**event, "time": time.time()})

    def train(self, index: int, of: int, folder_of: Callable[[Curve], CurveFolder]) -> None:
        """Trains what is missing. `folder_of` finds the tied network that Algorithm 3 compares with.

        Raises UserError if memory runs out or a file cannot be written, DivergedError with the saved weights named.
        """
        self.folder.write_config(yaml.safe_dump(dataclasses.asdict(self.settings), sort_keys=False))
        self.report({
            "event": "curve", "index": index, "of": of, "work": self.work, "resumed_from": self._resumed_from(),
        })  # fmt: skip
        started = time.monotonic()
        with out_of_memory_said(self.curve):
            problem = build_problem(self.settings.problem, self.settings.seed)
            check_samples(problem)
            self._note_environment(problem)
            if self.bound:
                self._bound(problem)
            elif self.stages:
                self._train(problem, folder_of)
            else:
                self._untrained(problem)
        self.report({"event": "curve_done", "seconds": time.monotonic() - started, "shared": False})

    def _resumed_from(self) -> str | None:
        """Where a stopped training goes on, in words."""
        if self.done < len(self.stages) and (found := checkpoint.stored(self.folder, self.done)) is not None:
            return f"step {found[2]['step']} of {self.stages[self.done].name}"
        return self.stages[self.done - 1].name if self.done else None

    def _note_environment(self, problem: Problem) -> None:
        """Notes with what the curve is made, and says what has changed since it was begun."""
        matrix = hashlib.sha256(np.asarray(problem.A).tobytes()).hexdigest()
        now = {**environment(), "device": jax.devices()[0].device_kind, "matrix": matrix}
        if (before := self.folder.read_json("made")) is not None:
            changed = changes(before, now)
            if changed:
                self.report({
                    "event": "warning",
                    "message": f"was begun with {'; '.join(changed)}; it goes on, and its last digits depend on that",
                })  # fmt: skip
            if begun := before.get("begun_with", before if changed else None):
                now["begun_with"] = begun
        self.folder.write_json("made", now)

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
        net, network, precision = self._network(), self.settings.network, self.settings.precision
        layered = network.kind in ("lvamp_gh", "em_vamp")
        learn = em_vamp.learn if network.kind == "em_vamp" else None
        errors, powers = iterate.run(
            net, problem, self.depth, precision, weight=network.weight, layered=layered, learn=learn
        )
        kept = [int(t) for t in iterate.kept_iterations(errors, powers)]
        seconds, counted = time.monotonic() - started, {}
        if network.kind in ("lamp", "lvamp"):
            counted["nonconverged"] = [iterate.not_converged(errors[t - 1], powers) for t in kept]
        if layered:
            params = iterate.layers(net, problem, self.depth, precision, learn)
        else:
            params = net.start(problem, min(self.depth, iterate.DENSE))
        if isinstance(net, Decoupled):
            layers = params if layered else net.start(problem, len(errors))
            counts = guard_counts(net, problem, layers, problem.test[1], len(errors), precision)
            clipped = clipped_divergences(counts)
            counted["clipped"] = [int(clipped[t - 1]) for t in kept]
        rows = [
            self._row(t, errors[t - 1], powers, steps=0, seconds=seconds, parameters=0,
                      **{name: column[i] for name, column in counted.items()})
            for i, t in enumerate(kept)
        ]  # fmt: skip
        self.folder.add_points(rows)
        if self.has_network:
            depth = net.depth_of(params)
            save_network(self.folder, flatten(net, params, depth), problem.A, depth, self.curve.slug)
        self.folder.write_json(ITERATIONS, {"iterations": len(errors), "limit": self.depth})
        for row in rows:
            if row["layer"] <= 30 or row is rows[-1]:
                self._report_point(row)

    def _train(self, problem: Problem, folder_of: Callable[[Curve], CurveFolder]) -> None:
        net = self._network()
        engine = engine_of(self.settings, net, self.stages[0].check_every)
        if engine.coordinates == "spectral":
            problem = with_singular_vectors(problem)
        params, progress = net.start(problem, self.depth), Progress()
        if self.done:
            arrays, meta = self._state_after(self.done - 1)
            params = self._filled(net, params, arrays, self.stages[self.done - 1].depth)
            progress = Progress(meta["steps"], meta["rescues"], meta["seconds"])
            stage = self.stages[self.done - 1]
            if stage.closes and stage.depth not in {row["layer"] for row in self.folder.points()}:
                errors, powers = self._errors(engine, problem, params, stage.depth)
                self._close(net, problem, params, stage, meta, errors[-1], powers)
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
            lambda number: Checkpoint(self.folder, number, progress),
        )
        try:
            self._follow(stages, engine, problem, progress)
            if NETWORK not in self.folder.saved():
                save_deepest(self.folder, problem.A, self.curve.slug)
        except DivergedError as error:
            path = self.folder.save(DIVERGED, flatten(net, error.best, error.depth), {"depth": error.depth})
            raise DivergedError(
                f"{self.curve.slug}: {error}; the best weights are in {path}", error.best, error.depth
            ) from error

    def _follow(self, stages: Iterator, engine: Engine, problem: Problem, progress: Progress) -> None:
        """Stores what each stage of `run_plan` ends with, and the point where it closes a depth."""
        for number, stage, params, best_db in stages:
            state = {
                "stage": number, "name": stage.name, "depth": stage.depth, "seconds": progress.seconds,
                "steps": progress.steps, "rescues": progress.rescues, "selection_nmse_db": best_db,
            }  # fmt: skip
            arrays = flatten(engine.net, params, stage.depth)
            if not stage.closes:
                self.folder.save(RESUME, arrays, state)
                checkpoint.clear(self.folder)
                continue
            self._compare(stage, best_db)
            errors, powers = self._errors(engine, problem, params, stage.depth)
            state["guards"] = self._guards(engine, problem, params, stage)
            state["inner_nmse_db"] = [float(to_db(e.sum() / np.sum(powers))) for e in errors]
            self.folder.save(depth_name(stage.depth), arrays, state)
            self._close(engine.net, problem, params, stage, state, errors[-1], powers)

    def _close(
        self,
        net: Network,
        problem: Problem,
        params: Parameters,
        stage: Stage,
        state: Mapping[str, Any],
        errors: np.ndarray,
        powers: np.ndarray,
    ) -> None:
        """What follows when the network of a depth is stored; a run may be stopped anywhere in between."""
        checkpoint.clear(self.folder)
        if stage is self.stages[-1]:
            # Beyond the plan it is of a deeper network, stopped on its way.
            if self._stages_until(RESUME) <= len(self.stages):
                self.folder.delete(RESUME)
            save_deepest(self.folder, problem.A, self.curve.slug)
        # Last, so that what has its point lacks nothing.
        self._add_point(
            stage.depth if self.settings.network.depth else None, errors, powers, steps=state["steps"], seconds=state["seconds"],
            parameters=net.count(params, stage.depth), selection_nmse_db=state["selection_nmse_db"],
            rescued=state["rescues"],
        )  # fmt: skip

    @staticmethod
    def _errors(
        engine: Engine, problem: Problem, params: Parameters, depth: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """‖x̂_t - x‖² on the test set after each of `depth` layers, (depth, L), and ‖x‖², (L,)."""
        errors, powers = engine.errors(problem, params, *problem.test, depth)
        return np.asarray(errors)[:depth], np.asarray(powers)

    def _compare(self, stage: Stage, best_db: float) -> None:
        """Says where a network ends above the one with a layer less: its schedule is not enough, or wrong for it."""
        before_db = {row["layer"]: row.get("selection_nmse_db") for row in self.folder.points()}.get(
            stage.depth - 1
        )
        if before_db is not None and best_db > before_db + WORSE_DB:
            layers = f"{stage.depth - 1} layer{'s' if stage.depth > 2 else ''}"
            message = f"{stage.name}: ends at {best_db:.2f} dB on the selection set, above the {before_db:.2f} dB of {layers}"
            self.report({"event": "warning", "message": message})

    def _guards(self, engine: Engine, problem: Problem, params: Parameters, stage: Stage) -> dict[str, int]:
        """How often the network of a stage's end met its guards on the test set; said where that is not rare."""
        y = problem.test[1]
        counts = np.asarray(guard_counts(engine.net, problem, params, y, stage.depth, engine.precision))
        if met := frequent(counts, stage.depth, y.shape[1]):
            self.report({"event": "warning", "message": f"{stage.name}: {'; '.join(met)}"})
        bounded = engine.net.family.at_bound(np.asarray(params["theta"])[: stage.depth])
        return {**dict(zip(GUARDS, counts.sum(axis=0).tolist(), strict=True)), "θ at its bound": bounded}

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

    def _finished_stages(self) -> int:
        """How many stages of the plan are done.

        A depth counts if its network is there and whole, and with its point those of the depths before it.
        """
        if self.complete:
            return len(self.stages)
        layers, done = {row["layer"] for row in self.folder.points()}, 0
        for depth in (stage.depth for stage in self.stages if stage.closes):
            finished = self._stages_until(depth_name(depth))
            if not finished:
                resumed = self._stages_until(RESUME)  # beyond the plan: of a deeper network
                begun = done < resumed <= len(self.stages) and self.stages[resumed - 1].depth == depth
                return resumed if begun else done
            done = finished
            if depth not in layers:
                return done  # stopped between the network of this depth and its point
        return done

    def _stages_until(self, name: str) -> int:
        """How many stages led to the saved state of this name; 0 if it is not there or damaged."""
        loaded = self.folder.load(name)
        return 0 if loaded is None else int(loaded[1].get("stage", -1)) + 1

    def _state_after(self, number: int):
        for name in (RESUME, depth_name(self.stages[number].depth)):
            loaded = self.folder.load(name)
            if loaded is not None and loaded[1].get("stage") == number:
                return loaded
        raise RuntimeError(f"{self.folder.path}: the state after stage {number + 1} is gone")

    def _filled(
        self, net: Network, params: Parameters, arrays: Mapping[str, np.ndarray], depth: int
    ) -> Parameters:
        """`params` with the stored ones of `depth` layers. Raises UserError where their shapes do not fit."""
        expected = {name: array.shape for name, array in flatten(net, params, depth).items()}
        check_shapes(arrays, expected, self.folder.path)
        return net.fill(params, unflatten(net, arrays))

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


def engine_of(settings: Settings, net: Network, chunk: int) -> Engine:
    """The compiled programs for these settings, `chunk` steps to a call."""
    training = settings.training
    if isinstance(training, FastTraining):
        d = training.descent
        most = max(d.emphasis) if set(d.emphasis) != {1} else None
        return Engine(net, d.batch, chunk, d.optimizers[-1], d.coordinates, settings.precision, most)
    batch = 1 if isinstance(training, NoTraining) else training.batch
    return Engine(net, batch, chunk, "adam", "entries", settings.precision)
