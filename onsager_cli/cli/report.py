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
    parser.add_argument("--force", action="store_true", help="replace a file that onsager did not write")


def _page(path: str) -> Path:
    """The file that --output names. Raises UserError for what is no name of a file."""
    if path == "-" or not path.strip() or path.endswith("/"):
        raise UserError(f"report: --output must name a file, got {path!r}")
    return expanded(path)


def main(options: Namespace) -> int:
    """Write the page and print its path."""
    from onsager_cli.claims.verify import verify
    from onsager_cli.record.report import is_page, page
    from onsager_cli.store.files import write_for_people

    html = page(options.folder, verify(options.folder, called="--folder"))
    write_for_people(options.output, html.encode(), is_page, replacing("report", options.force))
    print(printable(str(options.output)))
    return 0
