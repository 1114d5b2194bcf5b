"""Curves side by side: the same bits as one by one, in an order in which nobody idles, and an end in order."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from attack.processes import of_session
from conftest import toy_overrides
from toy_training import Watch, stored

from onsager_cli import run
from onsager_cli.config.load import load_experiment
from onsager_cli.errors import DivergedError, LostError, UserError
from onsager_cli.run import training
from onsager_cli.run.crew import Crew, Outcome, Task
from onsager_cli.run.training import _Training

CURVES = ("lamp_tied_bg", "lamp_untied_bg", "lista_tied", "amp_l1")
FIGURE = """\
# @package _global_
curves:
  lamp_untied_bg: network=lamp network.tied=false
  lamp_tied_bg: network=lamp
  lista_tied: network=lista
  oracle: network=oracle
"""


@pytest.fixture
def figure(tmp_path, monkeypatch):
    """A function of overrides: an experiment of four small curves in a folder of its own."""
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "small.yaml").write_text(FIGURE)
    monkeypatch.chdir(tmp_path)
    others = tuple(
        f"training.{name}." for name in ("lamp_theta", "lista_untied", "lvamp", "lvamp_untied", "cnn", "default")
    )
    toy = [text for text in toy_overrides(steps=10) if not text.startswith((*others, "training.lvamp"))]

    def made(*overrides: str):
        asked = {text.partition("=")[0]: text for text in (*toy, *overrides)}
        return load_experiment(["+experiment=small", *asked.values()])

    return made


@pytest.mark.slow
def test_the_bits_are_those_of_one_by_one(figure, tmp_path):
    watch = Watch()
    assert run.train(figure("output=two", "jobs=2"), watch) == []
    assert run.train(figure("output=one", "jobs=1"), Watch()) == []
    assert stored(tmp_path / "two") == stored(tmp_path / "one")
    (event,) = watch.of("figure")
    assert event["jobs"] == 2
    assert sorted(event["expected"]) == [1, 2, 3, 4]
    assert {(event["curve"], event["task"]) for event in watch.of("curve_done")} == {
        ("lamp_tied_bg", 1), ("lamp_untied_bg", 2), ("lista_tied", 3), ("oracle", 4),
    }  # fmt: skip
    again = Watch()
    run.train(figure("output=two", "jobs=2"), again)
    assert [event["shared"] for event in again.of("curve_done")] == [True] * 4


@pytest.mark.parametrize(
    ("value", "reason"),
    [("0", "jobs must be at least 1, got 0"), ("many", "jobs must be auto or a whole number from 1 to 1000"), ("1.5", "jobs must be auto or a whole")],
)  # fmt: skip
def test_a_number_of_jobs_that_is_none(figure, value, reason):
    with pytest.raises(UserError, match=reason):
        figure(f"jobs={value}")


def test_curves_make_no_difference_to_what_they_are(figure):
    assert [curve.key for curve in figure("jobs=7").curves] == [curve.key for curve in figure().curves]


def test_a_line_of_a_curve_says_nothing_of_the_command(figure, tmp_path):
    (tmp_path / "conf" / "experiment" / "small.yaml").write_text(FIGURE.replace("lista_tied: ", "lista_tied: jobs=3 "))
    with pytest.raises(UserError, match="curve lista_tied: jobs=3 is for the whole command: leave it out of the curve"):
        figure()


class TestHowMany:
    @staticmethod
    def asked(monkeypatch, *, cores: int = 8, free: float = 1e12, jobs=None, count: int = 5, seconds: float = 100.0):
        from onsager_cli.training.resources import Needs

        monkeypatch.setattr(training, "cores_here", lambda: cores)
        monkeypatch.setattr("onsager_cli.training.resources.memory", lambda: free)
        needed = [Needs("c", {"parts": 1e9 - 450 * 2**20}, {}, 0.0, 1.0)] * count
        return training._jobs(jobs, needed, count, seconds)

    def test_a_curve_on_each_core(self, monkeypatch):
        assert self.asked(monkeypatch, cores=3) == 3

    def test_no_more_than_curves(self, monkeypatch):
        assert self.asked(monkeypatch) == 5
        assert self.asked(monkeypatch, jobs=20) == 5

    def test_as_many_as_memory_allows(self, monkeypatch):
        assert self.asked(monkeypatch, free=3.5e9) == 3
        assert self.asked(monkeypatch, free=1e8) == 1

    def test_one_where_processes_would_cost_more_than_they_gain(self, monkeypatch):
        assert self.asked(monkeypatch, seconds=2.0) == 1
        assert self.asked(monkeypatch, seconds=2.0, jobs=2) == 2

    def test_curves_that_share_an_accelerator(self, monkeypatch):
        monkeypatch.setattr("onsager_cli.training.devices.on_cpu", lambda: False)
        assert self.asked(monkeypatch, cores=2, count=30, seconds=1.0) == 16
        assert self.asked(monkeypatch, cores=2, free=2.5e9) == 2

    def test_one_where_several_devices_share_a_batch(self, monkeypatch):
        monkeypatch.setattr("onsager_cli.training.devices.curves_share", lambda: False)
        assert self.asked(monkeypatch) == 1
        with pytest.raises(UserError, match=r"jobs must be 1 or auto if several devices share a batch, got 2"):
            self.asked(monkeypatch, jobs=2)


class Sheet:
    """A crew of two that notes who begins, and ends them in the order of their seconds."""

    def __init__(self, seconds: dict[str, float]):
        self.seconds, self.now, self.begun = seconds, 0.0, []
        self.ends: dict[int, float] = {}
        self.errors: dict[int, BaseException] = {}  # by number: how a task ends

    @property
    def free(self) -> bool:
        return len(self.ends) < 2

    def start(self, number: int, task: Task) -> None:
        assert isinstance(task, partial)
        slug = task.args[0].slug
        self.begun.append(slug)
        self.ends[number] = self.now + self.seconds[slug]

    def outcomes(self):
        number = min(self.ends, key=self.ends.__getitem__)
        self.now = self.ends.pop(number)
        yield Outcome(number, error=self.errors.get(number))


def test_the_longest_begin_first_with_what_has_to_follow_them(figure):
    """30 s of work on two: 10 + 5 beside 9 + 1."""
    seconds = {"lamp_tied_bg": 5.0, "lamp_untied_bg": 10.0, "lista_tied": 9.0, "oracle": 1.0}
    asked = [(curve, run.maker_of(curve, lambda event: None)) for curve in run.in_order(figure().curves)]
    sheet = Sheet(seconds)
    _Training(asked, sheet, lambda event: None, {curve.key: seconds[curve.slug] for curve, _ in asked}).run()
    assert sheet.begun == ["lamp_tied_bg", "lista_tied", "lamp_untied_bg", "oracle"]
    assert sheet.now == 15


def test_a_curve_that_diverges_is_given_up_and_the_others_are_trained(figure):
    asked = [(curve, run.maker_of(curve, lambda event: None)) for curve in run.in_order(figure().curves)]
    sheet, watch = Sheet(dict.fromkeys((curve.slug for curve, _ in asked), 1.0)), Watch()
    sheet.errors[1] = DivergedError("layer 1: still diverging", None, 1)
    assert asked[0][0].slug == "lamp_tied_bg"
    with pytest.raises(DivergedError, match="layer 1: still diverging"):
        _Training(asked, sheet, watch, {}).run()
    assert sheet.begun == ["lamp_tied_bg", "lista_tied", "oracle"]
    assert [event["message"] for event in watch.of("warning")] == [
        "given up: layer 1: still diverging",
        "not trained: its tied network lamp_tied_bg was given up",
    ]


def test_a_process_that_is_lost_costs_its_curve_alone(figure):
    asked = [(curve, run.maker_of(curve, lambda event: None)) for curve in run.in_order(figure().curves)]
    sheet, watch = Sheet(dict.fromkeys((curve.slug for curve, _ in asked), 1.0)), Watch()
    sheet.errors[3] = LostError("the process that trained it was killed")
    with pytest.raises(LostError, match="lista_tied: the process that trained it was killed"):
        _Training(asked, sheet, watch, {}).run()
    assert sheet.begun == ["lamp_tied_bg", "lista_tied", "lamp_untied_bg", "oracle"]
    assert [event["curve"] for event in watch.of("curve_given_up")] == ["lista_tied"]


def test_a_mistake_ends_the_figure(figure):
    asked = [(curve, run.maker_of(curve, lambda event: None)) for curve in run.in_order(figure().curves)]
    sheet = Sheet(dict.fromkeys((curve.slug for curve, _ in asked), 1.0))
    sheet.errors[1] = UserError("the disk is full")
    with pytest.raises(UserError, match="the disk is full"):
        _Training(asked, sheet, lambda event: None, {}).run()
    assert sheet.begun == ["lamp_tied_bg", "lista_tied"]


def fails(how: str, report) -> str:
    """A task: it ends in some way."""
    report({"event": "warning", "message": "before the end"})
    if how == "user":
        raise UserError("problem.N: too small")
    if how == "diverged":
        raise DivergedError("layers 1-2: all: still diverging", {"B": fails}, 2)
    if how == "bug":
        raise ZeroDivisionError("in a task")
    if how == "unpicklable":

        class OwnError(Exception):
            pass

        raise OwnError("of the task alone")
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit":
        os._exit(3)
    return "done"


class TestCrew:
    @staticmethod
    def outcome(how: str) -> tuple[Outcome, list]:
        events: list = []
        with Crew(1, events.append) as crew:
            crew.start(7, partial(fails, how))
            while not (found := list(crew.outcomes())):
                pass
        return found[0], events

    @pytest.mark.slow
    def test_a_result_and_the_events_before_it(self):
        outcome, events = self.outcome("well")
        assert (outcome.number, outcome.result, outcome.error) == (7, "done", None)
        assert events == [{"event": "warning", "message": "before the end", "task": 7}]

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("how", "kind", "text"),
        [
            ("user", UserError, "problem.N: too small"),
            ("diverged", DivergedError, "layers 1-2: all: still diverging"),
            ("bug", ZeroDivisionError, "in a task"),
            ("unpicklable", RuntimeError, "OwnError: of the task alone"),
            ("killed", LostError, r"was killed, perhaps for lack of memory .*jobs=1.* run the same command again"),
            ("exit", LostError, "ended with exit code 3; run the same command again to resume"),
        ],
    )
    def test_an_exception_comes_with_its_class_and_its_traceback(self, how, kind, text):
        outcome, _ = self.outcome(how)
        assert outcome.error is not None
        with pytest.raises(kind, match=text):
            raise outcome.error
        if how in ("bug", "unpicklable"):
            assert "in fails" in str(outcome.error.__cause__)

    @pytest.mark.slow
    def test_a_free_process_that_dies_is_replaced(self):
        with Crew(1, lambda event: None) as crew:
            for number in (1, 2):
                crew.start(number, partial(fails, "well"))
                while not (found := list(crew.outcomes())):
                    pass
                assert found == [Outcome(number, "done")]
                crew.workers[0].process.kill()
                crew.workers[0].process.wait()

    @pytest.mark.slow
    def test_processes_compute_on_the_cpu_and_never_get_a_ctrl_c(self):
        with Crew(1, lambda event: None) as crew:
            crew.start(1, state_of_a_process)
            while not (found := list(crew.outcomes())):
                pass
        assert found[0].result == ("cpu", True)


def state_of_a_process(report) -> tuple[str | None, bool]:
    """The platform of JAX, and whether Ctrl-C is blocked."""
    return os.environ.get("JAX_PLATFORMS"), signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes as Linux shows them")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_no_process_outlives_the_command(figure, tmp_path, number, code):
    long = ["training.lamp.steps=[100000]", "training.lista.steps=[100000]", "jobs=2"]
    command = [sys.executable, "-m", "onsager_cli", "train", *figure(*long).overrides]
    path = str(Path(__file__).parent.parent)
    with (tmp_path / "err").open("w") as err:
        process = subprocess.Popen(
            command, cwd=tmp_path, stderr=err, start_new_session=True, env={**os.environ, "PYTHONPATH": path}
        )
        until = time.monotonic() + 60
        while (tmp_path / "err").read_text().count(" step ") < 2 and time.monotonic() < until:
            time.sleep(0.1)
        assert len(of_session(process.pid)) == 3
        process.send_signal(number)
        assert process.wait(30) == code
    while of_session(process.pid) and time.monotonic() < until:
        time.sleep(0.1)
    assert not of_session(process.pid)
    text = (tmp_path / "err").read_text()
    assert "Traceback" not in text
    if number != signal.SIGKILL:
        assert text.rstrip().splitlines()[-1].startswith("onsager: stopped; run the same command again to resume")
    assert not list(tmp_path.rglob("*.onsager-tmp")) or number == signal.SIGKILL
