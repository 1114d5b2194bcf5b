"""The store: trained curves found by their content, and the files they are made of.

A curve is one folder, named by a label for people and by a hash of its identity (everything that decides its
numbers) for the program:

    outputs/curves/gaussian-lamp_tied_bg-3f0c9d2a51be/
        identity.json     the identity itself, compared each time the folder is found
        config.yaml       the resolved config, for people
        points.csv        one row per trained depth (tables.py says which columns)
        points.npz        a sealed copy of it
        log.jsonl         every event of the training
        network.npz …     plain arrays with dotted names, one file per saved state (arrays.py)
        *.json            notes: how and where it was made
        .lock             held by the process that trains the curve (locks.py)

`curves/.lock` is held while a curve's folder is found or made, so that no curve gets two.

Every file but the log is written beside its place, synced and renamed (files.py), so that a reader sees the
old file or the new one, never half of one. No JAX here.
"""

import contextlib
import itertools
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from onsager_cli.errors import Notice, UserError
from onsager_cli.store import files, locks
from onsager_cli.store.arrays import DamagedFileError, pack, unpack
from onsager_cli.store.files import Json
from onsager_cli.store.notes import (
    canonical,
    identity_hash,
    json_bytes,
    log_line,
    note_bytes,
    parse_json,
    parse_note,
    plain,
    read_json,
)
from onsager_cli.store.tables import read_points, table_bytes

Arrays = dict[str, np.ndarray]

# A slug must stay one plain name inside its folder: no separator, no leading dot, no "..".
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_+=-]|\.(?!\.))*")
POINTS = "points"  # the sealed copy of points.csv
OWNER = "owner"  # in the meta of every saved state: the curve and the name that it belongs to


class StoreWarning(Notice):
    """Something stored is damaged or does not belong: it is left alone and made again."""


def checked_name(name: str, what: str) -> str:
    """`name` if it is one plain file name; UserError otherwise (names in configs come from outside)."""
    if len(name) > 100 or not _NAME.fullmatch(name):
        raise UserError(f"{what} must be letters, digits and _ - + = . (at most 100), got {name!r}")
    return name


