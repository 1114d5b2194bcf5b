"""A real Slurm of one node on loopback for the tests: two partitions, of which `high` preempts the jobs of `low`.

It needs root and Debian's packages slurm-wlm and munge. By hand: `python tests/slurm.py FOLDER` prints the SLURM_CONF to
export, and runs until Ctrl-C.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue")
CPUS = 2
START_SECONDS = 60

# A preempted job gets SIGTERM, and SIGKILL after KillWait; a GraceTime would end half a minute late. One that is requeued
# begins again some seconds later: cred_expire and the intervals decide.
CONF = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,sched_min_interval=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=3
ReturnToService=2
SlurmdParameters=config_overrides
NodeName=node NodeHostname={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=low Nodes=node Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE
PartitionName=high Nodes=node MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


def lacking() -> str:
    """Why there can be no Slurm here; empty if there can."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"no {', '.join(missing)} here"
    return "" if os.geteuid() == 0 else "only root may start Slurm"


@contextlib.contextmanager
def one_node(folder: Path) -> Iterator[Path]:
    """Run Slurm within the block; yields its configuration, for SLURM_CONF. `folder` keeps its state and logs."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(host=socket.gethostname().partition(".")[0], folder=folder, ports=_ports(2), cpus=CPUS))
    os.environ["SLURM_CONF"] = str(conf)
    files = {name: f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")}
    try:
        _run("munged", "--force", f"--socket={folder}/munge.socket", *files.values())
        _run("slurmctld", "-c", "-f", str(conf))
        _run("slurmd", "-N", "node", "-f", str(conf))
        _until_idle(folder)
        yield conf
    finally:
        _run("scancel", "--state=PENDING", "--user=root", check=False)
        _run("scancel", "--signal=KILL", "--full", "--user=root", check=False)
        for name in ("slurmd", "slurmctld", "munge"):
            _end(folder / f"{name}.pid")
        del os.environ["SLURM_CONF"]


def slurm(*command: str, check: bool = True) -> str:
    """What a command of Slurm prints."""
    return subprocess.run(command, capture_output=True, text=True, check=check).stdout


def _run(*command: str, check: bool = True) -> None:
    subprocess.run(command, check=check, stdout=subprocess.DEVNULL, stderr=None if check else subprocess.DEVNULL)


def _ports(count: int) -> list[int]:
    """Free ports of this machine."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _until_idle(folder: Path) -> None:
    """Wait for the node."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(subprocess.CalledProcessError):
            if "idle" in slurm("sinfo", "--noheader", "--format=%T"):
                return
        time.sleep(0.2)
    raise RuntimeError(f"Slurm does not start; see {folder}")


def _end(pid: Path) -> None:
    """End the daemon whose number a file holds, and wait for that."""
    with contextlib.suppress(OSError, ValueError):
        number = int(pid.read_text())
        os.kill(number, signal.SIGTERM)
        for _ in range(100):
            os.kill(number, 0)
            time.sleep(0.1)
        os.kill(number, signal.SIGKILL)


if __name__ == "__main__":
    if reason := lacking():
        raise SystemExit(reason)
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    with one_node(Path(sys.argv[1]).absolute()) as made, contextlib.suppress(KeyboardInterrupt):
        print(f"export SLURM_CONF={made}", flush=True)
        signal.pause()
