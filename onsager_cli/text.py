"""Words for people: lists, near names, values, sizes, times, in one spelling everywhere."""

import difflib
import json
import re
from collections.abc import Iterable


def one_of(names: Iterable[str]) -> str:
    """`a, b or c`."""
    names = list(names)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """` (did you mean x?)` for the known name nearest to `word`, or nothing."""
    known = list(known)
    near = difflib.get_close_matches(str(word), known, n=1, cutoff=0.6)
    if not near:
        folded = {name.lower(): name for name in known}
        near = [folded[n] for n in difflib.get_close_matches(str(word).lower(), folded, n=1, cutoff=0.6)]
    return f" (did you mean {near[0]}?)" if near else ""


def show(value: object, limit: int = 60) -> str:
    """`value` on one line, cut to `limit` characters; null, true and false as they are written in a config."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    line = " ".join((repr(value) if isinstance(value, str) else str(value)).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def natural(name: str) -> list[str | int]:
    """Sort key that puts fig9 before fig10, and fig1a before fig5."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
