"""`onsager clean`: remove the files of the output folder that no command uses any more. No JAX here."""

import shutil
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from onsager_cli.cli.options import Parser
from onsager_cli.cli.show import curve_folders, is_curve_folder, output_folder, reason_to_remove, size_text
from onsager_cli.errors import UserError


def add_options(parser: Parser) -> None:
    """Add the description and the options of `onsager clean`."""
    parser.description = """\
Lists temporary files of killed processes, curves of other numerics versions and damaged files, asks, and removes them.
onsager leaves alone what a running training uses."""
    parser.add_argument("words", nargs="*", metavar="output=FOLDER", help="the output folder to clean")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def main(options: Namespace) -> int:
    """List, ask and remove. Raises UserError if nobody can answer, and for a file that cannot be removed."""
    output = output_folder(options.words, "clean")
    found = list(leftovers(output))
    if not found:
        print(f"nothing to clean in {output}")
        return 0
    for item in found:
        print(f"{item.path}  ({size_text(item.size)}, {item.reason})")
    if not options.yes and not _confirmed(f"remove {_total(found)}? [y/N] "):
        print("nothing was removed")
        return 0
    removed = [item for item in found if _remove(item.path)]
    kept = len(found) - len(removed)
    print(f"removed {_total(removed)}" + (f"; not removed because in use again: {kept}" if kept else ""))
    return 0


class Leftover(NamedTuple):
    """A file or folder to remove, the reason, and its size in bytes."""

    path: Path
    reason: str
    size: int


def leftovers(output: Path) -> Iterator[Leftover]:
    """Temporary files of ended processes, curves that no command finds, damaged arrays; nothing that is locked."""
    from onsager_cli.store.files import is_leftover, is_temporary, temporary_files
    from onsager_cli.store.locks import holder

    folders = {path: reason_to_remove(path) for path in curve_folders(output) if holder(path) is None}
    useless = [path for path, reason in folders.items() if reason]
    for path in useless:
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        yield Leftover(path, folders[path] or "", size)
    for path in temporary_files(output):
        if is_leftover(path) and path.parent not in useless:
            yield Leftover(path, "left by a killed process", path.stat().st_size)
    for folder in folders:
        for path in [] if folder in useless else sorted(folder.glob("*.npz")):
            if not is_temporary(path) and (damage := _damage(path)):
                yield Leftover(path, f"damaged: {damage}", path.stat().st_size)


def _damage(path: Path) -> str | None:
    """What is wrong with a file of arrays; None if nothing is."""
    from onsager_cli.store.arrays import DamagedFileError, unpack
    from onsager_cli.store.files import read_bytes

    try:
        unpack(read_bytes(path), sealed=True)
    except DamagedFileError as error:
        return str(error)
    return None


def _total(items: list[Leftover]) -> str:
    """`3 items, 1.2 MB`."""
    return f"{len(items)} item{'s' * (len(items) != 1)}, {size_text(sum(item.size for item in items))}"


def _confirmed(question: str) -> bool:
    """Whether the user answers yes. Raises UserError if no terminal is there to answer."""
    if not sys.stdin.isatty():
        raise UserError("clean asks before it removes: write onsager clean --yes")
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:  # Ctrl-D
        print()
        return False


def _remove(path: Path) -> bool:
    """Remove a file or the folder of a curve; return False if a process has locked or repaired it since."""
    from onsager_cli.store.files import is_temporary, writing
    from onsager_cli.store.locks import locked

    folder = path if path.is_dir() else path.parent
    if not is_curve_folder(folder):
        with writing(path, "remove"):
            path.unlink(missing_ok=True)
        return True
    with locked(folder) as held, writing(path, "remove"):
        if not held or not path.exists():
            return False
        if not (reason_to_remove(path) if path.is_dir() else is_temporary(path) or _damage(path)):
            return False
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return True
