"""`onsager report`: write the record as one HTML page."""

from argparse import Namespace
from pathlib import Path

from onsager_cli.claims.verify import FOLDER
from onsager_cli.cli.ask import replacing
from onsager_cli.cli.options import Parser
from onsager_cli.errors import UserError
from onsager_cli.store.files import expanded
from onsager_cli.text import printable

OUTPUT = Path("outputs/report.html")


def add_options(parser: Parser) -> None:
    """Add the options of `onsager report`."""
    parser.add_argument("--folder", type=expanded, default=FOLDER, help=f"the record (default {FOLDER})")
    parser.add_argument("--output", type=_page, default=OUTPUT, help=f"the page (default {OUTPUT})")
    parser.add_argument("--title", type=_title, help="the heading of the page (default: that of the experiment)")
    parser.add_argument("--force", action="store_true", help="replace a file that onsager did not write")


def _page(path: str) -> Path:
    """The file that --output names. Raises UserError for what is no name of a file."""
    if path == "-" or not path.strip() or path.endswith("/"):
        raise UserError(f"report: --output must name a file, got {path!r}")
    return expanded(path)


def _title(text: str) -> str:
    """The heading that --title gives. Raises UserError for one that has no words."""
    if not text.strip():
        raise UserError(f"report: --title must have a word, got {text!r}")
    return " ".join(text.split())


def main(options: Namespace) -> int:
    """Write the page and print its path."""
    from onsager_cli.claims.verify import of_record
    from onsager_cli.record.report import is_page, page
    from onsager_cli.store.files import write_for_people

    html = page(options.folder, of_record(options.folder, "--folder"), options.title)
    write_for_people(options.output, html.encode(), is_page, replacing("report", options.force))
    print(printable(str(options.output)))
    return 0
