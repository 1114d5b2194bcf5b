"""What a training shows: lines of a log, remaining times from work, the live display."""

import io

import pytest

from onsager_cli.cli.progress import LOG_SECONDS, Progress
from onsager_cli.text import clock


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Training:
    """Sends the events of a training to a Progress with a clock of its own."""

    def __init__(self, live: bool = False) -> None:
        self.clock, self.stream = Clock(), io.StringIO()
        self.progress = Progress(self.stream, live=live, clock=self.clock)

    def send(self, event: str, slug: str = "lamp_tied_bg", **more: object) -> None:
        self.progress({"event": event, "curve": slug, **more})

    def figure(self, work: float, curves: int = 1, **more: object) -> None:
        self.progress({"event": "figure", "name": "fig10", "curves": curves, "work": work, **more})

    def curve(self, work: float, slug: str = "lamp_tied_bg", resumed: str | None = None, **more: object) -> None:
        self.send("curve", slug, index=1, of=2, work=work, resumed_from=resumed, **more)

    def stage(self, steps: int, depth: int, slug: str = "lamp_tied_bg") -> None:
        name = f"layers 1-{depth}: all"
        self.send("stage", slug, stage=name, index=1, of=3, steps=steps, depth=depth, work=steps * depth, rate=1)

    def eval(self, step: int, after: float, nmse: float = -12.345, slug: str = "lamp_tied_bg") -> None:
        self.clock.now += after
        self.send("eval", slug, stage="", step=step, nmse_db=nmse, best_db=nmse - 1, seconds=0.0)

    def done(self, slug: str = "lamp_tied_bg", shared: bool = False, **more: object) -> None:
        self.send("curve_done", slug, seconds=75.0, shared=shared, **more)

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()

    def running(self, slug: str = "lamp_tied_bg"):
        return self.progress.running[slug]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1:00 min"),
        (185, "3:05 min"),
        (3600, "1:00 h"),
        (7380, "2:03 h"),
        (-3, "0 s"),
    ],
)
def test_clock(seconds, text):
    assert clock(seconds) == text


