"""Matrices in the text that Octave's `save` writes unless it is told otherwise."""

import math
import re
from collections.abc import Iterator

import numpy as np

from onsager_cli.store.foreign.sparse import dense
from onsager_cli.store.foreign.text import decoded
from onsager_cli.store.foreign.variable import NUMBERS, Variable

_BEGINS = re.compile(rb"^\s*#\s*name:.*\n\s*#\s*type:", re.MULTILINE)
_NAME = re.compile(r"^[ \t]*#[ \t]*name:[ \t]*(.*)$", re.MULTILINE)
_KEY = re.compile(r"^[ \t]*#[ \t]*(\w+):[ \t]*(.*?)[ \t]*$", re.MULTILINE)
_PLAIN = re.compile(r"(global )?(?P<sparse>sparse )?(float |bool |u?int\d+ )?(?P<complex>complex )?matrix")
_PAIR = re.compile(r"\(\s*([^\s,()]+)\s*,\s*([^\s,()]+)\s*\)")


def is_octave(head: bytes) -> bool:
    """Whether a file begins as Octave's text does."""
    return bool(_BEGINS.search(head.replace(b"\r\n", b"\n").replace(b"\r", b"\n")))


def octave(data: bytes) -> list[Variable]:
    """The variables of the file; matrices inside structs and cells are not looked at."""
    return [_variable(name, keys, body) for name, keys, body in _top(decoded(data))]


def _top(text: str) -> Iterator[tuple[str, dict[str, str], str]]:
    """(name, keys, text of the values) of each variable that is not inside another."""
    marks = list(_NAME.finditer(text))
    inside = [0]  # how many more variables belong to each struct or cell that is open
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        body = text[mark.end() : following.start() if following else len(text)]
        keys = dict(_KEY.findall(body))
        while len(inside) > 1 and not inside[-1]:
            inside.pop()
        if len(inside) == 1:
            yield mark[1].strip(), keys, body
        else:
            inside[-1] -= 1
        inside.append(_members(keys))


def _members(keys: dict[str, str]) -> int:
    """How many variables follow that belong to the one with these keys."""
    kind = keys.get("type", "")
    if kind == "cell":
        return int(keys.get("rows", 0)) * int(keys.get("columns", 0))
    return int(keys.get("length", 0)) if "struct" in kind or kind == "object" else 0


def _variable(name: str, keys: dict[str, str], body: str) -> Variable:
    """The variable of these keys; the text of its values is read once somebody asks."""
    kind = keys.get("type", "nothing")
    if not (matrix := _PLAIN.fullmatch(kind)):
        return Variable(name, (), kind, lambda: np.empty(0))
    sparse, is_complex = bool(matrix["sparse"]), bool(matrix["complex"])
    values = re.sub(r"^[ \t]*#.*$", "", body, flags=re.MULTILINE)
    by_columns = "ndims" in keys  # then the sizes stand before the values
    sizes = values.split(maxsplit=int(keys["ndims"]))[:-1] if by_columns else (keys["rows"], keys["columns"])
    shape = tuple(map(int, sizes))

    def load() -> np.ndarray:
        words = _PAIR.sub(r"\1 \2", values).split()[len(shape) if by_columns else 0 :]
        found = np.array([float("nan" if word == "NA" else word) for word in words])
        per_entry = 2 * sparse + 1 + is_complex
        entries = found.reshape(int(keys["nnz"]) if sparse else math.prod(shape), per_entry)
        last = entries[:, -2] + 1j * entries[:, -1] if is_complex else entries[:, -1]
        if not sparse:
            return last.reshape(shape, order="F" if by_columns else "C")
        with np.errstate(invalid="ignore"):  # what is no number is no index either
            rows, columns = entries[:, :2].astype(np.int64).T - 1
        return dense((shape[0], shape[1]), rows, columns, last)

    return Variable(name, shape, NUMBERS, load)
