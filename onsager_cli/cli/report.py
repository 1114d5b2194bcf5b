"""`onsager report`: write the record as one HTML page."""

from argparse import Namespace
from pathlib import Path

from onsager_cli.claims.verify import FOLDER
from onsager_cli.cli.options import Parser

OUTPUT = Path("outputs/report.html")


def add_options(parser: Parser) -> None:
    """Add the options of `onsager report`."""
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"the record (default {FOLDER})")
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"the page (default {OUTPUT})")


def main(options: Namespace) -> int:
    """Write the page and print its path."""
    from onsager_cli.claims.verify import verify
    from onsager_cli.record.report import page
    from onsager_cli.store.files import atomic_write

    atomic_write(options.output, page(options.folder, verify(options.folder)).encode())
    print(options.output)
    return 0
