"""`onsager record`: copy a trained experiment into the published record."""

from argparse import Namespace

from onsager_cli.cli.plot import experiment_of, show_files
from onsager_cli.errors import UserError


def main(options: Namespace) -> int:
    """Write the record. Raises UserError for a single curve, a part of an experiment, or if nothing is trained."""
    experiment = experiment_of(options.overrides)
    if experiment.single:
        raise UserError("record needs an experiment: add +experiment=…")
    if any(part.partial for part in experiment.parts):
        raise UserError("record needs the whole experiment: leave out only=… (its page names missing curves)")
    from onsager_cli import run

    for part in experiment.parts:
        show_files(part, *run.record(part))
    return 0
