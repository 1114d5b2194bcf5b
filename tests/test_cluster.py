"""Jobs of a sweep in a queue: which share an allocation, what they note, and what the command tells of them."""

import json
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import slow, toy_overrides

from onsager_cli.cli import allocation as job_side
from onsager_cli.cli import queues
from onsager_cli.cli.allocation import OUT_OF_TIME, Allocation
from onsager_cli.cli.cluster import groups
from onsager_cli.cli.jobs import Job
from onsager_cli.cli.main import main
from onsager_cli.cli.signals import Stop
from onsager_cli.config.load import load_experiment
from onsager_cli.config.overrides import parse
from onsager_cli.config.sweeping import jobs_of
from onsager_cli.errors import DivergedError, UserError
from onsager_cli.training.checkpoint import Checkpoint

SLURM = "hydra/launcher=submitit_slurm"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ONSAGER_DEBUG", raising=False)


def jobs(*words: str) -> list[Job]:
    overrides = jobs_of(parse(words, sweep=True))
    made = [load_experiment(one) for one in overrides]
    return [
        Job(number, len(made), tuple(overrides[number - 1]), one, one.name, tuple(overrides[number - 1][-1:]))
        for number, one in enumerate(made, 1)
    ]


def numbers(*words: str) -> list[list[int]]:
    return [[job.number for job in members] for members in groups(jobs(*words))]


class TestAllocations:
    """Jobs that train a curve in common are one allocation, so that none waits for another one."""

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            ("network=lamp seed=0,1,2", [[1], [2], [3]]),
            ("network=lamp network.tied=true,false seed=0,1", [[1, 3], [2, 4]]),
            ("network=lamp network.depth=2,3 seed=0,1", [[1, 3], [2, 4]]),
            ("plot.formats=[png],[svg]", [[1, 2]]),
            ("network=amp network.depth=2,3", [[1], [2]]),  # untrained: a moment
            *slow(("network=lamp,lista network.tied=true,false", [[1, 2], [3, 4]]), ("output=a,b", [[1], [2]])),
            *slow(("+experiment=fig10,fig12,fig8", [[1, 3], [2]])),
        ],
    )
    def test_hold_what_shares_a_curve(self, words, expected):
        assert numbers(*words.split()) == expected

    def test_reach_another_process_as_they_are(self, tmp_path):
        """What a user changes in ./conf while a job waits does not change the job."""
        made = jobs("network=lamp", "network.tied=false", "seed=0,1")[1]
        for curve in made.experiment.curves:
            assert curve.key
        copy = pickle.loads(pickle.dumps(made))
        assert copy == made
        assert all("key" not in vars(curve) for curve in copy.experiment.curves), "a matrix file may change meanwhile"
        assert [curve.key for curve in copy.experiment.curves] == [curve.key for curve in made.experiment.curves]


@pytest.fixture
def trained(monkeypatch):
    """Stands in for the training of a job: notes the seeds, prints a file, and fails as told."""
    asked, fails = [], {}

    def train(experiment, live=None):
        seed = experiment.curves[0].settings.seed
        asked.append(seed)
        if seed in fails:
            raise fails[seed]
        print(f"figure of {seed}.png")

    monkeypatch.setattr("onsager_cli.cli.jobs.train", train)
    monkeypatch.setenv("NPROC", "1")
    return SimpleNamespace(asked=asked, fails=fails)


def outcome(allocation: Allocation) -> int:
    """The exit code of an allocation that runs here."""
    try:
        allocation()
    except SystemExit as error:
        return int(error.code or 0)
    return 0


