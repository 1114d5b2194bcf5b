"""Sweeps on a real Slurm, which these tests start: preempted, out of time, failed, cancelled, left alone."""

import contextlib
import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from slurm import lacking, one_node, slurm

pytest.importorskip("submitit")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(lacking()), reason=lacking())]

PATIENCE = 300  # seconds for what must happen some time
COMMAND = [sys.executable, "-P", "-m", "onsager_cli"]
LAUNCHER = ("hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=9")
SMALL = (
    "problem.N=60", "problem.M=30", "problem.selection_samples=50", "problem.test_samples=50", "network.depth=2",
    "plot.formats=[png]",
)  # fmt: skip
LAMP = ("network=lamp", "training.lamp.steps=[9000]", "training.lamp.batch=100", "training.check_every=100", *SMALL)
AMP = ("network=amp", *SMALL)


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory):
    with one_node(tmp_path_factory.mktemp("slurm")):
        yield


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NPROC", raising=False)


@pytest.fixture
def sweep():
    """A function that starts a sweep, with its stdout and stderr in files; killed at the end if it still runs."""
    started = []

    def start(*words: str) -> "subprocess.Popen[bytes]":
        with open("out.txt", "ab") as out, open("err.txt", "ab") as err:
            started.append(subprocess.Popen([*COMMAND, "sweep", *LAUNCHER, *words], stdout=out, stderr=err))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def until(happens: Callable[[], object], what: str) -> None:
    """Wait until something happens."""
    end = time.monotonic() + PATIENCE
    while not happens():
        assert time.monotonic() < end, f"{what}: {Path('err.txt').read_text()}"
        time.sleep(0.2)


def err() -> str:
    return Path("err.txt").read_text()


def events() -> list[list[dict]]:
    """The events of each allocation."""
    found = sorted(Path("outputs/sweeps").glob("*/*.jsonl"))
    return [[json.loads(line) for line in path.read_text().splitlines()] for path in found]


def states() -> dict[str, str]:
    """State by job."""
    lines = slurm("squeue", "--noheader", "--array", "--states=all", "--format=%i %T").splitlines()
    return dict(line.split() for line in lines)


def job(number: str) -> str:
    return slurm("scontrol", "show", "job", number)


def trainings() -> set[str]:
    """The seeds whose training has begun and reported."""
    logs = Path("outputs/curves").glob("*/log.jsonl")
    return {
        re.findall(r"seed: (\d+)", (log.parent / "config.yaml").read_text())[-1]
        for log in logs
        if '"eval"' in log.read_text()
    }


def stored(output: str) -> dict[str, object]:
    """Everything of the curves of an output folder but seconds: the bytes of the networks, the arrays of each depth, points."""
    found: dict[str, object] = {}
    for folder in sorted(Path(output, "curves").iterdir()):
        if not folder.is_dir():
            continue
        found[f"{folder.name}/network"] = (folder / "network.npz").read_bytes()
        for path in sorted(folder.glob("depth_*.npz")):
            with np.load(path) as arrays:
                found[f"{folder.name}/{path.stem}"] = {
                    name: arrays[name].tobytes() for name in arrays.files if name != "meta"
                }
        with open(folder / "points.csv", newline="") as file:
            rows = [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]
        found[f"{folder.name}/points"] = rows
    return found


def test_a_sweep_of_eight_preempted_once_and_out_of_time_once_has_the_bits_of_train(sweep):
    process = sweep(*LAMP, "seed=0,1,2,3,4,5,6,7")
    until(lambda: {"0", "1"} <= trainings(), "two jobs train")
    (main,) = {name.partition("_")[0] for name in states()}
    assert f"8 jobs submitted as Slurm {main}_0 … {main}_7; logs: outputs/sweeps/" in err()
    assert {name.strip() for name in slurm("squeue", "--noheader", "--array", "--format=%50j").splitlines()} == {
        "lamp_tied_bg-gaussian", "lamp_tied_bg-gaussian-seed=0", "lamp_tied_bg-gaussian-seed=1",
    }  # fmt: skip
    subprocess.run(["srun", "--partition=high", "--ntasks=2", "sleep", "1"], check=True, stderr=subprocess.DEVNULL)
    until(lambda: "Restarts=1" in job(f"{main}_0"), "preempted")
    until(lambda: len(trainings()) > 2, "another job trains")
    running = [name for name, state in states().items() if state == "RUNNING"]
    until(lambda: any(str(int(name.partition("_")[2])) in trainings() for name in running), "its training has begun")
    late = next(name for name in running if name.partition("_")[2] in trainings())
    slurm("scancel", "--signal=USR2", late, check=False)  # an error for scancel, since the job queues itself again
    assert process.wait(PATIENCE) == 0, err()
    said = err()
    assert f"Slurm {late} has reached its time limit" in said
    for number, name in ((1, f"{main}_0"), (2, f"{main}_1"), (int(late.partition("_")[2]) + 1, late)):
        assert f"job {number}/8: Slurm {name} is queued again, and will resume\n" in said
        assert f"job {number}/8 (seed={number - 1}): resumes as Slurm {name} on " in said
    assert "Bypassing signal SIGTERM" in Path(re.findall(r"logs: (\S+)", said)[0], f"{main}_0_0_log.out").read_text()
    assert re.search(r"^8 of 8 jobs are done, after ", said, re.MULTILINE)
    assert all(found[-1] == {"event": "end"} for found in events())
    assert {"event": "time"} in events()[int(late.partition("_")[2])]
    drawn = [Path(line) for line in Path("out.txt").read_text().splitlines()]
    assert [path.name for path in drawn[1::2]] == [f"lamp_tied_bg-gaussian-seed={seed}.png" for seed in range(8)]
    assert all(path.exists() for path in drawn)

    code = "import sys; from onsager_cli.cli.main import main; sys.exit(any(main(['train', *{}, f'seed={{seed}}']) for seed in {}))"
    alone = [
        subprocess.Popen(
            [sys.executable, "-P", "-c", code.format([*LAMP, "output=alone"], seeds)], stderr=subprocess.DEVNULL
        )
        for seeds in ([0, 1, 2, 3], [4, 5, 6, 7])
    ]
    assert [process.wait(PATIENCE) for process in alone] == [0, 0]
    swept = stored("outputs")
    assert len(swept) == 8 * 4
    assert swept == stored("alone")


