"""Recorded curves that a new record keeps, because fewer of their layers, or none, are stored here.

An earlier run or another machine has trained them.

made.json has a note for each curve on each matrix: the identity of its settings, a checksum of its rows, the versions and the
machine of its training. Recorded numbers are kept if that identity is still the curve's.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from onsager_cli.config.experiment import Curve
from onsager_cli.errors import UserError
from onsager_cli.figures.kinds import Row
from onsager_cli.record.provenance import Notes
from onsager_cli.store.files import Json, check_replaceable, is_file
from onsager_cli.store.notes import checksum, identity_hash, read_json
from onsager_cli.store.tables import grouped, read_rows, read_table

NAME = "made.json"
PARTS = ("versions", "machine", "device")  # of a note
Key = tuple[str, str, int]
"""Slug, instance and seed of a curve on a matrix."""


@dataclass(frozen=True)
class Kept:
    """Rows of curves.csv and of replicates.csv, notes of the curves, and their names: "lamp_tied_bg (seed 1)"."""

    rows: Sequence[Row] = ()
    replicates: Sequence[Row] = ()
    made: Notes = field(default_factory=dict)
    names: Sequence[str] = ()

    def __contains__(self, row: Row) -> bool:
        """Whether the curve of a row, on its matrix, is kept."""
        return _key_of_row(row) in self._keys

    @cached_property
    def _keys(self) -> set[Key]:
        return {_key_of_row(row) for row in self.rows}


def kept(folder: Path, curves: Iterable[Curve]) -> Kept:
    """What the record in `folder` has of these curves with the same settings, up to the depth asked for.

    Nothing is kept of a curve with as many stored points.

    Raises UserError for a damaged note, and for rows that onsager did not write.
    """
    known, table = _known(folder), folder / "curves.csv"
    same = {
        _key(curve): curve
        for curve in curves
        if known.get(_label(curve), {}).get("identity") == identity_hash(curve.identity)
    }
    if not same or not is_file(table):
        return Kept()
    points = _by_curve(read_table(table))
    of = {key: curve for key, curve in same.items() if _more(points.get(key, ()), curve)}
    for key, curve in of.items():
        if known[_label(curve)].get("rows") != checksum(points[key]):
            raise UserError(
                f"{table} has other numbers of {curve.slug} (seed {curve.settings.seed}) than onsager wrote: restore the file, "
                f"or remove the curve from {folder / NAME}"
            )
    rows = [row for key in of for row in points[key] if _fits(row, of)]
    made = {(slug, seed): known[_label(curve)] for (slug, _, seed), curve in of.items()}
    names = [_name(key) for key in of]
    table = folder / "replicates.csv"
    replicates = [row for row in read_rows(table) if _fits(row, of)] if is_file(table) else []
    return Kept(rows, replicates, made, names)


def lost(folder: Path, curves: Iterable[Curve]) -> list[str]:
    """Names of curves of which more layers are recorded in `folder` than stored, up to the depth asked for.

    Raises UserError for a table that cannot be read.
    """
    table = folder / "curves.csv"
    points = _by_curve(read_table(table)) if is_file(table) else {}
    return [_name(key) for curve in curves if _more(points.get(key := _key(curve), ()), curve)]


def note(curves: Iterable[Curve], made: Notes, rows: Iterable[Row]) -> bytes:
    """made.json of a record with the notes of these curves, and a checksum of the rows that curves.csv has of each."""
    of = _by_curve(rows)
    found = {
        _label(curve): {"identity": identity_hash(curve.identity), "rows": checksum(of.get(_key(curve), []))}
        | {name: made[key][name] for name in PARTS if name in made[key]}
        for curve in curves
        if (key := (curve.slug, curve.settings.seed)) in made
    }
    return json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def _known(folder: Path) -> Mapping[str, Json]:
    """Label → note, as made.json has them; {} without such a file. Raises UserError for a file of another kind."""
    path = folder / NAME
    if not check_replaceable(path):
        return {}
    found = read_json(path)
    if found is None or not all(isinstance(value, dict) for value in found.values()):
        raise UserError(
            f"{path} is damaged: restore it, or remove it (onsager then drops recorded curves of which it stores fewer layers)"
        )
    return found


def _name(key: Key) -> str:
    """The name of a curve on a matrix in messages: "lamp_tied_bg (seed 1)"."""
    slug, _, seed = key
    return f"{slug} (seed {seed})"


def _label(curve: Curve) -> str:
    """The name of a curve on a matrix in made.json."""
    return "/".join(map(str, _key(curve)))


def _key_of_row(row: Row) -> Key:
    """Slug, instance and seed of the curve of a row."""
    return row["curve"], row["instance"], row["seed"]


def _key(curve: Curve) -> Key:
    """Slug, instance and seed."""
    return curve.slug, curve.settings.problem.instance, curve.settings.seed


def _by_curve(rows: Iterable[Row]) -> dict[Key, list[Row]]:
    """The rows of each curve on each matrix."""
    return grouped((_key_of_row(row), row) for row in rows)


def _fits(row: Row, curves: Mapping[Key, Curve]) -> bool:
    """Whether a row is of one of the curves, and not deeper than asked for."""
    curve = curves.get(_key_of_row(row))
    return curve is not None and _asked([row], curve) == 1


def _more(recorded: Iterable[Row], curve: Curve) -> bool:
    """Whether more layers are recorded than stored, up to the depth asked for."""
    return _asked(recorded, curve) > _asked(curve.folder.points(), curve)


def _asked(rows: Iterable[Row], curve: Curve) -> int:
    """How many rows are not deeper than the network that is asked for."""
    return sum((row["layer"] or 0) <= (curve.settings.network.depth or math.inf) for row in rows)
