"""`onsager report`: the description; `record.report` has the options and does the work."""

from argparse import Namespace

from onsager_cli.cli.options import Parser

DESCRIPTION = """\
Writes one self-contained HTML page (default: outputs/report.html) from the tables, drawings and READMEs in
experiments/, or in the folder that you name."""


def add_options(parser: Parser) -> None:
    """Add the description and the options of `onsager report`."""
    from onsager_cli.record import report

    parser.description = DESCRIPTION
    parser.borrow(report.parser())


def main(options: Namespace) -> int:
    """Write the page."""
    from onsager_cli.record import report

    return report.main(options.arguments)
