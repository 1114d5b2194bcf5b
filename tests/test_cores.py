"""The bits of a trained network depend neither on the cores of the machine nor on NPROC."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import slow
from test_checkpoint import stored

# Cases whose bits did depend on the number of threads of XLA: products with long sums, and sums over everything.
LAMP = "network=lamp network.depth=2 training.lamp.steps=[4] problem.N=900 problem.M=800"
LVAMP = "network=lvamp network.depth=2 training.lvamp.steps=[4] problem.kappa=15"
FEW = "problem.selection_samples=50 problem.test_samples=50 plot.formats=[png]"

# As `onsager train` where Python sees so many cores; on one core, XLA sees one, too.
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
    """What a training stores where Python sees so many cores, with this NPROC."""
    environment = {name: value for name, value in os.environ.items() if name not in ("NPROC", "ONSAGER_CORES")}
    environment |= {"PYTHONPATH": str(Path(__file__).parent.parent)} | ({"NPROC": nproc} if nproc else {})
    output = folder / f"{cores}-{nproc}"
    command = [sys.executable, "-c", ON_A_MACHINE, str(cores), *words.split(), f"output={output}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=folder)
    assert done.returncode == 0, done.stderr
    return stored(output)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be chosen here")
@pytest.mark.parametrize("network", [LAMP, *slow(LVAMP)])
@pytest.mark.slow
def test_on_other_machines(tmp_path, network):
    words = f"{network} {FEW}"
    reference = trained(tmp_path, words, 2, None)
    assert reference
    for cores, nproc in ((1, "7"), (8, "1")):
        assert trained(tmp_path, words, cores, nproc) == reference, (cores, nproc)