def events(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class TestJobsInAnAllocation:
    @pytest.fixture
    def allocation(self, tmp_path):
        return Allocation(tuple(jobs("network=amp", "seed=0,1,2")), tmp_path / "1.jsonl")

    def test_note_what_they_print(self, allocation, trained, capsys):
        assert outcome(allocation) == 0
        assert [(event["event"], event.get("job")) for event in events(allocation.events)] == [
            ("started", 0), ("done", 0), ("started", 1), ("done", 1), ("started", 2), ("done", 2), ("end", None),
        ]  # fmt: skip
        assert events(allocation.events)[3]["files"] == ["figure of 1.png"]
        assert "figure of 1.png\n" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("error", "code", "line"),
        [
            (UserError("the disk is full"), 2, "the disk is full"),
            (DivergedError("layer 1: still diverging", None, 1), 1, "layer 1: still diverging"),
            (RuntimeError("crash"), 1, "RuntimeError: crash (ONSAGER_DEBUG=1 shows the traceback)"),
        ],
    )
    def test_that_fail_end_the_process_with_a_code_and_leave_a_line_in_the_log(
        self, allocation, trained, capsys, error, code, line
    ):
        trained.fails[1] = error
        assert outcome(allocation) == code
        assert trained.asked == [0, 1, 2], "the others run"
        err = capsys.readouterr().err
        assert f"onsager: job 2/3: {line}\n" in err
        assert ("Traceback" in err) == isinstance(error, RuntimeError), "nobody foresaw this one"
        (failed,) = (event for event in events(allocation.events) if event["event"] == "failed")
        assert (failed["job"], failed["message"], failed["mistake"]) == (1, line, isinstance(error, UserError))

    def test_run_once_if_the_allocation_is_queued_again(self, allocation, trained):
        trained.fails |= {0: UserError("no"), 1: KeyboardInterrupt()}
        assert outcome(allocation) == 130
        assert trained.asked == [0, 1]
        del trained.fails[1]
        assert outcome(allocation) == 2, "one has failed before"
        assert trained.asked == [0, 1, 1, 2]

    def test_do_not_begin_without_time(self, allocation, trained):
        class UncompletedJobError(RuntimeError):
            """As submitit raises it."""

        trained.fails[0] = UncompletedJobError("Job not requeued because: timed-out too many times")
        assert outcome(allocation) == 2
        assert trained.asked == [0]
        messages = [event["message"] for event in events(allocation.events) if event["event"] == "failed"]
        assert messages == [OUT_OF_TIME] * 3

    def test_take_the_name_of_their_figure_in_the_queue(self, allocation, trained, monkeypatch, tmp_path):
        called = []
        monkeypatch.setattr(job_side.subprocess, "run", lambda command, **_: called.append(command))
        monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "17")
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
        outcome(Allocation(allocation.jobs, tmp_path / "2.jsonl", named=True))
        assert called == [["scontrol", "update", "JobId=17_3", "JobName=amp_l1-gaussian"]]

    def test_are_queued_again_by_submitit(self, allocation, tmp_path):
        pytest.importorskip("submitit")
        again = allocation.checkpoint()
        assert again.function is allocation
        assert events(allocation.events) == [{"event": "time"}]


