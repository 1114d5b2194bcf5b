"""`onsager report`: the whole record on one HTML page that needs nothing else: figures, claims, how each was made.

Everything comes from the record (tables, drawings, READMEs) and from `verify`. No script, no request, no date: the
same record gives the same page.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template

from onsager_cli import __version__
from onsager_cli.claims.claim import FAILS, HOLDS, Verdict
from onsager_cli.claims.verify import FOLDER, summary, undeclared, verify
from onsager_cli.cli.options import Parser
from onsager_cli.config.catalog import figures_first
from onsager_cli.errors import UserError
from onsager_cli.record.markdown import Block, blocks, to_html
from onsager_cli.store.files import atomic_write, read_bytes
from onsager_cli.store.tables import Row, read_table, trainings
from onsager_cli.text import natural

OUTPUT = Path("outputs/report.html")


def parser() -> Parser:
    """The options of `onsager report`."""
    made = Parser("report")
    made.add_argument("--folder", type=Path, default=FOLDER, help=f"the record (default {FOLDER})")
    made.add_argument("--output", type=Path, default=OUTPUT, help=f"the page (default {OUTPUT})")
    return made


def main(arguments: Sequence[str]) -> int:
    """Writes the page and prints its path."""
    options = parser().parse_args(list(arguments))
    atomic_write(options.output, page(options.folder, verify(options.folder)).encode())
    print(options.output)
    return 0


def page(folder: Path, verdicts: Sequence[Verdict]) -> str:
    """The HTML page about every experiment under `folder` that has a README or a drawing.

    Raises UserError if there is none, or a file cannot be read.
    """
    names = sorted(
        {path.parent.name for path in (*folder.glob("*/README.md"), *folder.glob("*/*.svg"))},
        key=figures_first,
    )
    if not names:
        raise UserError(f"there is nothing to report: no {folder}/*/README.md")
    tables = {name: read_table(path) for name in names if (path := folder / name / "curves.csv").is_file()}
    stylesheet = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")
    return _PAGE.substitute(
        version=__version__,
        style=stylesheet,
        counts=_counts(verdicts),
        contents=" ".join(f'<a href="#{name}">{escape(name)}</a>' for name in names),
        claims=_claims(verdicts, names),
        experiments="\n".join(_experiment(folder / name, tables.get(name, []), verdicts) for name in names),
        cost=_costs(tables),
    )


_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>onsager: the record</title>
<style>
$style</style>
</head>
<body>
<header>
<h1>onsager: the record</h1>
<p>Borgerding, Schniter and Rangan, <i>AMP-Inspired Deep Networks for Sparse Linear Inverse Problems</i> (2017),
computed again: every statement of the paper judged from recorded tables, every figure with how it was made.</p>
$counts
<nav><a href="#claims">claims</a> $contents <a href="#cost">cost</a></nav>
</header>
<main>
<section id="claims">
<h2>Claims</h2>
$claims
</section>
$experiments
<section id="cost">
<h2>What it took</h2>
$cost
</section>
</main>
<footer>onsager $version. Made by <code>onsager report</code> from the tables in the record.</footer>
</body>
</html>
""")


def _counts(verdicts: Sequence[Verdict]) -> str:
    bar = "".join(f'<i class="{_kind(verdict)}"></i>' for verdict in sorted(verdicts, key=_kind_order))
    return (
        f'<p class="counts">{escape(summary(verdicts))}.</p>\n<div class="bar" aria-hidden="true">{bar}</div>'
    )


_KINDS = ("holds", "known", "fails", "not-run")


def _kind(verdict: Verdict) -> str:
    """The class of a verdict in the stylesheet."""
    if verdict.word == HOLDS:
        return "holds"
    return ("fails" if undeclared(verdict) else "known") if verdict.word == FAILS else "not-run"


def _kind_order(verdict: Verdict) -> int:
    return _KINDS.index(_kind(verdict))


def _claims(verdicts: Iterable[Verdict], sections: Sequence[str]) -> str:
    header = ("claim", "statement", "paper", "measured", "margin", "verdict")
    head = "".join(f"<th>{name}</th>" for name in header)
    body = "".join(_claim(verdict, verdict.claim.experiment in sections) for verdict in verdicts)
    return f'<table class="claims">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>'


