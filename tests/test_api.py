"""The Python API: its examples run, and its networks are those of the command."""

import doctest
import json
import subprocess
import sys
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from conftest import slow

import onsager_cli
from onsager_cli import run
from onsager_cli.api.inputs import override
from onsager_cli.config.load import load_experiment
from onsager_cli.config.overrides import parse
from onsager_cli.errors import Notice, UserError

pytestmark = pytest.mark.usefixtures("quick_compile")

loose: Any = onsager_cli  # whose mistakes no type checker has to see
EXAMPLES = [name for name in onsager_cli.__all__ if name not in ("DivergedError", "UserError", "state_evolution")]
SMALL: dict[str, Any] = {"N": 40, "M": 20, "selection_samples": 100, "test_samples": 50}
STEPS = (
    "training.lamp.steps=[20]",
    "training.lamp_untied.steps=[20]",
    "training.lamp.batch=16",
    "training.lamp_untied.batch=16",
)


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("name", slow(*EXAMPLES, but=("network", "train", "recover", "nmse", "load", "verify")))
def test_examples_run(name):
    found = doctest.DocTestFinder(recurse=False).find(getattr(onsager_cli, name), name)
    assert sum(len(test.examples) for test in found) > 0, "every public name has an example"
    for test in found:
        assert doctest.DocTestRunner().run(test).failed == 0


def test_examples_of_state_evolution_run():
    assert doctest.testmod(import_module("onsager_cli.theory.state_evolution")).attempted > 0
    assert doctest.testmod(import_module("onsager_cli.theory.state_evolution")).failed == 0


def test_nothing_is_loaded_before_it_is_used():
    code = "import sys, json, onsager_cli; print(json.dumps([m for m in ('jax', 'numpy', 'hydra', 'onsager_cli.api') if m in sys.modules]))"
    assert json.loads(subprocess.check_output([sys.executable, "-c", code], text=True)) == []
    assert set(onsager_cli.__all__) <= set(dir(onsager_cli))
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        onsager_cli.trian  # noqa: B018


@pytest.mark.slow
@pytest.mark.parametrize("tied", [True, *slow(False)])
def test_training_in_memory_has_the_bits_of_the_command_and_leaves_nothing(tmp_path, tied):
    small = onsager_cli.problem(**SMALL, seed=2)
    lamp = onsager_cli.network("lamp", "bg", depth=2, tied=tied)
    events: list[dict] = []
    trained = onsager_cli.train(lamp, small, "fast", *STEPS, callback=events.append)
    assert list(tmp_path.iterdir()) == []
    stored = load_experiment([*small.overrides, *lamp.overrides, *STEPS, "output=there"])
    run.train(stored, lambda event: None)
    (curve,) = stored.curves
    arrays, _ = curve.folder.load("depth_02") or ({}, {})
    for name in ("B", "theta") if tied else ("theta",):
        mine = np.asarray(trained.params[name])
        theirs = arrays[name] if name == "B" else np.stack([arrays[f"layers.{t}.theta"] for t in range(2)])
        np.testing.assert_array_equal(mine, theirs)
    assert trained.nmse_db == pytest.approx(curve.folder.points()[-1]["nmse_db"], abs=1e-4)
    points = [event for event in events if event["event"] == "point" and event["curve"] == curve.slug]
    assert [event["layer"] for event in points] == [1, 2]
    again = onsager_cli.train(lamp, small, "fast", *STEPS, folder="there")
    np.testing.assert_array_equal(again.params["theta"], trained.params["theta"])


@pytest.mark.slow
def test_events_have_the_keys_of_the_table():
    """What callers rely on: the keys that the table in onsager_cli/api promises."""
    text = import_module("onsager_cli.api").__doc__ or ""
    promised = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 5 and cells[1] not in ("event", "") and not cells[1].startswith("-"):
            promised[cells[1]] = {key.strip() for key in cells[3].partition(" (")[0].split(",")}
    events: list[dict] = []
    small = onsager_cli.problem(**SMALL)
    onsager_cli.train(
        onsager_cli.network("lamp", "bg", depth=2, tied=False), small, "fast", *STEPS, callback=events.append
    )
    seen = {event["event"] for event in events}
    assert {"curve", "stage", "eval", "bootstrap", "point", "curve_done"} <= seen
    for event in events:
        assert promised[event["event"]] <= set(event), event
        assert event["curve"]


def test_own_matrix():
    A = np.random.default_rng(0).normal(size=(20, 40)) / np.sqrt(20)
    own = onsager_cli.problem(A=A, selection_samples=100, test_samples=50)
    np.testing.assert_allclose(own.A, A, rtol=1e-6)
    x, y = own.draw(3, seed=5)
    assert np.linalg.norm(y - A @ x) < 0.1 * np.linalg.norm(y)
    np.testing.assert_array_equal(own.draw(3, seed=5)[0], x)


