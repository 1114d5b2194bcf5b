"""`onsager recover`: estimates by EM-VAMP from files of A and y, without training."""

from argparse import Namespace

import numpy as np

from onsager_cli.cli.estimates import add_output_options, arrays_of, blocks_of, output_of, warn_of_real, write
from onsager_cli.cli.options import Parser
from onsager_cli.errors import UserError
from onsager_cli.store import matrix, measurements

BATCH = 1000  # samples at a time
LEARNED = 4000  # samples from which EM-VAMP learns the prior and the noise


def add_options(parser: Parser) -> None:
    """Add the options of `onsager recover`."""
    parser.add_argument("A", help="a file with the matrix, M x N")
    parser.add_argument("Y", help="a file with the measurements, M x samples")
    add_output_options(parser)
    parser.add_argument("--iterations", type=int, default=20, metavar="T", help="iterations of EM-VAMP; default: 20")
    parser.add_argument(
        "--noise-variance",
        type=float,
        metavar="V",
        help="noise variance per entry of w, linear; default: learned from y",
    )
    parser.add_argument(
        "--matrix-name", metavar="NAME", help="name of the array in A's file; default: A, or the only array"
    )


def main(options: Namespace) -> int:
    """Write the estimates."""
    path = output_of(options, options.Y, "recover")
    A = matrix.read_any(options.A, options.matrix_name)
    M, N = A.shape
    y = measurements.read(options.Y, (M,), options.name, options.samples_in)
    if y.complex and not np.iscomplexobj(A):
        raise UserError(
            f"{options.Y} is complex, and A in {options.A} is real: save A as complex numbers, or save real and imaginary part of y apart"
        )
    if np.iscomplexobj(A):
        warn_of_real(y, options.Y, f"A in {options.A}")
    from onsager_cli.api.recovery import recovery

    step = max(1, y.count // LEARNED)
    some = y.block(0, y.count)[:, ::step] if step == 1 else np.concatenate(
        [y.block(start, start + 1) for start in range(0, y.count, step)], axis=1
    )  # fmt: skip
    found = recovery(some, A, options.iterations, options.noise_variance)
    columns = arrays_of(options.what, N, N, "<c8" if found.complex else "<f4")
    write(path, columns, y, blocks_of(found, columns), min(BATCH, y.count))
    return 0
