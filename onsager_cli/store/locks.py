"""Locks of folders, so that only one process at a time works on a curve. No process can leave a lock behind.

A `flock` belongs to the process that holds it: when the process ends for any reason, the kernel releases the lock. It
works between processes of one machine on any local file system, and between machines on NFS version 4 or with the NFS
lock service. Windows and some network file systems have no locks. There, two processes may do the same work twice; the
files stay whole, since every write is atomic.
"""

import contextlib
import errno
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path

from onsager_cli.store.environment import slurm_job
from onsager_cli.store.files import make_folder, opened, writing

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NAME = ".lock"  # inside the locked folder; removed only together with the folder, by the process that holds the lock
_SIGNATURE = re.compile(r"(\d+)(?: +([\w.-]+))?(?: +([\d_]+))?")  # process, machine, Slurm job
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Try to hold the lock of `folder` within the block; yield whether this process holds it. Create the folder.

    Raises UserError if the lock file cannot be created.
    """
    descriptor = _open(folder)
    try:
        held = _take(descriptor)
        while held and not _is_at(descriptor, folder / NAME):
            # The previous holder removed the folder after the file was opened: lock the new file instead.
            stale, descriptor = descriptor, _open(folder)
            os.close(stale)
            held = _take(descriptor)
        if held:
            _sign(descriptor)
        yield held
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def turn(folder: Path) -> Iterator[None]:
    """Wait for the lock of `folder` and hold it within the block, for short work only. Create the folder."""
    descriptor = _open(folder)
    try:
        _take(descriptor, wait=True)
        yield
    finally:
        os.close(descriptor)


def holder(folder: Path) -> str | None:
    """Who holds the lock of `folder`, as "process 4711"; None if nobody does.

    It is "process 4711 on node7" on another machine, and "Slurm job 17_3 on node7" in a job of Slurm.
    """
    with contextlib.suppress(OSError), opened(folder / NAME, os.O_RDWR) as descriptor:
        if not _take(descriptor):
            signed = _SIGNATURE.fullmatch(os.read(descriptor, 300).decode(errors="replace").strip())
            if signed is None:
                return "another process"
            number, host, job = signed.groups()
            where = f" on {host}" if host and (job or host != platform.node()) else ""
            return f"{f'Slurm job {job}' if job else f'process {number}'}{where}"
    return None


def _open(folder: Path) -> int:
    """The descriptor of the lock file of `folder`, which is created. Raises UserError if that fails."""
    make_folder(folder)
    with writing(folder / NAME, "lock"):
        # No link is followed: the file that it leads to would lose its content.
        return os.open(folder / NAME, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is still the file at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _take(descriptor: int, wait: bool = False) -> bool:
    """Try to lock an open file, or `wait` for it. Return whether it is locked, or cannot be on this system."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    return True


def _sign(descriptor: int) -> None:
    """Write this process, its machine and its Slurm job into the lock file, for messages; ignore a full disk."""
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()} {platform.node()} {slurm_job() or ''}".encode())
