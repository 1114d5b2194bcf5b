"""`onsager sweep`: train every combination of alternatives, each as a job of Hydra's launchers."""

import os
import re
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from onsager_cli.cli.signals import Stop
from onsager_cli.cli.train import hydra_main, prepare_output, train
from onsager_cli.config import overrides as grammar
from onsager_cli.store.environment import cores, share_cores

if TYPE_CHECKING:
    from omegaconf import DictConfig

LONGEST_SUFFIX = 40  # characters, so that the name of a figure can be the name of a folder


def main(options: Namespace) -> int:
    """Run all jobs of a sweep. Every job is validated before the first one starts."""
    from onsager_cli import run
    from onsager_cli.config.load import load_experiment
    from onsager_cli.config.schedules import check_command

    parsed = grammar.parse(options.overrides, sweep=True)
    grammar.check_hydra(parsed, sweep=True)
    own_sweeper = any(item.key_or_group == "hydra/sweeper" for item in parsed)
    jobs = [] if own_sweeper else grammar.sweep_jobs(parsed)
    experiments = [load_experiment(job) for job in jobs]
    if jobs:
        check_command(parsed, experiments)
        run.check_matrices(experiments)
    for output in sorted({experiment.output for experiment in experiments}):
        prepare_output(output)
    suffixes = figure_suffixes(jobs, [(experiment.output, experiment.name) for experiment in experiments])
    failures: list[Exception] = []
    with Stop():
        task = _task(os.getpid(), failures, suffixes, options.overrides)
        hydra_main(["--multirun"], options.overrides, task)
    if len(failures) > 1:
        print(f"{len(failures)} jobs failed; the first failure:", file=sys.stderr)
    if failures:
        raise failures[0]
    return 0


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
        pairs = [item.partition("=") for item in own if not item.startswith(("plot.", "figure."))]
        suffix = "".join(f"-{key.rpartition('.')[2]}={value}" for key, _, value in pairs)
        suffix = re.sub(r"[^A-Za-z0-9_+=.-]|[.](?=[.])", "_", suffix)
        # Two values may become the same file name.
        unique = pairs_of.setdefault((place, suffix), pairs) == pairs
        suffixes.append(suffix if unique and len(suffix) <= LONGEST_SUFFIX else f"-{number}")
    return suffixes


def _task(
    parent: int, failures: list[Exception], suffixes: Sequence[str], typed: Sequence[str]
) -> "Callable[[DictConfig], None]":
    """The function that Hydra runs for each job of a sweep.

    `suffixes` are the ends of the figures' names by job number; empty if the jobs are not known before. `typed` are
    the overrides of the sweep. In the process `parent`, a failure is added to `failures` and the next job runs. A
    launcher may run the function in another process; there a failure is raised, and the launcher brings it back.
    """

    def task(config: "DictConfig") -> None:
        from hydra.core.hydra_config import HydraConfig

        from onsager_cli.config.load import load_experiment

        del config  # load_experiment composes the config again, with curves and validation
        job = HydraConfig.get()
        overrides = grammar.as_typed(job.overrides.task, typed)
        searched = [item for item in job.overrides.hydra if item.startswith("hydra.searchpath")]
        in_parent, total = os.getpid() == parent, len(suffixes)
        if not in_parent:
            share_cores(parallel_jobs(job.launcher, total))
        place = f"{job.job.num + 1}/{total}" if total else str(job.job.num + 1)
        print(f"job {place}: {' '.join(overrides)}", file=sys.stderr, flush=True)
        try:
            experiment = load_experiment([*overrides, *searched])
            if total:
                experiment = experiment.renamed(suffixes[job.job.num])
            # Only one live display at a time: jobs of a process pool write log lines.
            train(experiment, live=None if in_parent else False)
        except Exception as error:
            if not in_parent:
                raise
            print(f"job {place} failed: {error}", file=sys.stderr, flush=True)
            failures.append(error)

    return task


def parallel_jobs(launcher: Mapping[str, int], jobs: int) -> int:
    """How many of `jobs` (0: unknown) a launcher runs in parallel here. joblib's `n_jobs` is -1 for all cores."""
    asked = launcher.get("n_jobs") or 1
    workers = asked if asked > 0 else max(1, (cores() or 1) + 1 + asked)
    return min(workers, jobs) if jobs else workers
