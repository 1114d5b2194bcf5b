"""`onsager list`: the options of every config group, or the config keys, or the stored curves."""

from argparse import Namespace

from onsager_cli.cli.options import Parser
from onsager_cli.config import catalog
from onsager_cli.errors import UserError
from onsager_cli.text import printable_lines


def add_options(parser: Parser) -> None:
    """Add the options of `onsager list`."""
    sections = f"{', '.join(catalog.SECTIONS)}, keys [GROUP …], or runs [output=FOLDER] [KEY=VALUE …]"
    parser.add_argument("words", nargs="*", metavar="SECTION", help=sections)
    parser.add_argument("--sort", metavar="KEY", help="order the runs by nmse, date, … or a key of the config")
    parser.add_argument("--reverse", action="store_true", help="largest first")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the runs as JSON, with the config and all layers")
    form.add_argument("--csv", action="store_true", help="print the runs as CSV")


def main(options: Namespace) -> int:
    """Print the list."""
    if options.words[:1] == [catalog.RUNS]:
        _runs(options)
        return 0
    given = {"--sort": options.sort, "--reverse": options.reverse, "--json": options.json, "--csv": options.csv}
    for word, value in given.items():
        if value:
            raise UserError(f"list: {word} is for runs: write onsager list runs {word}")
    if options.words[:1] == [catalog.KEYS]:
        from onsager_cli.cli.explain import listed

        print(printable_lines(listed(options.words[1:])))
        return 0
    print(catalog.listing(options.words))
    return 0


def _runs(options: Namespace) -> None:
    """Print the stored curves."""
    from onsager_cli.cli.listing import as_csv, as_json, as_text, chosen

    words = options.words[1:]
    runs, output = chosen(words, options.sort, options.reverse)
    if options.json:
        print(as_json(runs))
    elif options.csv:
        print(as_csv(runs), end="")
    else:
        print(as_text(runs, output))
