"""The stored curves of the output folder: what `onsager list runs` shows and what `onsager clean` removes."""

import contextlib
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from onsager_cli.config.catalog import package_conf
from onsager_cli.config.identity import numerics
from onsager_cli.errors import UserError
from onsager_cli.store.arrays import DamagedFileError, unpack
from onsager_cli.store.curves import CurveFolder, identity_hash, read_json
from onsager_cli.store.files import Json, is_leftover, is_temporary, read_bytes, temporary_files, writing
from onsager_cli.store.locks import holder, locked
from onsager_cli.text import cell, columns, size_decimal

HEADER = ("curve", "layers", "NMSE (dB)", "seed", "size", "date", "state")
_FOLDER = re.compile(r".+-[0-9a-f]{12}(-\d+)?")  # the name that the store gives the folder of a curve


def output_folder(words: Sequence[str], verb: str) -> Path:
    """The folder that `output=FOLDER` names, or the default. Raises UserError for any other word."""
    output = yaml.safe_load((package_conf() / "config.yaml").read_text(encoding="utf-8"))["output"]
    for word in words:
        key, _, value = word.partition("=")
        if key != "output" or not value:
            raise UserError(f"{verb} takes output=FOLDER, got {word!r}")
        output = value
    return Path(output)


def listing(words: Sequence[str]) -> str:
    """The text of `onsager list runs [output=FOLDER]`: one line per stored curve."""
    output = output_folder(words, "list runs")
    rows = [HEADER, *map(_row, curve_folders(output))]
    if len(rows) == 1:
        return f"nothing is stored in {output}"
    return columns(rows, right=range(1, 5))


def curve_folders(output: Path) -> list[Path]:
    """The folders of all stored curves, sorted."""
    return sorted(path for path in (output / "curves").glob("*") if path.is_dir() and is_curve_folder(path))


def is_curve_folder(path: Path) -> bool:
    """Whether the store gave the folder its name."""
    return _FOLDER.fullmatch(path.name) is not None


def _identity(path: Path) -> Json | None:
    """The identity of a stored curve; None if its file is missing or damaged."""
    file = path / "identity.json"
    return read_json(file) if file.is_file() else None


def _row(path: Path) -> tuple[str, ...]:
    """One stored curve, as the columns of HEADER."""
    identity = _identity(path) or {}
    files = [file.stat() for file in path.iterdir() if file.is_file()]
    changed = max((file.st_mtime for file in files), default=path.stat().st_mtime)
    try:
        points, damage = CurveFolder(path, identity).points(), None
    except UserError:
        points, damage = [], "points.csv is damaged"
    wanted, last = _wanted_depth(path), points[-1] if points else {}
    depth, level = last.get("layer"), last.get("nmse_db")
    short = depth is not None and wanted is not None and depth < wanted
    ended = bool(points) and (depth is None or (wanted is not None and not short))
    return (
        path.name,
        f"{depth} of {wanted}" if short else cell(depth),
        "" if level is None else f"{level:.2f}",
        str(identity.get("seed", "")),
        size_decimal(sum(file.st_size for file in files)),
        time.strftime("%Y-%m-%d %H:%M", time.localtime(changed)),
        reason_to_remove(path) or damage or _state(path, ended),
    )


def _state(path: Path, ended: bool) -> str:
    """How far the training of an undamaged curve is; `ended`: whether the points say that it is complete."""
    if process := holder(path):
        return f"in training ({process})"
    if ended or (path / "iterations.json").is_file():
        return "complete"
    return "gave up: the training diverged" if (path / "diverged.npz").is_file() else "stopped"


def _wanted_depth(path: Path) -> int | None:
    """The depth that the last command asked for, from config.yaml; None if the file does not say."""
    try:
        depth = yaml.safe_load(read_bytes(path / "config.yaml", 2**20))["network"]["depth"]
    except (UserError, yaml.YAMLError, RecursionError, TypeError, KeyError, UnicodeDecodeError):
        return None
    return depth if isinstance(depth, int) else None


def reason_to_remove(path: Path) -> str | None:
    """Why no command uses this curve any more; None if one does.

    A command finds a curve by its identity, so never one of another numerics version or with a damaged identity.json.
    """
    if not (path / "identity.json").is_file():
        return "never started"
    identity, digest = _identity(path) or {}, None
    with contextlib.suppress(TypeError, ValueError):
        digest = identity_hash(identity)
    if digest is None or not re.search(rf"-{digest}(-\d+)?$", path.name):
        return "identity.json is damaged"
    if identity.get("numerics") != (now := numerics(identity)):
        return f"made by version {identity.get('numerics')} of the numerics, now {now}"
    return None


class Leftover(NamedTuple):
    """A file or folder to remove, the reason, and its size in bytes."""

    path: Path
    reason: str
    size: int


def leftovers(output: Path) -> Iterator[Leftover]:
    """Temporary files of ended processes, curves that no command finds, damaged arrays; nothing that is locked."""
    folders = {path: reason_to_remove(path) for path in curve_folders(output) if holder(path) is None}
    useless = {path: reason for path, reason in folders.items() if reason}
    for path, reason in useless.items():
        yield Leftover(path, reason, sum(file.stat().st_size for file in path.rglob("*") if file.is_file()))
    for path in temporary_files(output):
        if is_leftover(path) and path.parent not in useless:
            yield Leftover(path, "left by a killed process", path.stat().st_size)
    for path in (path for folder in folders if folder not in useless for path in sorted(folder.glob("*.npz"))):
        if not is_temporary(path) and (damage := _damage(path)):
            yield Leftover(path, f"damaged: {damage}", path.stat().st_size)


def _damage(path: Path) -> str | None:
    """What is wrong with a file of arrays; None if nothing is."""
    try:
        unpack(read_bytes(path), sealed=True)
    except DamagedFileError as error:
        return str(error)
    return None


def remove(path: Path) -> bool:
    """Remove a file or the folder of a curve; return False if a process has locked or repaired it since."""
    folder = path if path.is_dir() else path.parent
    if not is_curve_folder(folder):
        with writing(path, "remove"):
            path.unlink(missing_ok=True)
        return True
    with locked(folder) as held, writing(path, "remove"):
        useless = reason_to_remove if path.is_dir() else lambda path: is_temporary(path) or _damage(path)
        if not held or not path.exists() or not useless(path):
            return False
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return True


def total(items: Sequence[Leftover]) -> str:
    """`3 items, 1.2 MB`."""
    return f"{len(items)} item{'s' * (len(items) != 1)}, {size_decimal(sum(item.size for item in items))}"
