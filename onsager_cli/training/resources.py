"""What a training will take, before it starts: time, memory and disk; and what to say when memory runs out.

Estimates from the sizes of the matrices, good to a factor of two; time from the rate of this machine's matrix
products, measured on the spot.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp

from onsager_cli.errors import UserError
from onsager_cli.kinds.settings import Settings
from onsager_cli.problems.data import IN_MEMORY
from onsager_cli.store.environment import memory_free, memory_limit
from onsager_cli.text import clock, size_binary
from onsager_cli.training.loop import ROOM

FLOAT = 4  # bytes
PROGRAM = 450 * 2**20  # bytes of JAX, its compiler and the compiled programs
EFFICIENCY = 0.85  # of a training step, against its matrix products alone


@dataclass(frozen=True)
class Needs:
    """Of one curve: memory and disk in bytes, floating-point operations in matrix products.

    `parts` has the memory by what decides its size. `data` has that of A and of the data sets alone.
    `programs` is the number of programs to compile.
    """

    slug: str
    parts: Mapping[str, float]
    data: Mapping[str, float]
    disk: float
    flops: float
    programs: int = 0

    @property
    def memory(self) -> float:
        """Bytes of all parts and of the program."""
        return sum(self.parts.values()) + PROGRAM


def causes(parts: Mapping[str, float]) -> list[str]:
    """What decides the memory, the largest part first, with the bytes of each."""
    return [f"{cause} ({size_binary(size)})" for cause, size in sorted(parts.items(), key=lambda part: -part[1])]


def needs(slug: str, settings: Settings, work: float) -> Needs | None:
    """What a curve takes, `work` being its layers times steps times samples still to do.

    None for a problem that does not say its size before it is built.
    """
    problem, network, record = settings.problem, settings.network, settings.network.record
    M, N = problem.shape
    if M is None or N is None or problem.selection_samples is None or problem.test_samples is None:
        return None
    depth, batch = settings.depth, settings.training.batch_size
    entries = record.entries(network, M, N)  # of the matrices of a layer that learn
    parameters = entries * (depth if network.tied is False else 1)  # what is not trained is tied
    uses = record.uses(network, M, N)
    of_layer = entries - record.once_entries(network, M, N)
    flops = (6 * of_layer + 4 * record.fixed_entries(network, M, N)) * uses  # per layer and sample, there and back
    sets = {
        f"problem.test_samples={problem.test_samples}": problem.test_samples,
        f"problem.selection_samples={problem.selection_samples}": problem.selection_samples,
    }
    largest = max(sets, key=lambda name: sets[name])  # a network runs on one set at a time
    parts = {name: FLOAT * ((N + M) + 6 * N * (name == largest)) * count for name, count in sets.items()}
    of_matrices = f"the size of A ({M} x {N})"
    data = {of_matrices: FLOAT * N * M} | {name: FLOAT * (N + M) * count for name, count in sets.items()}
    recorded, limit = FLOAT * (N + M) * problem.training_samples, memory_limit()
    if recorded and (limit is None or recorded <= IN_MEMORY * limit):
        parts |= {"the training pairs of problem.file": recorded}
        data |= {"the training pairs of problem.file": recorded}
    if work == 0:  # untrained: forward over the test set; no more than the problem and a few states in memory
        disk = 0 if record.lasso else FLOAT * parameters
        flops = 2 * entries * uses * depth * problem.test_samples
        return Needs(slug, {**parts, of_matrices: FLOAT * parameters}, data, disk, flops)
    state = 8 * parameters  # weights, best weights, two moments, gradient, update and copies
    layers = 2 * depth * batch * (2 * N + M)  # what the backward pass needs, and what a step adds to it
    parts |= {
        of_matrices: FLOAT * state,
        f"the batch size (training.NETWORK.batch={batch}) and network.depth={depth}": FLOAT * layers,
    }
    depths = depth if network.tied else (depth + 1) / 2
    stored = parameters * (depths + 1 + 8)  # depths, network, two checkpoints
    programs = 1 if network.tied is not False else -(-depth // ROOM)
    return Needs(slug, parts, data, FLOAT * stored, flops * work / EFFICIENCY, programs)


def forecast(curves: Iterable[Needs | None], output: Path, jobs: int, seconds: float) -> tuple[str, list[str]]:
    """One line on what these curves take and what there is, `jobs` of them side by side, and warnings.

    Raises UserError if the disk cannot hold them, or the machine's memory not even the data of a curve.
    """
    found = [item for item in curves if item is not None]
    if not found:
        return "", []
    largest, disk = sorted(found, key=lambda item: -item.memory), sum(item.disk for item in found)
    needed = sum(item.memory for item in largest[:jobs])
    here, free = memory(), _disk_free(output)
    of_memory = f" of {size_binary(here)} free" if here else ""
    line = f"about {clock(seconds)}, {size_binary(needed)}{of_memory} memory, {size_binary(disk)} of {size_binary(free)} free disk"
    if disk > free:
        raise UserError(
            f"output: {output} has {size_binary(free)} left, and the curves need about {size_binary(disk)}: set output=… to another disk"
        )
    limit = memory_limit() if jax.devices()[0].platform == "cpu" else None  # other devices refuse by themselves
    for item in found:
        if limit and (data := sum(item.data.values())) > limit:
            raise UserError(
                f"{item.slug}: A and the data sets need {size_binary(data)}, and this machine has {size_binary(limit)} of memory: "
                f"reduce {causes(item.data)[0]}"
            )
    if here and needed > here:
        who = largest[0].slug if jobs == 1 else f"jobs={jobs}: {', '.join(item.slug for item in largest[:jobs])}"
        return line, [
            f"{who} needs about {size_binary(needed)} of memory, and {size_binary(here)} are free: "
            f"reduce {' or '.join(causes(largest[0].parts)[:2])}"
        ]
    return line, []


def product_rate(size: int = 512) -> float:
    """Floating-point operations per second of a float32 matrix product here."""
    a = jnp.ones((size, size), jnp.float32)
    product = jax.jit(lambda a: jnp.matmul(a, a, precision="highest"))
    product(a).block_until_ready()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        product(a).block_until_ready()
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times)


@contextlib.contextmanager
def memory_errors(slug: str, settings: Settings) -> Iterator[None]:
    """Turn running out of memory inside into a UserError that names the curve and what to reduce."""
    try:
        yield
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if not isinstance(error, MemoryError) and not _exhausted(str(error)):
            raise
        found = needs(slug, settings, 1.0 if settings.trained else 0.0)
        parts = (
            causes(found.parts)
            if found
            else [f"the batch size (training.NETWORK.batch={settings.training.batch_size})"]
        )
        raise UserError(f"{slug}: out of memory; reduce {' or '.join(parts)}") from error


def _exhausted(text: str) -> bool:
    return "RESOURCE_EXHAUSTED" in text or "out of memory" in text.lower()


def _disk_free(folder: Path) -> int:
    """Bytes free where `folder` is, or will be made."""
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.exists(path))
    return shutil.disk_usage(there).free


def memory() -> int | None:
    """Bytes of memory that training may take: of the accelerator, or of the machine."""
    statistics = jax.devices()[0].memory_stats() or {}
    if "bytes_limit" in statistics:
        return statistics["bytes_limit"] - statistics.get("bytes_in_use", 0)
    return memory_free()
