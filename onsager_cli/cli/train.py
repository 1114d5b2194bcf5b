"""`onsager train`: train what is missing of one experiment or one curve, then draw it."""

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from onsager_cli.cli.options import Parser
from onsager_cli.cli.plot import draw, experiment_of
from onsager_cli.cli.progress import Event, Progress
from onsager_cli.cli.signals import Stop
from onsager_cli.config import compose
from onsager_cli.config import overrides as grammar
from onsager_cli.config.catalog import package_conf
from onsager_cli.errors import DivergedError, LostError, UserError, notices_to
from onsager_cli.store.environment import run_as_batch
from onsager_cli.store.files import remove_leftovers, temporary_name, writing

if TYPE_CHECKING:
    from onsager_cli.config.experiment import Experiment


def add_options(parser: Parser) -> None:
    """Add the options of `onsager train`."""
    parser.add_argument(
        "--cfg", "-c", metavar="WHAT", choices=("job", "hydra", "all"),
        help="print the config and stop; job: onsager's keys, hydra: Hydra's, all: both",
    )  # fmt: skip
    parser.add_argument("--resolve", action="store_true", help="with --cfg: replace interpolations by their values")


def main(options: Namespace) -> int:
    """Train and draw, or with --cfg print the composed config."""
    check_options(options)
    experiment = experiment_of(options.overrides)
    if options.cfg:
        print_config(options, options.overrides)
    else:
        train(experiment)
    return 0


def check_options(options: Namespace) -> None:
    """Raises UserError for --resolve without --cfg."""
    if options.resolve and not options.cfg:
        raise UserError("--resolve needs --cfg: write --cfg job --resolve")


def train(experiment: "Experiment", live: bool | None = None) -> None:
    """Train what is missing of an experiment, then draw it.

    `live` forces or forbids the live display. Raises DivergedError after all else is done if a curve diverged.
    """
    from onsager_cli.config.own_matrix import check_matrices

    check_matrices([experiment])  # before the output folder is made
    prepare_output(experiment.output)
    from onsager_cli import run

    run_as_batch()
    diverged: DivergedError | LostError | None = None
    with Stop() as stop:
        with Progress(live=live) as progress:

            def report(event: Event) -> None:
                stop.check()
                progress(event)

            with notices_to(lambda text: progress({"event": "warning", "message": text})):
                try:
                    run.train(experiment, report)
                except (DivergedError, LostError) as error:
                    diverged = error
        try:
            draw(experiment)
        except UserError:  # nothing is trained
            if diverged is None:
                raise
    if diverged is not None:
        raise diverged


def prepare_output(folder: Path) -> None:
    """Make the output folder. Raises UserError if that fails or the folder is not writable."""
    probe = temporary_name(folder / "writable")
    try:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink(missing_ok=True)
            remove_leftovers(folder)
    except UserError as error:
        raise UserError(f"output: {error}") from error


def print_config(options: Namespace, overrides: Sequence[str]) -> None:
    """Print what --cfg asks for, by Hydra's own program. Raises UserError for what Hydra refuses."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    flags = ["--cfg", options.cfg, *(["--resolve"] if options.resolve else [])]
    words = [*flags, *map(grammar.for_program, overrides), *compose.search_path_override(overrides)]
    program = hydra.main(**compose.version_base(), config_path=str(package_conf()), config_name="config")(
        lambda _: None
    )
    argv, full_error = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = [argv[0], *words]
    # With this variable Hydra raises its errors; without it, Hydra prints them and ends the process.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        program()
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(compose.first_line(error)) from error
    finally:
        sys.argv = argv
        if full_error is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full_error
