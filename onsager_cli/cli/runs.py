"""The stored curves of the output folder: what `onsager list runs` shows and what `onsager clean` removes."""

import contextlib
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from onsager_cli.config.catalog import package_conf
from onsager_cli.config.identity import numerics
from onsager_cli.errors import UserError
from onsager_cli.store.curves import CurveFolder
from onsager_cli.store.files import (
    Json,
    below,
    entries,
    exists,
    expanded,
    is_file,
    is_folder,
    is_leftover,
    is_temporary,
    read_bytes,
    temporary_files,
    writing,
)
from onsager_cli.store.locks import holder, locked
from onsager_cli.store.notes import identity_hash, parse_note, read_json
from onsager_cli.store.yaml_files import read_yaml
from onsager_cli.text import show, size_decimal

DAMAGED_IDENTITY = "identity.json is damaged"
_FOLDER = re.compile(r".+-[0-9a-f]{12}(-\d+)?")  # the name that the store gives the folder of a curve


def output_folder(words: Sequence[str], verb: str) -> Path:
    """The folder that `output=FOLDER` names, or the default. Raises UserError for any other word."""
    given = None
    for word in words:
        key, _, value = word.partition("=")
        if key != "output" or not value:
            raise UserError(f"{verb} takes output=FOLDER, got {show(word)}")
        if given is not None:
            raise UserError(f"{verb} takes one output=FOLDER, got {show(word)}, too")
        given = expanded(value)
    output = given or Path(group_of(package_conf() / "config.yaml")["output"])
    if exists(output) and not is_folder(output):
        raise UserError(f"{verb}: output={output} is not a folder")
    return output


def curve_folders(output: Path) -> list[Path]:
    """The folders of all stored curves, sorted."""
    return [path for path in entries(output / "curves") if is_curve_folder(path) and is_folder(path)]


def is_curve_folder(path: Path) -> bool:
    """Whether the store gave the folder its name."""
    return _FOLDER.fullmatch(path.name) is not None


def identity_at(path: Path) -> Json | None:
    """The identity of a stored curve; None if its file is missing or damaged."""
    file = path / "identity.json"
    identity = read_json(file) if is_file(file) else None
    with contextlib.suppress(TypeError, ValueError):  # such as NaN, which no identity holds
        identity_hash(identity or {})
        return identity
    return None


def file_stats(paths: Iterable[Path]) -> list[os.stat_result]:
    """What the system says of the regular files; one that another process has removed is left out."""
    found = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError), writing(path, "read"):
            found.append(path.stat())
    return [file for file in found if stat.S_ISREG(file.st_mode)]


def state_of(path: Path, ended: bool, damage: str | None) -> tuple[str, str]:
    """How far the training of a curve is: complete, stopped or damaged, and the same in more words.

    `ended` is whether the points say that it is complete, `damage` what is known to be damaged.
    """
    done = ended or is_file(path / "iterations.json")
    if process := holder(path):
        return "stopped", f"in training ({process})"
    if damage := damage or _damaged(path):
        return "damaged", damage
    if exists(path / "identity.json") and reason_to_remove(path) == DAMAGED_IDENTITY:
        return "damaged", DAMAGED_IDENTITY
    if done:
        return "complete", "complete"
    return "stopped", "gave up: the training diverged" if is_file(path / "diverged.npz") else "stopped"


def _damaged(path: Path) -> str | None:
    """Which note or array of a curve is damaged; None if none is."""
    for file in entries(path, "*.json"):
        with contextlib.suppress(UserError):
            if parse_note(read_bytes(file)) is not None:
                continue
        return f"{file.name} is damaged"
    for file in entries(path, "*.npz"):
        if not is_temporary(file) and (damage := _damage(file)):
            return f"{file.name} is damaged: {damage}"
    return None


def wanted_depth(path: Path) -> int | None:
    """The depth that the last command asked for, from config.yaml; None if there is none. Raises UserError if damaged."""
    file = path / "config.yaml"
    network = group_of(file).get("network") if exists(file) else {}
    depth = network.get("depth") if isinstance(network, Mapping) else True
    if isinstance(depth, bool) or not isinstance(depth, int | None):
        raise UserError(f"{file}: network.depth is not a whole number")
    return depth


def group_of(path: Path) -> Mapping[str, Any]:
    """The group of keys in a YAML file. Raises UserError for anything else."""
    config = read_yaml(path)
    if not isinstance(config, Mapping):
        raise UserError(f"{path} must hold a group of keys, got {show(config)}")
    return config


def reason_to_remove(path: Path) -> str | None:
    """Why no command uses this curve any more; None if one does.

    A command finds a curve by its identity, so never one of another numerics version or with a damaged identity.json.
    """
    if not exists(path / "identity.json"):
        return "never started"
    identity, digest, now = identity_at(path) or {}, None, None
    with contextlib.suppress(AttributeError, TypeError, ValueError):  # of what is no identity
        digest, now = identity_hash(identity), numerics(identity)
    if digest is None or not re.search(rf"-{digest}(-\d+)?$", path.name):
        return DAMAGED_IDENTITY
    if identity.get("numerics") != now:
        return (
            f"trained by version {show(identity.get('numerics'))} of the algorithm, and this onsager has version {now}"
        )
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
        yield Leftover(path, reason, _size(below(path)))
    for path in temporary_files(output):
        if is_leftover(path) and path.parent not in useless:
            yield Leftover(path, "left by a killed process", _size([path]))
    for path in (path for folder in folders if folder not in useless for path in entries(folder, "*.npz")):
        if not is_temporary(path) and is_file(path) and (damage := _damage(path)):
            yield Leftover(path, f"damaged: {damage}", _size([path]))


def _size(paths: Iterable[Path]) -> int:
    """The bytes of the regular files."""
    return sum(file.st_size for file in file_stats(paths))


def _damage(path: Path) -> str | None:
    """What is wrong with a file of arrays; None if nothing is."""
    return CurveFolder(path.parent, identity_at(path.parent) or {}).damage(path.stem)


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
