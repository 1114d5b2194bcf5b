"""Training: plans as data, what a stage may change, rescue, bootstrapping, resuming, sharing."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import toy_overrides

from onsager_cli import run
from onsager_cli.config import load_experiment
from onsager_cli.problems import Problem
from onsager_cli.problems import build as build_problem
from onsager_cli.problems.base import with_singular_vectors
from onsager_cli.record import missing
from onsager_cli.results import CurveFolder, Store
from onsager_cli.training import train as train_module
from onsager_cli.training.curve import engine_of, network_of
from onsager_cli.training.fit import Engine
from onsager_cli.training.plan import Stage, plan
from onsager_cli.training.train import DivergedError, Progress, fit, run_plan, selection_db

pytestmark = pytest.mark.usefixtures("quick_compile")

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
        return fit(
            self.engine, self.problem, self.params, stage, jax.random.key(KEY), report, progress or Progress()
        )

    def db(self, params, depth: int) -> float:
        return selection_db(self.engine, self.problem, params, depth)


def setup_of(*overrides: str) -> Setup:
    curve = settings(*overrides, f"network.depth={ROOM}")
    net = network_of(curve)
    problem = with_singular_vectors(build_problem(curve.problem, curve.seed))
    engine = engine_of(curve, net, 10)
    return Setup(engine, problem, net.start(problem, ROOM))


def stage(depth: int = 2, new_only: bool = False, rate: float = 1e-3, steps: int = 20, **more) -> Stage:
    return Stage(
        f"layers 1-{depth}: all", depth, new_only, "keep", rate, rate, rate, steps, check_every=10, **more
    )


@pytest.fixture(scope="module")
def lamp():
    return setup_of("network=lamp", "shrinkage=bg")


@pytest.fixture(scope="module")
def trained(lamp):
    """Three layers from which a high learning rate leads away."""
    params, _ = lamp.fit(stage(3, rate=3e-3, steps=200, cosine=True))
    return dataclasses.replace(lamp, params=params)


def bits(leaf) -> bytes:
    return np.asarray(leaf).tobytes()


class TestStage:
    @pytest.mark.parametrize(
        ("overrides", "new_only", "moves", "stays"),
        [
            # (leaf, layer); None: a leaf that all layers share.
            (["shrinkage=bg"], True, [("theta", 1)], [("B", None), ("theta", 0), ("theta", 2)]),
            (["shrinkage=bg"], False, [("B", None), ("theta", 0), ("theta", 1)], [("theta", 2)]),
            (["shrinkage=bg", "network.tied=false"], True, [("B", 1), ("theta", 1)],
             [("B", 0), ("B", 2), ("theta", 0), ("theta", 2)]),
            (["network=lista", "network.tied=false"], True, [("S", 1), ("theta", 1)],
             [("B", None), ("S", 0), ("S", 2), ("theta", 0), ("theta", 2)]),
            (["network=lista", "network.tied=false"], False, [("B", None), ("S", 1), ("theta", 0), ("theta", 1)],
             [("S", 2), ("theta", 2)]),
        ],
    )  # fmt: skip
    def test_frozen_leaves_do_not_move(self, overrides, new_only, moves, stays):
        """Bit for bit; and what learns does move."""
        setup = setup_of(*overrides)
        before = {name: np.array(leaf) for name, leaf in setup.params.items()}
        # Without a way back to the best weights, so that every movement shows.
        after, _ = setup.fit(stage(2, new_only, rate=1e-4, steps=30))

        def part(params, name, layer):
            return params[name] if layer is None else params[name][layer]

        for name, layer in stays:
            assert bits(part(after, name, layer)) == bits(part(before, name, layer)), (name, layer)
        for name, layer in moves:
            assert bits(part(after, name, layer)) != bits(part(before, name, layer)), (name, layer)

    def test_beta_0_of_lamp_l1_stays(self):
        setup = setup_of("shrinkage=soft")
        after, _ = setup.fit(stage(3, rate=1e-3, steps=30))
        theta = np.asarray(after["theta"])
        assert theta[0, 0] == 1
        assert theta[0, 1] != 1
        assert np.all(theta[1:, 0] != 1)

    def test_parameters_handed_in_are_left_alone(self, lamp):
        """The compiled steps consume their buffers; the caller's are not theirs."""
        before = {name: np.array(leaf) for name, leaf in lamp.params.items()}
        lamp.fit(stage(2))
        for name, leaf in before.items():
            np.testing.assert_array_equal(lamp.params[name], leaf)

    @pytest.mark.parametrize("rate", [1e-3, 1e-2, 0.05, 0.2])
    @pytest.mark.parametrize("depth", [1, 3])
    def test_never_worse_than_its_start_on_the_selection_set(self, trained, rate, depth):
        start, events = trained.db(trained.params, depth), []
        after, best = trained.fit(stage(depth, rate=rate, steps=50), events.append)
        assert best <= start
        assert trained.db(after, depth) == best
        if (depth, rate) == (3, 1e-2):  # the test is about this: every look at the selection set was worse
            assert min(event["nmse_db"] for event in events) > start
            assert all(bits(after[name]) == bits(trained.params[name]) for name in after)

    def test_learns(self, lamp):
        """Not only not worse: some steps at a sensible rate gain a decibel at the first layer."""
        _, best = lamp.fit(stage(1, rate=3e-3, steps=200, cosine=True))
        assert best < lamp.db(lamp.params, 1) - 1

    def test_no_batch_is_used_twice(self, lamp):
        """Neither by two steps nor by two stages."""
        seen = []

        def draw(problem, key, batch):
            jax.debug.callback(lambda key: seen.append(bits(key)), jax.random.key_data(key))
            return lamp.problem.draw(problem, key, batch)

        problem = lamp.problem.replace(draw=draw)
        stages = [stage(1, steps=15), stage(2, steps=20)]
        plan = run_plan(
            lamp.engine,
            problem,
            lamp.params,
            stages,
            0,
            jax.random.key(KEY),
            lambda depth: None,
            lambda event: None,
            Progress(),
        )
        assert len(list(plan)) == 2
        jax.effects_barrier()
        assert len(set(seen)) == len(seen) == 35

    def test_a_new_layer_starts_from_the_one_before(self, trained):
        grow = dataclasses.replace(stage(2, rate=0.0, steps=1), begin="grow")
        ((_, _, params, _),) = run_plan(
            trained.engine, trained.problem, trained.params, [grow], 0, jax.random.key(KEY),
            lambda depth: None, lambda event: None, Progress(),
        )  # fmt: skip
        assert bits(params["theta"][1]) == bits(trained.params["theta"][0])
        assert bits(params["theta"][1]) != bits(trained.params["theta"][1])

    def test_same_key_same_bits(self, lamp):
        one, other = (lamp.fit(stage(2)) for _ in range(2))
        assert one[1] == other[1]
        assert all(bits(one[0][name]) == bits(other[0][name]) for name in one[0])

    def test_steps_are_exactly_those_asked_for(self, lamp):
        """Also where the last call has fewer of them than the others."""
        progress, events = Progress(), []
        lamp.fit(stage(2, steps=25), events.append, progress)
        assert [event["step"] for event in events] == [10, 20, 25]
        assert progress.steps == 25

    def test_patience(self, lamp):
        """Without progress a stage ends after so many checks; a learning rate of zero makes none."""
        progress, events = Progress(), []
        after, best = lamp.fit(stage(2, rate=0.0, steps=1000, patience=4), events.append, progress)
        assert progress.steps == 4 * 10
        assert [event["step"] for event in events if event["event"] == "eval"] == [10, 20, 30, 40]
        assert best == lamp.db(lamp.params, 2)
        assert all(bits(after[name]) == bits(lamp.params[name]) for name in after)


