"""Compiled programs, kept for the next process: XLA's compiler takes seconds for each.

JAX writes them into a folder by itself, but a killed process leaves a torn file there that nobody replaces, and the
folder grows for ever. Here each file is sealed with a checksum and written in one step, a damaged one is compiled anew,
and the programs that were not used for longest go first.
"""

import hashlib
import os
import platform
import re
from contextlib import suppress
from functools import cache
from pathlib import Path

import jax

from onsager_cli.errors import UserError
from onsager_cli.store.files import remove_leftovers, temporary_name, writing

VARIABLE = "ONSAGER_CACHE"  # environment variable: another folder, or off
OFF = ("", "off", "none", "0", "no", "false")
LIMIT = 2**30  # bytes of all programs; a figure of the paper has some 20 MiB
SEAL = 16  # bytes of the checksum before a program
SUFFIX = ".program"
FULL = 0.4  # of the memory maps that a process may have, above which its programs are dropped


@cache
def keep_programs() -> Path | None:
    """Make JAX keep compiled programs in the folder of `ONSAGER_CACHE`, else that of the user's caches; returns it.

    None if that is switched off, impossible, or if JAX was given a folder of its own (JAX_COMPILATION_CACHE_DIR).
    Raises UserError for a folder in ONSAGER_CACHE that cannot be written.
    """
    asked = os.environ.get(VARIABLE)
    of_jax = getattr(jax.config, "jax_compilation_cache_dir", None)
    if of_jax or (asked is not None and asked.strip().lower() in OFF):
        return None
    try:
        folder = _folder(asked)
    except UserError:
        if asked is None:  # no home, or one that is read-only
            return None
        raise
    try:
        from jax._src import compilation_cache, compilation_cache_interface  # no public way to put an own cache there

        if not callable(compilation_cache.get_file_cache):
            return None

        class Sealed(Programs, compilation_cache_interface.CacheInterface):
            """`Programs` for JAX."""

        compilation_cache.get_file_cache = lambda _: (Sealed(folder), str(folder))
    except (ImportError, AttributeError, TypeError):  # a JAX that does it otherwise
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return folder


def make_room_for_programs() -> None:
    """Drop the compiled programs of this process before their memory maps reach the limit of the system.

    A program has a dozen maps or more, and Linux allows a process 65,530. XLA crashes where it gets no more.
    """
    try:
        limit = int(Path("/proc/sys/vm/max_map_count").read_text())
        used = Path("/proc/self/maps").read_bytes().count(b"\n")
    except (OSError, ValueError):  # not Linux
        return
    if used > FULL * limit:
        jax.clear_caches()


def _folder(asked: str | None) -> Path:
    """The folder of this machine's programs, made; UserError if it cannot be made or belongs to another user."""
    from platformdirs import user_cache_path

    try:
        chosen = Path(asked).expanduser() if asked else user_cache_path("onsager", appauthor=False)
    except RuntimeError as error:  # there is no such user, or no home
        raise UserError(f"{VARIABLE}: {asked or 'the folder of caches'} needs a home folder") from error
    folder = chosen / _processor()  # a compiled program runs on processors with the same instructions
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = temporary_name(folder / "writable")
        probe.touch()
        probe.unlink()
        remove_leftovers(folder)
    if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
        raise UserError(
            f"{VARIABLE}: {folder} belongs to another user, and onsager would run its programs: choose a folder of your own"
        )
    return folder


def _processor() -> str:
    """A name of the instructions that this machine's processor has."""
    flags = ""
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(errors="replace")
        flags = next(iter(re.findall(r"^(?:flags|Features)\s*:(.*)", text, re.MULTILINE)), "")
    told = " ".join([platform.machine(), platform.processor(), *sorted(flags.split())])
    return hashlib.sha256(told.encode()).hexdigest()[:12]


class Programs:
    """Programs by key, at most `limit` bytes of them. Several processes may use one folder.

    What cannot be read is not there, and what cannot be written is not kept: both cost a compilation and nothing else.
    """

    def __init__(self, folder: Path, limit: int = LIMIT):
        self._path, self._limit = folder, limit
        self._room: int | None = None  # bytes that may be written before the sizes are looked at again

    def _file(self, key: str) -> Path:
        return self._path / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}{SUFFIX}"

    def get(self, key: str) -> bytes | None:
        """The program of a key; None if there is none, or it is damaged."""
        path = self._file(key)
        try:
            data = path.read_bytes()
            os.utime(path)  # used now
        except OSError:
            return None
        seal, program = data[:SEAL], data[SEAL:]
        if seal != _seal(key, program):
            with suppress(OSError):
                path.unlink()
            return None
        return program

    def put(self, key: str, value: bytes) -> None:
        """Keep the program of a key."""
        path, size = self._file(key), SEAL + len(value)
        if size > self._limit:
            return
        temporary = temporary_name(path)
        try:
            if self._room is None or size > self._room:
                self._room = self._make_room(size)
            temporary.write_bytes(_seal(key, value) + value)
            os.replace(temporary, path)
        except OSError:
            with suppress(OSError):
                temporary.unlink()
            return
        self._room -= size

    def _make_room(self, size: int) -> int:
        """Remove the programs that were not used for longest, until a tenth of the limit is free; returns what is free."""
        sizes = []
        for path in self._path.glob(f"*{SUFFIX}"):
            with suppress(OSError):  # another process removed it
                found = path.stat()
                sizes.append((found.st_mtime, found.st_size, path))
        free = self._limit - sum(used for _, used, _ in sizes)
        if free < size:
            for _, used, path in sorted(sizes, key=lambda item: item[0]):
                if free >= max(size, self._limit // 10):
                    break
                with suppress(OSError):
                    path.unlink()
                free += used
        return free


def _seal(key: str, program: bytes) -> bytes:
    return hashlib.blake2b(program, digest_size=SEAL, key=hashlib.sha256(key.encode()).digest()).digest()
