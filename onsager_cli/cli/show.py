"""`onsager list`: the options of every config group, or the curves that the output folder holds. No JAX here."""

import re
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from onsager_cli.cli.options import Parser
from onsager_cli.config import catalog
from onsager_cli.errors import UserError

_FOLDER = re.compile(r".+-[0-9a-f]{12}(-\d+)?")  # the name that the store gives the folder of a curve


def add_options(parser: Parser) -> None:
    """Add the description and the options of `onsager list`."""
    parser.description = """\
`onsager list` names every option with its title, including those in ./conf. Name sections to see fewer.
`onsager list runs [output=FOLDER]` shows the stored curves: layers, NMSE of the deepest network, seed, size, date,
and whether the training is complete."""
    parser.add_argument(
        "words", nargs="*", metavar="SECTION", help=f"{', '.join(catalog.SECTIONS)}, or runs [output=FOLDER]"
    )


def main(options: Namespace) -> int:
    """Print the list."""
    runs = options.words[:1] == ["runs"]
    print(stored(options.words[1:]) if runs else catalog.listing(options.words))
    return 0


def output_folder(words: Sequence[str], verb: str) -> Path:
    """The folder that `output=FOLDER` names, or the default. Raises UserError for any other word."""
    import yaml

    output = yaml.safe_load((catalog.package_conf() / "config.yaml").read_text(encoding="utf-8"))["output"]
    for word in words:
        key, _, value = word.partition("=")
        if key != "output" or not value:
            raise UserError(f"{verb} takes output=FOLDER, got {word!r}")
        output = value
    return Path(output)


class Row(NamedTuple):
    """One stored curve, as text."""

    curve: str
    layers: str
    nmse_db: str
    seed: str
    size: str
    date: str
    state: str


def stored(words: Sequence[str]) -> str:
    """The text of `onsager list runs [output=FOLDER]`: one line per stored curve."""
    output = output_folder(words, "list runs")
    rows = [_row(path) for path in curve_folders(output)]
    if not rows:
        return f"nothing is stored in {output}"
    rows = [Row("curve", "layers", "NMSE (dB)", "seed", "size", "date", "state"), *rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if 0 < column < 5 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def curve_folders(output: Path) -> list[Path]:
    """The folders of all stored curves, sorted."""
    return sorted(path for path in (output / "curves").glob("*") if path.is_dir() and is_curve_folder(path))


def is_curve_folder(path: Path) -> bool:
    """Whether the store gave the folder its name."""
    return _FOLDER.fullmatch(path.name) is not None


def _row(path: Path) -> Row:
    from onsager_cli.store.curves import CurveFolder, read_json

    identity = read_json(path / "identity.json") if (path / "identity.json").is_file() else None
    files = [file.stat() for file in path.iterdir() if file.is_file()]
    changed = max((file.st_mtime for file in files), default=path.stat().st_mtime)
    try:
        points, damage = CurveFolder(path, identity or {}).points(), None
    except UserError:
        points, damage = [], "points.csv is damaged"
    wanted, last = _wanted_depth(path), points[-1] if points else {}
    depth, level = last.get("layer"), last.get("nmse_db")
    short = depth is not None and wanted is not None and depth < wanted
    ended = bool(points) and (depth is None or (wanted is not None and not short))
    return Row(
        path.name,
        "" if depth is None else f"{depth} of {wanted}" if short else f"{depth}",
        "" if level is None else f"{level:.2f}",
        str((identity or {}).get("seed", "")),
        size_text(sum(file.st_size for file in files)),
        time.strftime("%Y-%m-%d %H:%M", time.localtime(changed)),
        reason_to_remove(path) or damage or _state(path, ended),
    )


def _state(path: Path, ended: bool) -> str:
    """How far the training of an undamaged curve is; `ended`: whether the points say that it is complete."""
    from onsager_cli.store.locks import holder

    if process := holder(path):
        return f"in training ({process})"
    if ended or (path / "iterations.json").is_file():
        return "complete"
    return "gave up: the training diverged" if (path / "diverged.npz").is_file() else "stopped"


def _wanted_depth(path: Path) -> int | None:
    """The depth that the last command asked for, from config.yaml; None if the file does not say."""
    import yaml

    from onsager_cli.store.files import read_bytes

    try:
        depth = yaml.safe_load(read_bytes(path / "config.yaml", 2**20))["network"]["depth"]
    except (UserError, yaml.YAMLError, RecursionError, TypeError, KeyError, UnicodeDecodeError):
        return None
    return depth if isinstance(depth, int) else None


def reason_to_remove(path: Path) -> str | None:
    """Why no command uses this curve any more; None if one does.

    A command finds a curve by its identity, so never one of another numerics version or with a damaged identity.json.
    """
    from onsager_cli.run import numerics
    from onsager_cli.store.curves import identity_hash, read_json

    if not (path / "identity.json").is_file():
        return "never started"
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


def size_text(count: int) -> str:
    """Bytes as "1.2 GB", "34 kB"."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
