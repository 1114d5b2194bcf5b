"""Trains the network of one curve in its folder: resume, stages, points, and the network at the end."""

from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np

from onsager_cli.errors import DivergedError
from onsager_cli.kinds.settings import Settings
from onsager_cli.metrics import to_db
from onsager_cli.networks.base import Network, Parameters
from onsager_cli.networks.guards import GUARDS, frequent, guard_counts
from onsager_cli.problems import Problem
from onsager_cli.problems.base import Samples, with_singular_vectors
from onsager_cli.store.arrays import check_shapes
from onsager_cli.store.curves import CurveFolder, Json
from onsager_cli.store.tables import OPTIONAL
from onsager_cli.training import checkpoint, networks_on_disk
from onsager_cli.training.checkpoint import Checkpoint, Progress
from onsager_cli.training.curve import Maker
from onsager_cli.training.engine import Engine, engine_of
from onsager_cli.training.growth import on_enough_samples
from onsager_cli.training.loop import Report, rounded_up, run_plan
from onsager_cli.training.networks_on_disk import (
    NETWORK,
    depth_name,
    flatten,
    network_of,
    save_deepest,
    stored_network,
    unflatten,
)
from onsager_cli.training.plan import Stage, plan
from onsager_cli.training.together import Meeting, meeting

RESUME = "resume"  # the state after the last finished stage, where that did not end a depth
DIVERGED = "diverged"  # the best weights of a stage that was given up
TRAINING_PAIRS = 4000  # recorded ones on which a network of each depth is evaluated
OVERFIT_DB = 0.5  # onsager warns if selection pairs are further above training pairs
WORSE_DB = 0.1  # a network that ends further above the one with a layer less is worth a warning

Tied = Callable[[], tuple[Settings, CurveFolder] | None]
"""The tied network that an untied one is compared with (Algorithm 3), and where it is stored."""


