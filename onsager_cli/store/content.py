"""What the user's own files hold, by checksums: whether a file is still the one of a training."""

from functools import lru_cache
from pathlib import Path

from onsager_cli.errors import UserError
from onsager_cli.store.files import entries, open_regular, reason


def checksum(path: Path, key: str) -> str:
    """SHA-256 (hexadecimal) of the file that the config's `key` names. Raises UserError if it cannot be read.

    The file is read again if its size or its time has changed.
    """
    try:
        found = path.stat()
        return _of_file(path, found.st_size, found.st_mtime_ns)
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
    """`of_arrays`. Raises UserError if that is no longer `content`, the checksum in a training; None stands for any."""
    if content is not None and not path.exists():
        raise UserError(
            f"{key}={path} is missing, and this needs the file of the training: run onsager in the folder of the training, "
            "or give the overrides of the training with the new place of the file"
        )
    found = of_arrays(path, key)
    if content not in (None, found):
        raise UserError(f"{key}={path} has changed since the training: restore the file, or train again")
    return found


@lru_cache(maxsize=100)
def _of_file(path: Path, size: int, changed: int) -> str:
    import hashlib

    del size, changed
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
