"""`onsager pack`: the trained networks of an experiment as files for release."""

from argparse import Namespace
from pathlib import Path

from onsager_cli.cli.ask import replacing
from onsager_cli.cli.options import Parser
from onsager_cli.cli.plot import experiment_of
from onsager_cli.errors import UserError
from onsager_cli.store import models
from onsager_cli.store.files import atomic_write, exists, expanded
from onsager_cli.text import printable, size_decimal


def add_options(parser: Parser) -> None:
    """Add the options of `onsager pack`."""
    parser.add_argument("--output", "-o", metavar="TAR", help="the tar file; default: outputs/weights-NAME.tar")
    parser.add_argument("--record", action="store_true", help="write experiments/NAME/weights/CURVE.npz instead")
    parser.add_argument("--force", action="store_true", help="replace files that onsager did not write")


def main(options: Namespace) -> int:
    """Write the tar, or the files of the record."""
    if options.record and options.output:
        raise UserError("pack: --record writes to experiments/: leave -o out")
    experiment = experiment_of(options.overrides)
    if experiment.single:
        raise UserError("pack needs an experiment: add +experiment=…")
    from onsager_cli.run import packing

    for part in experiment.parts:
        files = packing.packed(part)
        if options.record:
            folder = Path("experiments") / part.name / models.FOLDER
            written = {folder / f"{name}.npz": data for name, data in files.items()}
        else:
            path = expanded(options.output) if options.output else part.output / models.tar_name(part.name)
            written = {path: models.tar_bytes(packing.with_sums(part.name, files))}
        for path, data in written.items():
            if exists(path) and not models.is_packed(path) and not replacing("pack", options.force)(path):
                raise UserError(f"pack: {path} is kept: move it away")
            atomic_write(path, data)
            print(f"{printable(str(path))}  {size_decimal(len(data))}")
    return 0