def test_a_failed_job_has_failed_for_slurm_in_its_log_and_in_the_summary(sweep):
    Path("outputs/figures").mkdir(parents=True)
    Path("outputs/figures/amp_l1-gaussian-seed=1").write_text("a file where a folder has to be")
    assert sweep(*AMP, "seed=0,1").wait(PATIENCE) == 2, err()
    *_, ended, reason, count = err().splitlines()
    assert ended.startswith("1 of 2 jobs are done")
    found = re.fullmatch(
        r"onsager: job 2/2 \(seed=1\): (cannot .* is not a folder) \(Slurm (\d+_1), log (\S+)\)", reason
    )
    assert found
    assert count == "onsager: 1 of 2 jobs failed"
    assert f"onsager: job 2/2: {found[1]}\n" in Path(found[3]).read_text()
    until(lambda: "JobState=FAILED" in job(found[2]), "FAILED")
    assert "ExitCode=2:0" in job(found[2])
    until(lambda: "JobState=COMPLETED" in job(found[2].replace("_1", "_0")), "COMPLETED")


def test_the_same_command_again_waits_for_what_is_in_the_queue_and_hears_of_a_cancellation(sweep):
    process = sweep(*LAMP, "seed=10,11")
    until(lambda: {"10", "11"} <= trainings(), "the jobs train")
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 143
    (main,) = {name.partition("_")[0] for name, state in states().items() if state == "RUNNING"}
    assert f"{main}_0, {main}_1 running; to cancel them: scancel {main}\n" in err()
    assert "run the same command again to resume" in err()

    process = sweep(*LAMP, "seed=10,11")
    until(lambda: f"job 2/2: still in the queue as Slurm {main}_1; not submitted again" in err(), "adopted")
    slurm("scancel", f"{main}_1")
    assert process.wait(PATIENCE) == 1, err()
    *_, reason, count = err().splitlines()
    assert reason.startswith("onsager: job 2/2 (seed=11): it was cancelled")
    assert f"(Slurm {main}_1, log outputs/sweeps/" in reason
    assert count == "onsager: 1 of 2 jobs failed"
    assert len(list(Path("outputs/sweeps").iterdir())) == 1, "nothing was submitted a second time"
    assert not [path for path in Path("outputs").rglob("*.onsager-tmp") if "seed=10" in str(path)]

    assert sweep(*LAMP, "seed=11").wait(PATIENCE) == 0, "it resumes"


def test_a_killed_process_and_a_module_of_the_working_directory(sweep):
    Path("random.py").write_text("raise SystemExit('a module of the working directory was imported')\n")
    process = sweep(*LAMP, "seed=20")
    until(lambda: "20" in trainings(), "the job trains")
    slurm("scancel", "--signal=KILL", next(name for name, state in states().items() if state == "RUNNING"))
    assert process.wait(PATIENCE) == 1
    assert re.search(r"^onsager: it (ended as FAILED|was cancelled).*; its log ends with: ", err(), re.MULTILINE), err()


def test_jobs_that_share_a_curve_are_one_allocation(sweep):
    with contextlib.suppress(FileNotFoundError):
        os.unlink("err.txt")
    assert (
        sweep(*LAMP[:1], "training.lamp.steps=[20]", "training.lamp.batch=20", *SMALL, "network.tied=true,false").wait(
            PATIENCE
        )
        == 0
    ), err()
    assert "; jobs that share curves run one after the other" in err()
    (only,) = events()
    assert [event["job"] for event in only if event["event"] == "done"] == [0, 1]
