"""`onsager judge`: a solver of the user's own on the test set of an experiment, as one more curve of its figure."""

from argparse import Namespace
from collections.abc import Sequence

from onsager_cli.cli.options import Parser
from onsager_cli.cli.plot import draw, experiment_of
from onsager_cli.errors import UserError
from onsager_cli.store.tables import Row
from onsager_cli.text import printable, show

FORM = "FILE.py:FUNCTION or PACKAGE:FUNCTION"


def add_options(parser: Parser) -> None:
    """Add the options of `onsager judge`."""
    parser.add_argument("function", metavar="FILE.py:FUNCTION", help="the solver; also PACKAGE:FUNCTION")
    parser.add_argument("--name", metavar="NAME", help="name of the curve; default: the name of the function")


def main(options: Namespace) -> int:
    """Judge, print the NMSE, and draw. Raises UserError for every mistake, also those of the function."""
    home, colon, path = options.function.rpartition(":")
    if not colon or "=" in home:
        near = f": write {path}:FUNCTION" if path.endswith(".py") else ""
        raise UserError(f"judge takes {FORM}, then overrides, got {show(options.function)}{near}")
    experiment = experiment_of(options.overrides)
    from onsager_cli import run
    from onsager_cli.run.foreign import load

    for rows in run.judge(experiment, load(home, path), options.name):
        print(printable(line(rows)), flush=True)
    draw(experiment)
    return 0


def line(rows: Sequence[Row]) -> str:
    """The last row of a solver on one test set, as a line."""
    row = rows[-1]
    error = "" if row["nmse_db_se"] is None else f" ± {row['nmse_db_se']:.2f}"
    after = "" if row["layer"] is None else f" after {row['layer']} iterations"
    where = f"{row['test_samples']:,} samples of {row['problem']} (seed {row['seed']})"
    speed = f"{1000 * row['seconds_per_sample']:.3g} ms per sample"
    ratio = f"mean of ratios {row['nmse_mean_ratio_db']:.2f} dB"
    return f"{row['curve']}: NMSE {row['nmse_db']:.2f}{error} dB{after}, {ratio}, {where}, {speed}"
