"""`onsager apply`: estimates of a trained network from a file of measurements."""

from argparse import Namespace
from collections.abc import Mapping

import numpy as np

from onsager_cli.cli.estimates import add_output_options, arrays_of, output_of, write
from onsager_cli.cli.options import Parser
from onsager_cli.errors import UserError
from onsager_cli.store import measurements
from onsager_cli.store.measurements import check_output
from onsager_cli.text import show

BATCH = 4000  # samples at a time: matrix products are at full speed, and memory stays small


def add_options(parser: Parser) -> None:
    """Add the options of `onsager apply`."""
    parser.add_argument("words", nargs="*", metavar="MODEL Y", help="a trained network, and a file of measurements")
    add_output_options(parser)
    parser.add_argument("--depth", type=int, metavar="T", help="the network of T layers, where it is stored")
    parser.add_argument(
        "--false-alarms", type=float, metavar="RATE",
        help="with --what activity: decisions at this rate of false alarms on the selection set, instead of P(x_n ≠ 0)",
    )  # fmt: skip


def main(options: Namespace) -> int:
    """Write the estimates."""
    if len(options.words) < 2:
        raise UserError("apply takes a network and a file of measurements: onsager apply MODEL Y")
    if options.false_alarms is not None and options.what != "activity":
        raise UserError("--false-alarms needs --what activity")
    if options.depth is not None and options.depth < 1:
        raise UserError(f"--depth must be at least 1, got {options.depth}")
    *words, source = options.words
    if "=" in source or source.startswith("+"):
        raise UserError(f"apply needs the file of measurements as its last word, got {show(source)}")
    from onsager_cli.api.models import model

    path = output_of(options, source, "apply")
    check_output(path, 5 if options.what == "posterior" else 1)
    trained = model(*words, depth=options.depth)
    M, N = trained.shape
    rows = (M, M // 2) if trained.stacks else (M,)
    y = measurements.read(source, rows, options.name, options.samples_in)
    stacked = trained.stacks and y.complex
    if y.complex and not (stacked or trained.complex):
        raise UserError(f"{source} is complex, and the network {trained.name} takes real measurements")
    if trained.stacks and (y.array.shape[0 if y.samples_in == measurements.COLUMNS or y.single else 1] == M) == stacked:
        raise UserError(
            f"{source} must have {M // 2} complex or {M} real numbers in a sample: the real parts, then the imaginary ones"
        )
    kind = "<c8" if trained.complex or stacked else "<f4"
    columns = arrays_of(options.what, N // 2 if stacked else N, N // trained.parts, kind)
    if options.false_alarms is not None:
        columns = [columns[0].__class__("active", columns[0].size, "|u1")]
        limit = trained.threshold(options.false_alarms)

    def of_block(block: np.ndarray) -> Mapping[str, np.ndarray]:
        if options.what == "x":
            return {"x_hat": trained(block)}
        if options.false_alarms is not None:
            return {"active": (trained.strength(block) > limit).astype(np.uint8)}
        found = trained.posterior(block)._asdict()
        return {one.name: found[one.name] for one in columns}

    # The last block must not compile a program of its own: fewer samples than a batch are one block.
    write(path, columns, y, of_block, min(BATCH, y.count))
    return 0
