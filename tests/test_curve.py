"""Whole curves: what is stored, resuming, sharing, and Algorithm 3's choice."""

import shutil
from functools import cache
from typing import Any

import numpy as np
import pytest
from conftest import slow, toy_overrides
from toy_training import CURVES, ROOM, Stopped, Watch, experiment, joint, settings, state_of, stored

from onsager_cli import run
from onsager_cli.config.load import load_experiment
from onsager_cli.problems import build as build_problem
from onsager_cli.record.pages import missing
from onsager_cli.store.curves import CurveFolder, Store
from onsager_cli.training.engine import engine_of
from onsager_cli.training.networks_on_disk import network_of

pytestmark = pytest.mark.usefixtures("quick_compile")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A function that makes an uninterrupted run, once for each training: what it stores, what it reports, and where."""

    @cache
    def run_of(training):
        output, watch = tmp_path_factory.mktemp(training), Watch()
        assert run.train(experiment(output, training=training), watch) == []
        return stored(output), watch, output

    return run_of


class TestCurve:
    def test_what_is_stored(self, whole):
        content, watch, _ = whole("fast")
        assert len(content) == 2  # the untied curve and its tied twin
        for curve in content.values():
            assert sorted(curve["arrays"]) == ["depth_01", "depth_02", "depth_03", "network"]
            assert [row["layer"] for row in curve["points"]] == [1, 2, 3]
        assert [event["stage"] for event in watch.of("stage")] == [
            *("layer 1: all", "layers 1-2: all", "layers 1-3: all"),
            *("layer 1: all", "layer 2: B, θ", "layers 1-2: all", "layer 3: B, θ", "layers 1-3: all"),
        ]

    @pytest.mark.slow
    def test_a_layer_that_makes_it_worse_is_said(self, tmp_path):
        """AMP with hardly any training diverges where A is ill-conditioned."""
        rates = (f"training.lamp.{kind}=[1e-9]" for kind in ("rates", "theta_rates", "spectral_rates", "row_rates"))
        toy = [*toy_overrides(steps=1), *rates, "problem.kappa=100", "network=lamp", "shrinkage=soft"]
        run.train(load_experiment([*toy, f"output={tmp_path}"]), watch := Watch())
        said = [event["message"] for event in watch.of("warning")]
        first, second, third = (row["selection_nmse_db"] for row in next(iter(stored(tmp_path).values()))["points"])
        assert first + 0.1 < second < third - 0.1
        assert (
            f"layers 1-2: all: worse than 1 layer on the selection set ({second:.2f} against {first:.2f} dB): raise the steps"
            in said
        )
        assert (
            f"layers 1-3: all: worse than 2 layers on the selection set ({third:.2f} against {second:.2f} dB): raise the steps"
            in said
        )

    def test_tied_comes_before_the_untied_curve_that_needs_it(self, whole):
        _, watch, _ = whole("fast")
        assert [event["curve"] for event in watch.of("curve")] == ["lamp_tied_bg", "lamp_untied_bg"]

    def test_points_are_of_the_test_set_of_each_depth(self, whole):
        """The point at layer t is the t-layer network's own, evaluated again from what is stored."""
        _, _, output = whole("fast")
        from onsager_cli.training.networks_on_disk import unflatten

        for folder in Store(output).curves():
            network: Any = folder.identity["network"]
            tied = network["tied"]
            curve = settings("shrinkage=bg", f"network.tied={str(tied).lower()}", f"network.depth={ROOM}")
            net, problem = network_of(curve), build_problem(curve.problem, curve.seed)
            engine = engine_of(net, curve, 10)
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
        content, _, _ = whole("fast")
        run.train(experiment(tmp_path), Watch())
        assert stored(tmp_path) == content

    def test_other_seed_other_network(self, whole, tmp_path):
        content, _, _ = whole("fast")
        run.train(experiment(tmp_path, "seed=1"), Watch())
        arrays = [
            {name: a for curve in c.values() for name, a in curve["arrays"].items()}
            for c in (content, stored(tmp_path))
        ]
        assert not set(arrays[0]["network"].values()) & set(arrays[1]["network"].values())

    def test_trained_once(self, whole):
        content, _, output = whole("fast")
        written = {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()}
        watch = Watch()
        assert run.train(experiment(output), watch) == []
        assert [event["event"] for event in watch.events] == ["figure", "curve_done", "curve_done"]
        assert all(event["shared"] for event in watch.of("curve_done"))
        assert written == {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()}
        assert stored(output) == content

    def test_a_shallower_request_finds_its_layers(self, whole):
        _, _, output = whole("fast")
        asked, watch = experiment(output, depth=2), Watch()
        assert run.train(asked, watch) == []
        assert not watch.of("stage")
        assert [row["layer"] for row in run.rows_of(asked)] == [1, 2]

    @pytest.mark.slow
    def test_a_deeper_request_goes_on(self, whole, tmp_path):
        content, complete, _ = whole("fast")
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

    @pytest.mark.slow
    def test_joint_training_has_a_point_at_its_depth_alone(self, tmp_path):
        asked = {depth: joint(tmp_path, depth) for depth in (2, 3)}
        for depth, what in asked.items():
            assert missing(what.curves, []) == [what.curves[0].slug]
            assert run.train(what, lambda _: None) == []
            assert [row["layer"] for row in run.rows_of(what)] == [depth]
        assert asked[2].curves[0].identity != asked[3].curves[0].identity
        assert joint(tmp_path, 2, "network.tied=false").curves[0].twin is None

    @pytest.mark.slow
    def test_joint_training_whose_network_is_stored_is_not_repeated(self, tmp_path):
        """Stopped between the network and its point."""
        asked = joint(tmp_path, 2)
        run.train(asked, Watch())
        (folder,) = Store(tmp_path).curves()
        before = folder.points()
        for name in ("points.csv", "network.npz"):
            (folder.path / name).unlink()
        watch = Watch()
        assert run.train(asked, watch) == []
        assert watch.of("stage") == []
        assert folder.points() == before

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

    @pytest.mark.slow
    @pytest.mark.parametrize("training", CURVES)
    def test_at_every_event_in_turn(self, whole, tmp_path, training):
        content, complete, _ = whole(training)
        seen, finished, restarts = set(), set(), 0

        def stop_at(event):
            place = (event["event"], event.get("curve"), event.get("stage"), event.get("step"), event.get("layer"))
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

    @pytest.mark.slow
    def test_between_the_network_and_its_point(self, whole, tmp_path, monkeypatch):
        """The network of a depth is on disk, its row in the table is not."""
        content, _, _ = whole("fast")
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
        content, _, _ = whole("fast")
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