class TestRemainingTimes:
    def test_count_work_not_steps(self):
        training = Training()
        training.curve(work=1000)
        training.stage(steps=100, depth=2)
        training.eval(50, after=10)  # work 100 of 1000 in 10 s
        assert training.progress.figure_seconds_left() == pytest.approx(90)
        assert training.running().stage_seconds_left(training.clock.now) == pytest.approx(10)
        training.clock.now += 4
        assert training.progress.figure_seconds_left() == pytest.approx(86)
        assert training.running().stage_seconds_left(training.clock.now) == pytest.approx(6)

    def test_compiling_is_not_taken_for_steps(self):
        training = Training()
        training.curve(work=1000)
        training.stage(steps=100, depth=2)
        training.clock.now += 3  # the start of the network
        training.send("compiling", stage="")
        training.clock.now += 30
        assert training.running().stage_seconds_left(training.clock.now) is None
        assert "compiling, 30 s" in training.progress.line(training.running())
        training.send("started", stage="", step=0)
        training.eval(50, after=10)
        assert training.progress.figure_seconds_left() == pytest.approx(90)

    def test_a_resumed_stage_has_steps_that_took_no_time(self):
        training = Training()
        training.curve(work=200)
        training.stage(steps=100, depth=2)
        training.send("started", stage="", step=40)
        training.eval(60, after=2)
        assert training.progress.figure_seconds_left() == pytest.approx(4)

    def test_what_follows_a_stage_is_not_taken_for_steps_of_the_next(self):
        training = Training()
        training.curve(work=400)
        training.stage(steps=100, depth=2)
        training.eval(100, after=10)
        training.clock.now += 50  # the test set, and what is stored
        training.send("point", layer=1, nmse_db=-3.0, steps=100, seconds=60.0)
        training.stage(steps=100, depth=2)
        training.eval(50, after=5)
        assert training.progress.figure_seconds_left() == pytest.approx(5)

    def test_a_curve_that_is_given_up_is_over(self):
        training = Training(live=True)
        training.figure(work=0, curves=2, jobs=1, expected={1: 10.0, 2: 20.0}, known=True)
        training.curve(work=100, task=1)
        training.send("curve_given_up", task=1)
        assert training.progress.figure_seconds_left() == pytest.approx(20)
        training.send("curve_given_up", task=2)  # its twin was given up
        assert training.progress.figure_seconds_left() == 0
        assert training.progress._table().plain.splitlines() == ["fig10 | 0 of 2 curves done | left: 0 s"]

    def test_are_known_after_ten_steps(self):
        training = Training()
        training.curve(work=100)
        training.stage(steps=100, depth=1)
        for step, known in ((1, False), (9, False), (10, True)):
            training.clock.now += 1
            training.send("step", stage="", step=step)
            assert (training.progress.figure_seconds_left() is not None) == known
            assert ("left" in training.progress.line(training.running())) == known

    def test_a_stage_that_ends_early_counts_whole(self):
        training = Training()
        training.curve(work=400)
        training.stage(steps=100, depth=2)
        training.eval(30, after=30)  # 60 work in 30 s
        training.stage(steps=100, depth=2)
        assert training.progress.figure_seconds_left() == pytest.approx(100)

    def test_waiting_curves_take_what_was_expected_as_far_as_that_was_right(self):
        training = Training()
        training.figure(work=0, curves=3, jobs=1, expected={1: 10.0, 2: 20.0, 3: 5.0})
        assert training.progress.figure_seconds_left() is None
        training.curve(work=100, task=1)
        training.clock.now += 20
        training.done(task=1)  # twice what was expected
        assert training.progress.figure_seconds_left() == pytest.approx(50)
        training.curve(work=100, task=2)
        assert training.progress.figure_seconds_left() == pytest.approx(50)
        training.clock.now += 10
        assert training.progress.figure_seconds_left() == pytest.approx(40)

    def test_of_a_machine_that_knows_such_curves_before_the_start(self):
        training = Training()
        training.figure(work=0, curves=2, jobs=1, expected={1: 10.0, 2: 20.0}, known=True)
        assert training.progress.figure_seconds_left() == pytest.approx(30)

    def test_curves_side_by_side(self):
        training = Training()
        training.figure(work=0, curves=4, jobs=2, expected={1: 10.0, 2: 10.0, 3: 30.0, 4: 8.0}, known=True)
        assert training.progress.figure_seconds_left() == pytest.approx(30)
        training.curve(work=100, task=1)
        training.curve(work=100, task=2, slug="lamp_tied_l1")
        assert training.progress.figure_seconds_left() == pytest.approx(40)


