"""Makes one curve in its folder: a bound, an algorithm without training, or a network that is trained."""

import math
import time
from abc import ABC, abstractmethod
from dataclasses import replace

import numpy as np

from onsager_cli.errors import DivergedError, UserError
from onsager_cli.kinds.records import NetworkKind
from onsager_cli.kinds.registry import implementation
from onsager_cli.kinds.settings import AUTO_DAMPING, Settings
from onsager_cli.networks import Network
from onsager_cli.networks.decoupling import Decoupled
from onsager_cli.networks.guards import clipped_divergences, guard_counts
from onsager_cli.problems import Problem, Samples
from onsager_cli.store.curves import CurveFolder
from onsager_cli.store.tables import Point, Row, Value
from onsager_cli.theory import damping, iterate
from onsager_cli.training.growth import Evaluate, on_enough_samples, with_test
from onsager_cli.training.loop import OVERFLOWS, Report
from onsager_cli.training.networks_on_disk import NETWORK, flatten, network_of, save_network
from onsager_cli.training.points import event_of, row_of

ITERATIONS = "iterations"  # note of an untrained curve: how many there are, and how many were asked for
REPORTED = 30  # points of an untrained curve that are reported one by one
WORSE_DB = 1.0  # an algorithm that ends further above its best iteration is worth a warning
UNLOGGED = ("step", "compiling")  # events for whoever watches
COMMON = 0.1  # a mean of the columns with this share of ‖A‖_F² is named as a likely cause


class Maker(ABC):
    """One curve and its folder. What is stored already is never made again.

    `work` is what is still to do, in layers times steps times samples; 0 for what is not trained.
    """

    work = 0.0

    def __init__(self, slug: str, settings: Settings, folder: CurveFolder, report: Report):
        self.slug, self.settings, self.folder = slug, settings, folder
        self._report = report

    @property
    @abstractmethod
    def complete(self) -> bool:
        """Whether everything that is asked for is stored."""

    @abstractmethod
    def make(self, problem: Problem) -> None:
        """Make what is missing.

        Raises UserError for a file that cannot be written, DivergedError for a training that is given up and for an
        NMSE that is not a number.
        """

    def look(self) -> None:  # noqa: B027
        """Look at what is stored again: another process may have made more of it."""

    @property
    def resumed_from(self) -> str | None:
        """Where a stopped training resumes, in words."""
        return None

    def report(self, event: Point) -> None:
        """Send an event to whoever watches, and to the folder's log."""
        event = {**event, "curve": self.slug}
        self._report(event)
        if event["event"] not in UNLOGGED:
            self.folder.log({**event, "time": time.time()})

    def row(self, layer: int | None, errors: np.ndarray, powers: np.ndarray, **more: Value) -> Row:
        """The row of a point of this curve. Raises DivergedError if its NMSE is infinite or no number."""
        row = row_of(self.slug, self.settings, layer, errors, powers, **more)
        if not row["nmse_db"] < math.inf:
            where = "" if layer is None else f", layer {layer}"
            message = f"{self.slug}{where}: {OVERFLOWS} (NMSE {row['nmse_db']} dB on the test set)"
            raise DivergedError(message, None, layer or 1)
        return row

    def add_point(self, layer: int | None, errors: np.ndarray, powers: np.ndarray, **more: Value) -> None:
        """Store a point and report it."""
        row = self.row(layer, errors, powers, **more)
        self.folder.add_point(row)
        self.report(event_of(row))

    def judge(self, problem: Problem) -> None:
        """Warn if the curve ends worse than x̂ = 0, or if an algorithm ends far above its best iteration."""
        points = [row for row in self.folder.points() if (row["layer"] or 0) <= self.settings.depth]
        best, last = min(points, key=lambda row: row["nmse_db"]), points[-1]
        if last["nmse_db"] > 0.005:  # as it is shown
            found = f"ends at {last['nmse_db']:.2f} dB, worse than x̂ = 0 (0 dB)"
        elif not self.settings.trained and last["nmse_db"] > best["nmse_db"] + WORSE_DB:
            found = f"ends at {last['nmse_db']:.2f} dB, above the {best['nmse_db']:.2f} dB of iteration {best['layer']}"
        else:
            return
        self.report({"event": "warning", "message": "; ".join([found, *self._advice(problem)])})

    def _advice(self, problem: Problem) -> list[str]:
        """What a curve that is worse than nothing may lack."""
        if self.settings.trained:
            return ["more steps or lower learning rates may help (training.NETWORK.steps and rates)"]
        found = [self.settings.network.record.advice] if self.settings.network.record.advice else []
        A = np.asarray(problem.A)
        share = A.shape[1] * np.sum(np.abs(np.mean(A, axis=1)) ** 2) / np.sum(np.abs(A) ** 2)
        if self.settings.network.record.diverges and share > COMMON:
            found.append(f"the mean of A's columns has {share:.0%} of ‖A‖_F²")
        return found