class NetworkTrainer(Maker):
    """A network that learns, stage by stage."""

    def __init__(self, slug: str, settings: Settings, folder: CurveFolder, report: Report, tied: Tied = lambda: None):
        super().__init__(slug, settings, folder, report)
        self._tied = tied
        net = network_of(settings)
        self.stages = plan(settings.training, settings.depth, net.tied, net.new_leaves)
        self.look()

    def look(self) -> None:
        self.done = self._finished_stages()

    @property
    def work(self) -> float:  # type: ignore[override]
        """Work still to do: layers times steps times samples."""
        left = sum(stage.work for stage in self.stages[self.done :])
        return left * self.settings.training.batch_size if left else 0.0

    @property
    def complete(self) -> bool:
        """Whether every layer asked for has its point, and the network is there."""
        stored = set(self.folder.saved())
        layers = {row["layer"] for row in self.folder.points()}
        if self.settings.network.depth is None:
            return None in layers and NETWORK in stored
        wanted = {stage.depth for stage in self.stages if stage.closes}
        return NETWORK in stored and all(t in layers and depth_name(t) in stored for t in wanted)

    @property
    def resumed_from(self) -> str | None:
        if self.done < len(self.stages) and (found := checkpoint.stored(self.folder, self.done)) is not None:
            return f"step {found[2]['step']} of {self.stages[self.done].name}"
        return self.stages[self.done - 1].name if self.done else None

    def make(self, problem: Problem) -> None:
        net = network_of(self.settings)
        engine = meeting(engine_of(net, self.settings, self.stages[0].check_every))
        if engine.coordinates != "entries":
            problem = with_singular_vectors(problem)
        layers = self.settings.depth if net.tied else rounded_up(self.settings.depth)
        params, progress, begun = net.start(problem, layers), Progress(), 0
        if self.settings.network.start is not None:
            params, begun = networks_on_disk.begun(net, params, self.settings.network.start)
        if self.done:
            params, progress = self._restored(engine, problem, params)
        try:
            self._follow(self._run(engine, problem, params, progress, begun), engine, problem, progress)
            if NETWORK not in self.folder.saved():
                save_deepest(self.folder, problem, self.slug)
        except DivergedError as error:
            if error.best is None:  # the test set alone: the network is stored
                raise
            path = self.folder.save(DIVERGED, flatten(net, error.best, error.depth), {"depth": error.depth})
            raise DivergedError(
                f"{self.slug}: {error}; the best weights are in {path}", error.best, error.depth
            ) from error

    def _run(
        self, engine: Engine | Meeting, problem: Problem, params: Parameters, progress: Progress, begun: int
    ) -> Iterator[tuple[int, Stage, Parameters, float]]:
        """What each stage that is left ends with: number, stage, parameters, NMSE on the selection set (dB).

        The first `begun` layers have a start of their own.
        """
        return run_plan(
            engine, problem, params, self.stages, self.done, jax.random.key(self.settings.seed), self._tied_parameters(),
            self.report, progress, lambda number: Checkpoint(self.folder, number, progress), self._ended, begun,
        )  # fmt: skip

    def _restored(self, engine: Engine | Meeting, problem: Problem, params: Parameters) -> tuple[Parameters, Progress]:
        """The parameters and the progress after the finished stages; adds the point that the last one may lack."""
        stage = self.stages[self.done - 1]
        arrays, meta = self._state_after(self.done - 1)
        params = self._filled(engine.net, params, arrays, stage.depth)
        if stage.closes and stage.depth not in {row["layer"] for row in self.folder.points()}:
            errors, powers = errors_on_test_set(self.settings, engine, problem, params, stage.depth)
            self._close(engine.net, problem, params, stage, meta, errors[-1], powers)
        return params, Progress(meta["steps"], meta["rescues"], meta["seconds"])

    def _follow(
        self,
        stages: Iterator[tuple[int, Stage, Parameters, float]],
        engine: Engine | Meeting,
        problem: Problem,
        progress: Progress,
    ) -> None:
        """Store what each stage of `run_plan` ends with, and the point where it closes a depth."""
        for number, stage, params, best_db in stages:
            state: Json = {
                "stage": number, "name": stage.name, "depth": stage.depth, "seconds": progress.seconds,
                "steps": progress.steps, "rescues": progress.rescues, "selection_nmse_db": best_db,
            }  # fmt: skip
            arrays = flatten(engine.net, params, stage.depth)
            if not stage.closes:
                self.folder.save(RESUME, arrays, state)
                checkpoint.clear(self.folder)
                continue
            self._compare(stage, best_db)
            if (training_db := nmse_on_training_pairs(engine, problem, params, stage.depth)) is not None:
                state["training_nmse_db"] = training_db
                if found := overfitting(stage, training_db, best_db):
                    self.report({"event": "warning", "message": found})
            errors, powers = errors_on_test_set(self.settings, engine, problem, params, stage.depth)
            state["guards"] = met_guards(engine, problem, params, stage, self.report)
            state["inner_nmse_db"] = [float(to_db(e.sum() / np.sum(powers))) for e in errors]
            self.folder.save(depth_name(stage.depth), arrays, state)
            self._close(engine.net, problem, params, stage, state, errors[-1], powers)

    def _close(
        self,
        net: Network,
        problem: Problem,
        params: Parameters,
        stage: Stage,
        state: Json,
        errors: np.ndarray,
        powers: np.ndarray,
    ) -> None:
        """What follows when the network of a depth is stored; a run may be stopped anywhere in between."""
        checkpoint.clear(self.folder)
        if stage is self.stages[-1]:
            # Beyond the plan it is of a deeper network, stopped on its way.
            if self._stages_until(RESUME) <= len(self.stages):
                self.folder.delete(RESUME)
            save_deepest(self.folder, problem, self.slug)
        # Last, so that what has its point lacks nothing.
        self.add_point(
            stage.depth if self.settings.network.depth else None, errors, powers, steps=state["steps"],
            seconds=state["seconds"], parameters=net.count(params, stage.depth),
            selection_nmse_db=state["selection_nmse_db"], rescued=state["rescues"],
            **{name: state[name] for name in OPTIONAL if name in state},
        )  # fmt: skip

    def _compare(self, stage: Stage, best_db: float) -> None:
        """Warn where a network ends above the one with a layer less: its schedule is too short, or wrong for it."""
        before_db = self._ended(stage.depth - 1)
        if before_db is not None and best_db > before_db + WORSE_DB:
            layers = f"{stage.depth - 1} layer{'s' if stage.depth > 2 else ''}"
            message = f"{stage.name}: worse than {layers} on the selection set ({best_db:.2f} against {before_db:.2f} dB): raise the steps (training.NETWORK.steps)"
            self.report({"event": "warning", "message": message})

    def _ended(self, depth: int) -> float | None:
        """NMSE (dB) on the selection set of the stored network of this depth; None without one."""
        return {row["layer"]: row.get("selection_nmse_db") for row in self.folder.points()}.get(depth)

    # -- what is stored

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

    def _state_after(self, number: int) -> tuple[dict[str, np.ndarray], Json]:
        for name in (RESUME, depth_name(self.stages[number].depth)):
            loaded = self.folder.load(name)
            if loaded is not None and loaded[1].get("stage") == number:
                return loaded
        raise RuntimeError(f"{self.folder.path}: the state after stage {number + 1} is missing")

    def _filled(self, net: Network, params: Parameters, arrays: Mapping[str, np.ndarray], depth: int) -> Parameters:
        """`params` with the stored ones of `depth` layers. Raises UserError where their shapes do not fit."""
        expected = {name: array.shape for name, array in flatten(net, params, depth).items()}
        check_shapes(arrays, expected, self.folder.path)
        return net.fill(params, unflatten(net, arrays))

    def _tied_parameters(self) -> Callable[[int], Parameters | None]:
        """A function depth → tied parameters, or None for a network that has no tied twin."""
        if (twin := self._tied()) is None:
            return lambda _: None
        settings, folder = twin
        return lambda depth: stored_network(settings, folder, depth)[1]


