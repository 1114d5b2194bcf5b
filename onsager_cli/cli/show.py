"""`onsager list`: the options of every config group, or the stored curves."""

from argparse import Namespace

from onsager_cli.cli.options import Parser
from onsager_cli.config import catalog


def add_options(parser: Parser) -> None:
    """Add the options of `onsager list`."""
    sections = f"{', '.join(catalog.SECTIONS)}, or runs [output=FOLDER]"
    parser.add_argument("words", nargs="*", metavar="SECTION", help=sections)


def main(options: Namespace) -> int:
    """Print the list."""
    if options.words[:1] == [catalog.RUNS]:
        from onsager_cli.cli.runs import listing

        print(listing(options.words[1:]))
    else:
        print(catalog.listing(options.words))
    return 0