class TestDivergence:
    def test_rescued(self, lamp, monkeypatch):
        """Halving an absurd learning rate often enough ends in training, from the best weights."""
        monkeypatch.setattr(train_module, "MAX_RESCUES", 60)
        progress, events = Progress(), []
        after, best = lamp.fit(stage(2, rate=1e3, steps=500), events.append, progress)
        warnings = [event for event in events if event["event"] == "warning"]
        assert progress.rescues == len(warnings) > 0
        assert all("diverged" in event["message"] for event in warnings)
        assert best == lamp.db(after, 2) <= lamp.db(lamp.params, 2)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after))
        assert progress.steps == 500

    def test_gives_up_with_a_named_error(self, lamp):
        events = []
        with pytest.raises(DivergedError, match=r"layers 1-2: all: still diverging at a learning rate of "):
            lamp.fit(stage(2, rate=1e30, steps=10_000), events.append)
        assert len(events) == train_module.MAX_RESCUES

    def test_a_start_that_is_not_finite(self, lamp):
        """Nothing can be learned from NaN: said, not trained on."""
        broken = dataclasses.replace(
            lamp, params={**lamp.params, "B": jnp.full_like(lamp.params["B"], jnp.nan)}
        )
        with pytest.raises(DivergedError):
            broken.fit(stage(2, steps=10_000))


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
        asked = {
            key: text for key, text in asked.items() if key.count(".") < 2 and key != "training.steps_new"
        }
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
            "arrays": {
                name: {key: bits(a) for key, a in arrays.items()} for name, (arrays, _) in states.items()
            },
            "meta": {
                name: {k: v for k, v in meta.items() if k != "seconds"} for name, (_, meta) in states.items()
            },
            "points": [{k: v for k, v in row.items() if k != "seconds"} for row in folder.points()],
        }
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Uninterrupted runs, by training: what they store, what they report, and where."""
    runs = {}
    for training in CURVES:
        output, watch = tmp_path_factory.mktemp(training), Watch()
        assert run.train(experiment(output, training=training), watch) == []
        runs[training] = (stored(output), watch, output)
    return runs


def joint(output, depth, *more):
    own = [text for text in toy_overrides() if not text.startswith("network.depth")]
    return load_experiment([*own, f"network.depth={depth}", "training.joint=true", f"output={output}", *more])


class TestCurve:
    def test_what_is_stored(self, whole):
        content, watch, _ = whole["fast"]
        assert len(content) == 2  # the untied curve and its tied twin
        for curve in content.values():
            assert sorted(curve["arrays"]) == ["depth_01", "depth_02", "depth_03", "network"]
            assert [row["layer"] for row in curve["points"]] == [1, 2, 3]
        assert [event["stage"] for event in watch.of("stage")] == [
            *("layer 1: all", "layers 1-2: all", "layers 1-3: all"),
            *("layer 1: all", "layer 2: B, θ", "layers 1-2: all", "layer 3: B, θ", "layers 1-3: all"),
        ]

    def test_tied_comes_before_the_untied_curve_that_needs_it(self, whole):
        _, watch, _ = whole["fast"]
        assert [event["curve"] for event in watch.of("curve")] == ["lamp_tied_bg", "lamp_untied_bg"]

    def test_points_are_of_the_test_set_of_each_depth(self, whole):
        """The point at layer t is the t-layer network's own, evaluated again from what is stored."""
        _, _, output = whole["fast"]
        from onsager_cli.training.curve import unflatten

        for folder in Store(output).curves():
            tied = folder.identity["network"]["tied"]
            curve = settings("shrinkage=bg", f"network.tied={str(tied).lower()}", f"network.depth={ROOM}")
            net, problem = network_of(curve), build_problem(curve.problem, curve.seed)
            engine = engine_of(curve, net, 10)
            for row in folder.points():
                arrays, meta = state_of(folder, f"depth_{row['layer']:02d}")
                params = net.fill(net.start(problem, ROOM), unflatten(net, arrays))
                for samples, expected in (
                    (problem.test, row["nmse_db"]),
                    (problem.selection, row["selection_nmse_db"]),
                ):
                    errors, powers = engine.errors(problem, params, *samples, row["layer"])
                    found = 10 * np.log10(np.sum(errors[row["layer"] - 1]) / np.sum(powers))
                    assert found == pytest.approx(expected, abs=1e-3)
                assert meta["inner_nmse_db"][-1] == pytest.approx(row["nmse_db"], abs=1e-3)
                assert len(meta["inner_nmse_db"]) == row["layer"]

    def test_same_seed_same_bits(self, whole, tmp_path):
        content, _, _ = whole["fast"]
        run.train(experiment(tmp_path), Watch())
        assert stored(tmp_path) == content

    def test_other_seed_other_network(self, whole, tmp_path):
        content, _, _ = whole["fast"]
        run.train(experiment(tmp_path, "seed=1"), Watch())
        arrays = [
            {name: a for curve in c.values() for name, a in curve["arrays"].items()}
            for c in (content, stored(tmp_path))
        ]
        assert not set(arrays[0]["network"].values()) & set(arrays[1]["network"].values())

    def test_trained_once(self, whole):
        content, _, output = whole["fast"]
        written = {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()}
        watch = Watch()
        assert run.train(experiment(output), watch) == []
        assert [event["event"] for event in watch.events] == ["figure", "curve_done", "curve_done"]
        assert all(event["shared"] for event in watch.of("curve_done"))
        assert written == {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()}
        assert stored(output) == content

    def test_a_shallower_request_finds_its_layers(self, whole):
        _, _, output = whole["fast"]
        asked, watch = experiment(output, depth=2), Watch()
        assert run.train(asked, watch) == []
        assert not watch.of("stage")
        assert [row["layer"] for row in run.rows_of(asked)] == [1, 2]

    def test_a_deeper_request_goes_on(self, whole, tmp_path):
        content, complete, _ = whole["fast"]
        first, then = Watch(), Watch()
        run.train(experiment(tmp_path, depth=2), first)
        run.train(experiment(tmp_path), then)
        assert stored(tmp_path) == content
        started = [(event["curve"], event["stage"]) for watch in (first, then) for event in watch.of("stage")]
        assert sorted(started) == sorted((event["curve"], event["stage"]) for event in complete.of("stage"))

    def test_figures_share_a_curve(self, tmp_path):
        """One command trains a curve, a figure takes it, another figure takes it: three names, one training."""
        toy = [*toy_overrides(), f"output={tmp_path}"]
        asked = [
            ["network=lamp", "shrinkage=bg", "problem=gaussian"],
            ["+experiment=quick", "only=[lamp_tied_bg]"],
            ["+experiment=fig10", "only=[lamp_tied_bg]"],
        ]
        stages = []
        for overrides in asked:
            watch = Watch()
            assert run.train(load_experiment([*overrides, *toy]), watch) == []
            stages.append(len(watch.of("stage")))
        assert stages == [3, 0, 0]

    def test_joint_training_has_a_point_at_its_depth_alone(self, tmp_path):
        asked = {depth: joint(tmp_path, depth) for depth in (2, 3)}
        for depth, what in asked.items():
            assert missing(what.curves, []) == [what.curves[0].slug]
            assert run.train(what, lambda _: None) == []
            assert [row["layer"] for row in run.rows_of(what)] == [depth]
        assert asked[2].curves[0].identity() != asked[3].curves[0].identity()
        assert run.tied_twin(joint(tmp_path, 2, "network.tied=false").curves[0]) is None

    def test_untrained_curves_hold_the_textbook_parameters(self, tmp_path):
        overrides = [text for text in toy_overrides() if not text.startswith("training")]
        asked = load_experiment(["network=amp", *overrides, f"output={tmp_path}"])
        run.train(asked, Watch())
        (folder,) = Store(tmp_path).curves()
        arrays, _ = state_of(folder, "network")
        np.testing.assert_array_equal(arrays["B"], arrays["problem.A"].T)
        assert [row["steps"] for row in folder.points()] == [0] * ROOM


