"""What a result was made with: package versions and the machine, without names of hosts or users."""

import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("onsager", "jax", "jaxlib", "optax", "flax", "numpy", "hydra-core")
_THREADS = "NPROC"  # the environment variable from which XLA takes the number of its threads
_NUMERICAL = ("jax", "jaxlib", "optax", "numpy")  # those that compute: another version rounds differently


def environment() -> dict[str, Any]:
    """{"versions": {package: version}, "machine": {"cpu", "cores", "threads", "memory_gib", "system"}}, plain JSON.

    "threads" is there where this process computes with fewer than the cores there are (`share_cores`).
    """
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    machine = {
        "cpu": _cpu(),
        "cores": cores(),
        "threads": _threads(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    return {"versions": versions, "machine": {key: value for key, value in machine.items() if value}}


def version_changes(made: Mapping[str, Any]) -> str:
    """How the packages that compute differ from those noted in `made`: "jax 0.9.0 (here 0.10.2)"; empty if they do not.

    `made` is what `environment` returned once, read back from a file.
    """
    noted, here = made.get("versions"), environment()["versions"]
    if not isinstance(noted, Mapping):
        return ""
    changed = [name for name in _NUMERICAL if name in noted and noted[name] != here.get(name)]
    return ", ".join(f"{name} {noted[name]} (here {here.get(name)})" for name in changed)


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two notes of how a curve is made, of what moves its last digits.

    A note is `environment()` with "device" and "matrix", a checksum; what one of them lacks does not differ.
    """
    found = [text] if (text := version_changes(before)) else []
    if before.get("device", now["device"]) != now["device"]:
        found.append(f"{before['device']} (here {now['device']})")
    # Threads cut the sums of a matrix product in their own way.
    threads, here = (_computing(note.get("machine")) for note in (before, now))
    if threads not in (None, here):
        found.append(f"{threads} cores (here {here})")
    if before.get("matrix", now["matrix"]) != now["matrix"]:
        found.append("a matrix that was computed with other roundings")
    return found


def _computing(machine: Any) -> int | None:
    """The cores that a process of this machine, as `environment` notes it, computes with."""
    return machine.get("threads", machine.get("cores")) if isinstance(machine, Mapping) else None


def memory_free() -> int | None:
    """Bytes of memory that this process may still take without swapping; None where the system does not say."""
    lines = [line.split() for line in _text("/proc/meminfo").splitlines()]
    free = next((int(words[1]) * 1024 for words in lines if words[:1] == ["MemAvailable:"]), None)
    granted, used = (_text(f"/sys/fs/cgroup/memory.{name}").strip() for name in ("max", "current"))
    if granted.isdecimal() and used.isdecimal():
        within = int(granted) - int(used)
        free = within if free is None else min(free, within)
    return free


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _cpu() -> str:
    for line in _text("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def share_cores(workers: int) -> None:
    """Leaves this process, one of `workers` that compute at once, its share of the cores.

    XLA makes its threads when it starts, as many as NPROC says; a number that is there already is somebody's choice.
    """
    os.environ.setdefault(_THREADS, str(max(1, (cores() or 1) // workers)))


def _threads() -> int | None:
    """The threads this process was given; None if as many as there are cores."""
    given = os.environ.get(_THREADS, "")
    return int(given) if given.isdecimal() and int(given) != cores() else None


def cores() -> int | None:
    """The cores that this process may run on; None where the system does not say."""
    # A container or a batch system may grant fewer than the machine has.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _memory_gib() -> float | None:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    granted = _text("/sys/fs/cgroup/memory.max").strip()
    return round(min(total, int(granted)) / 2**30 if granted.isdecimal() else total / 2**30, 1)
