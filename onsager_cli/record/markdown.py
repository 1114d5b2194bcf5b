"""Markdown as `onsager record` writes it, to HTML: headings, paragraphs, lists, tables, code. Not a general parser."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Block:
    """A piece between blank lines: `kind` is h1 to h6, code, table, list or text; `text` without its marks."""

    kind: str
    text: str


def blocks(text: str) -> list[Block]:
    """The blocks of a text; a picture alone is left out."""
    found: list[Block] = []
    for piece in re.split(r"(?ms)^(```.*?^```$)|\n[ \t]*\n", text):
        piece = (piece or "").strip("\n")
        heading = re.fullmatch(r"(#{1,6}) (.*)", piece)
        if not piece.strip() or re.fullmatch(r"!\[[^\]]*\]\([^)]*\)", piece):
            continue
        if heading:
            found.append(Block(f"h{len(heading[1])}", heading[2]))
        elif piece.startswith("```"):
            found.append(Block("code", "\n".join(piece.split("\n")[1:-1])))
        else:
            found.append(
                Block(
                    {"|": "table", "- ": "list"}.get(piece[:1] if piece[0] == "|" else piece[:2], "text"),
                    piece,
                )
            )
    return found


def to_html(found: Iterable[Block]) -> str:
    """The blocks as HTML elements, one after the other."""
    return "\n".join(map(_element, found))


def _element(block: Block) -> str:
    if block.kind == "code":
        return f"<pre><code>{escape(block.text)}</code></pre>"
    if block.kind == "list":
        items = re.split(r"(?m)^- ", block.text)[1:]
        return "<ul>" + "".join(f"<li>{_inline(' '.join(item.split()))}</li>" for item in items) + "</ul>"
    if block.kind == "table":
        return _table(block.text.split("\n"))
    tag = "p" if block.kind == "text" else block.kind
    return f"<{tag}>{_inline(' '.join(block.text.split()))}</{tag}>"


def _table(lines: list[str]) -> str:
    """A table in a box of its own that scrolls, since it may be wider than the page."""
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]] for line in lines]
    head = "".join(f"<th>{_inline(cell)}</th>" for cell in rows[0]) if any(rows[0]) else ""
    body = "".join(
        "<tr>" + "".join(f"<td>{_inline(cell)}</td>" for cell in row) + "</tr>\n" for row in rows[2:]
    )
    thead = f"<thead><tr>{head}</tr></thead>\n" if head else ""
    return f'<div class="wide"><table>\n{thead}<tbody>\n{body}</tbody>\n</table></div>'


def _inline(text: str) -> str:
    """Code, bold, links (to the web only: files are not beside the page) and escaped bars within a line."""
    parts = re.split(r"`([^`]*)`", text.replace("\\|", "|"))
    for index, part in enumerate(parts):
        part = escape(part)
        if index % 2:
            parts[index] = f"<code>{part}</code>"
            continue
        part = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", part)
        part = re.sub(r"\[([^\]]*)\]\((https?://[^)\s]*)\)", r'<a href="\2">\1</a>', part)
        parts[index] = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", part)
    return "".join(parts)
