"""What a result was made with: package versions and the machine, without names of hosts or users."""

import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("onsager", "jax", "jaxlib", "optax", "flax", "numpy", "hydra-core")
_NUMERICAL = ("jax", "jaxlib", "optax", "numpy")  # those that compute: another version rounds differently


def environment() -> dict[str, Any]:
    """{"versions": {package: version}, "machine": {"cpu", "cores", "memory_gib", "system"}}, plain JSON."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    machine = {
        "cpu": _cpu(),
        "cores": _cores(),
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
    machine = before.get("machine")
    cores, here = machine.get("cores") if isinstance(machine, Mapping) else None, now["machine"].get("cores")
    if cores not in (None, here):  # they cut the sums of a matrix product in another way
        found.append(f"{cores} cores (here {here})")
    if before.get("matrix", now["matrix"]) != now["matrix"]:
        found.append("a matrix that was computed with other roundings")
    return found


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


def _cores() -> int | None:
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
