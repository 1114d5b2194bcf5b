"""Reading and writing files so that none is ever half-written and every failure is one clear line."""

import contextlib
import errno
import hashlib
import os
import platform
import secrets
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

from onsager_cli.errors import UserError

# `.points.csv.4711-1f0c2ab9-9f3a55d0.onsager-tmp`: hidden, beside its target, with process and machine, so that it can
# be recognized when a kill left it behind.
TEMPORARY_SUFFIX = ".onsager-tmp"
FOREIGN_SECONDS = (
    24 * 3600.0
)  # no write takes longer: so old, a temporary file of another machine is left over

# Far above anything this program writes; a file beyond it is not one of ours.
MAX_BYTES = 4 * 2**30

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EMFILE: "too many files are open",
}


@contextlib.contextmanager
def writing(path: Path, verb: str = "write") -> Iterator[None]:
    """Turn any OSError inside into a UserError that names `path` and the reason."""
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0) or error.strerror or type(error).__name__
        raise UserError(f"cannot {verb} {path}: {reason}") from error


def make_folder(path: Path) -> None:
    """Create a folder and its parents if missing."""
    with writing(path, "create"):
        path.mkdir(parents=True, exist_ok=True)


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """The whole file; UserError if it cannot be read or is larger than `limit` bytes."""
    with writing(path, "read"), open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise UserError(f"cannot read {path}: it has {size} bytes, at most {limit} are accepted")
        return file.read(limit)


def atomic_write(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader, a kill or a power loss sees the old file or the new one.

    Missing parent folders are created. Raises UserError naming the file and the reason (disk full, read-only,
    no permission …); whatever happens, no temporary file stays behind unless the process is killed outright.
    """
    make_folder(path.parent)
    temporary = temporary_name(path)
    with writing(path):
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            try:
                _write_all(descriptor, data)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    _sync_folder(path.parent)


def temporary_name(path: Path) -> Path:
    """A name beside `path` for a file that must not outlive this process."""
    owner = f"{os.getpid()}-{_machine()}-{secrets.token_hex(4)}"
    return path.with_name(f".{path.name}.{owner}{TEMPORARY_SUFFIX}")


def _machine() -> str:
    """Eight hexadecimal digits for this machine, as far as its name tells it from others that share a folder."""
    return f"{zlib.crc32(platform.node().encode()):08x}"


def append_line(path: Path, line: bytes) -> None:
    """Append one line. A line torn by a killed process is ended first, so that it spoils only itself."""
    with writing(path):
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            size = os.fstat(descriptor).st_size
            if size:
                os.lseek(descriptor, size - 1, os.SEEK_SET)
                if os.read(descriptor, 1) != b"\n":
                    line = b"\n" + line
            _write_all(descriptor, line + b"\n")
        finally:
            os.close(descriptor)


def is_temporary(path: Path) -> bool:
    """Whether `path` is a leftover of an `atomic_write` that was killed (or one still under way)."""
    return path.name.startswith(".") and path.name.endswith(TEMPORARY_SUFFIX)


def temporary_files(root: Path) -> list[Path]:
    """All temporary files under `root`, sorted: what a clean may remove when nothing runs."""
    return sorted(path for path in root.rglob(f".*{TEMPORARY_SUFFIX}") if is_temporary(path))


def remove_leftovers(folder: Path) -> None:
    """Removes the temporary files in `folder` (not below) of processes that have ended."""
    for path in folder.glob(f".*{TEMPORARY_SUFFIX}"):
        if is_leftover(path):
            with writing(path, "remove"):
                path.unlink(missing_ok=True)


def is_leftover(path: Path) -> bool:
    """Whether `path` is a temporary file whose process has ended: of another machine, one that is a day old."""
    number, _, rest = path.name.removesuffix(TEMPORARY_SUFFIX).rpartition(".")[2].partition("-")
    if not is_temporary(path) or not number.isdecimal():
        return False
    if rest.partition("-")[0] != _machine():
        try:
            return time.time() - path.stat().st_mtime > FOREIGN_SECONDS
        except OSError:  # gone in the meantime
            return False
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:  # it runs, under another user
        return False
    return int(number) == 0


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(path: Path) -> None:
    # Makes the rename itself survive a power loss. Not every system lets a folder be opened or synced, and
    # the file is whole either way, so a refusal is not an error.
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def checksum(path: Path, key: str) -> str:
    """SHA-256 of the file that a key of the config names, hexadecimal. Raises UserError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{key}: {path} cannot be read: {error.strerror}") from None
