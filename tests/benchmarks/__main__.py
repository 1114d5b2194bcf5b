"""The table of ratios: onsager's step over PyTorch's, on one core and on two; below 1, onsager is faster.

Each side runs in a process of its own, in turns, and the medians of the turns are compared. Beside them stand the rates
of both libraries' matrix products, which set the floor of a step.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

NETWORKS = ("lamp-bg", "lamp-soft", "lista", "lvamp-bg")
OURS = """
import json, sys
from onsager_cli.cli.bench import NETWORKS, step_timing
(row,) = step_timing(sys.argv[1], NETWORKS[sys.argv[1]], [int(sys.argv[2])], int(sys.argv[3]), float(sys.argv[4]))
print(json.dumps({"ms": row.ms_per_step, "gflops": row.gemm_gflops}))
"""


def measured(command: list[str], cores: int) -> dict[str, float]:
    """What a command prints, run on so many cores."""
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    found = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, allowed),
    )  # fmt: skip
    return json.loads(found.stdout.splitlines()[-1])


def row(name: str, cores: int, options: argparse.Namespace) -> list[str]:
    """One line of the table."""
    shape = [str(options.depth), str(options.batch), str(options.seconds)]
    ours, theirs = [], []
    for _ in range(options.turns):
        ours.append(measured(["-c", OURS, name, *shape], cores))
        peer = ["-m", "tests.benchmarks.peer", name, "--depth", shape[0], "--batch", shape[1], "--seconds", shape[2]]
        theirs.append(measured([*peer, "--threads", str(cores)], cores))

    def median(side: list[dict[str, float]], key: str) -> float:
        return statistics.median(one[key] for one in side)

    numbers = [median(side, key) for key in ("ms", "gflops") for side in (ours, theirs)]
    step, products = numbers[0] / numbers[1], numbers[3] / numbers[2]
    return [name, str(cores), *(f"{number:.1f}" for number in numbers[:2]), f"{step:.2f}",
            *(f"{number:.0f}" for number in numbers[2:]), f"{products:.2f}"]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--network", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--cores", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--depth", type=int, default=10)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    head = ["network", "cores", "ms", "ms torch", "ratio", "GFLOP/s", "GFLOP/s torch", "products' ratio"]
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head), flush=True)
    for name in options.network:
        for cores in options.cores:
            print("| " + " | ".join(row(name, cores, options)) + " |", flush=True)


if __name__ == "__main__":
    main()
