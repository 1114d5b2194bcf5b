"""What a training notes of the machine, and how jobs of a pool share it."""

import os

from onsager_cli.cli.jobs import workers
from onsager_cli.record.provenance import _machine
from onsager_cli.store.environment import changes, environment, share_cores


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
    monkeypatch.delenv("NPROC", raising=False)
    monkeypatch.setattr("onsager_cli.store.environment.cores", lambda: 16)
    before = environment()
    assert "threads" not in before["machine"]
    monkeypatch.setenv("NPROC", "")  # so that it is taken back at the end
    monkeypatch.delenv("NPROC")
    share_cores(5)
    assert os.environ["NPROC"] == "3"
    shared = environment()
    assert shared["machine"]["threads"] == 3
    assert _machine(shared).split(", ")[1:2] == ["16 cores (3 for each curve"]
    same = {"device": "cpu", "matrix": "its checksum"}
    assert changes(before | same, shared | same) == ["16 cores (here 3)"]
    share_cores(1)
    assert os.environ["NPROC"] == "3"


def test_how_many_jobs_run_side_by_side(monkeypatch):
    monkeypatch.setattr("onsager_cli.cli.jobs.cores", lambda: 8)
    asked = [(1, 5), (3, 9), (-1, 9), (-1, 5), (-2, 9), (-20, 4)]
    assert [workers(n_jobs, jobs) for n_jobs, jobs in asked] == [1, 3, 8, 5, 7, 1]