class TestStopped:
    """A run that is stopped goes on where it was, and ends with the bits of one that was not."""

    @pytest.mark.parametrize("training", CURVES)
    def test_at_every_event_in_turn(self, whole, tmp_path, training):
        content, complete, _ = whole[training]
        seen, finished, restarts = set(), set(), 0

        def stop_at(event):
            place = (
                event["event"],
                event.get("curve"),
                event.get("stage"),
                event.get("step"),
                event.get("layer"),
            )
            new = place not in seen
            seen.add(place)
            return new and event["event"] != "figure"

        while True:
            watch = Watch(stop_at)
            try:
                lacking = run.train(experiment(tmp_path, training=training), watch)
            except Stopped:
                restarts += 1
            else:
                break
            # No stage that an earlier run has finished is begun again.
            begun = {(event["curve"], event["stage"]) for event in watch.of("stage")}
            assert not begun & finished
            finished |= {(e["curve"], e["stage"]) for e in watch.of("stage")[:-1]}
        assert lacking == []
        assert restarts >= len(complete.of("stage")) + len(complete.of("eval")) + len(complete.of("point"))
        assert stored(tmp_path) == content

    def test_between_the_network_and_its_point(self, whole, tmp_path, monkeypatch):
        """The network of a depth is on disk, its row in the table is not."""
        content, _, _ = whole["fast"]
        add_point, reached = CurveFolder.add_point, set()

        def stop_once(folder, row):
            place = (folder.path.name, row["layer"])
            if place not in reached:
                reached.add(place)
                raise Stopped
            add_point(folder, row)

        monkeypatch.setattr(CurveFolder, "add_point", stop_once)
        for _ in range(2 * ROOM):
            with pytest.raises(Stopped):
                run.train(experiment(tmp_path), Watch())
        assert run.train(experiment(tmp_path), Watch()) == []
        assert stored(tmp_path) == content

    def test_between_the_last_point_and_the_whole_network(self, whole, tmp_path, monkeypatch):
        content, _, _ = whole["fast"]
        save, reached = CurveFolder.save, set()

        def stop_once(folder, name, arrays, meta=None):
            if name == "network" and folder.path.name not in reached:
                reached.add(folder.path.name)
                raise Stopped
            return save(folder, name, arrays, meta)

        monkeypatch.setattr(CurveFolder, "save", stop_once)
        for _ in range(2):
            with pytest.raises(Stopped):
                run.train(experiment(tmp_path), Watch())
        assert run.train(experiment(tmp_path), Watch()) == []
        assert stored(tmp_path) == content


