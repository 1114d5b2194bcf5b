"""Colours of a terminal: none where the output is no terminal, NO_COLOR is set (no-color.org), or TERM is dumb."""

import os
import re
from typing import TextIO

CODES = {"red": "31", "green": "32", "yellow": "33"}


def coloured(text: str, colour: str, stream: TextIO) -> str:
    """`text` in a colour of CODES, if `stream` shows colours."""
    return f"\x1b[{CODES[colour]}m{text}\x1b[0m" if _shows(stream) else text


def words(text: str, colours: dict[str, str], stream: TextIO) -> str:
    """`text` with the words that stand alone at the second column of its lines, `name  word  …`, in their colours."""
    if not _shows(stream):
        return text
    known = "|".join(sorted(map(re.escape, colours), key=len, reverse=True))

    def painted(match: re.Match[str]) -> str:
        return match[1] + coloured(match[2], colours[match[2]], stream)

    return re.sub(rf"^(\S+ +)({known})(?=[ ,]|$)", painted, text, flags=re.MULTILINE)


def _shows(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
