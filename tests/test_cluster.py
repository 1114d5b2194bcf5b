"""Jobs of a sweep in a queue: which share an allocation, what they note, and what the command tells of them."""

import json
import pickle
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import slow, toy_overrides

from onsager_cli.cli import allocation as job_side
from onsager_cli.cli import cluster, queues, watch
from onsager_cli.cli.allocation import OUT_OF_TIME, Allocation
from onsager_cli.cli.cluster import groups
from onsager_cli.cli.jobs import Failure, Job, failure_of, tell
from onsager_cli.cli.main import main
from onsager_cli.cli.queues import Seen, SlurmQueue
from onsager_cli.cli.signals import Stop
from onsager_cli.cli.watch import Placed, Watch
from onsager_cli.config.launchers import Slurm
from onsager_cli.config.load import load_experiment
from onsager_cli.config.overrides import parse
from onsager_cli.config.sweeping import jobs_of, launcher_of
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


class Queue(SlurmQueue):
    """A queue whose states are given, one mapping for each look; the last one stays."""

    def __init__(self, *looks, last: str = ""):
        self.looks, self.last, self.logs, self.arrays = list(looks), last, {}, set()

    def states(self):
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]

    def last_state(self, job):
        return self.last


@pytest.fixture
def no_waiting(monkeypatch):
    """Time passes with every look."""
    now = [0.0]
    monkeypatch.setattr(watch.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(watch.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))


