"""What the user's own files hold, by checksums: whether a file is still what it was."""

from functools import lru_cache
from pathlib import Path

from onsager_cli.errors import UserError
from onsager_cli.store.files import entries, open_regular, reason


def checksum(path: Path, key: str) -> str:
    """SHA-256 (hexadecimal) of the file that the config's `key` names. Raises UserError if it cannot be read.

    The file is read again if it is another one by its number on the disk, its size or its times.
    """
    try:
        found = path.stat()
        return _of_file(path, (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))
    except (OSError, ValueError) as error:
        raise UserError(f"{key}: {path} cannot be read: {reason(error, path)}") from None


def of_arrays(path: Path, key: str) -> str:
    """`checksum` of a file or, for a folder, of its arrays (.npy). Raises UserError."""
    import hashlib  # here: `onsager list` does without

    if not path.is_dir():
        return checksum(path, key)
    parts = [f"{one.name} {checksum(one, key)}" for one in entries(path, "*.npy")]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def unchanged(path: Path, key: str, content: str | None) -> str:
    """The checksum of a file or folder, which must be `content`; None stands for any.

    Raises UserError if the file is missing, cannot be read or has another checksum.
    """
    if content is not None and not path.exists():
        raise UserError(
            f"{key}={path} is missing: run onsager in the folder of the training, or give the overrides of the training with "
            "the new place of the file"
        )
    found = of_arrays(path, key)
    if content not in (None, found):
        raise UserError(f"{key}={path} has changed since onsager first read it: restore the file, or train again")
    return found


@lru_cache(maxsize=100)
def _of_file(path: Path, state: tuple[int, ...]) -> str:
    import hashlib

    del state
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
