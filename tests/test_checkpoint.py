"""Inside a stage: going on with the same bits, damaged checkpoints, full disks, memory that runs out."""

import dataclasses
import errno
import os
import pickle
import time

import jax
import numpy as np
import pytest
from conftest import slow, toy_overrides
from toy_training import Stopped, Watch, bits, setup_of, stage, stored

from onsager_cli import run
from onsager_cli.config.load import load_experiment
from onsager_cli.errors import DivergedError, UserError
from onsager_cli.problems import build as build_problem
from onsager_cli.problems.base import with_singular_vectors
from onsager_cli.store import files
from onsager_cli.store.curves import CurveFolder, Store, StoreWarning
from onsager_cli.training import checkpoint
from onsager_cli.training.checkpoint import NAMES, Checkpoint, Progress, StageState
from onsager_cli.training.engine import engine_of
from onsager_cli.training.loop import fit
from onsager_cli.training.network import NetworkTrainer
from onsager_cli.training.networks_on_disk import network_of

pytestmark = pytest.mark.usefixtures("quick_compile")

TOY = (*toy_overrides(steps=30), "shrinkage=bg", "network.depth=2", "plot.formats=[svg]")


def experiment(output, *overrides: str):
    asked = {text.partition("=")[0]: text for text in (*TOY, *overrides)}
    return load_experiment([*asked.values(), f"output={output}"])