class Bound(Maker):
    """One estimate without layers."""

    @property
    def complete(self) -> bool:
        return any(row["layer"] is None for row in self.folder.points())

    def make(self, problem: Problem) -> None:
        started, record = time.monotonic(), self.settings.network.record
        if record.told and problem.training_set(1) is not None and np.all(np.asarray(problem.test.x) != 0):
            raise UserError(f"{self.slug} needs the support of x, but no recorded x is zero: use network=lmmse")
        errors, powers = on_enough_samples(self.settings, problem, errors_of_bound(record, problem))
        self.add_point(None, errors[0], powers, steps=0, seconds=time.monotonic() - started, parameters=0)


def errors_of_bound(record: NetworkKind, problem: Problem) -> Evaluate:
    """Samples → ‖x̂ - x‖² of the bound's one estimate, (1, L), and ‖x‖², (L,)."""
    bound = implementation(record)

    def evaluate(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
        x, y = map(np.asarray, samples)
        errors, powers = (np.asarray(problem.squared_norm(a)) for a in (bound(problem, x, y) - x, x))
        return errors[None], powers

    return evaluate


class Algorithm(Maker):
    """Iterations of an algorithm: a network with the textbook's parameters."""

    @property
    def complete(self) -> bool:
        if not self.settings.network.record.lasso and NETWORK not in self.folder.saved():
            return False
        note = self.folder.read_json(ITERATIONS) or {}
        made, limit = note.get("iterations"), note.get("limit")
        return isinstance(made, int) and isinstance(limit, int) and (made < limit or self.settings.depth <= limit)

    def make(self, problem: Problem) -> None:
        started, asked, precision = time.monotonic(), self.settings.depth, self.settings.precision
        net, record = network_of(self.settings), self.settings.network.record
        how = how_to_iterate(self.settings)
        net = damping.settled(net, problem, asked, precision, **how)

        def evaluate(test: Samples) -> tuple[np.ndarray, np.ndarray]:
            return iterate.run(net, with_test(problem, test), asked, precision, **how)

        try:
            errors, powers = on_enough_samples(self.settings, problem, evaluate)
        except UserError as error:
            raise UserError(f"{self.slug}: {error}") from error
        kept = [int(t) for t in iterate.kept_iterations(errors, powers)]
        seconds, counted = time.monotonic() - started, {}
        if record.diverges:
            counted["nonconverged"] = [iterate.not_converged(errors[t - 1], powers) for t in kept]
        if record.layered:
            params = iterate.layers(net, problem, asked, precision, how.get("learn"))
        else:
            params = net.start(problem, min(asked, iterate.DENSE))
        if isinstance(net, Decoupled):
            layers = params if record.layered else net.start(problem, len(errors))
            counts = guard_counts(net, problem, layers, problem.test[1], len(errors), precision)
            clipped = clipped_divergences(np.asarray(counts))
            counted["clipped"] = [int(clipped[t - 1]) for t in kept]
        rows = [
            self.row(t, errors[t - 1], powers, steps=0, seconds=seconds, parameters=0,
                     **{name: column[i] for name, column in counted.items()})
            for i, t in enumerate(kept)
        ]  # fmt: skip
        self.folder.add_points(rows)
        if not record.lasso:
            depth = len(errors) if record.layered else net.depth_of(params)
            save_network(self.folder, flatten(net, params, depth), problem, depth, self.slug)
        weight = damping.damping_of(net)
        noted = {} if weight is None else {"damping": weight}
        self.folder.write_json(ITERATIONS, {"iterations": len(errors), "limit": asked, **noted})
        for row in rows:
            if row["layer"] <= REPORTED or row is rows[-1]:
                self.report(event_of(row))
        if weight is not None and self.settings.network.damping != weight:  # chosen by `auto`
            message = f"does not converge undamped on this problem: onsager uses network.damping={weight:g}"
            self.report({"event": "warning", "message": message})


def algorithm_of(settings: Settings, folder: CurveFolder) -> Network:
    """The algorithm of an untrained curve, with the damping that was decided when the curve was made."""
    net = network_of(settings)
    if getattr(net, "damping", None) != AUTO_DAMPING:
        return net
    noted = (folder.read_json(ITERATIONS) or {}).get("damping")
    return replace(net, damping=noted)  # type: ignore[call-arg]


def how_to_iterate(settings: Settings) -> iterate.How:
    """What `theory.iterate` has to know of an algorithm: the λ of its LASSO, whether layers differ, what fits them."""
    record = settings.network.record
    learn = implementation(record, record.fit) if record.fit else None
    weight = settings.network.weight if record.lasso else None
    return {"weight": weight, "layered": record.layered, "learn": learn}
