"""One process at a time: a lock that its holder cannot leave behind.

`flock` belongs to the process that holds it: the kernel releases it however that process ends. It works between
processes of one machine on any local file system, and between machines on NFS version 4 or with its lock service.
Where locks do not exist (Windows, some network file systems), there are none: two runs may then do the same work
twice, and each file is still whole, since every write is atomic.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from onsager_cli.store.files import make_folder, writing

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NAME = ".lock"  # inside the locked folder; it goes with the folder alone, and only while held
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Tries to hold the lock of `folder` (made if missing) within the block; yields whether this process does.

    Raises UserError if the lock file cannot be made.
    """
    descriptor = _open(folder)
    try:
        held = _take(descriptor)
        while held and not _is_at(descriptor, folder / NAME):
            # Its holder has removed the folder since it was opened: that lock is nobody's any more.
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
    """Holds the lock of `folder` (made if missing) within the block, after whoever holds it now: for short work."""
    descriptor = _open(folder)
    try:
        _take(descriptor, wait=True)
        yield
    finally:
        os.close(descriptor)


def holder(folder: Path) -> str | None:
    """The process that holds the lock of `folder`, "process 4711"; None if nobody does."""
    try:
        descriptor = os.open(folder / NAME, os.O_RDWR)
    except OSError:
        return None
    try:
        if _take(descriptor):
            return None
        number = os.read(descriptor, 20).decode(errors="replace").strip()
        return f"process {number}" if number.isdecimal() else "another process"
    finally:
        os.close(descriptor)


def _open(folder: Path) -> int:
    make_folder(folder)
    with writing(folder / NAME, "lock"):
        return os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o666)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _take(descriptor: int, wait: bool = False) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return True
        raise
    return True


def _sign(descriptor: int) -> None:
    """Writes who holds the lock, for messages only: a full disk does not matter."""
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
