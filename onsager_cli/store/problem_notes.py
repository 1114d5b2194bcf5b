"""Notes about a problem, shared by all curves on it: `attainable/NAME-HASH.json` in the output folder. No JAX here."""

from collections.abc import Callable, Mapping
from pathlib import Path

from onsager_cli.store import files, locks
from onsager_cli.store.files import Json
from onsager_cli.store.notes import identity_hash, note_bytes, parse_note

FOLDER = "attainable"
IDENTITY = "identity"  # what the note is about, in the note itself


class ProblemNote:
    """The note of one problem. Nothing is created on disk before the first write."""

    def __init__(self, root: Path, name: str, identity: Mapping[str, object]):
        self.identity = dict(identity)
        self.path = root / FOLDER / f"{name}-{identity_hash(identity)}.json"

    def read(self) -> Json | None:
        """The note; None if it is not there, damaged, or about another problem."""
        if not files.is_file(self.path):
            return None
        note = parse_note(files.read_bytes(self.path, 2**24))
        return None if note is None or note.pop(IDENTITY, None) != self.identity else note

    def made(self, make: Callable[[], Mapping[str, object]]) -> Json:
        """The note, made if it is not there. Processes that ask at the same time wait for the first one."""
        if (known := self.read()) is not None:
            return known
        with locks.turn(self.path.parent):
            if (known := self.read()) is None:
                files.atomic_write(self.path, note_bytes({**make(), IDENTITY: self.identity}))
                known = self.read()
        assert known is not None
        return known
