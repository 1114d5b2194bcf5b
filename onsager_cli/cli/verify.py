"""`onsager verify`: judge claims on recorded tables."""

import json
import sys
from argparse import Namespace

from onsager_cli.claims.checks import FAILS, HOLDS, UNDECIDED
from onsager_cli.claims.verify import FOLDER, VOCABULARY, as_json, as_markdown, as_text, undeclared, verify
from onsager_cli.cli.colours import words
from onsager_cli.cli.options import Parser
from onsager_cli.store.files import expanded
from onsager_cli.text import terminal_width

COLOURS = {HOLDS: "green", FAILS: "red", UNDECIDED: "yellow"}


def add_options(parser: Parser) -> None:
    """Add the options of `onsager verify`."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="an experiment, or the id of a claim (default: all)")
    parser.add_argument("--folder", type=expanded, default=FOLDER, help=f"folder of the tables (default {FOLDER})")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="print the verdicts as JSON")
    how.add_argument("--markdown", action="store_true", help="print the verdicts as a Markdown table")
    how.add_argument("--vocabulary", action="store_true", help="explain how to write claims")


def main(options: Namespace) -> int:
    """Print the verdicts; the exit code is 1 if a claim fails that is not declared a known failure, else 0."""
    if options.vocabulary:
        print(VOCABULARY.read_text(encoding="utf-8"), end="")
        return 0
    verdicts = verify(options.folder, options.names, called="--folder")
    if options.json:
        print(json.dumps(as_json(verdicts), indent=2, ensure_ascii=False))
    else:
        text = as_markdown(verdicts) if options.markdown else as_text(verdicts, terminal_width())
        print(text if options.markdown else words(text, COLOURS, sys.stdout))
    return int(any(undeclared(verdict) for verdict in verdicts))
