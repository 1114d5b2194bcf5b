"""Short forms of the campaigns against the promises: kills, damage, several processes, full disks, random words."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]

# Long forms: python -m tests.attack CAMPAIGN (CONTRIBUTING.md).
SHORT = {
    "kill": ["--tries", "8", "--only", "train lamp"],
    "start": ["--tries", "6", "--only", "start"],
    "corruption": ["--tries", "15"],
    "concurrency": ["--tries", "1", "--only", "l1,deep l1,deep amp"],
    "disk": ["--tries", "8", "--only", "train lamp"],
    "fuzz": ["--tries", "200"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SHORT)
def test_nothing_is_lost_and_nothing_is_silent(name, tmp_path):
    campaign = "kill" if name == "start" else name
    done = subprocess.run(
        [sys.executable, "-m", "tests.attack", campaign, *SHORT[name], "--folder", str(tmp_path)],
        cwd=CHECKOUT, capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert ", 0 failures, " in done.stdout.splitlines()[-1]