def test_a_matrix_without_full_rank_is_worth_a_warning():
    with pytest.warns(Notice, match=r"A has rank 2 instead of 3: 1 of its"):
        onsager_cli.problem(A=1000 * np.array([[1, 0, 1, 2], [0, 1, 1, 1], [1, 1, 2, 3]]))


@pytest.mark.parametrize("text", ['a"b\\c', "a\\", 'a\\"', "[1,2]", "ü = 3", ""])
def test_texts_reach_the_config_as_they_are(text):
    (item,) = parse([override("output", text)])
    assert item.value() == text or getattr(item.value(), "text", None) == text


@pytest.mark.slow
def test_overrides_of_the_problem_hold_in_memory():
    """At 3 dB the same network ends where `onsager train problem.snr_db=3` does, not at the 40 dB of the problem."""
    small, lamp = onsager_cli.problem(**SMALL), onsager_cli.network("lamp", depth=1)
    noisy = onsager_cli.train(lamp, small, "fast", *STEPS[::2], "problem.snr_db=3")
    clean = onsager_cli.train(lamp, small, "fast", *STEPS[::2])
    assert noisy.nmse_db > clean.nmse_db + 1
    assert "Trained lamp, 1 layers" in repr(noisy)


def test_own_matrix_in_a_file(tmp_path):
    A = np.random.default_rng(0).normal(size=(20, 40)) / np.sqrt(20)
    np.save(tmp_path / "A.npy", A)
    own = onsager_cli.problem(matrix=str(tmp_path / "A.npy"), M=20, N=40, selection_samples=100, test_samples=50)
    np.testing.assert_allclose(own.A, A, rtol=1e-6)