class CurveFolder:
    """One stored curve. Nothing is created on disk before the first write."""

    def __init__(self, path: Path, identity: Mapping[str, object]):
        self.path = path
        self.identity = dict(identity)
        self._begun = False

    def __repr__(self) -> str:
        return f"CurveFolder({str(self.path)!r})"

    @property
    def exists(self) -> bool:
        """True once something of this curve is stored."""
        return files.is_file(self.path / "identity.json")

    def identity_ok(self) -> bool:
        """Whether the folder may be used for this identity: not there yet, or its identity.json is equal."""
        if not files.is_folder(self.path):
            return True
        if not self.exists:
            # A process may die between creating the folder and writing the identity, which comes first.
            return all(files.is_temporary(file) or file.name == locks.NAME for file in files.entries(self.path))
        try:
            stored = read_json(self.path / "identity.json")
            return stored is not None and canonical(stored) == canonical(self.identity)
        except (ValueError, TypeError):
            return False

    @contextlib.contextmanager
    def locked(self) -> Iterator[bool]:
        """Holds the folder within the block, if no other process does; yields whether it was free.

        Temporaries found then belong to processes that died, and are removed.
        """
        with locks.locked(self.path) as held:
            if held:
                files.remove_leftovers(self.path)
            yield held

    def points(self) -> list[Json]:
        """Rows of points.csv, sorted by layer; [] if there are none.

        A table that differs from its sealed copy is restored, with a StoreWarning. Raises UserError for a broken table
        without a copy.
        """
        data, copy = self._read("points.csv"), self.load(POINTS)
        if copy is not None:
            sealed = {name: str(copy[0][name]).encode() for name in ("now", "before")}
            # A run that is stopped between the two writes leaves the table before the latest points.
            if data not in sealed.values() and not (data is None and not sealed["before"]):
                text = f"{self.path / 'points.csv'} was changed or removed: onsager restores it from its copy"
                warnings.warn(text, StoreWarning, stacklevel=2)
                with contextlib.suppress(UserError):  # of a store that is not ours to write
                    self._write("points.csv", sealed["now"])
            elif data != sealed["now"]:
                self._finish_table(sealed["now"])
            data = sealed["now"]
        return [] if data is None else read_points(self.path / "points.csv", data)

    def _finish_table(self, now: bytes) -> None:
        """Write the table of a run that was stopped between the two writes, unless it is running."""
        with contextlib.suppress(UserError), self.locked() as held:  # UserError: a store that is not ours to write
            copy = self.load(POINTS) if held else None
            if copy is not None and str(copy[0]["now"]).encode() == now:
                self._write("points.csv", now)

    def add_point(self, row: Mapping[str, object]) -> None:
        """Store one row (any of tables.COLUMNS); it replaces the row of the same layer."""
        self.add_points([row])

    def add_points(self, new: Iterable[Mapping[str, object]]) -> None:
        """Store rows (any of tables.COLUMNS) in one step; each replaces the row of the same layer."""
        added = {row.get("layer"): dict(row) for row in new}
        rows = [old for old in self.points() if old["layer"] not in added] + list(added.values())
        rows.sort(key=lambda r: (r.get("layer") is None, r.get("layer") or 0))
        before, data = self._read("points.csv") or b"", table_bytes(rows)
        self.save(POINTS, {"now": np.array(data.decode()), "before": np.array(before.decode("utf-8", "replace"))})
        self._write("points.csv", data)

    def save(self, name: str, arrays: Mapping[str, np.ndarray], meta: Mapping[str, object] | None = None) -> Path:
        """Write NAME.npz: plain arrays and a JSON-able `meta`, sealed with a sha256 of the whole file."""
        checked_name(name, "the name of a saved state")
        return self._write(f"{name}.npz", pack(arrays, {**(meta or {}), OWNER: self._owner(name)}))

    def _owner(self, name: str) -> str:
        """What a saved state notes: the curve and the name that it belongs to."""
        return f"{identity_hash(self.identity)}/{name}"

    def load(self, name: str) -> tuple[Arrays, Json] | None:
        """(arrays, meta) of NAME.npz; None if it is not there, damaged or of another place (then with a StoreWarning)."""
        file = f"{checked_name(name, 'the name of a saved state')}.npz"
        try:
            return self._unpacked(name)
        except DamagedFileError as error:
            warnings.warn(f"{self.path / file} is damaged ({error}) and is not used", StoreWarning, stacklevel=2)
            return None

    def damage(self, name: str) -> str | None:
        """What is wrong with NAME.npz; None if nothing is."""
        try:
            self._unpacked(name)
        except DamagedFileError as error:
            return str(error)
        except UserError:
            return "it cannot be read"
        return None

    def _unpacked(self, name: str) -> tuple[Arrays, Json] | None:
        """(arrays, meta) of NAME.npz; None if it is not there. Raises DamagedFileError, also for a file of another place."""
        if (data := self._read(f"{name}.npz")) is None:
            return None
        arrays, meta = unpack(data, sealed=True)
        if (owner := meta.pop(OWNER, own := self._owner(name))) != own:
            raise DamagedFileError(f"it was saved as {owner}, not as {own}")
        return arrays, meta

    def saved(self) -> list[str]:
        """Names of the saved states, sorted."""
        found = (
            path.stem
            for path in files.entries(self.path, "*.npz")
            if files.is_file(path) and not files.is_temporary(path)
        )
        return sorted(name for name in found if name != POINTS)

    def delete(self, name: str) -> None:
        """Remove NAME.npz if it is there."""
        path = self.path / f"{checked_name(name, 'the name of a saved state')}.npz"
        with files.writing(path):
            path.unlink(missing_ok=True)

    def write_json(self, name: str, note: Mapping[str, object]) -> None:
        """Write NAME.json, with its checksum: how or where the curve was made; decides nothing."""
        if name == "identity":
            raise ValueError("identity.json is written by the store itself")
        checked_name(name, "the name of a note")
        self._write(f"{name}.json", note_bytes(note))

    def read_json(self, name: str) -> Json | None:
        """The note NAME.json; None if it is not there or unreadable (then with a StoreWarning)."""
        file = f"{checked_name(name, 'the name of a note')}.json"
        if (data := self._read(file)) is None:
            return None
        if (note := parse_note(data)) is None:
            warnings.warn(f"{self.path / file} is damaged and is not used", StoreWarning, stacklevel=2)
        return note

    def write_config(self, text: str) -> None:
        """Write config.yaml, the resolved config."""
        self._write("config.yaml", text.encode())

    def log(self, event: Mapping[str, object]) -> None:
        """Append one event to log.jsonl. Not synced: the log decides nothing."""
        self.begin()
        files.append_line(self.path / "log.jsonl", log_line(event).encode())

    def events(self) -> list[Json]:
        """The events of log.jsonl, oldest first; lines torn by a killed process are left out."""
        lines = (self._read("log.jsonl") or b"").splitlines()
        return [event for line in lines if (event := parse_json(line)) is not None]

    def begin(self) -> None:
        """Makes the folder with its identity, if it is not there. Raises UserError if it is another curve's."""
        if self._begun:
            return
        if not self.identity_ok():
            raise UserError(f"{self.path} belongs to another curve: its identity.json differs")
        files.make_folder(self.path)
        if not self.exists:
            files.atomic_write(self.path / "identity.json", json_bytes(plain(self.identity)))
        self._begun = True

    def _write(self, name: str, data: bytes) -> Path:
        self.begin()
        files.atomic_write(self.path / name, data)
        return self.path / name

    def _read(self, name: str) -> bytes | None:
        path = self.path / name
        return files.read_bytes(path) if files.exists(path) else None


