"""Two at once: one trains, the other takes other curves first and then waits; what died holds nothing."""

import os
import shutil
import signal
import subprocess
import sys
import threading

import pytest
from conftest import toy_overrides
from toy_training import Watch, stored

from onsager_cli import run
from onsager_cli.config.load import load_experiment
from onsager_cli.errors import UserError
from onsager_cli.run import training
from onsager_cli.store import locks
from onsager_cli.store.curves import Store
from onsager_cli.store.environment import environment

pytestmark = pytest.mark.usefixtures("quick_compile")

HOLD = """
import sys
from pathlib import Path
from onsager_cli.store.locks import locked
with locked(Path(sys.argv[1])) as held:
    print(held, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def hold():
    """A function that starts a process which holds the lock of a folder; the process is killed in the end."""
    processes = []

    def start(folder) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_one_holder_and_a_dead_one_holds_nothing(tmp_path, hold):
    process = hold(tmp_path)
    with locks.locked(tmp_path) as held:
        assert not held
    assert locks.holder(tmp_path) == f"process {process.pid}"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert locks.holder(tmp_path) is None
    with locks.locked(tmp_path) as held:
        assert held
        assert locks.holder(tmp_path) == f"process {os.getpid()}"
        with locks.locked(tmp_path) as again:  # threads of one process exclude each other too
            assert not again


@pytest.mark.parametrize(
    ("signature", "who"),
    [
        ("4711", "process 4711"),  # as earlier editions sign
        ("4711 here", "process 4711"),
        ("4711 node-7.cluster", "process 4711 on node-7.cluster"),
        ("4711 node7 17_3", "Slurm job 17_3 on node7"),
        ("4711 here 19", "Slurm job 19 on here"),
        ("", "another process"),
        ("\x1b[31m 1", "another process"),
    ],
)
def test_who_holds_a_lock(signature, who, tmp_path, monkeypatch):
    monkeypatch.setattr(locks.platform, "node", lambda: "here")
    with locks.locked(tmp_path) as held:
        assert held
        (tmp_path / locks.NAME).write_text(signature)
        assert locks.holder(tmp_path) == who


def test_a_job_of_slurm_signs_its_lock(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "17")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    monkeypatch.setattr(locks.platform, "node", lambda: "node7")
    with locks.locked(tmp_path):
        assert locks.holder(tmp_path) == "Slurm job 17_3 on node7"


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "mine").write_text("kept")
    (tmp_path / locks.NAME).symlink_to("mine")
    with pytest.raises(UserError, match=rf"^cannot lock .*{locks.NAME}: it is a link$"), locks.locked(tmp_path):
        pass
    assert (tmp_path / "mine").read_text() == "kept"


def test_a_lock_that_went_with_its_folder_is_nobody_s(tmp_path, monkeypatch):
    """Opened by one process, removed by the holder before that one gets it: the lock that counts is at the path."""
    folder, opened = tmp_path / "curve", locks._open

    def open_then_remove(path):
        descriptor = opened(path)
        monkeypatch.setattr(locks, "_open", opened)
        shutil.rmtree(path)
        return descriptor

    monkeypatch.setattr(locks, "_open", open_then_remove)
    with locks.locked(folder) as held:
        assert held
        with locks.locked(folder) as again:
            assert not again


def test_one_folder_for_a_curve_of_two_names(tmp_path):
    """Claimed at the same moment by threads that name it differently."""
    start, found = threading.Barrier(8), []

    def claim(number):
        start.wait()
        found.append(Store(tmp_path).claim({"seed": 1}, f"name{number}").path)

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [path for path in (tmp_path / "curves").iterdir() if path.is_dir()] == found[:1]


def test_without_locks_everybody_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    with locks.locked(tmp_path) as one, locks.locked(tmp_path) as other:
        assert one
        assert other


def figure(output):
    return load_experiment([
        "+experiment=quick", "only=[lamp_tied_bg,amp_l1]", *toy_overrides(), f"output={output}",
    ])  # fmt: skip


@pytest.mark.slow
def test_a_curve_that_another_process_trains_comes_last(tmp_path, hold, monkeypatch):
    """Said, waited for, and trained here when the other one dies."""
    monkeypatch.setattr(training, "WAIT_SECONDS", 0.01)
    asked = figure(tmp_path)
    amp, lamp = asked.curves
    process = hold(amp.folder.path)

    def kill_once_the_other_is_done(event):
        if event["event"] == "curve_done" and event["curve"] == lamp.slug:
            process.kill()
            process.wait()
        return False

    watch = Watch(kill_once_the_other_is_done)
    assert run.train(asked, watch) == []
    assert [event["curve"] for event in watch.of("curve")] == [lamp.slug, amp.slug]
    (said,) = watch.of("warning")
    assert (said["curve"], said["message"]) == (
        amp.slug, f"process {process.pid} trains this curve; onsager trains other curves first",
    )  # fmt: skip


def test_two_runs_at_once_train_each_curve_once(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "WAIT_SECONDS", 0.01)
    watches = [Watch(), Watch()]
    threads = [threading.Thread(target=run.train, args=(figure(tmp_path / "two"), watch)) for watch in watches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trained = [event["curve"] for watch in watches for event in watch.of("curve")]
    assert sorted(trained) == ["amp_l1", "lamp_tied_bg"]
    assert all(len(watch.of("curve_done")) == 2 for watch in watches)
    run.train(figure(tmp_path / "one"), Watch())
    assert stored(tmp_path / "two") == stored(tmp_path / "one")


class TestOtherVersions:
    """A curve that other libraries made is used or continued, and that is said."""

    @staticmethod
    def older(folder, **more):
        made = folder.read_json("made")
        made["versions"]["jax"] = "0.8.0"
        folder.write_json("made", {**made, **more})

    def test_of_a_finished_curve(self, tmp_path):
        asked = figure(tmp_path)
        run.train(asked, Watch())
        for folder in Store(tmp_path).curves():
            self.older(folder)
        run.train(asked, watch := Watch())
        here = environment()["versions"]["jax"]
        assert [event["message"] for event in watch.of("warning")] == [
            f"these stored curves were trained with jax 0.8.0 (here {here}): amp_l1, lamp_tied_bg"
        ]
        assert watch.of("curve") == []

    @pytest.mark.slow
    def test_of_a_curve_that_goes_on(self, tmp_path):
        shallow, deep = (
            load_experiment([
                *[text for text in toy_overrides() if not text.startswith("network.depth")],
                f"network.depth={depth}", f"output={tmp_path}",
            ])
            for depth in (1, 2)
        )  # fmt: skip
        run.train(shallow, Watch())
        (folder,) = Store(tmp_path).curves()
        self.older(folder, matrix="0" * 64, device="abacus")
        run.train(deep, watch := Watch())
        (said,) = watch.of("warning")
        for part in ("jax 0.8.0 (here", "abacus (here cpu)", "a matrix that differs by rounding"):
            assert part in said["message"]
        made = folder.read_json("made")
        assert made is not None
        assert made["versions"]["jax"] != "0.8.0"
        assert made["begun_with"]["versions"]["jax"] == "0.8.0"
