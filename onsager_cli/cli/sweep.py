"""`onsager sweep`: train every combination of alternatives, each as a job of a launcher."""

import contextlib
import os
import signal
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onsager_cli.cli import train
from onsager_cli.cli.jobs import Failure, Job, run, run_in_child, tell, workers
from onsager_cli.cli.options import Parser
from onsager_cli.config import overrides as grammar
from onsager_cli.config.launchers import Joblib, Launcher, Local, Slurm, check_installed
from onsager_cli.config.names import suffix
from onsager_cli.config.sweeping import jobs_of, launcher_of
from onsager_cli.errors import UserError
from onsager_cli.store.environment import share_cores
from onsager_cli.text import one_line, printable

if TYPE_CHECKING:
    from onsager_cli.config.experiment import Experiment


def add_options(parser: Parser) -> None:
    """Add the options of `onsager sweep`: --cfg prints the config of the first job, and of its launcher."""
    train.add_options(parser)


def main(options: Namespace) -> int:
    """Run all jobs of a sweep. Every job is validated before the first one starts."""
    from onsager_cli.config.own_matrix import check_matrices
    from onsager_cli.config.schedules import check_command

    train.check_options(options)
    parsed = grammar.parse(options.overrides, sweep=True)
    grammar.check_hydra(parsed, sweep=True)
    launcher, overrides = launcher_of(parsed), jobs_of(parsed)
    try:
        experiments = _loaded(overrides)
    except UserError as error:
        points = (grammar.decimal_point(item.key_or_group, item.input_line or "") for item in parsed)
        asked = [text for item, text in zip(parsed, points, strict=True) if text and item.key_or_group in str(error)]
        raise UserError(f"{error}; {asked[0]}") if asked else error from None
    check_command(parsed, experiments)
    if options.cfg:
        if len(overrides) > 1:
            print(f"onsager: the config of job 1 of {len(overrides)}", file=sys.stderr)
        lines = [item.input_line or "" for item in parsed if item.key_or_group.startswith("hydra")]
        of_launcher = [f"++{line}" if line.startswith("hydra.launcher.") else line for line in lines]
        train.print_config(options, [*overrides[0], *of_launcher])
        return 0
    if launcher is not None:
        for jobs in (experiment.jobs for experiment in experiments if (experiment.jobs or 1) > 1):
            raise UserError(
                f"jobs={jobs} has no effect with a launcher, whose jobs train one curve at a time: leave it out"
            )
        check_installed(launcher)
    check_matrices(experiments)
    for output in sorted({experiment.output for experiment in experiments}):
        train.prepare_output(output)
    places = [(experiment.output, experiment.name) for experiment in experiments]
    named = [one.renamed(suffix) for one, suffix in zip(experiments, figure_suffixes(overrides, places), strict=True)]
    jobs = [
        Job(number, len(named), tuple(texts), one, before.name, own)
        for number, (texts, one, before, own) in enumerate(
            zip(overrides, named, experiments, _own(overrides), strict=True), 1
        )
    ]
    with _safe_path():
        failures = launch(jobs, launcher)
    mistake = _conclude(jobs)
    return tell(jobs, failures) or 2 * mistake


def _loaded(overrides: Sequence[Sequence[str]]) -> "list[Experiment]":
    """The experiment of every job. Raises UserError, with the values of the job if other jobs lack the mistake."""
    from onsager_cli.config.load import load_experiment

    loaded: list[Experiment] = []
    for texts, values in zip(overrides, _own(overrides), strict=True):
        try:
            loaded.append(load_experiment(list(texts)))
        except UserError as error:
            text = str(error)
            if any(key in text and value in text for key, _, value in (one.partition("=") for one in values)):
                raise
            if not loaded:
                load_experiment(list(overrides[-1]))  # raises the same if all jobs have the mistake
            hint = ". If only other jobs have this key, write ++ before it" if text.startswith("unknown key") else ""
            raise UserError(f"{text} (in the job of {' '.join(values)}){hint}") from error
    return loaded


