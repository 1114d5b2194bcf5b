"""What `train`, `sweep` and `plot` run: one experiment in this process, or many under Hydra's launchers."""

import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onsager_cli.cli.progress import Progress
from onsager_cli.config import compose as composition
from onsager_cli.config.load import load_experiment
from onsager_cli.config.schedules import check_command
from onsager_cli.errors import DivergedError, UserError, notices_to
from onsager_cli.store.environment import cores, share_cores
from onsager_cli.store.files import remove_leftovers, temporary_name, writing
from onsager_cli.text import one_of

if TYPE_CHECKING:
    from onsager_cli.config.experiment import Experiment

CFG = ("job", "hydra", "all")
LONGEST_SUFFIX = 40  # so that a figure's name can still be that of a folder


class Terminated(KeyboardInterrupt):
    """SIGTERM, raised where the program is, so that files and the terminal are left in order."""

    exit_code = 128 + signal.SIGTERM


def train(experiment: "Experiment", live: bool | None = None) -> None:
    """Trains what is missing of an experiment, then draws it. Raises DivergedError, last, for a curve given up."""
    prepare_output(experiment.output)
    from onsager_cli import run

    given_up: DivergedError | None = None
    with Stop() as stop:
        with Progress(live=live) as progress:

            def report(event: Mapping[str, Any]) -> None:
                stop.check()
                progress(event)

            with notices_to(lambda text: progress({"event": "warning", "message": text})):
                for part in experiment.parts:
                    try:
                        run.train(part, report)
                    except DivergedError as error:
                        given_up = given_up or error
        try:
            draw(experiment)
        except UserError:  # nothing to draw
            if given_up is None:
                raise
    if given_up is not None:
        raise given_up


def draw(experiment: "Experiment") -> None:
    """Draws what is trained. Raises UserError if nothing is."""
    from onsager_cli import run

    for part in experiment.parts:
        tell(part, *run.plot(part))


def record(experiment: "Experiment") -> None:
    """Writes the published record. Raises UserError for a single curve and if nothing is trained."""
    if experiment.single:
        raise UserError("record needs an experiment: add +experiment=…")
    if any(part.partial for part in experiment.parts):
        raise UserError(
            "record takes an experiment whole: leave only=… away, and its page says what is not trained"
        )
    from onsager_cli import run

    for part in experiment.parts:
        tell(part, *run.record(part))


def tell(experiment: "Experiment", files: Sequence[Path], missing: Sequence[str]) -> None:
    """The files that were written on stdout, what is not trained yet on stderr."""
    for path in files:
        print(path)
    if missing:
        print(f"missing in {experiment.name}: {', '.join(missing)}", file=sys.stderr)


def experiment_of(overrides: Sequence[str]) -> "Experiment":
    """What a command other than a sweep asks for. Raises UserError, also for overrides that have no effect there."""
    parsed = overrides.parse(overrides)
    overrides.check_no_launcher(parsed)
    experiment = load_experiment(overrides)
    check_command(parsed, [experiment])
    return experiment


def run_train(arguments: Sequence[str]) -> int:
    """`onsager train`: trains and draws, or with `--cfg` prints the composed config."""
    flags, overrides = _flags(arguments)
    experiment = experiment_of(overrides)
    if flags:
        _hydra_main(flags, overrides, lambda _: None)  # Hydra only prints
        return 0
    train(experiment)
    return 0


def run_sweep(arguments: Sequence[str]) -> int:
    """`onsager sweep`: every job is validated before the first one starts."""
    flags, overrides = _flags(arguments)
    if flags:
        raise UserError(
            f"unknown option '{flags[0]}' of sweep: onsager train {' '.join(flags)} prints a config"
        )
    parsed = overrides.parse(overrides)
    jobs = []
    if not any(item.key_or_group == "hydra/sweeper" for item in parsed):
        jobs = overrides.sweep_jobs(parsed)
    experiments = [load_experiment(job) for job in jobs]
    if jobs:
        check_command(parsed, experiments)
    for output in sorted({experiment.output for experiment in experiments}):
        prepare_output(output)
    suffixes = told_apart(jobs, [(experiment.output, experiment.name) for experiment in experiments])
    failures: list[Exception] = []
    with Stop():
        _hydra_main(["--multirun"], overrides, _task(os.getpid(), failures, suffixes, overrides))
    if len(failures) > 1:
        print(f"{len(failures)} jobs failed; the first failure:", file=sys.stderr)
    if failures:
        raise failures[0]
    return 0


