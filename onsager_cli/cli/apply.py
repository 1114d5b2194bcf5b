"""`onsager apply`: estimates of a trained network from a file of measurements."""

import warnings
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onsager_cli.cli.estimates import Blocks, add_output_options, arrays_of, blocks_of, output_of, warn_of_real, write
from onsager_cli.cli.options import Parser
from onsager_cli.errors import Notice, UserError
from onsager_cli.store import measurements
from onsager_cli.store.measurements import Column
from onsager_cli.text import show

if TYPE_CHECKING:
    from onsager_cli.api.trained import Trained

BATCH = 4000  # samples at a time: matrix products are at full speed, and memory stays small
SAME_SCALE = (
    2.0  # factor between powers of y up to which nothing is said; samples vary, so few of them may have its square
)
MANY = 100  # samples


def add_options(parser: Parser) -> None:
    """Add the options of `onsager apply`."""
    parser.add_argument("words", nargs="*", metavar="MODEL Y", help="a trained network, and a file of measurements")
    add_output_options(parser)
    parser.add_argument("--depth", type=int, metavar="T", help="use the stored network of T layers")
    parser.add_argument(
        "--false-alarms", type=float, metavar="RATE",
        help="with --what activity: write decisions with this false-alarm rate on the selection set",
    )  # fmt: skip


def main(options: Namespace) -> int:
    """Write the estimates."""
    if options.false_alarms is not None and options.what != "activity":
        raise UserError("--false-alarms needs --what activity")
    if options.depth is not None and options.depth < 1:
        raise UserError(f"--depth must be at least 1, got {options.depth}")
    *words, source = _words(options.words)
    from onsager_cli.api.models import model

    path = output_of(options, source, "apply")
    trained = model(*words, depth=options.depth)
    M, N = trained.shape
    rows = (M, M // 2) if trained.stacks else (M,)
    y = measurements.read(source, rows, options.name, options.samples_in)
    stacked = trained.stacks and y.complex
    if y.complex and not (stacked or trained.complex):
        raise UserError(f"{source} is complex, and the network {trained.name} takes real measurements")
    if trained.stacks and (y.array.shape[0 if y.samples_in == measurements.COLUMNS or y.single else 1] == M) == stacked:
        raise UserError(
            f"each sample of {source} must have {M // 2} complex numbers, or {M} real numbers: real parts, then imaginary parts"
        )
    kind = "<c8" if trained.complex or stacked else "<f4"
    if trained.complex:
        warn_of_real(y, source, f"the network {trained.name}")
    users = N // trained.parts
    if options.false_alarms is None:
        columns = arrays_of(options.what, N // 2 if stacked else N, users, kind)
        of_block = blocks_of(trained, columns)
    else:
        columns = [Column("active", users, "|u1")]
        of_block = _decisions(trained, trained.threshold(options.false_alarms))
    _warn_of_scale(y, trained)
    # The last block must not compile a program of its own: fewer samples than a batch are one block.
    write(path, columns, y, of_block, min(BATCH, y.count))
    return 0


def _words(words: Sequence[str]) -> Sequence[str]:
    """The words that name the network, then the file of measurements. Raises UserError where one of them is missing."""
    form = "onsager apply MODEL Y"
    if len(words) < 2:
        raise UserError(f"apply takes a trained network and a file of measurements: {form}")
    first, last = words[0], words[-1]
    if "=" in last or last.startswith("+"):
        raise UserError(f"apply needs the file of measurements as its last word, got {show(last)}: {form}")
    if Path(first).suffix in (*measurements.ALONE, ".mat") and "=" not in first:
        raise UserError(f"apply takes the network first, then a file of measurements: {form}, got {first} {last}")
    return words


def _decisions(trained: "Trained", threshold: float) -> Blocks:
    """A function that decides who is active in measurements y (M, l)."""

    def decided(block: np.ndarray) -> Mapping[str, np.ndarray]:
        return {"active": (trained.strength(block) > threshold).astype(np.uint8)}

    return decided


def _warn_of_scale(y: measurements.Measurements, trained: "Trained") -> None:
    """A Notice if the first samples have another power than the measurements of the training."""
    if trained.y_power is None:
        return
    power = float(np.mean(np.abs(y.block(0, min(BATCH, y.count)).astype(np.complex128)) ** 2))
    factor = SAME_SCALE if y.count >= MANY else SAME_SCALE**2
    if not trained.y_power / factor <= power <= trained.y_power * factor:
        warnings.warn(
            f"{y.path}: the mean of |y_m|² is {power:.2g}, in training it was {trained.y_power:.2g}: is y in the "
            "units of the training?",
            Notice, stacklevel=2,
        )  # fmt: skip
