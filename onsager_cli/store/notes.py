"""JSON in the store: identities in one spelling, notes, and lines of the log. No JAX here."""

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from onsager_cli.store.files import Json, read_bytes

_HASH_DIGITS = 12
_MAX_JSON = 2**24
CHECKSUM = "checksum"  # in every note
_DEEPEST = 50  # levels of a JSON file; an identity has 4


def canonical(identity: Mapping[str, object]) -> str:
    """One spelling per identity: sorted keys, no spaces, 15.0 as 15.

    Raises TypeError for anything but plain JSON types and ValueError for NaN, infinity, or endless nesting.
    """
    try:
        return json.dumps(plain(identity), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except RecursionError:
        raise ValueError("the identity is nested too deeply") from None


def identity_hash(identity: Mapping[str, object]) -> str:
    """First 12 hexadecimal digits of the sha256 of the canonical identity."""
    return hashlib.sha256(canonical(identity).encode()).hexdigest()[:_HASH_DIGITS]


def checksum(rows: Iterable[Mapping[str, object]]) -> str:
    """A checksum of rows as a table shows them, without those columns that only other rows have."""
    cells = [{key: str(value) for key, value in row.items() if value not in (None, "")} for row in rows]
    return identity_hash({"rows": cells})


def plain(value: object) -> object:
    """An identity with whole floats as integers. Raises TypeError for a key that is no string."""
    # `problem.kappa=15` and `problem.kappa=15.0` are one problem and must be one folder.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"identity keys must be strings, got {list(value)}")
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def read_json(path: Path) -> Json | None:
    """The JSON object in a file; None if there is something else. Raises UserError if it cannot be read."""
    return parse_json(read_bytes(path, _MAX_JSON))


def parse_json(data: bytes) -> Json | None:
    """The JSON object in `data`; None if there is something else, or one that is nested too deeply to be ours."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and not _is_deep(value) else None


def flat(tree: object, prefix: str = "") -> dict[str, object]:
    """Dotted keys of a nested mapping → values."""
    if not isinstance(tree, Mapping):
        return {prefix: tree}
    items = (flat(node, f"{prefix}.{name}".lstrip(".")) for name, node in tree.items())
    return {key: value for found in items for key, value in found.items()}


def parse_note(data: bytes) -> Json | None:
    """The note in `data` without its checksum; None if it is damaged. Notes of older editions have no checksum."""
    note = parse_json(data)
    if note is None or (CHECKSUM in note and note.pop(CHECKSUM) != digest(note)):
        return None
    return note


def note_bytes(note: Mapping[str, object]) -> bytes:
    """A note, with its checksum, for a file."""
    return json_bytes({**note, CHECKSUM: digest(note)})


def _is_deep(value: object) -> bool:
    """Whether a JSON value has more than _DEEPEST levels of lists and objects inside each other."""
    level = [value]
    for _ in range(_DEEPEST):
        inner = (of.values() if isinstance(of, dict) else of for of in level if isinstance(of, dict | list))
        level = list(itertools.chain.from_iterable(inner))
    return bool(level)


def json_bytes(value: object) -> bytes:
    """JSON for a file: indented, with sorted keys."""
    return (json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def digest(note: Mapping[str, object]) -> str:
    """SHA-256 (hexadecimal) of what a note says."""
    return hashlib.sha256(json_bytes(note)).hexdigest()


def log_line(event: Mapping[str, object]) -> str:
    """An event as JSON: NumPy scalars as numbers, NaN and infinities (which JSON lacks) as null, the rest as text."""
    text = json.dumps(event, default=lambda value: value.item() if isinstance(value, np.generic) else str(value))
    return json.dumps(json.loads(text, parse_constant=lambda _: None))
