"""What the command tells of the jobs of a sweep in a queue, and how it takes up those of an earlier command."""

import json
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_cluster import SLURM, empty_folder, jobs, numbers  # noqa: F401

from onsager_cli.cli import cluster, watch
from onsager_cli.cli.jobs import Failure, failure_of, tell
from onsager_cli.cli.queues import Seen, SlurmQueue
from onsager_cli.cli.signals import Stop
from onsager_cli.cli.watch import Placed, Watch
from onsager_cli.config.launchers import Slurm
from onsager_cli.config.overrides import parse
from onsager_cli.config.sweeping import launcher_of
from onsager_cli.errors import UserError


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
            ("", "", "it is no longer in the queue"),
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
        assert "job 1/2, job 2/2: Slurm 17_0 has reached its time limit" in lines
        assert lines.count("job 1/2, job 2/2: Slurm 17_0 is queued again, and will resume") == 1
        assert lines.count("squeue does not answer; asking again") == 1

    def test_tells_once_what_never_starts(self, place, capsys):
        stuck = {"17_0": Seen("PENDING", "PartitionConfig")}
        Watch(Queue(stuck, stuck, {"17_0": Seen("CANCELLED")}), [place]).wait()
        lines = capsys.readouterr().err.splitlines()
        assert (
            lines[0] == "job 1/2, job 2/2: Slurm will not start these jobs (PartitionConfig); to cancel: scancel 17_0"
        )
        assert len([line for line in lines if "will not start" in line]) == 1

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
        assert shallow.experiment.curves[0].identity == deep.experiment.curves[0].identity
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
        assert "job 2/2: starts after Slurm 9, which trains the same curves\n" in err
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
        assert capsys.readouterr().err == "already submitted: job 1/2; the same command waits for them\n"

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
    assert failure_of(MemoryError()).message.startswith("out of memory")