@pytest.mark.usefixtures("no_waiting")
class TestWatch:
    @pytest.fixture
    def place(self, tmp_path):
        first, second = jobs("network=amp", "seed=4,5")
        return Placed("17_0", tmp_path / "1.jsonl", {0: first, 1: second})

    @staticmethod
    def note(place, *noted):
        place.events.write_text("".join(json.dumps(event) + "\n" for event in noted))

    def test_tells_starts_ends_and_failures(self, place, capsys):
        self.note(
            place,
            {"event": "started", "job": 0, "host": "n7", "restarts": 0},
            {"event": "done", "job": 0, "files": ["a.png"], "seconds": 62},
            {"event": "started", "job": 1, "host": "n7", "restarts": 2},
            {"event": "failed", "job": 1, "message": "the disk is full", "mistake": True},
            {"event": "end"},
        )
        queue = Queue({"17_0": Seen("COMPLETING")})
        queue.logs["17_0"] = Path.cwd() / "logs" / "17_0.out"
        found = Watch(queue, [place])
        found.wait()
        assert found.files == {1: ["a.png"]}
        assert found.failures == {2: Failure("the disk is full", True, "Slurm 17_0, log logs/17_0.out")}
        assert capsys.readouterr().err.splitlines() == [
            "job 1/2 (seed=4): starts as Slurm 17_0 on n7", "job 1/2: done after 1:02 min",
            "job 2/2 (seed=5): resumes as Slurm 17_0 on n7", "job 2/2 failed: the disk is full",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("state", "accounting", "reason"),
        [
            ("CANCELLED", "", "it was cancelled"),
            ("OUT_OF_MEMORY", "", "set hydra.launcher.mem_gb higher"),
            ("TIMEOUT", "", "set hydra.launcher.timeout_min higher"),
            ("PREEMPTED", "", "does not requeue"),
            ("FAILED", "", "it ended as FAILED"),
            ("", "CANCELLED+", "it was cancelled"),
            ("", "", "the queue no longer knows it"),
        ],
    )
    def test_a_job_that_vanishes_has_failed(self, place, state, accounting, reason):
        """Also where Slurm keeps no accounts."""
        log = Path("17_0.out")
        log.write_text("begun\npython: command not found\n\n")
        queue = Queue({"17_0": Seen("RUNNING")}, {"17_0": Seen(state)} if state else {}, last=accounting)
        queue.logs["17_0"] = log
        found = Watch(queue, [place])
        found.wait()
        assert sorted(found.failures) == [1, 2]
        assert reason in found.failures[1].message
        assert found.failures[1].message.endswith("its log ends with: python: command not found")
        assert not found.failures[1].mistake

    def test_an_outcome_that_arrives_late_counts(self, place):
        """Network file systems show what another machine wrote some seconds later."""
        looks = [{"17_0": Seen("COMPLETED")}] * 3
        queue = Queue(*looks)
        take = queue.states

        def states():
            if len(queue.looks) == 1:
                self.note(place, *({"event": "done", "job": job, "files": [], "seconds": 1} for job in (0, 1)))
            return take()

        queue.states = states
        found = Watch(queue, [place])
        found.wait()
        assert found.failures == {}
        assert sorted(found.files) == [1, 2]

    def test_tells_that_a_job_is_queued_again_and_why(self, place, capsys):
        self.note(place, {"event": "started", "job": 0, "host": "n7"}, {"event": "time"})
        running, pending = {"17_0": Seen("RUNNING")}, {"17_0": Seen("PENDING", "BeginTime")}
        queue = Queue(running, pending, None, pending, {"17_0": Seen("CANCELLED")})
        Watch(queue, [place]).wait()
        lines = capsys.readouterr().err.splitlines()
        assert "job 1/2, job 2/2: Slurm 17_0 has used up its time" in lines
        assert lines.count("job 1/2, job 2/2: Slurm 17_0 is queued again, and will resume") == 1
        assert lines.count("squeue does not answer; asking again") == 1

    def test_tells_once_what_never_starts(self, place, capsys):
        stuck = {"17_0": Seen("PENDING", "PartitionConfig")}
        Watch(Queue(stuck, stuck, {"17_0": Seen("CANCELLED")}), [place]).wait()
        lines = capsys.readouterr().err.splitlines()
        assert lines[0] == "job 1/2, job 2/2: Slurm does not start this (PartitionConfig); to cancel: scancel 17_0"
        assert len([line for line in lines if "does not start" in line]) == 1

    def test_tells_how_far_the_jobs_are(self, place, capsys):
        waits = Placed("17_1", Path("2.jsonl"), {0: jobs("seed=0,1")[1]})
        looks = [{"17_0": Seen("RUNNING"), "17_1": Seen("PENDING", "Priority")}] * 30
        Watch(Queue(*looks, {}), [place, waits]).wait()
        told = [line for line in capsys.readouterr().err.splitlines() if "have ended" in line]
        assert told[0] == "0 of 3 jobs have ended; Slurm 17_0: 0 of 30 layers; 1 queued (Priority)"

    @pytest.mark.parametrize(("answer", "cancelled"), [("y\n", True), ("\n", False)])
    def test_an_interrupted_command_says_what_goes_on_and_offers_to_cancel_it(
        self, place, capsys, monkeypatch, answer, cancelled
    ):
        other = Placed("17_1", Path("2.jsonl"), {0: jobs("seed=0")[0]})
        earlier = Placed("15_2", Path("3.jsonl"), {0: jobs("seed=0")[0]})
        place.state, earlier.state = "RUNNING", "PENDING"
        queue, called = Queue({}), []
        queue.arrays = {"17"}
        terminal = SimpleNamespace(isatty=lambda: True, readline=lambda: answer)
        monkeypatch.setattr(watch.sys, "stdin", terminal)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(watch.subprocess, "run", lambda command, **_: called.append(command))
        Watch(queue, [place, other, earlier]).interrupted()
        err = capsys.readouterr().err
        assert "17_0 running; 17_1, 15_2 queued; to cancel them: scancel 17 15_2\n" in err
        assert called == ([["scancel", "17", "15_2"]] if cancelled else [])


