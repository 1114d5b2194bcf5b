"""`onsager record`: copy a trained experiment into the published record."""

import sys
from argparse import Namespace
from collections.abc import Mapping

from onsager_cli.cli.ask import replacing
from onsager_cli.cli.options import Parser
from onsager_cli.cli.plot import experiment_of, show_files
from onsager_cli.errors import UserError
from onsager_cli.text import duration


def add_options(parser: Parser) -> None:
    """Add the options of `onsager record`."""
    parser.add_argument("--force", action="store_true", help="replace files that onsager did not write")


def _tell(event: Mapping[str, object]) -> None:
    """A line for a curve that was judged on fresh samples, and for those that the record keeps."""
    if event["event"] == "kept":
        names = [str(name) for name in event["curves"]]  # type: ignore[attr-defined]
        print(f"not stored here, kept as recorded: {', '.join(names)}", file=sys.stderr)
        return
    place = f"{event['curve']} ({event['index']}/{event['of']})"
    print(
        f"{place}: tested on {event['samples']:,} fresh samples, {duration(float(str(event['seconds'])))}",
        file=sys.stderr,
    )


def main(options: Namespace) -> int:
    """Write the record. Raises UserError for a single curve, a part of an experiment, or if nothing is trained."""
    experiment = experiment_of(options.overrides)
    if experiment.single:
        raise UserError("record needs an experiment: add +experiment=…")
    if any(part.partial for part in experiment.parts):
        raise UserError("record needs the whole experiment: leave out only=… (its page names missing curves)")
    from onsager_cli import run

    for part in experiment.parts:
        show_files(part, *run.record(part, replacing("record", options.force), _tell))
    return 0
