"""Several devices share a batch and train the same network: simulated CPU devices, each run a process of its own."""

import json
import os
import subprocess
import sys

import pytest
from conftest import toy_overrides

RUN = """
import json, sys
import jax
from onsager_cli import run
from onsager_cli.config.load import load_experiment
spread, shard_map = [], jax.shard_map
jax.shard_map = lambda *args, mesh, **kwargs: spread.append(mesh.size) or shard_map(*args, mesh=mesh, **kwargs)
experiment = load_experiment(json.loads(sys.argv[1]))
run.train(experiment, lambda event: None)
print(json.dumps({"devices": jax.device_count(), "spread": sorted(set(spread)), "nmse_db": [row["nmse_db"] for row in run.rows_of(experiment)]}))
"""


def train_on(devices: int, folder, *overrides: str) -> dict:
    kind = "cellular" if "problem=random_access" in overrides else "bernoulli_gaussian"
    toy = toy_overrides(steps=40, problem=kind)
    arguments = json.dumps([*toy, *overrides, f"output={folder / str(devices)}"])
    environment = {
        **os.environ, "JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}",
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-c", RUN, arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "network",
    ["network=lamp", "network=lvamp", "problem=random_access network=lvamp_gh training.lvamp_gh.emphasis=[2]"],
)
def test_four_devices_train_the_curve_of_one(network, tmp_path):
    one, four = (train_on(devices, tmp_path, *network.split()) for devices in (1, 4))
    assert (one["devices"], four["devices"]) == (1, 4)
    assert (one["spread"], four["spread"]) == ([], [4])
    # The draws are the same; sums over the batch are added up in another order, a float32 rounding per step.
    assert four["nmse_db"] == pytest.approx(one["nmse_db"], abs=0.01)
    assert len(one["nmse_db"]) == 3
