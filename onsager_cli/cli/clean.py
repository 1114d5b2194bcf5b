"""`onsager clean`: remove the files of the output folder that no command uses any more."""

from argparse import Namespace

from onsager_cli.cli.ask import confirmed
from onsager_cli.cli.options import Parser
from onsager_cli.text import printable, size_decimal


def add_options(parser: Parser) -> None:
    """Add the options of `onsager clean`."""
    parser.add_argument("words", nargs="*", metavar="output=FOLDER", help="the output folder to clean")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def main(options: Namespace) -> int:
    """List, ask and remove. Raises UserError if nobody can answer, and for a file that cannot be removed."""
    from onsager_cli.cli import runs

    output = runs.output_folder(options.words, "clean")
    found = list(runs.leftovers(output))
    if not found:
        print(printable(f"nothing to clean in {output}"))
        return 0
    for item in found:
        print(printable(f"{item.path}  ({size_decimal(item.size)}, {item.reason})"))
    how = "clean cannot ask here: write onsager clean --yes"
    if not options.yes and not confirmed(f"remove {runs.total(found)}? [y/N] ", how):
        print("nothing was removed")
        return 0
    removed = [item for item in found if runs.remove(item.path)]
    kept = len(found) - len(removed)
    print(f"removed {runs.total(removed)}" + (f"; kept because in use again: {kept}" if kept else ""))
    return 0