class TestAdoption:
    """The same command again waits for jobs that an earlier one has submitted."""

    @pytest.fixture
    def noted(self, tmp_path):
        def note(*places, queue="Slurm"):
            folder = tmp_path / "outputs/sweeps/then"
            allocations = [
                {
                    "id": place, "log": f"/logs/{place}.out", "events": f"{place}.jsonl",
                    "curves": sorted({curve for job in members for curve in cluster._curves(job)}),
                    "jobs": [cluster._described(job) for job in members],
                }
                for place, members in places
            ]  # fmt: skip
            folder.mkdir(parents=True)
            (folder / "jobs.json").write_text(json.dumps({"queue": queue, "allocations": allocations}))
            return folder

        return note

    def test_of_the_jobs_that_are_still_in_the_queue_of_this_folder(self, noted, tmp_path, capsys):
        mine = jobs("network=amp", "seed=0,1,2,3")
        folder = noted(("9_0", mine[:1]), ("9_1", mine[1:2]), ("9_2", mine[2:3]))
        here = str(tmp_path)
        states = {
            "9_0": Seen("RUNNING", "", here),
            "9_1": Seen("FAILED", "", here),
            "9_2": Seen("PENDING", "", "/else"),
        }
        queue = Queue(states)
        (place,) = cluster._adopted(mine, queue)
        assert (place.id, place.events, place.jobs) == ("9_0", folder / "9_0.jsonl", {0: mine[0]})
        assert queue.log("9_0") == Path("/logs/9_0.out")
        assert capsys.readouterr().err == "job 1/4: still in the queue as Slurm 9_0; not submitted again\n"

    def test_of_curves_alone_is_no_reason_to_wait_for_the_job(self, noted, tmp_path):
        shallow, deep = jobs("network=lamp", "network.depth=2,3")
        noted(("9", [shallow]))
        (place,) = cluster._adopted([deep], Queue({"9": Seen("RUNNING", "", str(tmp_path))}))
        assert place.jobs == {}
        assert place.curves == frozenset(cluster._curves(deep))

    @pytest.mark.parametrize("text", ["{", "[]", '{"queue": "Slurm", "allocations": [3]}', '{"queue": "process"}'])
    def test_leaves_notes_alone_that_it_cannot_read(self, tmp_path, text):
        (tmp_path / "outputs/sweeps/then").mkdir(parents=True)
        (tmp_path / "outputs/sweeps/then/jobs.json").write_text(text)
        assert cluster._adopted(jobs("seed=0"), Queue({})) == []

    def test_is_not_guessed_while_slurm_does_not_answer(self, noted):
        mine = jobs("network=amp", "seed=0")
        noted(("9", mine))
        with pytest.raises(UserError, match="squeue does not answer"):
            cluster._adopted(mine, Queue(None))

    def test_new_jobs_begin_after_those_that_train_their_curves(self, noted, tmp_path, capsys):
        shallow, other, deep = *jobs("network=lamp", "network.depth=2"), *jobs("network=lamp", "seed=9,0")
        earlier = Placed("9", tmp_path / "9.jsonl", {}, frozenset(cluster._curves(shallow)))
        queue, asked = Queue({}), []
        queue.folder = tmp_path / "logs"

        def submit(tasks, after=()):
            asked.append((len(tasks), tuple(after)))
            yield from (f"{20 + len(asked)}_{number}" for number in range(len(tasks)))

        queue.submit = submit
        launcher = launcher_of(parse([SLURM]))
        assert isinstance(launcher, Slurm)
        placed = cluster._submit([other, deep], launcher, queue, tmp_path / "now", [earlier])
        assert asked == [(1, ()), (1, ("9",))]
        assert [(place.id, *place.jobs.values()) for place in placed] == [("21_0", other), ("22_0", deep)]
        note = json.loads((tmp_path / "now/jobs.json").read_text())
        assert [item["id"] for item in note["allocations"]] == ["21_0", "22_0"]
        err = capsys.readouterr().err
        assert "job 2/2: begins after Slurm 9, which trains the same curves\n" in err
        assert "2 jobs submitted as Slurm 21_0 … 22_0; logs: logs\n" in err

    def test_what_slurm_took_before_it_refused_is_noted(self, tmp_path, capsys):
        queue = Queue({})
        queue.folder = tmp_path

        def submit(tasks, after=()):
            yield "21"
            raise UserError("Slurm refuses the jobs")

        queue.submit = submit
        launcher = launcher_of(parse([SLURM]))
        assert isinstance(launcher, Slurm)
        with pytest.raises(UserError):
            cluster._submit(jobs("network=amp", "seed=0,1"), launcher, queue, tmp_path / "now", [])
        assert [item["id"] for item in json.loads((tmp_path / "now/jobs.json").read_text())["allocations"]] == ["21"]
        assert capsys.readouterr().err == "submitted before that: job 1/2; the same command again waits for them\n"

    def test_a_signal_while_jobs_are_submitted_comes_after_their_note(self, tmp_path, monkeypatch, capsys):
        queue = Queue({})
        queue.folder = tmp_path

        def submit(tasks, after=()):
            signal.raise_signal(signal.SIGTERM)
            yield from ("21_0", "21_1")

        queue.submit = submit
        monkeypatch.setattr(cluster, "_queue", lambda *_: queue)
        launcher = launcher_of(parse([SLURM]))
        assert isinstance(launcher, Slurm)
        with pytest.raises(KeyboardInterrupt), Stop():
            cluster.run_jobs(jobs("network=amp", "seed=0,1"), launcher)
        assert "21_0, 21_1 queued; to cancel them: scancel 21_0 21_1\n" in capsys.readouterr().err
        (note,) = (tmp_path / "outputs/sweeps").glob("*/jobs.json")
        assert [item["id"] for item in json.loads(note.read_text())["allocations"]] == ["21_0", "21_1"]


