"""The environment of a result: package versions and the machine, without names of hosts or users."""

import contextlib
import os
import platform
import re
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from onsager_cli import __version__
from onsager_cli.store.files import Json

_PACKAGES = ("jax", "jaxlib", "optax", "flax", "numpy", "hydra-core")
_THREADS = "NPROC"  # environment variable: XLA starts this many threads
_SHARE = "ONSAGER_CORES"  # environment variable: the cores of this process, one of several
_shared: list[int] = []  # this process has its share
XLA_THREADS = 4  # always: enough for a lone curve, and few enough for one beside others
_NUMERICAL = ("jax", "jaxlib", "optax", "numpy")  # packages whose version may change the rounding


def environment() -> Json:
    """{"versions": {package: version}, "machine": {"cpu", "cores", "threads", "memory_gib", "system"}}, plain JSON.

    "threads" is how many cores this process uses, where those are not all (see `share_cores`). Memory is in GiB.
    """
    versions = {"python": platform.python_version(), "onsager": __version__}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    machine = {
        "cpu": _cpu(),
        "cores": cores(),
        "threads": _share_of_cores(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    return {"versions": versions, "machine": {key: value for key, value in machine.items() if value}}


def version_changes(made: Mapping[str, object]) -> str:
    """The packages that compute and have changed since `made`: "jax 0.9.0 (here 0.10.2)"; empty if none has.

    `made` is an earlier result of `environment`, read from a file.
    """
    noted, here = made.get("versions"), environment()["versions"]
    if not isinstance(noted, Mapping):
        return ""
    changed = [name for name in _NUMERICAL if name in noted and noted[name] != here.get(name)]
    return ", ".join(f"{name} {noted[name]} (here {here.get(name)})" for name in changed)


def changes(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """What differs between two notes of how a curve is made and may change its last digits.

    A note is `environment()` plus "device" and "matrix" (a checksum). A key that `before` lacks counts as equal.
    """
    found = [text] if (text := version_changes(before)) else []
    if before.get("device", now["device"]) != now["device"]:
        found.append(f"{before['device']} (here {now['device']})")
    if before.get("matrix", now["matrix"]) != now["matrix"]:
        found.append("a matrix that differs by rounding")
    return found


def memory_free() -> int | None:
    """Bytes of memory that this process can still use without swapping; None if the system does not say."""
    found = re.search(r"^MemAvailable:\s*(\d+)", _text("/proc/meminfo"), re.MULTILINE)
    free = [int(found[1]) * 1024] if found else []
    granted, used = (_text(f"/sys/fs/cgroup/memory.{name}").strip() for name in ("max", "current"))
    if granted.isdecimal() and used.isdecimal():
        free.append(int(granted) - int(used))
    return min([*free, *_address_space()], default=None)


def memory_limit() -> int | None:
    """Bytes that this process cannot exceed: memory and swap of the machine or its container, or `ulimit -v`."""
    sizes = dict(re.findall(r"^(MemTotal|SwapTotal):\s*(\d+)", _text("/proc/meminfo"), re.MULTILINE))
    swap = 1024 * int(sizes.get("SwapTotal", 0))
    limits = [1024 * int(sizes["MemTotal"]) + swap] if "MemTotal" in sizes else []
    granted, more = (_text(f"/sys/fs/cgroup/memory.{name}").strip() for name in ("max", "swap.max"))
    if granted.isdecimal():
        limits.append(int(granted) + (int(more) if more.isdecimal() else swap))
    return min([*limits, *_address_space()], default=None)


def _address_space() -> list[int]:
    """The bytes that `ulimit -v` allows; empty if it allows any number, or the system has no such limit."""
    try:
        import resource  # Unix only
    except ImportError:
        return []
    allowed, _ = resource.getrlimit(resource.RLIMIT_AS)
    return [] if allowed == resource.RLIM_INFINITY else [allowed]


def _text(path: str) -> str:
    """The text of a system file; empty if there is none."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def machine_name() -> str:
    """The processor and the cores of this process: "AMD EPYC, 2 cores"."""
    return f"{_cpu()}, {cores_here()} cores"


def _cpu() -> str:
    """The name of the processor."""
    found = re.search(r"^model name[^:]*:(.*)", _text("/proc/cpuinfo"), re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def share_cores(workers: int, granted: int | None = None) -> None:
    """Limit this process to its share of the cores, as one of `workers` parallel processes.

    `granted` is the number of cores to share; None: all that the process that started this one uses. Call it before XLA
    starts its threads. Where the user has set NPROC, that stays, and so does the share of an earlier call.
    """
    if _shared or (os.environ.get(_THREADS) and not os.environ.get(_SHARE)):
        return
    _shared.append(workers)
    take_cores(max(1, (granted or cores_here() or 1) // workers))


def take_cores(count: int | None = None) -> None:
    """Use `count` cores (None: those of this process). Call it before XLA starts its threads.

    XLA always has the same number of threads, on however many cores they run: it adds up in an order that depends on
    that number, and so would the last bits of a trained network.
    """
    os.environ[_SHARE] = str(count or cores_here() or 1)
    os.environ[_THREADS] = str(XLA_THREADS)


def run_as_batch() -> None:
    """Ask the system for long turns on a core, where it knows them: more threads than cores then cost nothing."""
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Within the block, decompositions (NumPy's, SciPy's and JAX's on a CPU) use one thread.

    With more, BLAS adds up in another order, and the last bits would depend on the number of cores.
    """
    import scipy.linalg  # noqa: F401  JAX's decompositions use its BLAS
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield


def slurm_cores() -> int | None:
    """The number of cores that the Slurm job of this process has asked for; None outside of a job, or if it did not ask.

    Some clusters let a job see all cores of the machine, and count on it to use no more.
    """
    asked = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return int(asked) if asked.isdecimal() else None


def slurm_job() -> str | None:
    """The id of the Slurm job of this process, `17` or, in an array, `17_3`; None outside of a job."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")


def _given_cores() -> int | None:
    """The cores that this process was given: as one of several, or by the user's NPROC."""
    given = os.environ.get(_SHARE) or os.environ.get(_THREADS, "")
    return int(given) if given.isdecimal() and int(given) else None


def cores_here() -> int | None:
    """The number of cores that this process uses: those that it was given, or all that it may use."""
    return _given_cores() or cores()


def _share_of_cores() -> int | None:
    """The number of cores that this process uses; None if those are all."""
    return found if (found := cores_here()) != cores() else None


def cores() -> int | None:
    """The number of cores that this process may use; None if the system does not say."""
    # A container or a batch system may grant fewer cores than the machine has.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _memory_gib() -> float | None:
    """The memory that this process may use, in GiB; None if the system does not say."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    granted = _text("/sys/fs/cgroup/memory.max").strip()
    return round(min(total, int(granted) if granted.isdecimal() else total) / 2**30, 1)
