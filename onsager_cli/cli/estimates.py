"""What `onsager apply` and `onsager recover` share: which arrays are asked for, and how they are written."""

import sys
import time
import warnings
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onsager_cli.cli.ask import confirmed
from onsager_cli.cli.options import Parser
from onsager_cli.errors import Notice, UserError
from onsager_cli.store.files import exists, expanded, is_folder
from onsager_cli.store.measurements import ALONE, ORIENTATIONS, SUFFIXES, Column, Measurements, check_output, written
from onsager_cli.text import clock, printable, show

if TYPE_CHECKING:
    from onsager_cli.api.trained import Trained

WHAT = ("x", "sigma", "activity", "posterior")
REPORTED = 5.0  # seconds between two lines of progress
Blocks = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""A function of y (M, l): array name → (numbers, l) or (l,)."""


def add_output_options(parser: Parser) -> None:
    """Add the options about what comes back."""
    parser.add_argument("--output", "-o", metavar="X", help="the file to write; default: Y's name with -x_hat, here")
    parser.add_argument(
        "--what", choices=WHAT, default="x",
        help="x: the estimate; sigma: standard deviation of the error before the last shrinkage, for each sample; activity: P(x_n ≠ 0), per user; posterior: all of these, "
        "with posterior mean and variance (.npz or .mat)",
    )  # fmt: skip
    parser.add_argument("--name", help="name of the array in Y's file; default: y, or the only array")
    parser.add_argument(
        "--samples-in", choices=ORIENTATIONS, help="whether samples of Y are columns (default, y is M x L) or rows"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing file")


def warn_of_real(y: Measurements, source: str, other: str) -> None:
    """A Notice if the measurements of a file are real. `other` names what is complex."""
    if not y.complex:
        warnings.warn(
            f"{source} is real, and {other} is complex: the imaginary part of y is taken as 0", Notice, stacklevel=3
        )


def arrays_of(what: str, N: int, users: int, kind: str) -> list[Column]:
    """The arrays that `--what` asks for; `kind` is the type of x."""
    x, sigma, activity = Column("x_hat", N, kind), Column("sigma", 0, "<f4"), Column("activity", users, "<f4")
    mean, variance = Column("mean", N, kind), Column("variance", N, "<f4")
    return {"x": [x], "sigma": [sigma], "activity": [activity], "posterior": [x, sigma, activity, mean, variance]}[what]


def blocks_of(found: "Trained", columns: Sequence[Column]) -> Blocks:
    """A function that makes these arrays (`arrays_of`) of measurements y (M, l)."""
    names = [one.name for one in columns]

    def of_block(block: np.ndarray) -> Mapping[str, np.ndarray]:
        if names == ["x_hat"]:
            return {"x_hat": found(block)}
        made = found.posterior(block)._asdict()
        return {name: made[name] for name in names}

    return of_block


def output_of(options: Namespace, source: str, verb: str) -> Path:
    """The file to write.

    Raises UserError for a folder, a format that cannot hold what is asked for, and a file that is there, unless --force
    or the user allows it.
    """
    given, several = Path(source), options.what == "posterior"
    if is_folder(given):
        raise UserError(f"{verb} needs a file of measurements, and {source} is a folder")
    path = Path(f"{given.stem}-x_hat{given.suffix}") if options.output is None else expanded(options.output)
    if options.output is None and several and path.suffix in ALONE:
        raise UserError(f"{verb}: --what posterior gives five arrays: name a file for them, such as -o {path.stem}.npz")
    if options.output is None and path.suffix not in SUFFIXES:
        raise UserError(
            f"{verb}: onsager cannot write estimates in the format of {source}, {show(path.suffix)}: add "
            f"-o {path.stem}.npy"
        )
    if is_folder(path):
        raise UserError(f"{verb}: -o must name a file, and {path} is a folder")
    check_output(path, 5 if several else 1)
    if exists(path) and exists(given) and path.resolve() == given.resolve():
        raise UserError(f"{verb}: -o must not be the file of the measurements, {path}")
    if (
        exists(path)
        and not options.force
        and not confirmed(
            f"Replace {path}? [y/N] ", f"{verb}: {path} exists: add --force, or name another file with -o"
        )
    ):
        raise UserError(f"{verb}: {path} is kept: name another file with -o")
    return path


def write(path: Path, columns: list[Column], y: Measurements, of_block: Blocks, batch: int) -> None:
    """Write what `of_block` makes of the measurements, a batch at a time, with progress on stderr."""
    begun = told = time.monotonic()
    with written(path, columns, y.count, y) as writer:
        for start in range(0, y.count, batch):
            stop = min(start + batch, y.count)
            writer.put(start, of_block(y.block(start, stop)))
            if (now := time.monotonic()) - told > REPORTED and stop < y.count:
                left = (now - begun) / stop * (y.count - stop)
                print(f"{stop:,} of {y.count:,} samples | left: {clock(left)}", file=sys.stderr, flush=True)
                told = now
    print(printable(str(path)))