class TestRecover:
    @pytest.mark.slow
    def test_learns_the_noise_and_beats_least_squares(self):
        rng = np.random.default_rng(1)
        A = rng.normal(size=(60, 120)) / np.sqrt(60)
        x = 3 * rng.normal(size=(120, 40)) * (rng.uniform(size=(120, 40)) < 0.08)
        y = A @ x + 0.02 * rng.normal(size=(60, 40))
        blind, told = onsager_cli.recover(y, A), onsager_cli.recover(y, A, noise_variance=4e-4)
        least_squares = onsager_cli.nmse(np.linalg.pinv(A) @ y, x)
        assert max(onsager_cli.nmse(blind, x), onsager_cli.nmse(told, x)) < min(-20, least_squares - 15)

    @pytest.mark.slow
    def test_complex(self):
        rng = np.random.default_rng(2)
        A = (rng.normal(size=(60, 120)) + 1j * rng.normal(size=(60, 120))) / np.sqrt(120)
        x = (rng.normal(size=(120, 40)) + 1j * rng.normal(size=(120, 40))) * (rng.uniform(size=(120, 40)) < 0.08)
        assert onsager_cli.nmse(onsager_cli.recover(A @ x, A), x) < -30

    @pytest.mark.parametrize(
        ("y", "A", "says"),
        [
            (np.zeros((3, 2)), np.ones((4, 5)), r"y must have shape \(4,\) or \(4, samples\), got \(3, 2\)"),
            (np.full(4, np.nan), np.ones((4, 5)), "y must be finite"),
            (np.zeros(4), np.ones(4), "A must have shape"),
            (np.ones(4), np.zeros((4, 5)), "A must not be zero"),
            (np.ones(4), [["a"] * 5] * 4, "A must be numbers of shape"),
            ([[1], [1, 2], [3], [4]], np.ones((4, 5)), "rows of different lengths"),
            (1j * np.ones(4), np.ones((4, 5)), "y must be real"),
        ],
    )
    def test_mistakes(self, y, A, says):
        with pytest.raises(UserError, match=says):
            onsager_cli.recover(y, A)

    @pytest.mark.parametrize(
        ("keys", "says"),
        [
            ({"iterations": 0}, "iterations must be a whole number from 1 to 10000, got 0"),
            ({"iterations": 2.5}, "iterations must be a whole number"),
            ({"noise_variance": -1}, r"noise_variance must be above 0 and below the mean of \|y\|², 1, got -1"),
            ({"noise_variance": 2}, "noise_variance must be above 0"),
            ({"noise_variance": np.nan}, "noise_variance must be finite"),
            ({"noise_variance": "a"}, "noise_variance must be numbers"),
        ],
    )
    def test_mistakes_of_keys(self, keys, says):
        with pytest.raises(UserError, match=says):
            onsager_cli.recover(np.ones(4), np.ones((4, 5)), **keys)

    @pytest.mark.slow
    def test_any_scale(self):
        """Units cancel: float32 would hold neither the squares of these measurements nor those of this matrix."""
        rng = np.random.default_rng(4)
        A, x = rng.normal(size=(30, 60)), rng.normal(size=(60, 8)) * (rng.uniform(size=(60, 8)) < 0.1)
        plain = onsager_cli.recover(A @ x, A)
        np.testing.assert_allclose(onsager_cli.recover(1e30 * (A @ x), 1e10 * A), 1e20 * plain, rtol=1e-3, atol=1e17)
        assert not onsager_cli.recover(0 * (A @ x), A).any()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: loose.problem("gausian"), "did you mean gaussian"),
        (lambda: loose.problem(snr=3), "unknown key 'problem.snr'"),
        (lambda: loose.problem(A=np.ones(3)), "A must have shape"),
        (lambda: loose.problem(A=[[1, np.nan]]), "A must be finite"),
        (lambda: loose.problem(A=[[1, 1e300]]), "A holds NaN or infinity"),
        (lambda: loose.problem(A=np.zeros((3, 4))), "A has a column of zeros"),
        (lambda: loose.problem(A=np.eye(4), N=5), "A is 4 x 4, the config has problem.M=4 problem.N=5"),
        (lambda: loose.problem(A="mine.npy"), "A must be numbers"),
        (lambda: loose.problem(N=object()), "problem.N must be a number, text"),
        (lambda: loose.problem(N=np.arange(3)), r"problem.N must be a whole number .*got \[0, 1, 2\]"),
        (lambda: loose.problem("random_access", A=np.ones((3, 4))), "takes pilots from a file"),
        (lambda: loose.problem().draw(-1), "samples must be a whole number from 1"),
        (lambda: loose.problem().draw(3, -1), "seed must be a whole number from 0"),
        (lambda: loose.network("lammp"), "did you mean lamp"),
        (lambda: loose.network("lamp", "nope"), "unknown shrinkage 'nope'"),
        (lambda: loose.train(loose.problem(), loose.network()), "network must be made by"),
        (lambda: loose.train("lamp", np.eye(3)), "problem must be made by"),
        (lambda: loose.train("lamp", callback=3), "callback must be a function"),
        (lambda: loose.train("lamp", "gaussian", "fast", 3), "an override must be text such as"),
        (lambda: loose.train("lamp", "gaussian", "fast", "seeds=[0,1]"), "leave seeds out"),
        (lambda: loose.train("lamp", folder=3), "folder must be a path, got 3"),
        (lambda: loose.load(["network=lamp"]), "an override must be text"),
        (lambda: loose.verify(folder=3), "folder must be a path, got 3"),
        (lambda: loose.verify(folder="nowhere"), "^folder: there is no folder 'nowhere'$"),
        (lambda: loose.verify(["fig10"]), "a name must be text such as 'fig10'"),
        (lambda: loose.nmse(np.ones(3), np.zeros(3)), "x must not be zero everywhere"),
        (lambda: loose.nmse(np.full(3, np.nan), np.ones(3)), "x_hat must be finite"),
        (lambda: loose.nmse(np.ones((2, 2, 2)), np.ones(3)), "x_hat must have shape"),
        (lambda: loose.train("oracle", "gaussian"), "oracle does not learn"),
        (lambda: loose.train("lamp", loose.problem(A=np.eye(4)), folder="x"), "matrix file"),
        (lambda: loose.nmse(np.ones(3), np.ones(4)), "one shape"),
        (lambda: loose.experiment("+experiment=fgi10"), "did you mean fig10"),
    ],
)
def test_mistakes_are_one_line(call, says):
    with pytest.raises(UserError, match=says) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_problem_with_another_signal():
    ternary = onsager_cli.problem("gaussian", N=40, M=20, signal="rademacher", test_samples=50)
    assert set(np.unique(ternary.test[0])) == {-1.0, 0.0, 1.0}
    wide = onsager_cli.problem(
        "gaussian", N=40, M=20, signal={"name": "student_t", "dof": 3, "scale": 10}, test_samples=50
    )
    assert np.abs(wide.test[0]).max() > 30
    with pytest.raises(UserError, match="signal must be a name"):
        onsager_cli.problem(signal={"dof": 3})
    with pytest.raises(UserError, match="A and ensemble both set A"):
        onsager_cli.problem(A=np.eye(4), ensemble="dct")


@pytest.mark.slow
def test_the_real_embedding_takes_complex_measurements():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(20, 40)) + 1j * rng.normal(size=(20, 40))
    made = onsager_cli.problem(A=A, embedding="real", selection_samples=100, test_samples=50)
    net = onsager_cli.train(onsager_cli.network("lamp", depth=1), made, None, "training.lamp.steps=[10]")
    _, y = made.test
    x_hat = net(y[:20] + 1j * y[20:])
    np.testing.assert_array_equal(np.concatenate([np.real(x_hat), np.imag(x_hat)]), net(y))
