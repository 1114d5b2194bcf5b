"""Damage to one file: (what was done, a function that does it), by the kind of the file, for every region of it."""

import io
import json
import os
import random
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

CELLS = (
    "", "nan", "inf", "-inf", "-1", "0", "1e400", "9" * 400, "text", "=1+1", "\x1b[31mred", "é\u202e", "x" * 70_000, "1.5", " ",
    '"', "'", "\x00", "true", "null", "<b>", "$\\nothing$", "../x", "2024-13-45",
)  # fmt: skip
VALUES = (
    "[]", "{}", "null", "true", "1", "-1", "1e400", "NaN", "Infinity", '"text"', '"\\u001b]0;x"', "[[1]]", '{"a":1}', "9" * 5000,
    "[" * 600 + "]" * 600, '{"a":' * 600 + "1" + "}" * 600, '"\\ud800"', "",
)  # fmt: skip
OTHER_FILES = (
    b"", b"\n", b"\x00" * 100, b"{", b"[]", b"null", b"<html>", b"\xff\xfe\x00", b"PK\x05\x06" + b"\x00" * 18,
    b"version https://git-lfs.github.com/spec/v1\n",
)  # fmt: skip


MANY = 400  # regions of one file that are damaged; of a longer one the seed chooses


class Damage(NamedTuple):
    """What is done to a file, in words, and a function that does it to a path."""

    kind: str
    what: str
    apply: Callable[[Path], None]


def damages(path: Path, others: list[Path], rng: random.Random) -> Iterator[Damage]:
    """Every kind of damage to a file, each region of it at least once; `others` are stored files to take its place."""
    data = path.read_bytes()
    yield from _bytes(data, path.suffix, rng)
    if path.suffix == ".csv":
        yield from _of_table(data.decode(), rng)
    elif path.suffix == ".json":
        yield from _of_json(data.decode(), rng)
    if path.suffix in (".csv", ".json", ".yaml", ".jsonl", ".md"):
        yield from _of_lines(data, rng)
    yield from _of_files(others)


def _written(data: bytes) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        path.write_bytes(data)

    return apply


