"""`onsager report`: the whole record on one HTML page that needs nothing else: figures, claims, how each was made.

A click on a figure enlarges it: the figure is then the target of the page's address. Everything comes from the record (tables, drawings, READMEs) and from `verify`. The page has no script, makes no
request and holds no date, so the same record gives the same page.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from onsager_cli import __version__
from onsager_cli.claims.claim import FAILS, HOLDS, Verdict
from onsager_cli.claims.verify import summary, undeclared
from onsager_cli.config.catalog import figures_first
from onsager_cli.errors import UserError
from onsager_cli.record.svg import cleaned
from onsager_cli.store.files import entries, exists, is_folder, read_bytes
from onsager_cli.store.tables import all_trainings, read_table, trainings
from onsager_cli.text import natural, render

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token


COLUMN = 252.0  # points: the width of a figure in one column of a journal


def page(folder: Path, verdicts: Sequence[Verdict], title: str | None = None) -> str:
    """The HTML page about every experiment under `folder` that has a README or a drawing: figures, claims, costs.

    `title` is the heading of the page. By default it is the title of the experiment, or one for several of them.

    Raises UserError if there is none, or a file cannot be read.
    """
    places = [place for place in entries(folder) if is_folder(place)]
    shown = (place for place in places if exists(place / "README.md") or entries(place, "*.svg"))
    names = sorted((place.name for place in shown), key=figures_first)
    if not names:
        raise UserError(f"there is nothing to report: no {folder}/*/README.md")
    tables = {name: read_table(path) for name in names if exists(path := folder / name / "curves.csv")}
    trained = {name: found for name, rows in tables.items() if (found := trainings(rows))}
    sections = [{**_section(folder / name), "points": len(tables.get(name, ()))} for name in names]
    return render(
        "report.html.j2",
        title=title or (str(sections[0]["title"]) if len(sections) == 1 else TITLE),
        paper=title is None and bool(verdicts) and any(re.fullmatch(r"fig\d+[a-z]?", name) for name in names),
        version=__version__,
        style=(Path(__file__).parent / "report.css").read_text(encoding="utf-8"),
        summary=summary(verdicts),
        verdicts=[(verdict, _kind(verdict)) for verdict in verdicts],
        kinds=sorted(map(_kind, verdicts), key=_KINDS.index),
        experiments=sections,
        costs={**trained, "together, each once": all_trainings(trained.values())} if trained else {},
    )


TITLE = "onsager: the record"


def is_page(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a page of `onsager report`; the first edition had its title alone."""
    return b'<meta name="generator" content="onsager ' in head or f"<title>{TITLE}</title>".encode() in head


# Classes of the stylesheet.
_KINDS = ("holds", "known", "fails", "not-run")


def _kind(verdict: Verdict) -> str:
    """The class of a verdict."""
    if verdict.word == HOLDS:
        return "holds"
    return ("fails" if undeclared(verdict) else "known") if verdict.word == FAILS else "not-run"


def _section(folder: Path) -> dict[str, object]:
    """What the page shows of one experiment: its drawings, and its README in sections."""
    name, readme = folder.name, folder / "README.md"
    text = read_bytes(readme, 2**24).decode("utf-8", "replace") if exists(readme) else ""
    title, beginning, sections = to_html(text)
    title = title or name
    drawings = sorted(entries(folder, "*.svg"), key=lambda path: (path.stem != name, natural(path.stem)))
    figures = [_figure(path, name, title, len(drawings) > 1) for path in drawings]
    return {"name": name, "title": title, "figures": figures, "beginning": beginning, "sections": sections}


def _figure(path: Path, name: str, title: str, several: bool) -> dict[str, object]:
    """A drawing of an experiment: its id, its caption where it stands alone, the element, its width and its shape."""
    svg = inline_svg(path, f"{name}-{path.stem}", title)
    box = re.search(r'^<svg[^>]* viewBox="[\d.+-]+[ ,]+[\d.+-]+[ ,]+(\d+(?:\.\d+)?)[ ,]+(\d+(?:\.\d+)?)"', svg)
    width, height = (float(side) or COLUMN for side in box.groups()) if box else (COLUMN, COLUMN)
    return {
        "id": anchor(f"{name}-{path.stem}"), "svg": svg, "width": round(width), "ratio": round(width / height, 3),
        "caption": f"{title}: {path.stem}" if several and path.stem != name else title,
    }  # fmt: skip


def to_html(text: str) -> tuple[str, str, list[tuple[str, str]]]:
    """A Markdown page as its title, the HTML of its beginning, and (heading, HTML) of each section.

    Pictures that stand alone are left out, since the drawings are on the page. Links lead to the web only: files are
    not beside the page. Tables stand in boxes that scroll.
    """
    parser, title = _parser(), ""
    parts: list[tuple[str, list[Token]]] = [("", [])]
    tokens = iter(_shown(parser.parse(text)))
    for token in tokens:
        if token.type == "heading_open" and token.tag in ("h1", "h2"):
            heading = next(tokens).content
            next(tokens)  # heading_close
            if token.tag == "h2":
                parts.append((heading, []))
            title = title or (heading if token.tag == "h1" else "")
        else:
            parts[-1][1].append(token)
    (_, beginning), *sections = [(name, parser.renderer.render(of, parser.options, {})) for name, of in parts]
    return title, beginning, sections


def _shown(tokens: "Iterable[Token]") -> "list[Token]":
    """The tokens of a Markdown page without what the report leaves out (see `to_html`)."""
    kept: list[Token] = []
    for token in tokens:
        if token.type in ("th_open", "td_open"):
            token.attrs = {}  # the stylesheet aligns cells
        if token.type == "inline":
            token.children = _web_links(token.children or [])
        kept.append(token)
        if token.type == "paragraph_close" and [child.type for child in kept[-2].children or []] == ["image"]:
            del kept[-3:]
        elif token.type == "thead_close":
            start = max(index for index, of in enumerate(kept) if of.type == "thead_open")
            if not any(of.content for of in kept[start:]):
                del kept[start:]
    return kept


def _web_links(tokens: "Iterable[Token]") -> "list[Token]":
    """The tokens of a line, without links to elsewhere than the web."""
    kept, web = [], True
    for token in tokens:
        if token.type == "link_open":
            web = str(token.attrs["href"]).startswith(("https://", "http://"))
        if web or token.type not in ("link_open", "link_close"):
            kept.append(token)
    return kept


@cache
def _parser() -> "MarkdownIt":
    # Imported here: only the report needs it.
    from markdown_it import MarkdownIt

    made = MarkdownIt("commonmark", {"html": False}).enable("table")
    made.validateLink = lambda _: True  # type: ignore[assignment]  # `_web_links` decides
    rules = {
        "image": lambda _, tokens, index, *__: escape(tokens[index].content),
        "table_open": lambda *_: '<div class="wide"><table>\n',
        "table_close": lambda *_: "</table></div>\n",
    }
    for name, rule in rules.items():
        made.add_render_rule(name, rule)
    return made


def inline_svg(path: Path, prefix: str, label: str) -> str:
    """The drawing of a file as an element of the page (see `svg.cleaned`), whose ids begin with `prefix`.

    Raises UserError for a file that is no SVG drawing.
    """
    try:
        return cleaned(read_bytes(path, 2**26).decode("utf-8", "replace"), anchor(prefix), label)
    except ValueError as error:
        raise UserError(f"{path} is no SVG drawing: {error}") from error


def anchor(text: str) -> str:
    """A text as an id."""
    return re.sub(r"[^A-Za-z0-9_-]", lambda odd: f"_{ord(odd[0]):x}_", text)
