"""Launchers, which run the jobs of a sweep: their keys (`hydra.launcher.*`) with checks. conf/hydra/launcher has the values.

The keys are those of Hydra's plugins for joblib and submitit, as far as a training has a use for them. No launcher of
Hydra runs here: a failed job would be a success for Slurm, and nobody would hear of its end.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from onsager_cli.config import catalog
from onsager_cli.errors import UserError
from onsager_cli.kinds.checks import integer, number, path, processes, text
from onsager_cli.kinds.lists import lines, values

GROUP = "hydra/launcher"
BASIC = "basic"  # one job after the other in this process; it has no keys
MINUTES = 60 * 24 * 365


@dataclass(frozen=True)
class Joblib:
    """A pool of processes on this machine."""

    kind: str = text()
    n_jobs: int = processes()

    package: ClassVar = "joblib"
    extra: ClassVar = "sweep"


@dataclass(frozen=True)
class Local:
    """Jobs of submitit on this machine."""

    kind: str = text()
    n_jobs: int = processes()
    timeout_min: int = integer(1, MINUTES)
    signal_delay_s: int = integer(1, 86400)
    max_num_timeout: int = integer(0, 5)  # submitit starts a local job at most 6 times
    submitit_folder: str | None = path(null=True)

    package: ClassVar = "submitit"
    extra: ClassVar = "slurm"


@dataclass(frozen=True)
class Slurm:
    """Jobs of submitit on a Slurm cluster; the keys are options of sbatch, with the unit in their name."""

    kind: str = text()
    partition: str | None = text(null=True)
    account: str | None = text(null=True)
    qos: str | None = text(null=True)
    timeout_min: int = integer(1, MINUTES)
    max_num_timeout: int = integer(0, 10**6)
    signal_delay_s: int = integer(1, 65535)
    mem_gb: float | None = number(above=0, null=True)
    cpus_per_task: int | None = integer(1, 10**5, null=True)
    gpus_per_node: int | None = integer(0, 1000, null=True)
    array_parallelism: int = integer(1, 10**6)
    name: str | None = text(null=True)
    submitit_folder: str | None = path(null=True)
    constraint: str | None = text(null=True)
    exclude: str | None = text(null=True)
    gres: str | None = text(null=True)
    comment: str | None = text(null=True)
    cpus_per_gpu: int | None = integer(1, 10**5, null=True)
    gpus_per_task: int | None = integer(0, 1000, null=True)
    mem_per_cpu: str | None = text(null=True)
    mem_per_gpu: str | None = text(null=True)
    setup: tuple[str, ...] | None = lines(null=True)
    additional_parameters: Mapping[str, str | int | float | bool] = values()

    package: ClassVar = "submitit"
    extra: ClassVar = "slurm"


Launcher = Joblib | Local | Slurm
KINDS: dict[str, type[Launcher]] = {"joblib": Joblib, "local": Local, "slurm": Slurm}

# Names that Slurm, or a habit, has for a key.
ALSO = {
    "time": "timeout_min", "timeout": "timeout_min", "minutes": "timeout_min", "hours": "timeout_min",
    "mem": "mem_gb", "memory": "mem_gb", "ram": "mem_gb", "cpus": "cpus_per_task", "cores": "cpus_per_task",
    "threads": "cpus_per_task", "gpus": "gpus_per_node", "queue": "partition", "job_name": "name", "jobs": "n_jobs",
    "workers": "n_jobs", "signal": "signal_delay_s", "folder": "submitit_folder", "max_jobs": "array_parallelism",
}  # fmt: skip


def options() -> dict[str, Path]:
    """The launchers that there are, also those in ./conf, with their YAML files; `basic` needs none."""
    return {BASIC: Path(), **catalog.config_files(GROUP)}


def check_installed(launcher: Launcher) -> None:
    """Raises UserError if the package of a launcher is missing."""
    if find_spec(launcher.package) is None:
        needs, extra = launcher.package, launcher.extra
        raise UserError(
            f"this launcher needs {needs}, which is not installed: pip install {needs} "
            f"(in a checkout also pip install -e '.[{extra}]')"
        )
