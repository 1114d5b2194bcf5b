"""Read and write files. No file is ever half-written, and every failure is a UserError of one line.

Only regular files are read and replaced, never a device, a pipe or a folder, and no link is replaced.
"""

import contextlib
import errno
import fnmatch
import io
import os
import platform
import stat
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from onsager_cli import text
from onsager_cli.errors import UserError

Json = dict[str, Any]
"""A JSON object."""

# `.points.csv.4711-1f0c2ab9-9f3a55d0.onsager-tmp`: a hidden file in the folder of its target. The name has the process
# and the machine, so that onsager recognizes the file if a killed process left it.
TEMPORARY_SUFFIX = ".onsager-tmp"
FOREIGN_SECONDS = 24 * 3600.0  # a temporary file of another machine is a leftover after this time
LARGEST_TEXT = 1_000_000  # bytes of a config or a claims file
MAX_BYTES = 4 * 2**30  # far more than onsager ever writes

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EMFILE: "too many files are open",
    errno.EISDIR: "it is a folder",
    errno.ELOOP: "it is a link",
    errno.ENXIO: "it is a socket",
}
_SPECIAL = {
    stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket",
}  # fmt: skip
_HEAD = 2**20  # bytes of a file that say whether onsager wrote it


@contextlib.contextmanager
def writing(path: Path, verb: str = "write") -> Iterator[None]:
    """Turn an OSError within the block into a UserError that names `path` and the reason.

    So is a ValueError, which Python raises for a name with a character that no file can have.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        raise UserError(f"cannot {verb} {path}: {reason(error, path)}") from error


def reason(error: OSError | ValueError, path: Path) -> str:
    """What went wrong at `path`, in a few words."""
    if isinstance(error, OSError):
        if error.errno in (errno.EEXIST, errno.ENOTDIR) and (in_the_way := _in_the_way(path)):
            return in_the_way
        return _REASONS.get(error.errno or 0) or error.strerror or type(error).__name__
    return f"no file can have this name ({error})"


def expanded(path: str) -> Path:
    """A path as a user types it, with the home folder for ~. Raises UserError if there is no such home folder."""
    try:
        return Path(text.expanded(path))
    except ValueError as error:
        raise UserError(f"{error}, got {path!r}") from None


def make_folder(path: Path) -> None:
    """Create a folder and its parents if missing. Raises UserError if that fails, and names what is in the way."""
    with writing(path, "create"):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            there = Path(error.filename)
            what = f"a link to {os.readlink(there)}, which does not exist" if there.is_symlink() else "not a folder"
            raise UserError(f"cannot create {path}: {there} is {what}") from error


def _in_the_way(path: Path) -> str | None:
    """What stands where a folder of `path` must be; None if nothing does."""
    for place in (path, *path.parents):
        if place.is_symlink() and not place.exists():
            return f"{place} is a link to {os.readlink(place)}, which does not exist"
        if place.exists() and not place.is_dir():
            return f"{place} is not a folder"
    return None


@contextlib.contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    """Yield the descriptor of a file that is open within the block. Raises OSError."""
    descriptor = os.open(path, flags, 0o666)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def open_regular(path: Path) -> Iterator[io.BufferedReader]:
    """Yield the open file. Raises OSError, for whatever is not a regular file too, and never waits for a pipe."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
        if (special := _special(os.fstat(file.fileno()).st_mode)) is not None:
            raise OSError(errno.EINVAL, f"it is {special}")
        yield file


def _special(mode: int) -> str | None:
    """What a file of this mode is, such as "a device"; None for a regular file."""
    return None if stat.S_ISREG(mode) else _SPECIAL.get(stat.S_IFMT(mode), "not a regular file")


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """The content of a file. Raises UserError if it is not a regular file, cannot be read or has more than `limit` bytes."""
    with writing(path, "read"), open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise UserError(f"cannot read {path}: it has {size} bytes; at most {limit} are allowed")
        return file.read(limit)


def entries(folder: Path, pattern: str = "*") -> list[Path]:
    """What is in a folder, by name, if the name fits the pattern of a shell; nothing if there is no such folder.

    Raises UserError if the folder cannot be read.
    """
    with writing(folder, "read"), contextlib.suppress(FileNotFoundError):
        return sorted(folder / name for name in os.listdir(folder) if fnmatch.fnmatchcase(name, pattern))
    return []


def below(folder: Path, pattern: str = "*") -> list[Path]:
    """The files at any depth of a folder, sorted, whose names fit the pattern. Raises UserError as `entries` does."""

    def refuse(error: OSError) -> None:
        with writing(Path(error.filename), "read"):
            raise error

    walk = os.walk(folder, onerror=refuse) if is_folder(folder) else ()
    return sorted(Path(root, name) for root, _, names in walk for name in fnmatch.filter(names, pattern))


def exists(path: Path) -> bool:
    """Whether anything is at `path`. Raises UserError if nobody may look."""
    return _mode(path) != 0


def is_file(path: Path) -> bool:
    """Whether a regular file is at `path`, or a link to one. Raises UserError if nobody may look."""
    return stat.S_ISREG(_mode(path))


