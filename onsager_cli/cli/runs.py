"""What the output folder holds: `onsager list runs` shows it, `onsager clean` removes what no command finds again.

A curve is found by its identity, so one that was made by another version of the numerics, or whose identity.json
is damaged, lies there for nothing. No JAX here.
"""

import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from onsager_cli.config.catalog import package_conf
from onsager_cli.errors import UserError
from onsager_cli.run import numerics
from onsager_cli.store.arrays import DamagedFileError, unpack
from onsager_cli.store.curves import CurveFolder, identity_hash, read_json
from onsager_cli.store.files import is_leftover, is_temporary, read_bytes, temporary_files, writing
from onsager_cli.store.locks import holder, locked

_FOLDER = re.compile(r".+-[0-9a-f]{12}(-\d+)?")  # what the store calls a curve's folder


def output_folder(arguments: Sequence[str], verb: str) -> Path:
    """The folder that `output=FOLDER` names, or the config's. Raises UserError for any other argument."""
    output = yaml.safe_load((package_conf() / "config.yaml").read_text(encoding="utf-8"))["output"]
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key != "output" or not value:
            raise UserError(f"{verb} takes output=FOLDER, got {argument!r}")
        output = value
    return Path(output)


def listing(arguments: Sequence[str]) -> str:
    """The text of `onsager list runs [output=FOLDER]`: one line per stored curve."""
    output = output_folder(arguments, "list runs")
    rows = [_row(path) for path in _curve_folders(output)]
    if not rows:
        return f"nothing is stored in {output}"
    rows = [("curve", "layers", "NMSE (dB)", "seed", "size", "date", "state"), *rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(w) if 0 < i < 5 else cell.ljust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _curve_folders(output: Path) -> list[Path]:
    return sorted(p for p in (output / "curves").glob("*") if p.is_dir() and _FOLDER.fullmatch(p.name))


def _row(path: Path) -> tuple[str, ...]:
    """One stored curve: folder, layers, NMSE of the deepest, seed, size, date of the last change, state."""
    identity = read_json(path / "identity.json") if (path / "identity.json").is_file() else None
    files = [file.stat() for file in path.iterdir() if file.is_file()]
    changed = max((file.st_mtime for file in files), default=path.stat().st_mtime)
    size, date = (
        _size(sum(file.st_size for file in files)),
        time.strftime("%Y-%m-%d %H:%M", time.localtime(changed)),
    )
    try:
        points = CurveFolder(path, identity or {}).points()
        broken = None
    except UserError:
        points, broken = [], "points.csv is damaged"
    depth, last = _asked_depth(path), points[-1] if points else {}
    level = f"{last['nmse_db']:.2f}" if last.get("nmse_db") is not None else ""
    layer = last.get("layer")
    layers = "" if layer is None else f"{layer}" if depth is None or layer >= depth else f"{layer} of {depth}"
    ended = (path / "iterations.json").is_file() or (
        points and (layer is None or (depth is not None and layer >= depth))
    )
    state = (
        _reason_to_remove(path)
        or broken
        or (f"in training ({process})" if (process := holder(path)) else None)
        or (
            "complete"
            if ended
            else "gave up: it diverged"
            if (path / "diverged.npz").is_file()
            else "stopped"
        )
    )
    return path.name, layers, level, str((identity or {}).get("seed", "")), size, date, state


def _asked_depth(path: Path) -> int | None:
    """How many layers the last command asked for, from config.yaml; None if that does not say."""
    try:
        config = yaml.safe_load(read_bytes(path / "config.yaml", 2**20))
        depth = config["network"]["depth"]
    except (UserError, yaml.YAMLError, RecursionError, TypeError, KeyError, UnicodeDecodeError):
        return None
    return depth if isinstance(depth, int) else None


def _reason_to_remove(path: Path) -> str | None:
    """Why no command finds this curve again; None if one does."""
    if not (path / "identity.json").is_file():
        return "never begun"
    identity = read_json(path / "identity.json")
    try:
        digest = None if identity is None else identity_hash(identity)
    except (TypeError, ValueError):
        digest = None
    if identity is None or digest is None or not re.search(rf"-{digest}(-\d+)?$", path.name):
        return "identity.json is damaged"
    if identity.get("numerics") != (now := numerics(identity)):
        return f"made by version {identity.get('numerics')} of the numerics, now {now}"
    return None


@dataclass(frozen=True)
class Leftover:
    """Something that may go: a file or a folder, why, and how many bytes it takes."""

    path: Path
    reason: str
    size: int


def leftovers(output: Path) -> Iterator[Leftover]:
    """What nothing refers to: temporaries of ended processes, curves that no command finds, damaged states.

    What another process holds is left alone.
    """
    folders = _curve_folders(output)
    gone = [path for path in folders if _reason_to_remove(path) and holder(path) is None]
    for path in gone:
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        yield Leftover(path, _reason_to_remove(path) or "", size)
    for path in temporary_files(output):
        if is_leftover(path) and path.parent not in gone:
            yield Leftover(path, "left by a process that was killed", path.stat().st_size)
    for folder in folders:
        if folder in gone or holder(folder) is not None:
            continue
        for path in sorted(folder.glob("*.npz")):
            if not is_temporary(path) and (damage := _damage(path)):
                yield Leftover(path, f"damaged: {damage}", path.stat().st_size)


def _damage(path: Path) -> str | None:
    try:
        unpack(read_bytes(path), sealed=True)
    except DamagedFileError as error:
        return str(error)
    return None


def clean(arguments: Sequence[str]) -> int:
    """`onsager clean [--yes] [output=FOLDER]`: names what nothing refers to, asks, and removes it.

    Raises UserError if there is nobody to ask, and for a file that cannot be removed.
    """
    yes = "--yes" in arguments
    output = output_folder([argument for argument in arguments if argument != "--yes"], "clean")
    found = list(leftovers(output))
    if not found:
        print(f"nothing to clean in {output}")
        return 0
    for item in found:
        print(f"{item.path}  ({_size(item.size)}, {item.reason})")
    together = f"{len(found)} of them, {_size(sum(item.size for item in found))}"
    if not yes:
        if not sys.stdin.isatty():
            raise UserError("clean asks before it removes: write onsager clean --yes")
        try:
            answer = input(f"remove {together}? [y/N] ")
        except EOFError:  # Ctrl-D
            print()
            answer = ""
        if answer.strip().lower() not in ("y", "yes"):
            print("nothing was removed")
            return 0
    removed = [item for item in found if _remove(item.path)]
    size = _size(sum(item.size for item in removed))
    kept = len(found) - len(removed)
    print(f"removed {len(removed)} of them, {size}" + (f"; {kept} are in use again" if kept else ""))
    return 0


def _remove(path: Path) -> bool:
    """Removes a file or a curve's folder; False for one that a process has taken, or mended, in the meantime."""
    folder = path if path.is_dir() else path.parent
    if not _FOLDER.fullmatch(folder.name):
        with writing(path, "remove"):
            path.unlink(missing_ok=True)
        return True
    with locked(folder) as held, writing(path, "remove"):
        if not held or not path.exists():
            return False
        if not (_reason_to_remove(path) if path.is_dir() else is_temporary(path) or _damage(path)):
            return False
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return True


def _size(count: int) -> str:
    """Bytes as "1.2 GB", "34 kB"."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
