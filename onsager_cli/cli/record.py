"""`onsager record`: copy a trained experiment into the published record."""

from argparse import Namespace

from onsager_cli.cli.options import Parser
from onsager_cli.cli.plot import experiment_of, show_files
from onsager_cli.errors import UserError


def add_options(parser: Parser) -> None:
    """Add the description and the options of `onsager record`."""
    parser.description = """\
Takes +experiment=NAME and the overrides of its training. Writes experiments/NAME: the table, the figure, and a page
that says how, where and how fast the curves were trained."""
    parser.add_overrides()


def main(options: Namespace) -> int:
    """Write the record. Raises UserError for a single curve, a part of an experiment, or if nothing is trained."""
    experiment = experiment_of(options.overrides)
    if experiment.single:
        raise UserError("record needs an experiment: add +experiment=…")
    if any(part.partial for part in experiment.parts):
        raise UserError(
            "record needs the whole experiment: leave out only=… (the page names what is not trained)"
        )
    from onsager_cli import run

    for part in experiment.parts:
        show_files(part, *run.record(part))
    return 0