def test_failures_are_told_with_their_jobs_and_their_number(capsys):
    mine = jobs("network=amp", "seed=4,5,6,7")
    same = Failure("the disk is full", True)
    assert tell(mine, {}) == 0
    assert tell(mine, {1: same, 3: same}) == 2
    assert tell(mine, {1: same, 2: Failure("CANCELLED", False, "Slurm 17_1, log a.out")}) == 1
    assert tell(mine[:1], {1: same}) == 2
    assert capsys.readouterr().err.splitlines() == [
        "onsager: jobs 1, 3 of 4: the disk is full", "onsager: 2 of 4 jobs failed",
        "onsager: job 1/4 (seed=4): the disk is full", "onsager: job 2/4 (seed=5): CANCELLED (Slurm 17_1, log a.out)",
        "onsager: 2 of 4 jobs failed", "onsager: the disk is full",
    ]  # fmt: skip
    assert failure_of(MemoryError()).message.startswith("the memory does not suffice")


class TestSlurmWithoutSlurm:
    """What is asked of sbatch, and what it answers, with a stand-in for the commands of Slurm."""

    @pytest.fixture(autouse=True)
    def commands(self, tmp_path, monkeypatch):
        pytest.importorskip("submitit")
        folder = tmp_path / "bin"
        folder.mkdir()
        for name, text in {
            "srun": "", "squeue": "echo '17_0|RUNNING|None|/a|b'; echo broken", "sacct": "echo 'TIMEOUT'",
            "sbatch": 'cat "$1" > sbatch.txt; cat answer >&2; [ -s answer ] && exit 1; echo Submitted batch job 17',
        }.items():  # fmt: skip
            (folder / name).write_text(f"#!/bin/sh\n{text}\n")
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=":")
        Path("answer").write_text("")

    @staticmethod
    def queue(*words: str) -> SlurmQueue:
        launcher = launcher_of(parse([SLURM, *words]))
        assert isinstance(launcher, Slurm)
        return SlurmQueue(launcher, Path.cwd() / "logs", "fig10")

    def test_the_keys_become_options_of_sbatch(self):
        words = (
            "timeout_min=30", "mem_gb=3", "partition=gpu", "account=us", "cpus_per_task=2", "gpus_per_node=1",
            "array_parallelism=4", "signal_delay_s=60", "setup=[module load x]",
            "additional_parameters={mail-type: END, exclusive: true}",
        )  # fmt: skip
        queue = self.queue(*(f"hydra.launcher.{word}" for word in words))
        assert list(queue.submit([lambda: None] * 5, ["9_1", "9_2"])) == [f"17_{number}" for number in range(5)]
        script = Path("sbatch.txt").read_text()
        for option in (
            "time=30", "mem=3GB", "partition=gpu", "account=us", "cpus-per-task=2", "gpus-per-node=1", "array=0-4%4",
            "signal=USR2@60", "job-name=fig10", "mail-type=END", "dependency=afterany:9_1:9_2",
        ):  # fmt: skip
            assert f"#SBATCH --{option}\n" in script
        for option in ("requeue", "exclusive"):
            assert f"#SBATCH --{option}\n" in script
        assert "\nmodule load x\n" in script
        assert re.search(r"^srun .* --cpus-per-task=2 sh -c", script, re.MULTILINE)
        assert f"""sh -c 'trap "" TERM USR2; exec "$0" "$@"' {sys.executable} -P -u -m submitit""" in script
        assert queue.log("17_3") == Path.cwd() / "logs/17_3_0_log.out"
        assert queue.cancel_command(["17_0", "17_4", "9_1"]) == ["scancel", "17", "9_1"]
        assert queue.states() == {"17_0": Seen("RUNNING", "None", "/a|b")}
        assert queue.last_state("17_0") == "TIMEOUT"
        assert list(queue.submit([lambda: None])) == ["17"]
        assert "dependency" not in Path("sbatch.txt").read_text()

    def test_a_job_in_a_job_does_not_inherit_its_size(self, monkeypatch):
        for name in ("SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_CONF", "SBATCH_ACCOUNT"):
            monkeypatch.setenv(name, "5")
        (Path("bin/sbatch")).write_text("#!/bin/sh\nenv > env.txt\necho Submitted batch job 17\n")
        assert list(self.queue().submit([lambda: None])) == ["17"]
        inherited = [line for line in Path("env.txt").read_text().splitlines() if line.startswith(("SLURM", "SBATCH"))]
        assert sorted(inherited) == ["SBATCH_ACCOUNT=5", "SLURM_CONF=5"]

    @pytest.mark.parametrize(
        ("answer", "words", "line"),
        [
            ("Invalid partition name specified", "partition=gpu", "name specified (here hydra.launcher.partition=gpu)"),
            ("Requested time limit is invalid (…)", "", "(…) (here hydra.launcher.timeout_min=240)"),
            ("Invalid account or account/partition combination specified", "account=us", "hydra.launcher.account=us)"),
            ("Unable to contact slurm controller", "", "Slurm refuses the jobs: Unable to contact slurm controller"),
        ],
    )
    def test_a_refusal_is_one_line_with_the_keys_that_it_is_about(self, answer, words, line):
        Path("answer").write_text(f"sbatch: warning: hm\nsbatch: error: Batch job submission failed: {answer}\n")
        with pytest.raises(UserError) as error:
            list(self.queue(*(f"hydra.launcher.{word}" for word in words.split())).submit([lambda: None]))
        assert str(error.value).endswith(line)
        assert "\n" not in str(error.value)

    def test_a_machine_without_slurm(self, monkeypatch):
        monkeypatch.setenv("PATH", "/nowhere")
        with pytest.raises(UserError, match="there is no Slurm here"):
            self.queue()

    def test_without_the_commands_of_accounting_nothing_is_known(self):
        for name in ("squeue", "sacct"):
            Path("bin", name).write_text("#!/bin/sh\nexit 1\n")
        assert self.queue().states() is None
        assert self.queue().last_state("17_0") == ""


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
    assert lines[-3] == "2 of 3 jobs are done, " + lines[-3].partition("done, ")[2]
    reason, _, log = lines[-2].partition(" (process 2, log ")
    assert reason.startswith("onsager: job 2/3 (problem.test_samples=60): cannot")
    assert reason.endswith("outputs/figures/amp_l1-gaussian-test_samples=60 is no folder")
    assert "\nonsager: job 2/3: cannot" in Path(log.rstrip(")")).read_text()
    assert lines[-1] == "onsager: 1 of 3 jobs failed"
    drawn = [Path(line) for line in out.splitlines()]
    assert [path.name for path in drawn if path.suffix == ".png"] == [
        "amp_l1-gaussian-test_samples=50.png", "amp_l1-gaussian-test_samples=70.png",
    ]  # fmt: skip
    assert all(path.exists() for path in drawn)