class MemoryFolder(CurveFolder):
    """A curve that is kept in memory alone, with everything that a stored one has."""

    def __init__(self, identity: Mapping[str, object]):
        super().__init__(Path("memory"), identity)
        self._files: dict[str, bytes] = {}

    @property
    def exists(self) -> bool:
        """True once something of this curve is kept."""
        return bool(self._files)

    @contextlib.contextmanager
    def locked(self) -> Iterator[bool]:
        yield True

    def saved(self) -> list[str]:
        names = (name.removesuffix(".npz") for name in self._files if name.endswith(".npz"))
        return sorted(name for name in names if name != POINTS)

    def delete(self, name: str) -> None:
        self._files.pop(f"{name}.npz", None)

    def log(self, event: Mapping[str, object]) -> None:
        del event  # whoever watches a training in memory has them

    def begin(self) -> None:
        pass

    def _write(self, name: str, data: bytes) -> Path:
        self._files[name] = data
        return self.path / name

    def _read(self, name: str) -> bytes | None:
        return self._files.get(name)


class Store:
    """The output folder: curves/ by content, figures/ by name."""

    def __init__(self, root: Path | str):
        self.root = Path(root)

    def curve(self, identity: Mapping[str, object], label: str) -> CurveFolder:
        """The folder of this identity, whatever label it was stored under; a new one if there is none.

        A folder with the right hash whose identity.json differs is never used: a StoreWarning names it, and
        the curve gets a folder of its own.
        """
        checked_name(label, "the name of a curve")
        digest = identity_hash(identity)
        curves = self.root / "curves"
        found = (path for path in files.entries(curves, f"*-{digest}*") if re.search(rf"-{digest}(-\d+)?$", path.name))
        others = []
        # The folder that has begun comes before the empty one that a killed process left.
        for path in sorted(found, key=lambda path: (not files.is_file(path / "identity.json"), path.name)):
            folder = CurveFolder(path, identity)
            if folder.identity_ok():
                return folder
            others.append(path)
        for path in others:
            warnings.warn(f"{path} is not used: its identity.json is not that of {label}", StoreWarning, stacklevel=2)
        suffixes = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
        fresh = (curves / f"{label}-{digest}{suffix}" for suffix in suffixes)
        return CurveFolder(next(path for path in fresh if path not in others), identity)

    def claim(self, identity: Mapping[str, object], label: str) -> CurveFolder:
        """The folder of this identity, made if there is none: two processes that name it differently get the same."""
        with locks.turn(self.root / "curves"):
            folder = self.curve(identity, label)
            folder.begin()
        return folder

    def curves(self) -> Iterator[CurveFolder]:
        """Every stored curve with a readable identity, sorted by folder name."""
        for path in files.entries(self.root / "curves"):
            identity = path / "identity.json"
            if files.is_file(identity) and (found := read_json(identity)) is not None:
                yield CurveFolder(path, found)

    def figure(self, name: str) -> Path:
        """Folder of a figure's table and drawings (created by the first write)."""
        return self.root / "figures" / checked_name(name, "the name of a figure")
