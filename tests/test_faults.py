"""Thirty kills at random moments of a toy figure: nothing lost, nothing left lying about, the same bits each time."""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import toy_overrides
from toy_training import stored

from onsager_cli.store.files import temporary_files

# Runs `onsager` in forks of one process that has imported everything, composed the config and computed nothing: a start
# costs little, and kills come while there is something to lose.
# A line of JSON is (seconds until the kill, number of the signal or 0, arguments); the answer is the exit code.
FORKS = """
import json, os, signal, sys, time
import hydra, matplotlib.pyplot
from onsager_cli import run
from onsager_cli.cli import main, progress, signals, train
from onsager_cli.config import load
from onsager_cli.figures import curves
from onsager_cli.record import pages
from onsager_cli.training import checkpoint, network
checkpoint.SECONDS = 0.0  # save whenever it could be: the more writes, the more chances to be killed in one
for line in sys.stdin:
    seconds, number, arguments = json.loads(line)
    load.load_experiment(arguments[1:])
    if not (child := os.fork()):
        os.dup2(2, 1)
        os._exit(main.main(arguments))
    if number:
        time.sleep(seconds)
        os.kill(child, number)  # not reaped yet, so that the number is still its own
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""

KILLS = 12


@pytest.fixture
def onsager(tmp_path):
    """A function (seconds until the kill, signal, arguments) → exit code and what was said on stderr."""
    environment = {
        **os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "programs"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }  # fmt: skip
    said = tmp_path / "stderr"
    with (
        said.open("wb") as errors,
        subprocess.Popen(
            [sys.executable, "-c", FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            env=environment,
        ) as process,
    ):  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def call(seconds: float, number: int, *arguments: str) -> tuple[int, str]:
            before = said.stat().st_size
            stdin.write(json.dumps([seconds, number, arguments]) + "\n")
            stdin.flush()
            code = int(stdout.readline())
            return code, said.read_bytes()[before:].decode()

        yield call
        stdin.close()


def table(output) -> list[dict[str, str]]:
    """The figure's table without its seconds."""
    with (output / "figures" / "quick" / "curves.csv").open() as file:
        return [{key: text for key, text in row.items() if key != "seconds"} for row in csv.DictReader(file)]


@pytest.mark.slow
def test_a_dozen_kills(onsager, tmp_path):
    # A command refuses what it says for networks that it does not train.
    others = ("training.lamp_", "training.lista", "training.lvamp", "training.cnn", "training.default")
    toy = [text for text in toy_overrides(steps=40) if not text.startswith(("network.depth", *others))]
    figure = ("+experiment=quick", "only=[lamp_tied_bg,oracle]", *toy, "network.depth=2", "plot.formats=[svg]")
    reference, output = tmp_path / "reference", tmp_path / "killed"
    assert onsager(0, 0, "train", *figure, f"output={tmp_path / 'first'}")[0] == 0  # compiles
    started = time.monotonic()
    code, said = onsager(0, 0, "train", *figure, f"output={reference}")
    assert code == 0, said
    whole, drawn, seconds = stored(reference), table(reference), time.monotonic() - started

    random.seed(6)
    kills, finished, inside = 0, 0, 0
    # A slow machine is killed early more often: on until enough runs came through, and enough went on inside a stage.
    while kills < KILLS or finished < 2 or inside < 5 or output.exists():
        assert kills < 20 * KILLS, f"{finished} runs came through, {inside} went on inside a stage"
        number = signal.SIGKILL if kills % 2 else signal.SIGTERM
        code, said = onsager(random.uniform(0, seconds), number, "train", *figure, f"output={output}")
        assert "Traceback" not in said
        assert "damaged" not in said
        inside += "resumes after step" in said
        if code == 0:
            assert stored(output) == whole
            assert table(output) == drawn
            assert temporary_files(output) == []
            assert not list(output.rglob("checkpoint*"))
            finished += 1
            shutil.rmtree(output)
            continue
        assert code in (-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM), said
        if code == 128 + signal.SIGTERM:
            assert said.splitlines()[-1].startswith(
                "onsager: stopped; run the same command again to resume: onsager train"
            )
        kills += 1
