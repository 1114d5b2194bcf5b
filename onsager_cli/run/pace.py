"""What curves take on this machine: seconds from the work to do, as far as such curves were trained here before.

A file of the output folder has, for each sort of curve, the seconds that it took over the seconds that its matrix
products promise. It decides nothing but what is said about times.
"""

import contextlib
import json
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

from onsager_cli.config.experiment import Curve
from onsager_cli.errors import UserError
from onsager_cli.store.environment import machine_name
from onsager_cli.store.files import atomic_write, is_file, read_bytes

if TYPE_CHECKING:
    from onsager_cli.training.resources import Needs

FILE = "pace.json"
COMPILE_SECONDS = 4.0  # of one program, on one core
WEIGHT = 0.5  # of the latest curve, against those before
SHORTEST = 5.0  # seconds; less is mostly start and storing


class Pace:
    """Of a machine with `jobs` curves side by side, kept in the folder `output`."""

    def __init__(self, output: Path, jobs: int, flops_per_second: float):
        self._path, self._rate = output / FILE, flops_per_second / jobs
        self._place = f"{machine_name()}, {jobs} side by side"
        self._factors = _read(self._path).get(self._place, {})

    def seconds(self, curve: Curve, needs: "Needs") -> float:
        """What the curve will take, by its sort if that is known, else by what is known of others."""
        usual = statistics.median(self._factors.values()) if self._factors else 1.0
        return self._factors.get(_sort(curve), usual) * self._promised(needs)

    def knows(self, curve: Curve) -> bool:
        """Whether such a curve was trained here before."""
        return _sort(curve) in self._factors

    def note(self, curve: Curve, needs: "Needs", seconds: float) -> None:
        """Remember what a curve took."""
        if seconds < SHORTEST:
            return
        factor, sort = seconds / self._promised(needs), _sort(curve)
        self._factors[sort] = factor * WEIGHT + self._factors.get(sort, factor) * (1 - WEIGHT)
        everything = _read(self._path)
        everything[self._place] = {**everything.get(self._place, {}), sort: round(self._factors[sort], 4)}
        with contextlib.suppress(UserError):  # of a full disk, of which the training itself will tell
            atomic_write(self._path, json.dumps(everything, indent=1, sort_keys=True).encode())

    def _promised(self, needs: "Needs") -> float:
        return needs.flops / self._rate + needs.programs * COMPILE_SECONDS


def _sort(curve: Curve) -> str:
    """Curves that take the same time per matrix product."""
    network = curve.settings.network
    form = {None: "", True: " tied", False: " untied"}[network.tied]
    return f"{curve.settings.problem.kind} {network.kind}{form} {curve.settings.shrinkage.family}"


def _read(path: Path) -> dict[str, dict[str, float]]:
    """What the file says; nothing where it is not there or not what this program writes."""
    with contextlib.suppress(Exception):  # whatever somebody has made of it
        if is_file(path):
            found = json.loads(read_bytes(path))
            return {
                place: {sort: float(factor) for sort, factor in sorts.items() if 1e-3 < float(factor) < 1e3}
                for place, sorts in found.items()
            }
    return {}