def _bytes(data: bytes, suffix: str, rng: random.Random) -> Iterator[Damage]:
    """Flipped bits and changed digits in every region, and cut or longer files."""
    found = regions(data, suffix)
    for region, start, stop in found if len(found) <= MANY else rng.sample(found, MANY):
        position, bit = rng.randrange(start, stop), rng.randrange(8)
        changed = bytearray(data)
        changed[position] ^= 1 << bit
        yield Damage("bit", f"bit {bit} of byte {position} ({region})", _written(bytes(changed)))
        if digits := [n for n in range(start, stop) if suffix != ".npz" and chr(data[n]).isdecimal()]:
            position = rng.choice(digits)
            digit = rng.choice([d for d in b"0123456789" if d != data[position]])
            changed = data[:position] + bytes([digit]) + data[position + 1 :]
            yield Damage("digit", f"byte {position} ({region}) is {chr(digit)}", _written(changed))
    for length in {0, 1, len(data) // 2, max(0, len(data) - 1), rng.randrange(len(data))}:
        yield Damage("cut", f"cut to {length} of {len(data)} bytes", _written(data[:length]))
    for more in (b"\n", b"x", b"\x00" * 512, data):
        yield Damage("longer", f"{len(more)} bytes more", _written(data + more))
    zeros = rng.randrange(len(data))
    yield Damage("zeros", f"zeros from byte {zeros}", _written(data[:zeros] + bytes(len(data) - zeros)))
    for number, other in enumerate(OTHER_FILES):
        yield Damage("another file", f"no such file at all, {number}", _written(other))


def regions(data: bytes, suffix: str) -> list[tuple[str, int, int]]:
    """(name, first byte, end) of the parts of a file: of an archive its headers, arrays, directory and seal; else words."""
    if suffix != ".npz":
        text = data.decode("latin-1")
        words = [(f"{m[0][:12]!r}", m.start(), m.end()) for m in re.finditer(r"[\w.+-]+|[^\w\s]+|\s+", text)]
        return words or [("all", 0, len(data))]
    found = []
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        directory = archive.start_dir  # type: ignore[attr-defined]
    for member in members:
        start = member.header_offset
        named = start + 30 + len(member.filename.encode())
        inside = data.index(b"\x93NUMPY", named)
        body = inside + 10 + int.from_bytes(data[inside + 8 : inside + 10], "little")
        end = inside + member.file_size
        name = member.filename
        found += [(f"header of {name}", start, start + 30), (f"name of {name}", start + 30, inside)]
        found += [(f"array header of {name}", inside, body), *([(f"array {name}", body, end)] if end > body else [])]
    found.append(("directory", directory, len(data) - 71 - 22))
    return [*found, ("end of directory", len(data) - 71 - 22, len(data) - 71), ("seal", len(data) - 71, len(data))]


def _of_table(text: str, rng: random.Random) -> Iterator[Damage]:
    """Every field of a table in turn becomes something else; rows and columns come, go and change places."""
    rows = [line.split(",") for line in text.splitlines()]
    for number, row in enumerate(rows):
        for column, old in enumerate(row):
            for new in {rng.choice(CELLS), *((_digit(old, rng),) if number and re.search(r"\d", old) else ())} - {old}:
                changed = [list(fields) for fields in rows]
                changed[number][column] = new
                what = f"line {number + 1}, column {rows[0][column]}: {old!r} is {new[:20]!r}"
                yield Damage("field", what, _written(_table(changed)))
    column = rng.randrange(len(rows[0]))
    yield Damage(
        "columns", f"without column {rows[0][column]}", _written(_table([r[:column] + r[column + 1 :] for r in rows]))
    )
    yield Damage("columns", f"column {rows[0][column]} twice", _written(_table([[*r, r[column]] for r in rows])))
    yield Damage("columns", "one column more", _written(_table([[*r, "new"] for r in rows])))


def _digit(old: str, rng: random.Random) -> str:
    place = rng.choice([m.start() for m in re.finditer(r"\d", old)])
    return old[:place] + str((int(old[place]) + rng.randint(1, 9)) % 10) + old[place + 1 :]


def _table(rows: list[list[str]]) -> bytes:
    return ("\n".join(map(",".join, rows)) + "\n").encode()


def _of_json(text: str, rng: random.Random) -> Iterator[Damage]:
    """Every value of a JSON object in turn becomes another one, or goes."""
    tree = json.loads(text)
    for place in _places(tree):
        new = rng.choice(VALUES)
        marked = json.loads(text)
        node = marked
        for key in place[:-1]:
            node = node[key]
        node[place[-1]] = "@here@"
        what = ".".join(map(str, place))
        yield Damage(
            "value", f"{what} is {new[:20]}", _written(json.dumps(marked, indent=2).replace('"@here@"', new).encode())
        )
        del node[place[-1]]
        yield Damage("key", f"without {what}", _written(json.dumps(marked, indent=2).encode()))
    for new in VALUES:
        yield Damage("value", f"all of it is {new[:20]}", _written(new.encode()))


def _places(tree: object, before: tuple = ()) -> Iterator[tuple]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield (*before, key)
        yield from _places(value, (*before, key))


def _of_lines(data: bytes, rng: random.Random) -> Iterator[Damage]:
    """Lines that are gone, twice there, or in another order; line ends and marks of other systems."""
    lines = data.splitlines(keepends=True)
    for number in range(len(lines)):
        yield Damage("line", f"without line {number + 1}", _written(b"".join(lines[:number] + lines[number + 1 :])))
    number = rng.randrange(len(lines))
    yield Damage("line", f"line {number + 1} twice", _written(b"".join([*lines[: number + 1], *lines[number:]])))
    yield Damage("line", "lines in reverse", _written(b"".join(lines[::-1])))
    yield Damage("line ends", "CRLF", _written(data.replace(b"\n", b"\r\n")))
    yield Damage("line ends", "a byte order mark", _written(b"\xef\xbb\xbf" + data))
    yield Damage("line ends", "UTF-16", _written(data.decode().encode("utf-16")))


def _of_files(others: list[Path]) -> Iterator[Damage]:
    """The file becomes a folder, a pipe, a link or another stored file, or is gone."""

    def put(make: Callable[[Path], object]) -> Callable[[Path], None]:
        def apply(path: Path) -> None:
            path.unlink()
            make(path)

        return apply

    yield Damage("gone", "gone", put(lambda path: None))
    yield Damage("folder", "an empty folder", put(Path.mkdir))
    yield Damage("folder", "a folder with a file", put(lambda path: (path.mkdir(), (path / "x").write_text("x"))))
    yield Damage("pipe", "a named pipe", put(os.mkfifo))
    for what, target in (("nothing", "nowhere"), ("itself", None), ("its folder", "."), ("/dev/null", "/dev/null")):
        yield Damage("link", f"a link to {what}", put(lambda path, target=target: path.symlink_to(target or path.name)))
    for other in others:
        name = f"{other.parent.name.rpartition('-')[0]}/{other.name}"
        yield Damage("swap", f"it is {name}", put(lambda path, other=other: shutil.copy(other, path)))