def _flags(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Splits arguments into Hydra's `--cfg WHAT [--resolve]` and overrides. Raises UserError for other options."""
    flags, overrides = [], []
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if name in ("--cfg", "-c"):
            value = value if equals else next(rest, "")
            if value not in CFG:
                raise UserError(f"--cfg must be {one_of(CFG)}, got {value!r}")
            flags += ["--cfg", value]
        elif argument == "--resolve":
            flags.append(argument)
        elif argument.startswith("-"):
            raise UserError(
                f"unknown option '{argument}': overrides are key=value; --cfg job prints the config"
            )
        else:
            overrides.append(argument)
    if flags == ["--resolve"]:
        raise UserError("--resolve belongs to --cfg: write --cfg job --resolve")
    return flags, overrides


def _hydra_main(flags: Sequence[str], overrides: Sequence[str], task: Callable[[Any], None]) -> None:
    """Runs `hydra.main` on a command line. Raises UserError for what Hydra refuses, and what a job raised."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from onsager_cli.config.catalog import package_conf

    own = [*flags, *map(overrides.for_program, overrides), *composition.search_path_override(overrides)]
    main = hydra.main(**composition.version_base(), config_path=str(package_conf()), config_name="config")(
        task
    )
    argv, full_error = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = [argv[0], *own]
    # So that Hydra raises what went wrong, instead of printing it and ending the process.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        main()
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(composition.first_line(error)) from error
    finally:
        sys.argv = argv
        if full_error is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full_error


def told_apart(jobs: Sequence[Sequence[str]], places: Sequence[tuple[Path, str]]) -> list[str]:
    """For each job of a sweep what its figure's name needs beside its place, so that no job writes over another's.

    That is what differs among the jobs with the same place, "-snr_db=20", or the job's number where that is long or not its own;
    nothing where only the drawing differs.
    """
    shared: dict[tuple[Path, str], set[str]] = {}
    for job, place in zip(jobs, places, strict=True):
        shared[place] = shared.get(place, set(job)) & set(job)
    suffixes, of_pairs = [], {}
    for number, (job, place) in enumerate(zip(jobs, places, strict=True), 1):
        own = [item.lstrip("+") for item in job if item not in shared[place]]
        pairs = [item.partition("=") for item in own if not item.startswith(("plot.", "figure."))]
        suffix = "".join(f"-{key.rpartition('.')[2]}={value}" for key, _, value in pairs)
        suffix = re.sub(r"[^A-Za-z0-9_+=.-]|[.](?=[.])", "_", suffix)
        # Values may be one text as the name of a file.
        alike = of_pairs.setdefault((place, suffix), pairs) == pairs
        suffixes.append(suffix if alike and len(suffix) <= LONGEST_SUFFIX else f"-{number}")
    return suffixes


def _task(
    parent: int, failures: list[Exception], suffixes: Sequence[str], typed: Sequence[str]
) -> Callable[[Any], None]:
    """The function that Hydra runs for each job of a sweep of the overrides `typed`.

    `suffixes` are those of their figures' names, by number of the job; none if nobody knows the jobs.

    In the process `parent`, a job that fails is noted in `failures` and the others go on. A launcher may run the
    function in another process: there the failure is raised, and the launcher brings it back.
    """

    def task(config: Any) -> None:
        from hydra.core.hydra_config import HydraConfig

        del config  # composed again, with curves and validation, from the overrides
        job = HydraConfig.get()
        overrides = overrides.as_typed(job.overrides.task, typed)
        searched = [item for item in job.overrides.hydra if item.startswith("hydra.searchpath")]
        here, total = os.getpid() == parent, len(suffixes)
        if not here:
            share_cores(_at_once(job.launcher, total))
        place = f"{job.job.num + 1}/{total}" if total else str(job.job.num + 1)
        print(f"job {place}: {' '.join(overrides)}", file=sys.stderr, flush=True)
        try:
            # One live display at a time: jobs of a process pool write log lines.
            experiment = load_experiment([*overrides, *searched])
            if total:
                experiment = experiment.renamed(suffixes[job.job.num])
            train(experiment, live=None if here else False)
        except Exception as error:
            if not here:
                raise
            print(f"job {place} failed: {error}", file=sys.stderr, flush=True)
            failures.append(error)

    return task


def _at_once(launcher: Mapping[str, Any], jobs: int) -> int:
    """How many jobs a launcher runs at once on this machine; `n_jobs` is joblib's: -1 for one on every core.

    `jobs` is how many there are, 0 if nobody knows.
    """
    asked = launcher.get("n_jobs") or 1
    workers = asked if asked > 0 else max(1, (cores() or 1) + 1 + asked)
    return min(workers, jobs) if jobs else workers


def prepare_output(folder: Path) -> None:
    """Makes the output folder. Raises UserError if it cannot be made or written to."""
    probe = temporary_name(folder / "writable")
    try:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink(missing_ok=True)
            remove_leftovers(folder)
    except UserError as error:
        raise UserError(f"output: {error}") from error


class Stop:
    """Ctrl-C and SIGTERM within the block raise KeyboardInterrupt and `Terminated` (in the main thread).

    Python drops an exception that a signal raises inside a callback of the garbage collector or a destructor: then
    `check`, called now and then, raises it.
    """

    def __init__(self) -> None:
        self._asked: BaseException | None = None

    def check(self) -> None:
        """Raises what a signal asked for and Python dropped."""
        if self._asked is not None:
            raise self._asked

    def __enter__(self) -> "Stop":
        self._before: dict[int, Any] = {}
        self._hook = sys.unraisablehook
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._stop)
            sys.unraisablehook = self._quiet
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        sys.unraisablehook = self._hook
        if kind is None:
            self.check()

    def _stop(self, number: int, _: object) -> None:
        self._asked = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
        raise self._asked

    def _quiet(self, dropped: Any) -> None:
        if dropped.exc_value is None or dropped.exc_value is not self._asked:
            self._hook(dropped)
