"""Curves that train as one program, as on an accelerator: what each alone would be, up to rounding."""

import numpy as np
import pytest
from conftest import toy_overrides
from toy_training import Stopped, Watch

from onsager_cli import run
from onsager_cli.config.load import load_experiment
from onsager_cli.errors import DivergedError
from onsager_cli.run.crew import Outcome
from onsager_cli.run.threads import Threads
from onsager_cli.training import together
from onsager_cli.training.networks_on_disk import depth_name

TOY = [text for text in toy_overrides(steps=20) if not text.startswith("training.") or text.startswith(
    ("training.lamp.", "training.check", "training.steps_new"))]  # fmt: skip
CLOSE_DB = 0.02  # rounding, after 60 steps that it has passed through


@pytest.fixture
def sizes(monkeypatch):
    """An accelerator, as far as the training knows; how many curves each program served."""
    found: list[int] = []
    run_alone = together._run

    def spy(calls):
        found.append(len(calls))
        run_alone(calls)

    monkeypatch.setattr(together, "_run", spy)
    monkeypatch.setattr("onsager_cli.training.devices.on_cpu", lambda: False)
    return found


def of_seeds(output, *overrides: str):
    words = ["network=lamp", "seeds=[0,1,2]", *TOY, "network.depth=2", f"output={output}", *overrides]
    return load_experiment(list({text.partition("=")[0]: text for text in words}.values()))


@pytest.mark.slow
def test_seeds_are_one_program_and_what_they_are_alone(tmp_path, sizes, monkeypatch):
    asked = of_seeds(tmp_path / "together")
    assert run.train(asked, watch := Watch()) == []
    assert watch.of("figure")[0]["jobs"] == 3
    assert len(sizes) > 10
    assert set(sizes) == {3}
    assert len(watch.of("curve_done")) == 3
    alone = of_seeds(tmp_path / "alone", "jobs=1")
    assert run.train(alone, Watch()) == []
    for one, other in zip(asked.curves, alone.curves, strict=True):
        assert [row["layer"] for row in one.folder.points()] == [1, 2]
        for row, reference in zip(one.folder.points(), other.folder.points(), strict=True):
            assert row["nmse_db"] == pytest.approx(reference["nmse_db"], abs=CLOSE_DB)
            assert row["steps"] == reference["steps"]
        found, expected = one.folder.load(depth_name(2)), other.folder.load(depth_name(2))
        assert found is not None
        assert expected is not None
        np.testing.assert_allclose(found[0]["B"], expected[0]["B"], atol=1e-4)
    nmse = [curve.folder.points()[-1]["nmse_db"] for curve in asked.curves]
    assert len({round(value, 3) for value in nmse}) == 3  # each is its own


@pytest.mark.slow
def test_one_that_resumes_meets_the_others_where_it_is(tmp_path, sizes):
    first = of_seeds(tmp_path, "jobs=1").curves[:1]
    stop = Watch(lambda event: event["event"] == "point")
    with pytest.raises(Stopped):
        run.train(load_experiment(of_seeds(tmp_path, "jobs=1").overrides), stop)
    assert [row["layer"] for row in first[0].folder.points()] == [1]
    assert run.train(of_seeds(tmp_path), watch := Watch()) == []
    assert [event["resumed_from"] is None for event in sorted(watch.of("curve"), key=lambda event: event["index"])] == [
        False, True, True,
    ]  # fmt: skip
    assert 2 in sizes  # the two that have not begun meet, while the third is a layer ahead
    alone = of_seeds(tmp_path / "alone", "jobs=1")
    run.train(alone, Watch())
    for one, other in zip(of_seeds(tmp_path).curves, alone.curves, strict=True):
        levels = [[row["nmse_db"] for row in curve.folder.points()] for curve in (one, other)]
        assert levels[0] == pytest.approx(levels[1], abs=CLOSE_DB)


def ends(number: int, how: dict[int, BaseException], report) -> int:
    """A task: the first has an error, the others a result."""
    report({"event": "warning", "message": f"task {number}"})
    if number in how:
        raise how[number]
    return number


def test_an_exception_is_that_of_its_curve():
    from functools import partial

    events: list = []
    error = DivergedError("layer 1", None, 1)
    outcomes: list[Outcome] = []
    with Threads(3, events.append, lambda number: "same") as threads:
        for number in (1, 2, 3):
            assert threads.free
            threads.start(number, partial(ends, number, {2: error}))
        assert not threads.free
        while len(outcomes) < 3:
            outcomes += threads.outcomes()
    assert {outcome.number: outcome.error for outcome in outcomes} == {1: None, 2: error, 3: None}
    assert sorted(event["task"] for event in events) == [1, 2, 3]


@pytest.mark.slow
def test_a_stopped_command_leaves_no_thread(tmp_path, sizes):
    import threading

    before = threading.active_count()
    watch = Watch(lambda event: event["event"] == "eval")
    with pytest.raises(Stopped):
        run.train(of_seeds(tmp_path, "training.lamp.steps=[100000]"), watch)
    assert threading.active_count() == before