class TestSignals:
    @pytest.mark.parametrize(("executor", "left_alone"), [("slurm", True), ("local", False)])
    def test_sigterm_is_what_submitit_makes_of_it_on_slurm(self, monkeypatch, executor, left_alone):
        monkeypatch.setenv("SUBMITIT_EXECUTOR", executor)
        before = signal.getsignal(signal.SIGTERM)
        with Stop():
            assert (signal.getsignal(signal.SIGTERM) is before) == left_alone
            assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler

    def test_what_ends_a_job_waits_until_its_state_is_saved(self, monkeypatch, tmp_path):
        """The handlers of submitit come after the next offer of the training, or when patience is at its end."""
        called, saved = [], []
        folder = SimpleNamespace(save=lambda name, *_: saved.append(name))
        checkpoint = Checkpoint(folder, 0, SimpleNamespace(seconds=0.0))  # type: ignore[arg-type]
        state = SimpleNamespace(step=1, numbers=dict, arrays=dict)
        kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGALRM)}
        try:
            for number in (signal.SIGTERM, signal.SIGUSR2):
                signal.signal(number, lambda number, _: called.append(signal.Signals(number).name))
            Allocation((), tmp_path / "1.jsonl", patience=30)._save_before_the_end()
            checkpoint.offer(state)  # type: ignore[arg-type]
            assert saved == []
            signal.raise_signal(signal.SIGTERM)
            assert called == ["SIGTERM"], "a job that may be preempted runs on"
            checkpoint.offer(state)  # type: ignore[arg-type]
            assert saved == ["checkpoint_0"]
            signal.raise_signal(signal.SIGUSR2)
            assert called == ["SIGTERM"]
            checkpoint.offer(state)  # type: ignore[arg-type]
            assert saved == ["checkpoint_0", "checkpoint_1"]
            assert called == ["SIGTERM", "SIGUSR2"]
            assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
            signal.raise_signal(signal.SIGUSR2)
            signal.raise_signal(signal.SIGALRM)  # what comes when nothing is saved in time
            assert called == ["SIGTERM", "SIGUSR2", "SIGUSR2"]
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in kept.items():
                signal.signal(number, handler)
            checkpoint.offer(state)  # type: ignore[arg-type]  # takes what is asked for

    def test_blocked_signals_come_afterwards(self):
        reached = []

        def submit():
            with queues.blocked(signal.SIGINT):
                signal.raise_signal(signal.SIGINT)
                reached.append("the end")

        with pytest.raises(KeyboardInterrupt), Stop():
            submit()
        assert reached


def test_a_matrix_that_cannot_be_used_is_refused_before_a_job_starts(capsys):
    Path("A.csv").write_text("1,nan\n")
    assert main(["sweep", "problem.matrix=A.csv", "problem.N=2", "problem.M=1", "network.depth=1,2"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "A.csv" in line
    assert not Path("outputs").exists()


@pytest.mark.slow
def test_processes_of_this_machine_train_fail_and_are_told():
    pytest.importorskip("submitit")
    Path("random.py").write_text("raise SystemExit('a module of the working directory was imported')\n")
    words = ["network=amp", "problem.test_samples=50,60,70", "plot.formats=[png]", "hydra.launcher.n_jobs=2"]
    small = [text for text in toy_overrides() if not text.startswith(("problem.test", "training", "network"))]
    Path("outputs/figures").mkdir(parents=True)
    Path("outputs/figures/amp_l1-gaussian-test_samples=60").write_text("a file where a folder has to be")
    command = [sys.executable, "-P", "-m", "onsager_cli", "sweep", *small, "network.depth=2", *words]
    result = subprocess.run([*command, "hydra/launcher=submitit_local"], capture_output=True, text=True, check=False)
    assert result.returncode == 2, result.stderr
    out, err, lines = result.stdout, result.stderr, result.stderr.splitlines()
    assert lines[0].startswith("3 jobs started 2 at a time; logs: outputs/sweeps/")
    assert "job 1/3 (problem.test_samples=50): starts as process 1 on" in err
    assert lines[-7].startswith("2 of 3 jobs are done, ")
    assert [line.split()[0] for line in lines[-6:-2]] == ["test_samples", "50", "60", "70"]
    assert lines[-4].split()[1] == "2"  # layers of the job that was trained, and could not be drawn
    reason, _, log = lines[-2].partition(" (process 2, log ")
    assert reason.startswith("onsager: job 2/3 (problem.test_samples=60): cannot")
    assert reason.endswith("outputs/figures/amp_l1-gaussian-test_samples=60 is not a folder")
    assert "\nonsager: job 2/3: cannot" in Path(log.rstrip(")")).read_text()
    assert lines[-1] == "onsager: 1 of 3 jobs failed"
    drawn = [Path(line) for line in out.splitlines()]
    assert [path.name for path in drawn if path.suffix == ".png"] == [
        "amp_l1-gaussian-test_samples=50.png", "amp_l1-gaussian-test_samples=70.png", f"{drawn[-1].parent.name}.png",
    ]  # fmt: skip
    assert all(path.exists() for path in drawn)
