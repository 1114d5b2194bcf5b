"""Words for people: lists, near names, values, times, sizes, tables and pages, each with one spelling everywhere."""

import difflib
import itertools
import json
import os
import re
from collections.abc import Container, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

GAP = "  "  # between columns
TEMPLATES = Path(__file__).parent / "record" / "templates"


def one_of(names: Iterable[str]) -> str:
    """`a, b or c`."""
    names = list(names)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def further(count: int, named: int, of: str = "") -> str:
    """`, and 3 more` if that many of `count` are not among the `named`; `of` says of what."""
    return f", and {count - named} more{of}" if count > named else ""


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """` (did you mean x?)` for the known name nearest to `word`, or nothing."""
    folded = {name.lower(): name for name in known}
    near = difflib.get_close_matches(str(word).lower(), folded, n=1, cutoff=0.6)
    return f" (did you mean {folded[near[0]]}?)" if near else ""


def wrapped(text: str, width: int | None = None) -> str:
    """Prose as wide as the terminal, at most 100 columns; lines that are indented, or align in columns, stay as they are."""
    import shutil
    import textwrap

    width = width or min(shutil.get_terminal_size().columns or 80, 100)
    blocks = re.split(r"(\n(?=\n|\S+:  |  ))", text)
    return "".join(
        block
        if block == "\n" or "  " in block
        else textwrap.fill(block, width, break_long_words=False, break_on_hyphens=False)
        for block in blocks
    )


def printable(text: str) -> str:
    """`text` with each character that moves a cursor, rings or hides written as its escape code, such as \\x1b."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable_lines(text: str) -> str:
    """`text` with every line printable."""
    return "\n".join(map(printable, text.split("\n")))


def one_line(text: str) -> str:
    """`text` on one line, and printable."""
    return printable(" ".join(text.split()))


def show(value: object, limit: int = 60) -> str:
    """`value` on one line, cut to `limit` characters; null, true and false as they are written in a config."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    line = one_line(repr(value) if isinstance(value, str) else str(value))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def cell(value: object, digits: int = 6) -> str:
    """A value in a table: a float with `digits` significant digits, true or false, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def natural(name: str) -> list[str | int]:
    """Sort key that puts fig9 before fig10, and fig1a before fig5."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def duration(seconds: float) -> str:
    """A time in a text: 4.2 → "4.2 s", 200 → "3 min 20 s", 3725 → "1 h 2 min"."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def clock(seconds: float) -> str:
    """A time in a display that counts: 45 → "45 s", 185 → "3:05 min", 7380 → "2:03 h"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"


def size_binary(count: float) -> str:
    """Bytes of memory: "3.4 GiB" or "12 MiB", at least 1 MiB."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 / 2 else f"{max(1, round(count / 2**20))} MiB"


def size_decimal(count: float) -> str:
    """Bytes of files: "1.2 GB", "34 kB", "5 B"."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def columns(rows: Iterable[Sequence[str]], right: Container[int] = (), width: int | None = None) -> str:
    """Rows of cells as lines with aligned columns; the columns with numbers in `right` are flush right.

    If the lines are longer than `width`, the widest columns are folded between words. If that is not enough, each row
    becomes a block: its first cell, and below it a line per further cell, after the name that the first row gives.
    """
    rows = [list(map(printable, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if width is not None:
        least = [_longest_word(column) for column in zip(*rows, strict=True)]
        while _line(widths) > width and any(map(int.__gt__, widths, least)):
            _, at = max((of, n) for n, of in enumerate(widths) if of > least[n])
            widths[at] -= 1
        if _line(widths) > width:
            return _blocks(rows, width)
    lines = []
    for row in rows:
        folded = [_folded(text, of) for text, of in zip(row, widths, strict=True)]
        for cells in itertools.zip_longest(*folded, fillvalue=""):
            aligned = (
                text.rjust(of) if n in right else text.ljust(of)
                for n, (text, of) in enumerate(zip(cells, widths, strict=True))
            )
            lines.append(GAP.join(aligned).rstrip())
    return "\n".join(lines)


def _line(widths: Sequence[int]) -> int:
    """The length of a line of such columns."""
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _longest_word(column: Iterable[str]) -> int:
    """The width at which no cell of the column is split within a word."""
    return max((len(word) for text in column for word in text.split()), default=0)


def _blocks(rows: Sequence[Sequence[str]], width: int) -> str:
    """A block of lines for each row after the first, which has the names."""
    names = rows[0]
    lead = len(GAP) + max(map(len, names[1:]), default=0) + len(GAP)
    blocks = []
    for row in rows[1:]:
        lines = [row[0]]
        for name, text in zip(names[1:], row[1:], strict=True):
            if text:
                lines += hung(text, f"{GAP}{name}".ljust(lead), width)
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _folded(text: str, width: int) -> list[str]:
    """The lines of a cell of that width."""
    import textwrap

    return textwrap.wrap(text, width) if len(text) > width else [text]


def terminal_width() -> int | None:
    """Columns of the terminal that shows stdout; None where stdout is no terminal."""
    import shutil
    import sys

    return (shutil.get_terminal_size().columns or 80) if sys.stdout.isatty() else None


def hung(text: str, lead: str, width: int | None, most: int = 100) -> list[str]:
    """`text` behind `lead`, in lines of at most `width` columns (and at most `most`); one line if `width` is None."""
    import textwrap

    if width is None:
        return [lead + text]
    width = min(width, most)
    narrow = width < len(lead) + 30  # no room beside the lead
    return textwrap.wrap(text, width, initial_indent=lead, subsequent_indent="    " if narrow else " " * len(lead)) or [
        lead.rstrip()
    ]


def expanded(path: str) -> str:
    """`path` with the home folder for ~ or ~NAME at its beginning; ./~ is a plain name. Raises ValueError without one."""
    full = os.path.expanduser(path)
    if path.startswith("~") and full == path:
        home = path.partition("/")[0]
        raise ValueError(f"must be a path: there is no home folder {home}, write ./{home} for a file of that name")
    return full


def markdown_table(header: Sequence[str], body: Iterable[Sequence[str]], right: Sequence[str] | None = None) -> str:
    """A table in Markdown.

    `right` names the columns whose cells stand at the right, as numbers do. By default, those are all columns but the
    first one, or none if the header is empty.
    """
    if right is None:
        right = header[1:] if header[0] else ()
    lines = [header, ["---:" if name in right else "---" for name in header], *body]
    return "\n".join("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines)


def render(template: str, **values: object) -> str:
    """Fill in a template of `record/templates`. Values are escaped in HTML, and only there.

    In Markdown, runs of blank lines become one, and there is no newline at the end. Raises jinja2.UndefinedError if
    the template needs a value that is not given.
    """
    text = _templates().get_template(template).render(values)
    return re.sub(r"\n{3,}", "\n\n", text).strip() if template.endswith(".md.j2") else text


def _alt(text: str) -> str:
    """The words for a picture, without what ends them in Markdown."""
    return " ".join(text.replace("[", "(").replace("]", ")").split())


def _sentence(text: str) -> str:
    """The text as a sentence, which ends with a full stop or another mark."""
    text = text.strip()
    return text if text.endswith((".", "!", "?", ":", ";")) else f"{text}."


@cache
def _templates() -> "Environment":
    """The environment of all templates."""
    # Imported here: most commands write no page.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=lambda name: (name or "").endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"alt": _alt, "duration": duration, "sentence": _sentence}
    return made
