"""`onsager record`: copy a trained experiment into the published record."""

import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from onsager_cli.cli.ask import replacing
from onsager_cli.cli.options import Parser
from onsager_cli.cli.plot import experiment_of, show_files
from onsager_cli.errors import UserError
from onsager_cli.text import duration, printable

if TYPE_CHECKING:
    from onsager_cli.config.experiment import Experiment

RECORD = Path("experiments")


def add_options(parser: Parser) -> None:
    """Add the options of `onsager record`."""
    parser.add_argument("--force", action="store_true", help="replace files that onsager did not write")
    parser.add_argument(
        "--redraw", action="store_true",
        help="only draw anew what is recorded, from the tables in experiments/; without +experiment=NAME, every figure",
    )  # fmt: skip


def _tell(event: Mapping[str, object]) -> None:
    """A line for a curve that was judged on fresh samples, and for those that the record keeps."""
    if event["event"] == "kept":
        names = [str(name) for name in event["curves"]]  # type: ignore[attr-defined]
        print(f"kept as recorded, because fewer layers are stored here: {', '.join(names)}", file=sys.stderr)
        return
    place = f"{event['curve']} ({event['index']}/{event['of']})"
    print(
        f"{place}: tested on {event['samples']:,} fresh samples, {duration(float(str(event['seconds'])))}",
        file=sys.stderr,
    )


def main(options: Namespace) -> int:
    """Write the record. Raises UserError for a single curve, a part of an experiment, or if nothing is trained."""
    if options.redraw and not options.overrides:
        from onsager_cli.run.redraw import recorded

        return _redraw(recorded(RECORD), options.force)
    experiment = experiment_of(options.overrides)
    if experiment.single:
        raise UserError("record needs an experiment: add +experiment=…")
    if any(part.partial for part in experiment.parts):
        raise UserError("record needs the whole experiment: leave out only=… (its page names missing curves)")
    if options.redraw:
        return _redraw(experiment.parts, options.force)
    from onsager_cli import run

    for part in experiment.parts:
        show_files(part, *run.record(part, replacing("record", options.force), _tell))
    return 0


def _redraw(experiments: Iterable["Experiment"], force: bool) -> int:
    """Draw figures of the record anew, and print their files. Raises UserError for one that is not recorded."""
    from onsager_cli.run.redraw import redraw

    for experiment in experiments:
        for path in redraw(experiment, RECORD, replacing("record", force)):
            print(printable(str(path)), flush=True)
    return 0
