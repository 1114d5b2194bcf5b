"""`onsager export`: write a trained network in a format that runs without onsager."""

import shlex
from argparse import Namespace
from pathlib import Path

from onsager_cli.cli.ask import replacing
from onsager_cli.cli.options import Parser
from onsager_cli.errors import UserError
from onsager_cli.text import one_of, printable, show

FORMATS = ("numpy", "onnx", "torch", "matlab", "stablehlo")
OUTPUT = "outputs"  # of a command without output=FOLDER


def add_options(parser: Parser) -> None:
    """Add the options of `onsager export`."""
    parser.add_argument(
        "words",
        nargs="*",
        metavar="MODEL",
        help="a trained network: folder, file, released name, or the overrides that trained it",
    )
    parser.add_argument("--to", metavar="FORMAT", choices=FORMATS, help="the format of the files")
    parser.add_argument("--output", "-o", metavar="FOLDER", help="default: outputs/exports/NAME-FORMAT")
    parser.add_argument("--depth", metavar="T", help="the network of T layers instead of the deepest one")
    parser.add_argument("--force", action="store_true", help="replace files that onsager did not write")


def main(options: Namespace) -> int:
    """Write the files. Raises UserError for a model that there is not, and as `export` does."""
    if options.to is None:
        raise UserError(f"export: name a format: --to {one_of(FORMATS)}")
    depth = _depth(options.depth)
    from onsager_cli.api.models import model
    from onsager_cli.export import export, name_of
    from onsager_cli.store.files import expanded

    trained = model(*options.words, depth=depth)
    default = Path(_output(options.words), "exports", f"{name_of(trained)}-{options.to}")
    folder = expanded(options.output) if options.output else default
    made = export(trained, options.to, folder, _command(options), replacing("export", options.force))
    for path in made.files:
        print(printable(str(path)))
    if made.difference is None:
        print(f"not run: {made.runtime} is not installed")
    else:
        print(
            f"largest difference to JAX on {made.samples} samples: {made.difference:.1e} (relative); NMSE on the test "
            f"set: {made.nmse_db:.2f} dB by {made.runtime}, {trained.nmse_db:.2f} dB stored"
        )
    return 0


def _depth(given: str | None) -> int | None:
    """The number of layers asked for. Raises UserError for what is no such number."""
    if given is not None and not (given.isascii() and given.isdecimal() and 0 < int(given) <= 10_000):
        raise UserError(f"export: --depth must be a whole number from 1 to 10000, got {show(given)}")
    return None if given is None else int(given)


def _output(words: list[str]) -> str:
    """The output folder of the overrides."""
    return next((word.partition("=")[2] for word in reversed(words) if word.startswith("output=")), OUTPUT)


def _command(options: Namespace) -> str:
    """The command line, for the page of the folder."""
    more = [f"--{key}={getattr(options, key)}" for key in ("output", "depth") if getattr(options, key)]
    return shlex.join(["onsager", "export", *options.words, "--to", options.to, *more])
