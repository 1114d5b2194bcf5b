"""The bits of a trained network depend neither on the cores of the machine nor on NPROC."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import slow
from test_checkpoint import stored

SMALL = "problem.N=60 problem.M=30 problem.selection_samples=80 problem.test_samples=40"
FULL = "problem.selection_samples=200 problem.test_samples=100"  # N = 500, M = 250, batches of 500
TALL = "problem.N=900 problem.M=800 problem.selection_samples=50 problem.test_samples=50"  # long sums
STEPS = "network.depth=2 training.{0}.steps=[4] plot.formats=[png]"
NETWORKS = {
    "lamp": f"network=lamp shrinkage=pwlin {STEPS.format('lamp')}",
    "lista": f"network=lista {STEPS.format('lista')}",
    "lvamp": f"network=lvamp problem.kappa=15 {STEPS.format('lvamp')}",
}

# As `onsager train` on a machine of so many cores: what the system says of them is replaced before anything is imported.
ON_A_MACHINE = """
import os, sys
number = int(sys.argv[1])
if number == 1:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
os.sched_getaffinity = lambda _: set(range(number))
from onsager_cli.cli.main import main
sys.exit(main(["train", *sys.argv[2:]]))
"""


def trained(folder: Path, words: str, cores: int, nproc: str | None):
    """What a training stores on a machine of so many cores, with this NPROC."""
    environment = {name: value for name, value in os.environ.items() if name not in ("NPROC", "ONSAGER_CORES")}
    environment |= {"PYTHONPATH": str(Path(__file__).parent.parent)} | ({"NPROC": nproc} if nproc else {})
    output = folder / f"{cores}-{nproc}"
    command = [sys.executable, "-c", ON_A_MACHINE, str(cores), *words.split(), f"output={output}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=folder)
    assert done.returncode == 0, done.stderr
    return stored(output)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be chosen here")
@pytest.mark.parametrize(
    ("network", "size"), [("lamp", SMALL), *slow(("lamp", FULL), ("lista", FULL), ("lvamp", FULL), ("lamp", TALL))]
)
def test_on_other_machines(tmp_path, network, size):
    words = f"{NETWORKS[network]} {size}"
    reference = trained(tmp_path, words, 2, None)
    assert reference
    for cores, nproc in ((1, "7"), (8, "1")):
        assert trained(tmp_path, words, cores, nproc) == reference, (cores, nproc)
