"""What a training notes of the machine, and how jobs of a pool share it."""

import os
import resource

import pytest

from onsager_cli.cli.jobs import workers
from onsager_cli.record.provenance import _machine
from onsager_cli.store.environment import (
    changes,
    cores_here,
    environment,
    memory_free,
    memory_limit,
    share_cores,
    slurm_cores,
    slurm_job,
    take_cores,
)


def test_the_environment_is_plain_and_names_no_host():
    import json
    import platform

    note = environment()
    assert json.loads(json.dumps(note)) == note
    assert note["versions"]["python"] == platform.python_version()
    assert note["versions"]["numpy"]
    assert note["machine"]["cores"] >= 1
    assert note["machine"]["cpu"]
    host = platform.node()
    assert not host or host not in json.dumps(note)


def test_processes_side_by_side_share_the_cores(monkeypatch):
    """What `share_cores` leaves a process, said in its notes and on the page, and never over somebody's own choice."""
    for name in ("NPROC", "ONSAGER_CORES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("onsager_cli.store.environment.cores", lambda: 16)
    before = environment()
    assert "threads" not in before["machine"]
    for name in ("NPROC", "ONSAGER_CORES"):
        monkeypatch.setenv(name, "")  # so that it is taken back at the end
    monkeypatch.setattr("onsager_cli.store.environment._shared", [])
    share_cores(5)
    assert cores_here() == 3
    shared = environment()
    assert shared["machine"]["threads"] == 3
    assert _machine(shared).split(", ")[1:2] == ["16 cores (3 for each curve"]
    same = {"device": "cpu", "matrix": "its checksum"}
    assert changes(before | same, shared | same) == []  # bits do not depend on it
    share_cores(1)
    assert cores_here() == 3


@pytest.mark.parametrize(("machine", "nproc", "used"), [(1, "", 1), (64, "", 64), (8, "1", 1), (8, "3", 3)])
def test_xla_has_the_same_threads_on_any_number_of_cores(monkeypatch, machine, nproc, used):
    """They decide the order of its sums."""
    monkeypatch.setenv("ONSAGER_CORES", "")
    monkeypatch.setenv("NPROC", nproc)
    monkeypatch.setattr("onsager_cli.store.environment.cores", lambda: machine)
    for _ in range(2):
        take_cores()
        assert (os.environ["NPROC"], cores_here()) == ("4", used)


def test_how_many_jobs_run_side_by_side(monkeypatch):
    monkeypatch.setattr("onsager_cli.cli.jobs.cores", lambda: 8)
    assert [workers(n_jobs, 5) for n_jobs in (1, 3, 16, -1, -2, -7, -20)] == [1, 3, 5, 5, 5, 2, 1]


def test_a_job_of_slurm_uses_the_cores_that_it_asked_for(monkeypatch):
    """All cores of the machine are in sight where Slurm does not confine its jobs."""
    monkeypatch.setattr("onsager_cli.store.environment.cores", lambda: 16)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    assert slurm_cores() is None
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "4")
    assert slurm_cores() == 4
    for name in ("NPROC", "ONSAGER_CORES"):
        monkeypatch.setenv(name, "")  # so that it is taken back at the end
    monkeypatch.setattr("onsager_cli.store.environment._shared", [])
    share_cores(1, slurm_cores())
    assert cores_here() == 4


@pytest.mark.parametrize(
    ("nproc", "share", "left"),
    [("4", "6", 2), ("5", "", 5), ("", "", 5)],
    ids=["a process of a process shares what that one has", "what the user set stays", "all cores"],
)
def test_what_there_is_to_share(monkeypatch, nproc, share, left):
    monkeypatch.setattr("onsager_cli.store.environment.cores", lambda: 16)
    monkeypatch.setattr("onsager_cli.store.environment._shared", [])
    monkeypatch.setenv("NPROC", nproc)
    monkeypatch.setenv("ONSAGER_CORES", share)
    share_cores(3)
    assert cores_here() == left


def test_the_id_of_a_slurm_job(monkeypatch):
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    assert slurm_job() is None
    monkeypatch.setenv("SLURM_JOB_ID", "19")
    assert slurm_job() == "19"
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "17")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    assert slurm_job() == "17_0"


@pytest.mark.parametrize(
    ("group", "swap", "address_space", "limit", "free"),
    [
        ("", "", None, 10 * 1024, 3 * 1024),
        ("max", "max", None, 10 * 1024, 3 * 1024),
        ("2096", "max", None, 2096 + 2 * 1024, 2000),
        ("2096", "1000", None, 3096, 2000),
        ("", "", 5000, 5000, 3 * 1024),
        ("", "", 1000, 1000, 1000),
    ],
)
def test_memory_is_that_of_the_machine_the_container_and_the_shell(
    monkeypatch, group, swap, address_space, limit, free
):
    texts = {
        "/proc/meminfo": "MemTotal:       8 kB\nMemFree: 1 kB\nMemAvailable:  3 kB\nSwapTotal:      2 kB\n",
        "/sys/fs/cgroup/memory.max": f"{group}\n", "/sys/fs/cgroup/memory.swap.max": f"{swap}\n",
        "/sys/fs/cgroup/memory.current": "96\n",
    }  # fmt: skip
    monkeypatch.setattr("onsager_cli.store.environment._text", texts.__getitem__)
    allowed = resource.RLIM_INFINITY if address_space is None else address_space
    monkeypatch.setattr(resource, "getrlimit", lambda _: (allowed, resource.RLIM_INFINITY))
    assert (memory_limit(), memory_free()) == (limit, free)