@pytest.fixture
def at_every_offer(monkeypatch):
    """Saves whenever it could, not once a minute."""
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What an uninterrupted run of the toy curve stores."""
    output = tmp_path_factory.mktemp("whole")
    run.train(experiment(output), Watch())
    return stored(output)


def stopped_at(output, number: int, *overrides: str) -> Watch:
    """A run that is stopped at its evaluation of this number (from 1)."""
    evaluations = iter(range(1, 1000))
    watch = Watch(lambda event: event["event"] == "eval" and next(evaluations) == number)
    with pytest.raises(Stopped):
        run.train(experiment(output, *overrides), watch)
    return watch


class TestGoingOn:
    def test_inside_a_stage_with_the_same_bits(self, whole, tmp_path, at_every_offer):
        """Stopped at every evaluation in turn: none of an earlier one is computed again."""
        steps, seen = [10, 20, 30] * 2, []
        for _ in steps:
            watch = stopped_at(tmp_path, 2 if seen else 1)
            seen.append([event["step"] for event in watch.of("eval")])
        # The evaluation at which a run was stopped is the first of the next one.
        assert seen == [[10], [10, 20], [20, 30], [30, 10], [10, 20], [20, 30]]
        last = Watch()
        assert run.train(experiment(tmp_path), last) == []
        (curve,) = last.of("curve")
        assert curve["resumed_from"].endswith("of layers 1-2: all")
        assert stored(tmp_path) == whole

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("network", "depths"),
        [
            ("network=lamp", (2, 3)),
            *slow(
                ("network=lamp", (3, 2)),
                ("network=lista shrinkage=threshold", (1, 3)),
                ("network=lvamp network.init=random", (2, 3)),
                ("network=lamp network.tied=false", (2, 9)),
            ),
        ],
    )
    def test_to_another_depth_with_the_same_bits(self, tmp_path, at_every_offer, network, depths):
        """What is saved inside a stage has as many layers as were asked for then."""
        before, after = ([*network.split(), f"network.depth={depth}"] for depth in depths)
        if "network.tied=false" in before:
            run.train(experiment(tmp_path, *after, "network.tied=true"), Watch())
        stopped_at(tmp_path, 2 if depths[0] == 1 else 5, *before)
        assert run.train(experiment(tmp_path, *after), watch := Watch()) == []
        assert any("step " in str(event["resumed_from"]) for event in watch.of("curve"))
        other = tmp_path / "whole"
        if "network.tied=false" in before:
            run.train(experiment(other, *after, "network.tied=true"), Watch())
        run.train(experiment(other, *after), Watch())
        assert stored(tmp_path) == stored(other)

    def test_with_its_rescues(self, tmp_path, at_every_offer):
        """A halved learning rate, the patience and what was best so far are part of the state."""
        lamp = setup_of("network=lamp", "shrinkage=bg")
        wild = stage(2, rate=2.0, steps=120, patience=9)

        def train(folder, watch):
            progress = Progress()
            keep = None if folder is None else Checkpoint(folder, 0, progress)
            fitted = fit(lamp.engine, lamp.problem, lamp.params, wild, jax.random.key(0), watch, progress, keep)
            return fitted, progress

        (expected, best), progress = train(None, events := Watch())
        assert progress.rescues > 0
        folder, last = CurveFolder(tmp_path / "c", {"a": 1}), len(events.events)
        for number in (2, last // 2, 2):
            count = iter(range(1, 1000))
            with pytest.raises(Stopped):
                train(folder, Watch(lambda _, count=count, number=number: next(count) == number))
        (found, found_best), again = train(folder, Watch())
        assert (again.steps, again.rescues, found_best) == (progress.steps, progress.rescues, best)
        assert all(bits(found[name]) == bits(expected[name]) for name in expected)

    def test_in_its_second_pass(self, tmp_path, at_every_offer):
        """A network above the one with a layer less learns once more; stopped there, it ends with the same bits."""
        lamp = setup_of("network=lamp", "shrinkage=bg")
        twice = stage(2, rate=1e-2, steps=35, again=0.5, cosine=True)

        def train(folder, watch):
            progress = Progress()
            keep = None if folder is None else Checkpoint(folder, 0, progress)
            key = jax.random.key(0)
            return fit(lamp.engine, lamp.problem, lamp.params, twice, key, watch, progress, keep, None, -99.0), progress

        (expected, best), progress = train(None, events := Watch())
        assert progress.steps == 70
        assert [event["step"] for event in events.of("step")] == [10, 20, 30, 35, 40, 50, 60, 70]
        folder = CurveFolder(tmp_path / "c", {"a": 1})
        for step in (20, 50, 60):
            with pytest.raises(Stopped):
                train(folder, Watch(lambda event, step=step: event["event"] == "step" and event["step"] == step))
        (found, found_best), again = train(folder, watch := Watch())
        assert watch.of("step")[0]["step"] > 50
        assert (again.steps, found_best) == (70, best)
        assert all(bits(found[name]) == bits(expected[name]) for name in expected)


class TestDamage:
    @pytest.fixture
    def folder(self, tmp_path, at_every_offer):
        """A curve that was stopped inside its second stage, with two checkpoints of it."""
        stopped_at(tmp_path, 5)
        (folder,) = Store(tmp_path).curves()
        return folder

    def test_in_any_region_the_one_before_is_used(self, folder):
        newest = checkpoint.stored(folder, 1)
        assert newest is not None
        path = folder.path / f"{NAMES[newest[0]]}.npz"
        good = path.read_bytes()
        # The beginning of the file, every 1/16 of it, its directory, its seal; and the end cut off.
        positions = [0, *(len(good) * i // 16 for i in range(1, 16)), good.rindex(b"PK\x01\x02"), len(good) - 1]
        spoiled = [good[:p] + bytes([good[p] ^ 1]) + good[p + 1 :] for p in positions]
        for data in [*spoiled, good[:-1], good[: len(good) // 2], b""]:
            path.write_bytes(data)
            with pytest.warns(StoreWarning, match=rf"{path.name} is damaged .* not used"):
                older = checkpoint.stored(folder, 1)
            assert older is not None
            assert older[0] == 1 - newest[0]
            assert older[2]["step"] < newest[2]["step"]

    @pytest.mark.parametrize("damaged", [NAMES, *slow((NAMES[:1],), (NAMES[1:],))])
    def test_costs_steps_and_no_bits(self, folder, whole, tmp_path, damaged):
        for name in damaged:
            path = folder.path / f"{name}.npz"
            path.write_bytes(path.read_bytes()[:-1])
        with pytest.warns(StoreWarning, match="checkpoint_.*is damaged"):
            assert run.train(experiment(tmp_path), Watch()) == []
        assert stored(tmp_path) == whole

    def test_a_state_of_another_network_is_refused(self, folder):
        turn, arrays, meta = checkpoint.stored(folder, 1) or pytest.fail("no checkpoint")
        folder.save(NAMES[turn], {**arrays, "params.B": arrays["params.B"][:, :3]}, meta)
        with pytest.raises(UserError, match=r"params.B must have shape \(40, 20\), got \(40, 3\)"):
            run.train(experiment(folder.path.parent.parent), Watch())

    @pytest.mark.slow
    def test_of_a_network_that_an_untied_one_needs(self, tmp_path):
        run.train(experiment(tmp_path), Watch())
        (tied,) = Store(tmp_path).curves()
        (tied.path / "depth_02.npz").write_bytes(b"")
        untied = experiment(tmp_path, "network.tied=false")
        with (
            pytest.warns(StoreWarning, match="damaged"),
            pytest.raises(UserError, match=r"network of depth 2 is damaged.*onsager clean"),
        ):
            run.train(untied, Watch())
        (tied.path / "depth_02.npz").unlink()  # as clean does
        watch = Watch()
        assert run.train(untied, watch) == []
        assert [event["curve"] for event in watch.of("curve")] == ["lamp_tied_bg", "lamp_untied_bg"]


@pytest.mark.slow
def test_a_minute_at_most_is_lost_and_saving_is_rare(tmp_path):
    """With a clock that counts steps: whatever a step costs, 60 s between saves at most, and few of them."""
    state = StageState({"B": jax.numpy.ones(2)}, (), {"B": jax.numpy.ones(2)}, jax.random.key(0), 0.0, 0.0)
    for cost in (2e-3, 0.03, 0.7, 4.0):
        now, saves = [0.0], [0.0]
        folder = CurveFolder(tmp_path / str(cost), {"a": 1})
        keep = Checkpoint(folder, 0, Progress(), clock=lambda now=now: now[0])
        state.step = 0
        while now[0] < 600:
            steps = min(keep.piece, 50 - state.step % 50)
            state.step += steps
            now[0] += steps * cost
            keep.offer(state)
            if (newest := checkpoint.stored(folder, 0)) is not None and newest[2]["step"] == state.step:
                saves.append(now[0])
        assert max(np.diff(saves)) <= 60
        assert len(saves) <= 1 + 600 / 35


@pytest.mark.slow
@pytest.mark.parametrize("network", ["network=lamp", "network=lista"])
def test_saving_takes_less_than_two_percent(tmp_path, network):
    """Of the time between two saves, for the largest networks of the paper: untied, 15 layers, N = 500."""
    (curve,) = load_experiment([network, "network.tied=false", "network.depth=15"]).curves
    net, problem = network_of(curve.settings), with_singular_vectors(build_problem(curve.settings.problem, 0))
    params = net.start(problem, 15)
    optimizer, _ = engine_of(net, curve.settings, 1).begin(problem, params)
    state = StageState(params, optimizer, params, jax.random.key(0), 0.0, 0.0)
    now, seconds = [0.0], []
    keep = Checkpoint(CurveFolder(tmp_path / "c", {"a": 1}), 0, Progress(), clock=lambda: now[0])
    for _ in range(5):
        now[0] += checkpoint.SECONDS
        state.step += 1
        started = time.process_time()  # what it takes from training, whoever else uses the machine
        keep.offer(state)
        seconds.append(time.process_time() - started)
    assert all((tmp_path / "c" / f"{name}.npz").stat().st_size > 25e6 for name in NAMES)
    assert np.median(seconds) < 0.02 * (checkpoint.SECONDS - checkpoint.PIECE_SECONDS)


class TestFullDisk:
    @pytest.mark.parametrize(
        "name",
        ["depth_01.npz",
         *slow("identity.json", "config.yaml", "made.json", "checkpoint_0.npz", "checkpoint_1.npz", "points.csv",
               "network.npz", "log.jsonl", ".lock", "curves.csv", "lamp_tied_bg-gaussian.svg")],
    )  # fmt: skip
    def test_at_any_kind_of_write(self, name, whole, tmp_path, monkeypatch, at_every_offer):
        """One line that names the file; then, with room again, the same command ends with the same bits."""
        real, full = os.open, []

        def open_(path, flags, *rest, **more):
            writes, own = flags & (os.O_WRONLY | os.O_RDWR), str(path).rpartition("/")[2]
            if writes and (own == name or own.startswith(f".{name}.")):  # itself, or its temporary
                full.append(path)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(path, flags, *rest, **more)

        monkeypatch.setattr(files.os, "open", open_)
        with pytest.raises(UserError, match=rf"{name}: the disk is full"):  # noqa: PT012
            run.train(experiment(tmp_path), Watch())
            run.plot(experiment(tmp_path))
        assert full
        monkeypatch.setattr(files.os, "open", real)
        assert files.temporary_files(tmp_path) == []
        assert run.train(experiment(tmp_path), Watch()) == []
        assert stored(tmp_path) == whole


def test_giving_up_names_the_curve_and_keeps_the_best_weights(tmp_path):
    wild = experiment(tmp_path, "training.lamp.rates=[100]", "training.lamp.steps=[200]")
    with pytest.raises(DivergedError, match=r"lamp_tied_bg: layer 1: all: still diverging .*5 halvings.*diverged\.npz"):
        run.train(wild, Watch())
    (folder,) = Store(tmp_path).curves()
    arrays, meta = folder.load("diverged") or pytest.fail("nothing was saved")
    assert meta["depth"] == 1
    assert all(np.isfinite(array).all() for array in arrays.values())


def test_giving_up_is_told_from_process_to_process():
    error = pickle.loads(pickle.dumps(DivergedError("lamp_tied_bg: still diverging", {"B": 1}, 3)))
    assert (str(error), error.best, error.depth) == ("lamp_tied_bg: still diverging", None, 3)


@pytest.mark.slow
def test_giving_up_leaves_the_other_curves_alone(tmp_path, monkeypatch):
    """Fig. 10 with one wild curve: its untied network has nothing to begin from, the others are trained."""
    asked = load_experiment([
        "+experiment=fig10", "only=[lamp_tied_bg,lamp_untied_bg,lamp_tied_exp,oracle]", *toy_overrides(), f"output={tmp_path}",
    ])  # fmt: skip
    make = NetworkTrainer.make

    def one_diverges(trainer, problem):
        if trainer.slug == "lamp_tied_bg":
            raise DivergedError("lamp_tied_bg: still diverging", {}, 1)
        make(trainer, problem)

    monkeypatch.setattr(NetworkTrainer, "make", one_diverges)
    with pytest.raises(DivergedError, match="lamp_tied_bg"):
        run.train(asked, watch := Watch())
    assert {row["curve"] for row in run.rows_of(asked)} == {"lamp_tied_exp", "oracle"}
    assert [event["curve"] for event in watch.of("warning")] == ["lamp_tied_bg", "lamp_untied_bg"]


@pytest.mark.slow
def test_a_gradient_that_is_not_finite_is_noticed(tmp_path):
    """The loss stays finite: √0 has a value and no slope."""
    lamp = setup_of("network=lamp", "shrinkage=bg")

    def eta(r, sigma, theta):
        x_hat, slope = lamp.engine.net.family.eta(r, sigma, theta)
        return x_hat + jax.numpy.sqrt(0 * theta[0]), slope

    net = dataclasses.replace(lamp.engine.net, family=dataclasses.replace(lamp.engine.net.family, eta=eta))
    broken = dataclasses.replace(lamp, engine=dataclasses.replace(lamp.engine, net=net))
    assert np.isfinite(broken.db(broken.params, 1))
    with pytest.raises(DivergedError):
        broken.fit(stage(1, steps=1000))


@pytest.mark.slow
def test_guards_that_work_often_are_said(tmp_path):
    """A threshold that nothing passes leaves ⟨η'⟩ = 0, which VAMP has to clip."""
    vamp = experiment(
        tmp_path, "network=lvamp", "shrinkage=soft", "shrinkage.theta=[1,1e6]", "training.lvamp.rates=[1e-9]",
        "training.lvamp.theta_rates=[1e-9]", "training.lvamp.steps=[10]",
    )  # fmt: skip
    watch = Watch()
    run.train(vamp, watch)
    messages = [event["message"] for event in watch.of("warning")]
    assert any("divergence of the shrinkage clipped: 100 % of the samples of layer 1" in m for m in messages)
    (folder,) = Store(tmp_path).curves()
    _, meta = folder.load("depth_02") or pytest.fail("no network")
    assert meta["guards"]["divergence of the shrinkage clipped"] == 50  # of the test samples
