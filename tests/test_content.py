"""A stored network knows its files by their content: matrix, pilots, signals, recorded pairs."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import toy_overrides
from pairs import drawn, saved

import onsager_cli
from onsager_cli import run
from onsager_cli.cli.main import main
from onsager_cli.config.elsewhere import elsewhere
from onsager_cli.config.experiment import Curve
from onsager_cli.config.load import load_experiment
from onsager_cli.config.stored import settings_of
from onsager_cli.errors import UserError
from onsager_cli.record import provenance
from onsager_cli.store.content import checksum

pytestmark = pytest.mark.usefixtures("quick_compile")

LINEAR = ["problem.M=20", "problem.N=40", "problem.selection_samples=20", "problem.test_samples=20"]
PILOTS = [
    "problem=random_access",
    "problem.pilots=20",
    "problem.users=40",
    "problem.selection_samples=20",
    "problem.test_samples=20",
]
CASES = {
    "matrix": ("problem.matrix", LINEAR, lambda normal: {"A": normal(20, 40)}),
    "pilots": ("problem.matrix", PILOTS, lambda normal: {"A": normal(20, 40)}),
    "signals": ("signal.file", ["signal=file", *LINEAR], lambda normal: {"x": normal(40, 100)}),
    "pairs": ("problem.file", ["problem=data"], lambda normal: dict(zip("xy", drawn(seed=normal.seed)[1:], strict=True))),
}  # fmt: skip


class Normal:
    def __init__(self, seed: int):
        self.seed, self.rng = seed, np.random.default_rng(seed)

    def __call__(self, *shape: int) -> np.ndarray:
        return self.rng.normal(size=shape)


def stored(curve: Curve) -> Curve:
    """The curve as its config in the store has it."""
    return Curve(curve.slug, settings_of(json.loads(json.dumps(dataclasses.asdict(curve.settings))), "config.yaml"))


@pytest.mark.parametrize("name", CASES)
def test_another_file_is_refused(name, tmp_path):
    key, words, arrays = CASES[name]
    path = tmp_path / "own.npz"
    saved(path, **arrays(Normal(0)))
    (curve,) = load_experiment([*words, f"{key}={path}", "network=lmmse"]).curves
    found = stored(curve)
    assert found.identity == curve.identity
    first = np.asarray(run.problem_of(found).selection.y)
    saved(path, **arrays(Normal(1)))
    with pytest.raises(
        UserError, match=rf"^{key}=.*own\.npz has changed since onsager first read it: restore the file"
    ):
        run.problem_of(found)
    path.unlink()
    with pytest.raises(UserError, match=rf"^{key}=.*own\.npz is missing: run onsager in the folder of the training"):
        run.problem_of(found)
    saved(path, **arrays(Normal(0)))
    np.testing.assert_array_equal(run.problem_of(found).selection.y, first)


@pytest.mark.parametrize(
    ("name", "word"), [("matrix", "seed=3"), ("signals", "problem.ensemble=bernoulli"), ("pilots", "problem.snr_db=20")]
)
def test_a_condition_has_the_files_of_the_training(name, word, tmp_path):
    key, words, arrays = CASES[name]
    path = tmp_path / "own.npz"
    saved(path, **arrays(Normal(0)))
    (curve,) = load_experiment([*words, f"{key}={path}", "network=lmmse"]).curves
    found = stored(curve)
    run.problem_of(Curve("there", elsewhere(found.settings, [word]).settings))
    saved(path, **arrays(Normal(1)))
    with pytest.raises(UserError, match=rf"^{key}=.*own\.npz has changed since onsager first read it"):
        run.problem_of(Curve("there", elsewhere(found.settings, [word]).settings))
    run.problem_of(Curve("there", elsewhere(found.settings, [word, f"{key}={path}"]).settings))  # it names the file


@pytest.mark.parametrize("name", ["matrix", "signals"])
def test_a_page_has_no_checksum(name, tmp_path):
    key, words, arrays = CASES[name]
    saved(path := tmp_path / "own.npz", **arrays(Normal(0)))
    page = provenance.settings(load_experiment([*words, f"{key}={path}", "network=lmmse"]), {})
    assert "content" not in page


def test_a_file_is_known_by_more_than_its_path_size_and_time(tmp_path, monkeypatch):
    """Copies that keep the time, in two folders; and a file that is written over, with its time set back."""
    found = []
    for seed, folder in enumerate((tmp_path / "one", tmp_path / "two")):
        folder.mkdir()
        monkeypatch.chdir(folder)
        np.save("A.npy", Normal(seed)(3, 4))
        os.utime("A.npy", (1e9, 1e9))
        found.append(checksum(Path("A.npy"), "problem.matrix"))
    np.save("A.npy", Normal(2)(3, 4))
    os.utime("A.npy", (1e9, 1e9))
    assert len({*found, checksum(Path("A.npy"), "problem.matrix")}) == 3


@pytest.mark.slow
def test_a_trained_network_does_not_read_the_signals_again(tmp_path, monkeypatch):
    """Its θ is known: estimates need no file, and samples of another file are a condition of `evaluate`."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", Normal(0)(40, 100))
    words = [*LINEAR, "signal=file", "signal.file=x.npy", "network=lamp", "network.depth=1", "shrinkage=bg"]
    asked = {word.partition("=")[0]: word for word in [*toy_overrides(), *words, "attainable=false"]}
    experiment = load_experiment(list(asked.values()))
    run.train(experiment, lambda _: None)
    folder, y = str(experiment.curves[0].folder.path), Normal(1)(20, 3).astype(np.float32)
    before = onsager_cli.load(folder)(y)
    np.save("x.npy", Normal(2)(40, 100))
    np.testing.assert_array_equal(onsager_cli.load(folder)(y), before)
    assert main(["evaluate", folder, "--no-references", "--on", "signal.file=x.npy"]) == 0
    assert main(["evaluate", folder, "--no-references", "--on", "signal.split=[0.6,0.2,0.2]"]) == 2
    Path("x.npy").unlink()
    np.testing.assert_array_equal(onsager_cli.load(folder)(y), before)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["matrix", "signals"])
def test_a_file_at_another_place_is_named_by_overrides(name, tmp_path):
    key, words, arrays = CASES[name]
    path = tmp_path / "own.npz"
    saved(path, **arrays(Normal(0)))
    asked = {word.partition("=")[0]: word for word in [*toy_overrides(), *words, "network=lamp", "network.depth=1"]}
    rest = [*asked.values(), f"output={tmp_path / 'out'}", "attainable=false"]
    run.train(load_experiment([*rest, f"{key}={path}"]), lambda _: None)
    before = onsager_cli.load(*rest, f"{key}={path}").selection
    moved = path.rename(tmp_path / "moved.npz")
    for one, other in zip(onsager_cli.load(*rest, f"{key}={moved}").selection, before, strict=True):
        np.testing.assert_array_equal(one, other)
