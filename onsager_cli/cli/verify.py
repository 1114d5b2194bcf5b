"""`onsager verify`: the description; `claims.verify` has the options and does the work."""

from argparse import Namespace

from onsager_cli.cli.options import Parser

DESCRIPTION = """\
Prints one line per claim of experiments/*/claims.yaml: holds, fails or not run, with the measured number, the number
of the paper, and the margin to the limit. Reads the tables in experiments/, or in the folder that you name
(outputs/figures for results that are not recorded yet). The exit code is 1 if a claim fails that is not declared a
known failure. --vocabulary explains how to write claims."""


def add_options(parser: Parser) -> None:
    """Add the description and the options of `onsager verify`."""
    from onsager_cli.claims import verify

    parser.description = DESCRIPTION
    parser.borrow(verify.parser())


def main(options: Namespace) -> int:
    """Print the verdicts."""
    from onsager_cli.claims import verify

    return verify.main(options.arguments)