def met_guards(
    engine: Engine | Meeting, problem: Problem, params: Parameters, stage: Stage, report: Report
) -> dict[str, int]:
    """How often the network of a stage's end met its guards on the test set; warns where that is not rare."""
    y = problem.test[1]
    counts = np.asarray(guard_counts(engine.net, problem, params, y, stage.depth, engine.precision))
    if found := frequent(counts, stage.depth, y.shape[1]):
        report({"event": "warning", "message": f"{stage.name}: {'; '.join(found)}"})
    bounded = engine.net.family.at_bound(np.asarray(params["theta"])[: stage.depth])
    return {**dict(zip(GUARDS, counts.sum(axis=0).tolist(), strict=True)), "θ at its bound": bounded}


def nmse_on_training_pairs(engine: Engine | Meeting, problem: Problem, params: Parameters, depth: int) -> float | None:
    """NMSE (dB) on recorded training pairs; None where training samples are drawn."""
    if (pairs := problem.training_set(TRAINING_PAIRS)) is None:
        return None
    errors, powers = engine.errors(problem, params, *pairs, depth)
    return float(to_db(float(np.sum(np.asarray(errors)[depth - 1])) / float(np.sum(np.asarray(powers)))))


def overfitting(stage: Stage, training_db: float, selection_db: float) -> str | None:
    """What to say of a network that fits its training pairs far better than the selection pairs, else None."""
    if selection_db <= training_db + OVERFIT_DB:
        return None
    found = f"overfitting, {training_db:.1f} dB on training pairs and {selection_db:.1f} dB on selection pairs"
    return f"{stage.name.partition(':')[0]}: {found}: use more pairs, or learn fewer parameters (network.learn)"


def errors_on_test_set(
    settings: Settings, engine: Engine | Meeting, problem: Problem, params: Parameters, depth: int
) -> tuple[np.ndarray, np.ndarray]:
    """‖x̂_t - x‖² on enough test samples after each of `depth` layers, (depth, L), and ‖x‖², (L,)."""

    def evaluate(test: Samples) -> tuple[np.ndarray, np.ndarray]:
        errors, powers = engine.errors(problem, params, *test, depth)
        return np.asarray(errors)[:depth], np.asarray(powers)

    return on_enough_samples(settings, problem, evaluate)