def _own(overrides: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Of each job, the overrides that not all jobs have."""
    shared = set(overrides[0]).intersection(*overrides)
    return [tuple(text for text in texts if text not in shared) for texts in overrides]


def _conclude(jobs: Sequence[Job]) -> bool:
    """Write one table and one drawing of all jobs, and show the table; whether that failed, which is told."""
    from onsager_cli.record import sweeps

    try:
        text, files = sweeps.conclude(sweeps.Sweep([sweeps.Job(job.experiment, job.overrides) for job in jobs]))
    except UserError as error:
        print(f"onsager: {one_line(str(error))}", file=sys.stderr, flush=True)
        return True
    if text:
        print(text, file=sys.stderr, flush=True)
    for path in files:
        print(printable(str(path)), flush=True)
    return False


def launch(jobs: Sequence[Job], launcher: Launcher | None) -> dict[int, Failure]:
    """Run jobs by a launcher; returns the failures by the number of the job."""
    if isinstance(launcher, Slurm | Local):
        from onsager_cli.cli.cluster import run_jobs

        return run_jobs(jobs, launcher)
    if isinstance(launcher, Joblib) and (processes := workers(launcher.n_jobs, len(jobs))) > 1:
        return _in_pool(jobs, processes)
    return {job.number: failure for job in jobs if (failure := _told(job, run(job)))}


def _in_pool(jobs: Sequence[Job], processes: int) -> dict[int, Failure]:
    """Run jobs in a pool of processes; returns the failures by the number of the job."""
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    outcomes: dict[int, Failure | None] = {}
    pool: Any = Parallel(n_jobs=processes, backend="loky", pre_dispatch="all", return_as="generator_unordered")
    try:
        for number, failure in pool(delayed(_in_process)(job, processes) for job in jobs):
            outcomes[number] = failure
    except TerminatedWorkerError:
        reason = "a process of the pool was killed, perhaps for lack of memory (hydra.launcher.n_jobs=… "
        reason += "sets the number of processes); run the same command again to resume"
        outcomes |= {job.number: Failure(reason, False) for job in jobs if job.number not in outcomes}
    return {number: failure for number, failure in outcomes.items() if failure is not None}


def _in_process(job: Job, processes: int) -> tuple[int, Failure | None]:
    """Run a job in one of several processes; returns its number and its failure."""
    share_cores(processes)
    _end_with(os.getppid())
    return job.number, _told(job, run_in_child(job))


@cache
def _end_with(parent: int) -> None:
    """Stop this process once its parent has been killed: nobody waits for it any more."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)  # to end the training in order
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _told(job: Job, failure: Failure | None) -> Failure | None:
    """The failure of a job, printed: other jobs follow."""
    if failure is not None and job.total > 1:
        print(f"{job} failed: {failure.message}", file=sys.stderr, flush=True)
    return failure


def figure_suffixes(jobs: Sequence[Sequence[str]], places: Sequence[tuple[Path, str]]) -> list[str]:
    """For each job of a sweep, the end of its figure's name, so that no job overwrites the figure of another.

    `places` are (output folder, name of the figure). The suffix names the overrides in which jobs of the same place
    differ: "-snr_db=20". It is the job's number ("-2") where that text is long or not unique, and empty where only
    the drawing differs.
    """
    shared: dict[tuple[Path, str], set[str]] = {}
    for job, place in zip(jobs, places, strict=True):
        shared[place] = shared.get(place, set(job)) & set(job)
    suffixes, pairs_of = [], {}
    for number, (job, place) in enumerate(zip(jobs, places, strict=True), 1):
        own = [item.lstrip("+") for item in job if item not in shared[place]]
        split = (item.partition("=") for item in own if not item.startswith(("plot.", "figure.")))
        pairs = [(key, value) for key, _, value in split]
        named = suffix(pairs)
        # Two values may become the same file name.
        unique = pairs_of.setdefault((place, named), pairs) == pairs
        suffixes.append(named if unique and named is not None else f"-{number}")
    return suffixes


@contextlib.contextmanager
def _safe_path() -> Iterator[None]:
    """Within the block, processes that are started do not import modules from the working directory."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        os.environ.pop("PYTHONSAFEPATH")
        if before is not None:
            os.environ["PYTHONSAFEPATH"] = before
