"""`onsager data`: write the samples of a problem for other people's code, or say what a file of samples is."""

import argparse
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from onsager_cli.cli.ask import replacing
from onsager_cli.cli.options import Parser
from onsager_cli.cli.plot import experiment_of
from onsager_cli.errors import UserError
from onsager_cli.store.datasets import SUFFIXES, check_suffix, is_ours
from onsager_cli.store.files import check_ours, expanded, remove_leftovers
from onsager_cli.text import clock, one_of, printable, printable_lines, show

if TYPE_CHECKING:
    from onsager_cli.config.experiment import Curve

SAMPLES = "samples"
SETS = ("fresh", "test", "selection")
OURS = ("problem", "signal", "seed", "experiment", "only", "hydra")
"""The keys of the config that decide samples."""
QUIET_SECONDS = 2.0  # of work that nobody is told of
LOG_SECONDS = 10.0  # between lines in a log
LIVE_SECONDS = 0.2  # between changes of a line on a terminal


def add_options(parser: Parser) -> None:
    """Add the options of `onsager data`."""
    files = one_of(SUFFIXES)
    parser.add_argument("--output", "-o", type=_file, metavar="FILE", help=f"the file to write ({files})")
    parser.add_argument(
        "--set", choices=SETS, default=SETS[0],
        help="fresh samples (default), the frozen test set, or the selection set",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace a file that onsager did not write")
    parser.add_argument(
        "--info", type=expanded, metavar="FILE", help="describe a file of samples, and check its checksum"
    )


def _file(path: str) -> Path:
    """The file that -o names. Raises UserError for what is no name of one."""
    if path == "-" or not path.strip() or path.endswith("/"):
        raise UserError(f"data: -o must name a file, got {path!r}")
    check_suffix(found := expanded(path))
    return found


def main(options: argparse.Namespace) -> int:
    """Write a data set, or describe one; the exit code is 1 if the checksum of one does not match."""
    if options.info is not None:
        if options.overrides or options.output:
            raise UserError("data --info FILE takes no other arguments: it writes nothing")
        return _describe(options.info)
    samples, overrides = _split(options.overrides)
    if options.output is None:
        raise UserError(f"data needs the file to write: add -o set.npz (or {one_of(SUFFIXES[1:])})")
    curve = _curve(overrides)
    check_ours(options.output, is_ours, replacing("data", options.force))
    from onsager_cli.run import data

    remove_leftovers(options.output.parent)
    with Counter() as counter:
        data.write(options.output, curve, options.set, samples, counter)
    print(printable(str(options.output)))
    return 0


def _describe(path: Path) -> int:
    """Print what a file is; returns the exit code."""
    from onsager_cli.store.dataset_info import described, info

    with Counter() as counter:
        found = info(path, counter)
    print(printable_lines(described(found, path)))
    return int(found.is_ours and not found.unchanged)


def _split(words: Sequence[str]) -> tuple[int | None, list[str]]:
    """The number of samples in the words of a command, and the other words. Raises UserError for no number."""
    given = [word for word in words if word.partition("=")[0] == SAMPLES]
    if len(given) > 1:
        raise UserError(f"{SAMPLES} is set twice: leave {show(given[1])} out")
    others = [word for word in words if word not in given]
    if not given:
        return None, others
    from onsager_cli.run.data import MOST

    value = given[0].partition("=")[2]
    if not re.fullmatch(r"[0-9](_?[0-9])*", value) or not 1 <= int(value) <= MOST:
        raise UserError(f"{SAMPLES} must be a whole number from 1 to {MOST}, got {show(value)}")
    return int(value), others


def _curve(overrides: Sequence[str]) -> "Curve":
    """A curve on the problem of the overrides. Raises UserError for keys that do not decide samples."""
    for word in overrides:
        key = re.split(r"[=.@/]", word.lstrip("+~"))[0]
        if "=" in word and key not in OURS:
            raise UserError(f"data: {show(word)} does not change the samples: leave it out")
    whole = any(word.lstrip("+").startswith("experiment=") for word in overrides)
    from onsager_cli.run.data import problem_curve

    return problem_curve(experiment_of(overrides if whole else ["network=oracle", *overrides]))


class Counter:
    """Tells on stderr how many samples are done, once that takes long: one live line on a terminal, else log lines."""

    def __init__(self, stream: TextIO | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self.stream, self.now = sys.stderr if stream is None else stream, now
        self.live = self.stream.isatty()
        self.told = now() + QUIET_SECONDS - self._pause
        self.first: tuple[float, int] | None = None  # when so many were done: before that, programs are compiled
        self.width = 0

    @property
    def _pause(self) -> float:
        return LIVE_SECONDS if self.live else LOG_SECONDS

    def __enter__(self) -> "Counter":
        return self

    def __exit__(self, *_: object) -> None:
        if self.width:
            print("\r" + " " * self.width + "\r", end="", file=self.stream, flush=True)

    def __call__(self, done: int, of: int) -> None:
        """So many samples of so many are done."""
        now = self.now()
        if self.first is None:
            self.first = now, done
        since, before = self.first
        if done in (before, of) or now - self.told < self._pause:
            return
        self.told = now
        line = f"{done:,} of {of:,} samples, {clock((now - since) / (done - before) * (of - done))} left"
        if self.live:
            print(f"\r{line.ljust(self.width)}", end="", file=self.stream, flush=True)
            self.width = max(self.width, len(line))
        else:
            print(line, file=self.stream, flush=True)