class TestNetworkFile:
    """network.npz is the deepest network that is stored, whatever was asked for, stopped or cleaned away."""

    @pytest.fixture
    def copy(self, whole, tmp_path):
        """A store that holds a whole run, its content, and the folder of the untied curve."""
        content, _, output = whole("fast")
        shutil.copytree(output, tmp_path / "copy")
        (untied,) = (f for f in Store(tmp_path / "copy").curves() if "untied" in f.path.name)
        return tmp_path / "copy", content, untied

    def test_it_is_made_again(self, copy):
        output, content, untied = copy
        untied.delete("network")
        assert run.train(experiment(output), watch := Watch()) == []
        assert not watch.of("stage")
        assert stored(output) == content

    def test_a_shallower_request_leaves_a_deeper_one_alone(self, copy):
        output, content, untied = copy
        untied.delete("depth_02")
        assert run.train(experiment(output, depth=2), watch := Watch()) == []
        assert watch.of("stage")
        assert stored(output) == content

    def test_a_shallower_request_after_a_deeper_one_was_stopped(self, whole, tmp_path):
        content, _, _ = whole("fast")

        def in_the_last_layer(event):
            return event["event"] == "stage" and event["curve"] == "lamp_untied_bg" and event["depth"] == ROOM

        with pytest.raises(Stopped):
            run.train(experiment(tmp_path), Watch(in_the_last_layer))
        (untied,) = (f for f in Store(tmp_path).curves() if "untied" in f.path.name)
        assert "network" not in untied.saved()
        assert run.train(experiment(tmp_path, depth=ROOM - 1), Watch()) == []
        assert state_of(untied, "network")[1]["depth"] == ROOM - 1
        assert run.train(experiment(tmp_path), Watch()) == []
        assert stored(tmp_path) == content

    def test_what_a_deeper_one_left_behind_is_not_of_a_shallower(self, whole, tmp_path):
        """The new layer of the deepest has learned, a network before it is gone, and a shallower one is asked for."""
        content, _, _ = whole("fast")

        def all_of_the_last(event):
            return (
                event["event"] == "stage" and event["stage"] == f"layers 1-{ROOM}: all" and "untied" in event["curve"]
            )

        with pytest.raises(Stopped):
            run.train(experiment(tmp_path), Watch(all_of_the_last))
        (untied,) = (f for f in Store(tmp_path).curves() if "untied" in f.path.name)
        assert "resume" in untied.saved()
        untied.delete(f"depth_{ROOM - 1:02d}")
        assert run.train(experiment(tmp_path, depth=ROOM - 1), Watch()) == []
        assert run.train(experiment(tmp_path), Watch()) == []
        assert stored(tmp_path) == content


class TestBootstrap:
    """Algorithm 3: an untied network never ends worse than the tied one of its depth, on the selection set."""

    @pytest.mark.parametrize("training", slow(*CURVES, but=("fast",)))
    def test_end_to_end(self, whole, training):
        content, _, _ = whole(training)
        tied, untied = (content[name]["points"] for name in sorted(content))
        assert {row["tied"] for row in tied} == {True}
        for t, (below, above) in enumerate(zip(untied, tied, strict=True)):
            if t:  # at depth 1 the two are the same network
                assert below["selection_nmse_db"] <= above["selection_nmse_db"] + 1e-4