class TestLog:
    def test_one_evaluation_per_interval_and_the_last_of_every_stage(self):
        training = Training()
        training.figure(work=1000)
        training.curve(work=1000)
        training.stage(steps=100, depth=1)
        for step in range(1, 101):
            training.eval(step, after=LOG_SECONDS / 20)
        training.stage(steps=100, depth=2)
        shown = [line.split("step ")[1].split("/")[0] for line in training.lines if "step" in line]
        assert shown == ["1", "21", "41", "61", "81", "100"]

    def test_a_line_tells_place_stage_step_and_both_errors(self):
        training = Training()
        training.figure(work=200)
        training.curve(work=200)
        training.stage(steps=100, depth=2)
        training.eval(50, after=4)
        assert training.lines[-1] == (
            "lamp_tied_bg (1/2) | layers 1-2: all | step 50/100 | -12.35 dB, best -13.35 | left: stage 4 s, figure 4 s"
        )

    def test_points_and_ends(self):
        training = Training()
        training.figure(work=200)
        training.curve(work=200, resumed="layers 1-4: all")
        point = {
            "event": "point",
            "curve": "lamp_tied_bg",
            "layer": 5,
            "nmse_db": -20.126,
            "steps": 300,
            "seconds": 61.0,
        }
        training.progress(point)
        training.done()
        assert training.lines == [
            "fig10: 1 curve",
            "lamp_tied_bg (1/2): resumes after layers 1-4: all",
            "lamp_tied_bg (1/2): layer 5: -20.13 dB on the test set, 300 steps, 1:01 min",
            "lamp_tied_bg (1/2): done after 1:15 min, layer 5: -20.13 dB",
        ]

    def test_an_oracle_has_no_layer(self):
        training = Training()
        training.curve(work=0, slug="oracle")
        training.progress(
            {"event": "point", "curve": "oracle", "layer": None, "nmse_db": -46.0, "steps": 0, "seconds": 0.1}
        )
        assert training.lines == ["oracle (1/2): -46.00 dB on the test set"]

    def test_a_shared_curve_says_so(self):
        training = Training()
        training.done(shared=True)
        training.curve(work=0)
        training.done(shared=True)
        assert training.lines == ["lamp_tied_bg: already trained", "lamp_tied_bg (1/2): already trained"]

    def test_warnings(self):
        training = Training()
        training.progress({"event": "warning", "curve": "lamp_tied_bg", "message": "not finite"})
        training.progress({"event": "warning", "curve": None, "message": "little memory"})
        assert training.lines == ["warning: lamp_tied_bg: not finite", "warning: little memory"]

    def test_a_tied_network_taken_over(self):
        training = Training()
        event = {
            "event": "bootstrap",
            "curve": "lamp_untied_bg",
            "stage": "layers 1-4: all",
            "own_db": -23.1,
            "tied_db": -24.0,
        }
        training.progress({**event, "taken": False})
        training.progress({**event, "taken": True})
        (line,) = training.lines
        assert line.endswith("layers 1-4: all: replaced by the tied network, -24.00 instead of -23.10 dB")

    def test_kinds_of_events_that_nobody_knows_pass(self):
        training = Training()
        training.progress({"event": "checkpoint", "curve": "lamp_tied_bg"})
        assert training.lines == []


class TestLive:
    def test_one_line_per_running_curve(self):
        training = Training(live=True)
        training.figure(work=200, curves=2)
        training.curve(work=100, slug="first")
        training.curve(work=100, slug="second")
        assert len(training.progress._table().plain.splitlines()) == 3
        training.done("first")
        line, whole = training.progress._table().plain.splitlines()
        assert line.startswith("second (1/2) | starting")
        assert whole == "fig10 | 1 of 2 curves done"

    def test_a_line_has_no_time_that_nobody_has_measured(self):
        training = Training(live=True)
        for known, shown in ((False, False), (True, True)):
            training.figure(work=0, curves=2, jobs=2, expected={1: 10.0, 2: 20.0}, known=known)
            training.curve(work=100, task=1)
            assert ("left" in training.progress._table().plain) == shown

    def test_seeds_side_by_side_have_a_line_each(self):
        training = Training(live=True)
        training.figure(work=200, curves=2, seeds=2, jobs=2)
        training.curve(work=100, task=1, seed=0)
        training.curve(work=100, task=2, seed=1)
        first, second, _ = training.progress._table().plain.splitlines()
        assert "seed 0" in first
        assert "seed 1" in second

    def test_what_stays_is_printed_once_and_evaluations_are_not(self):
        training = Training(live=True)
        with training.progress:
            training.figure(work=200)
            training.curve(work=200)
            training.stage(steps=100, depth=2)
            training.eval(50, after=4)
            training.progress({"event": "warning", "curve": "lamp_tied_bg", "message": "[red] is no markup"})
            training.done()
        text = training.stream.getvalue()
        assert text.count("warning: lamp_tied_bg: [red] is no markup") == 1
        assert text.count("done after 1:15 min") == 1
        assert "step 50/100" not in text

    def test_the_display_ends_with_an_exception(self):
        training = Training(live=True)
        with pytest.raises(RuntimeError), training.progress:
            raise RuntimeError
        assert training.progress._display is None

    def test_off_without_a_terminal(self):
        assert Progress(io.StringIO()).live is False