def _claim(verdict: Verdict, linked: bool) -> str:
    """One row; its id links to the section of its experiment, if there is one."""
    claim, name = verdict.claim, escape(verdict.claim.id)
    note = f"<small>{escape(verdict.note)}</small>" if verdict.note else ""
    word = "fails, known" if _kind(verdict) == "known" else verdict.word
    cells = {
        "claim": f'<a href="#{escape(claim.experiment)}">{name}</a>' if linked else name,
        "statement": f"{escape(claim.statement)} <small>{escape(claim.source)}</small>{note}",
        "paper": escape(claim.paper),
        "measured": escape(verdict.measured),
        "margin": escape(verdict.margin),
        "verdict": f'<b class="{_kind(verdict)}">{word}</b>',
    }
    row = "".join(f'<td data-name="{key}">{text}</td>' for key, text in cells.items())
    return f'<tr id="claim-{name}">{row}</tr>\n'


def _experiment(folder: Path, rows: Sequence[Row], verdicts: Iterable[Verdict]) -> str:
    """One section: the drawings, the README (its sections folded away), and the claims about it."""
    name = folder.name
    readme = folder / "README.md"
    found = blocks(read_bytes(readme, 2**24).decode("utf-8", "replace")) if readme.is_file() else []
    title = next((block.text for block in found if block.kind == "h1"), name)
    drawings = sorted(folder.glob("*.svg"), key=lambda path: (path.stem != name, natural(path.stem)))
    figures = [f"<figure>{inline_svg(path, f'{name}-{path.stem}', title)}</figure>" for path in drawings]
    about = [verdict for verdict in verdicts if name in verdict.claim.experiments()]
    links = " ".join(
        f'<a class="{_kind(v)}" href="#claim-{escape(v.claim.id)}">{escape(v.claim.id)}</a>' for v in about
    )
    table = f'<p class="file">Table: {escape(name)}/curves.csv, {len(rows)} points.</p>' if rows else ""
    return "\n".join([
        f'<section id="{escape(name)}">', f"<h2>{escape(title)}</h2>", *figures,
        f'<p class="links">{links}</p>' if links else "", _folded(found), table, "</section>",
    ])  # fmt: skip


def _folded(found: Sequence[Block]) -> str:
    """What a README says: its beginning as it is, each section behind its heading."""
    parts, section, heading = [], [], None
    for block in [*(block for block in found if block.kind != "h1"), Block("h2", "")]:
        if block.kind != "h2":
            section.append(block)
            continue
        text = to_html(section)
        if heading is None:
            parts.append(text)
        else:
            parts.append(f"<details><summary>{escape(heading)}</summary>\n{text}\n</details>")
        section, heading = [], block.text
    return "\n".join(part for part in parts if part)


def _costs(tables: Mapping[str, Sequence[Row]]) -> str:
    """Networks and seconds of training of every experiment that trains any."""
    found = {name: trainings(rows) for name, rows in tables.items()}
    together: dict[tuple, float] = {}
    for seconds in found.values():
        for key, value in seconds.items():
            together[key] = max(value, together.get(key, 0.0))
    found = {name: seconds for name, seconds in found.items() if seconds}
    body = "".join(
        f"<tr><td>{escape(name)}</td><td>{len(seconds)}</td><td>{sum(seconds.values()) / 60:.1f}</td></tr>\n"
        for name, seconds in {**found, "together, each once": together}.items()
    )
    head = "<tr><th>experiment</th><th>trained networks</th><th>minutes of training</th></tr>"
    return f"<table>\n<thead>{head}</thead>\n<tbody>\n{body}</tbody>\n</table>"


def inline_svg(path: Path, prefix: str, label: str) -> str:
    """A matplotlib drawing as an element of a page: ids of its own, no metadata, scaled by the page."""
    text = read_bytes(path, 2**26).decode("utf-8", "replace")
    start = text.find("<svg")
    if start < 0:
        raise UserError(f"{path} is no SVG drawing")
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text[start:], flags=re.DOTALL)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
    # Its style sheet would hold for the whole page.
    text = text.replace('<style type="text/css">*{', f'<style type="text/css">#{prefix} *{{')
    opening, rest = text.split(">", 1)
    opening = re.sub(r'\s(width|height)="[^"]*"', "", opening)
    return f'{opening} id="{prefix}" role="img" aria-label="{escape(label)}">{rest.strip()}'