def is_folder(path: Path) -> bool:
    """Whether a folder is at `path`, or a link to one. Raises UserError if nobody may look."""
    return stat.S_ISDIR(_mode(path))


def _mode(path: Path) -> int:
    """The mode of what is at `path`, links followed; 0 if nothing is there."""
    with writing(path, "read"), contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return os.stat(path).st_mode
    return 0


def check_replaceable(path: Path) -> bool:
    """Whether a regular file is at `path`. Raises UserError if something else is there: that is never replaced."""
    with writing(path), contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if (special := _special(os.lstat(path).st_mode)) is not None:
            to = f" to {os.readlink(path)}" if special == "a link" else ""
            raise UserError(f"cannot write {path}: it is {special}{to}, and onsager replaces only files")
        return True
    return False


def keep(_: Path) -> bool:
    """The answer where nobody is asked: a file that onsager did not write stays."""
    return False


def check_ours(path: Path, ours: Callable[[bytes], bool], replace: Callable[[Path], bool] = keep) -> None:
    """Raises UserError unless `path` may be written: nothing is there, a file of onsager, or one that may be replaced.

    Args:
        path: a file for people.
        ours: whether onsager wrote a file that begins with these bytes.
        replace: is asked about another file that is there. True replaces that file.
    """
    if check_replaceable(path):
        with writing(path, "read"), open_regular(path) as file:
            head = file.read(_HEAD)
        if not ours(head) and not replace(path):
            raise UserError(f"{path} is kept, because onsager did not write it: move it away, or name another file")


def write_for_people(
    path: Path, data: bytes, ours: Callable[[bytes], bool], replace: Callable[[Path], bool] = keep
) -> None:
    """Write a file that a person asked for, as `atomic_write` does. Raises UserError as `check_ours` does.

    Removes what a killed process left beside it.
    """
    check_ours(path, ours, replace)
    remove_leftovers(path.parent)
    atomic_write(path, data)


def atomic_write(path: Path, data: bytes) -> None:
    """Write `data` to `path`. After a kill or a power loss, the file is either the old one or the new one.

    Creates missing parent folders. Raises UserError that names the file and the reason (disk full, read-only, no
    permission …), and for what is not a regular file. Only a process that is killed leaves a temporary file.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with replaced(path) as temporary, writing(path), opened(temporary, flags) as descriptor:
        _write_all(descriptor, data)


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`. The file that the block writes there is at `path` when the block ends.

    If the block raises, the temporary file is removed, and `path` is what it was. Creates missing parent folders.
    Raises UserError as `atomic_write` does; the block turns its own OSErrors into UserErrors (`writing`).
    """
    check_replaceable(path)
    make_folder(path.parent)
    temporary = temporary_name(path)
    try:
        yield temporary
        with writing(path):
            with opened(temporary, os.O_RDWR) as descriptor:
                os.fsync(descriptor)
            os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    # Syncing the folder lets the rename survive a power loss. Some systems cannot do it; the file is whole anyway.
    with contextlib.suppress(OSError), opened(path.parent, os.O_RDONLY) as descriptor:
        os.fsync(descriptor)


def temporary_name(path: Path) -> Path:
    """A name in the folder of `path` for a file that must not outlive this process."""
    owner = f"{os.getpid()}-{_machine()}-{os.urandom(4).hex()}"
    return path.with_name(f".{path.name}.{owner}{TEMPORARY_SUFFIX}")


def _machine() -> str:
    """Eight hexadecimal digits from the name of this machine."""
    return f"{zlib.crc32(platform.node().encode()):08x}"


def append_line(path: Path, line: bytes) -> None:
    """Append one line. If a killed process left an incomplete line, end that line first."""
    check_replaceable(path)
    with writing(path), opened(path, os.O_RDWR | os.O_APPEND | os.O_CREAT) as descriptor:
        if size := os.fstat(descriptor).st_size:
            os.lseek(descriptor, size - 1, os.SEEK_SET)
            if os.read(descriptor, 1) != b"\n":
                line = b"\n" + line
        _write_all(descriptor, line + b"\n")


def is_temporary(path: Path) -> bool:
    """Whether `path` is the temporary file of an `atomic_write` that was killed or is still running."""
    return path.name.startswith(".") and path.name.endswith(TEMPORARY_SUFFIX)


def temporary_files(root: Path) -> list[Path]:
    """All temporary files under `root`, sorted."""
    return below(root, f".*{TEMPORARY_SUFFIX}")


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of ended processes in `folder`, not in its subfolders."""
    for path in entries(folder, f".*{TEMPORARY_SUFFIX}"):
        if is_leftover(path):
            with writing(path, "remove"):
                path.unlink(missing_ok=True)


def is_leftover(path: Path) -> bool:
    """Whether `path` is the temporary file of an ended process, or a day-old one of another machine."""
    number, _, rest = path.name.removesuffix(TEMPORARY_SUFFIX).rpartition(".")[2].partition("-")
    if not is_temporary(path) or not number.isdecimal():
        return False
    if rest.partition("-")[0] != _machine():
        try:
            return time.time() - path.stat().st_mtime > FOREIGN_SECONDS
        except OSError:  # another process has removed it
            return False
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:  # the process runs, under another user
        return False
    return int(number) == 0


def _write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`: the system may write less of it in one call."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