class TestBootstrap:
    """Algorithm 3: an untied network never ends worse than the tied one of its depth, on the selection set."""

    @pytest.mark.parametrize("training", CURVES)
    def test_end_to_end(self, whole, training):
        content, _, _ = whole[training]
        tied, untied = (content[name]["points"] for name in sorted(content))
        assert {row["tied"] for row in tied} == {True}
        for t, (below, above) in enumerate(zip(untied, tied, strict=True)):
            if t:  # at depth 1 the two are the same network
                assert below["selection_nmse_db"] <= above["selection_nmse_db"] + 1e-4

    @pytest.mark.parametrize("better", [True, False])
    @pytest.mark.parametrize("training", CURVES)
    def test_the_better_one_is_kept(self, lamp, training, better):
        """With nothing learned, the untied network is its own start or the tied one, whichever is better."""
        if training == "paper":
            curve = settings(*CURVES["fast"])
            curve = dataclasses.replace(
                curve, training=full_size("training=paper", "training.max_steps=1").training
            )
        else:
            curve = settings(*CURVES["fast"])
        setup = setup_of(*CURVES["fast"])
        trained, _ = lamp.fit(stage(2, rate=3e-3, steps=200, cosine=True))
        tied = trained if better else {**trained, "B": 3 * trained["B"]}
        assert (lamp.db(tied, 2) < setup.db(setup.params, 2)) == better
        stages = [
            dataclasses.replace(s, rate=0.0, theta_rate=0.0, spectral_rate=0.0, steps=1)
            for s in plan(curve.training, 2, False, "B, θ")
        ]
        *_, (_, _, params, best) = run_plan(
            setup.engine, setup.problem, setup.params, stages, 0, jax.random.key(KEY),
            lambda depth: tied, lambda event: None, Progress(),
        )  # fmt: skip
        expected = lamp.db(tied, 2) if better else setup.db(setup.params, 2)
        assert best == pytest.approx(expected, abs=1e-4)
        for layer in range(2):
            source = tied["B"] if better else setup.params["B"][layer]
            np.testing.assert_array_equal(params["B"][layer], source)
