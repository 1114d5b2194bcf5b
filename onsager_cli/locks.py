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

from onsager_cli.files import make_folder, writing

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NAME = (
    ".lock"  # inside the locked folder; it stays there, since removing a lock file makes way for two holders
)
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Tries to hold the lock of `folder` (made if missing) within the block; yields whether this process does.

    Raises UserError if the lock file cannot be made.
    """
    make_folder(folder)
    with writing(folder / NAME, "lock"):
        descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        held = _take(descriptor)
        if held:
            _sign(descriptor)
        yield held
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


def _take(descriptor: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
