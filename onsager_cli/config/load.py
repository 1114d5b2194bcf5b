"""What a command is about: the curves of one experiment, with the settings of each, made from overrides.

`load_experiment` composes the config tree, validates it and returns frozen dataclasses; nothing after it knows about
Hydra. An experiment file lists curves as overrides on top of itself. Overrides of the command line come last and win.
Without an experiment there is one curve.
"""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from onsager_cli.config import catalog
from onsager_cli.config import overrides as grammar
from onsager_cli.config.compose import Composed, Composer, composer
from onsager_cli.config.experiment import Curve, Experiment
from onsager_cli.config.figure import FigureSpec, PlotSpec, check_kind, make_figure
from onsager_cli.config.names import MATCHED, NAMED_BY_SLUG, chosen, safe, slug_of
from onsager_cli.config.schedules import effective
from onsager_cli.config.settings import Config, Top, make_settings
from onsager_cli.errors import UserError
from onsager_cli.kinds.checks import build, known_keys
from onsager_cli.kinds.records import FigureKind, ProblemKind, TrainingKind
from onsager_cli.kinds.registry import find, names
from onsager_cli.text import cell, did_you_mean, one_of, show

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

# Keys that the command line may not override if the curve sets them.
MADE_BY_CURVE = (
    "problem", "problem.embedding", "problem.known_operator", "network.onsager", "network.init", "training.joint",
)  # fmt: skip

DEFAULT_TRAINING = "fast"
# Keys that a curve's own line would not set.
OF_THE_COMMAND = ("attainable", "fresh", "jobs", "only", "output", "panels", "seeds")


def load_experiment(overrides: Sequence[str]) -> Experiment:
    """Compose and validate what the overrides ask for. Raises UserError for every mistake in them."""
    return load_parsed(grammar.parse(overrides))


def load_parsed(parsed: "Sequence[Override]") -> Experiment:
    """The same for overrides that are parsed already."""
    with composer() as compose:
        return _load(compose, parsed)


def _load(compose: Composer, parsed: "Sequence[Override]", panel: bool = False) -> Experiment:
    """The experiment of the overrides; UserError for one with panels where a `panel` is asked for."""
    grammar.check_options(parsed)
    loader = _Loader(compose, parsed)
    config, top = loader.base, loader.top
    plot = build(PlotSpec, config.get("plot"), "plot")
    if top.panels and panel:  # found before these are looked at, for an experiment may name itself
        raise UserError(f"panels must be experiments with curves; {config['@experiment']} has panels itself")
    if top.panels:
        return _of_panels(compose, config, top, plot, parsed)
    curves = loader.curves()
    loader.check_all_keys_used()
    if top.seeds is not None and top.seeds[0] != top.seed:
        raise UserError(f"seeds must begin with seed={top.seed}, got {show(list(top.seeds))}")
    single, slugs = not config["curves"], config["curves"] or [curves[0].slug]
    name = str(config["@experiment"] or "figure").replace("/", "-")
    if single:
        name = f"{curves[0].slug}-{curves[0].settings.problem.name}"
    figure = make_figure(config.get("figure"), name, slugs)
    if top.seeds is not None and not find(FigureKind, figure.kind).matrices:
        raise UserError(
            f"seeds are for figures of curves on several matrices: figure.kind={figure.kind} shows one matrix"
        )
    if all(curve.slug in figure.hidden for curve in curves):
        figure = replace(figure, hidden=())  # the user chose these curves, so the figure draws them
    for curve in curves:
        check_kind(figure, curve.slug, curve.settings)
    return Experiment(
        tuple(_on_every_matrix(curves, top.seeds or ())), figure, Path(top.output), plot, single, grammar.typed(parsed),
        partial=top.only is not None, effective=frozenset(loader.effective), jobs=top.jobs, fresh=top.fresh,
    )  # fmt: skip


def _of_panels(compose: Composer, config: Config, top: Top, plot: PlotSpec, parsed: "Sequence[Override]") -> Experiment:
    """The experiment whose panels are experiments, each with the other overrides of the command."""
    if config.get("curves"):
        raise UserError("panels have their own curves: leave curves out")
    if (name := config["@experiment"]) is None:
        raise UserError(f"panels belong to an experiment, got {show(list(top.panels))}: add +experiment=…")
    others = [item for item in parsed if item.key_or_group not in ("experiment", "panels")]
    asked = [grammar.parse([f"+experiment={panel}"]) for panel in top.panels]
    parts = tuple(_load(compose, [*one, *others], panel=True) for one in asked)
    names = [part.name for part in parts]
    if twins := [one for one in names if names.count(one) > 1]:
        raise UserError(f"each panel needs its own figure.name, got {show(twins[0])} twice: leave it out")
    figure = make_figure(config.get("figure"), name, [])
    return Experiment((), figure, Path(top.output), plot, False, grammar.typed(parsed), parts, jobs=top.jobs)


class _Loader:
    """Applies overrides in their order: experiment, curve, command line; a key reaches Hydra once.

    An override of the command line that a curve has no use for (network.depth for the oracle, training=paper for
    AMP) is left out for that curve; one that no curve has a use for is a mistake.
    """

    def __init__(self, compose: Composer, given: "Sequence[Override]") -> None:
        self.compose, self.given = compose, given
        self.known: set[str] = set()  # keys of all curves
        self.effective: set[str] = set()
        self.learns = False  # whether any curve so far does
        self.unused = {item.key_or_group for item in given}
        self.base = self._apply(given).config
        _check_noise(given)
        if self.base["@experiment"] is None and (chosen := _by_problem(self.base, given)):
            keys = {item.key_or_group for item in chosen}
            self.base = self._apply([*chosen, *(item for item in given if item.key_or_group not in keys)]).config
            self.unused -= keys
        self.top = _top(self.base)

    def _apply(self, overrides: "Sequence[Override]") -> Composed:
        """The config of the overrides, without the values that it has no place for."""
        composed = self.compose(overrides)
        self.known |= composed.keys
        self.unused -= composed.used
        return composed

    def curves(self) -> list[Curve]:
        """The curves asked for, validated."""
        listed = self.base.get("curves")
        if not isinstance(listed, Mapping):
            raise UserError(f"curves must map names to overrides, got {show(listed)}")
        if not listed:
            return [self._single()]
        for item in self.given:
            if item.key_or_group in NAMED_BY_SLUG:
                what = f"{item.input_line} is not allowed, because each curve of an experiment sets its own"
                raise UserError(f"{what}: choose curves by only=[…], or replace +experiment by {self._problem()}")
        slugs = chosen(listed, self.top.only, build(FigureSpec, self.base.get("figure"), "figure").hidden)
        return [self._curve(str(slug), listed[slug]) for slug in slugs]

    def _problem(self) -> str:
        """The overrides that give a single curve the problem, the matrix and the samples of this experiment."""
        own = self.base["problem"]
        words = [f"problem={own['name']}"]
        if own["name"] in catalog.config_files("problem"):
            plain = self.compose(grammar.parse(words)).config["problem"]
            words += [f"problem.{key}={cell(value)}" for key, value in own.items() if plain.get(key) != value]
        return " ".join(words)

    def _single(self) -> Curve:
        """The one curve of a command without an experiment."""
        if (name := self.base["@experiment"]) is not None:
            raise UserError(f"experiment={name} has neither curves nor panels: write `curves: {{name: overrides}}`")
        if self.top.only is not None:
            raise UserError("only=… chooses curves of an experiment: add +experiment=…")
        training = self.base.get("training")
        self.learns = not (isinstance(training, Mapping) and training.get("kind") == "none")
        self.check_all_keys_used()
        grammar.check_kinds(self.given)
        return self._made(None, self.base, [])

    def _curve(self, slug: str, spec: object) -> Curve:
        """The curve `slug`, from its line in the experiment and the command line."""
        safe(slug, "a curve's name")
        if not isinstance(spec, str):
            raise UserError(f"curves.{slug} must be overrides in one line, got {show(spec)}")
        try:
            own = grammar.parse(_words(spec))
            grammar.check_options(own)
            return self._changed(slug, own)
        except UserError as error:
            raise UserError(f"curve {slug}: {error}") from error

    def _changed(self, slug: str, own: "Sequence[Override]") -> Curve:
        """The curve of its own overrides and those of the command."""
        given = {item.key_or_group: item for item in self.given}
        for item in own:
            if item.key_or_group in OF_THE_COMMAND:
                raise UserError(f"{item.input_line} is for the whole command: leave it out of the curve")
            asked = given.get(item.key_or_group, item)
            if item.key_or_group in MADE_BY_CURVE and asked.input_line != item.input_line:
                raise UserError(
                    f"{asked.input_line} is not allowed, because the experiment sets {item.input_line} for this curve"
                )
        of_training = [item for item in self.given if _is_training(item)]
        if any(map(grammar.is_group, of_training)):  # another schedule than the one whose keys the curve sets
            own = [item for item in own if grammar.is_group(item) or not _is_training(item)]
        overrides = _merge(own, [item for item in self.given if not _is_training(item)])
        kind = self.compose.training(overrides)
        untrained = kind == "none"
        if untrained:  # nobody trains AMP or the oracle, whatever schedule the command asks for
            self.unused -= {item.key_or_group for item in of_training}
        elif (
            kind in names(TrainingKind) and find(TrainingKind, kind).searches
        ):  # keys of a search, but no other training
            chosen = [item for item in of_training if grammar.is_group(item)]
            self.unused -= {item.key_or_group for item in chosen}
            overrides = _merge(own, [item for item in self.given if item not in chosen])
        else:
            overrides = _merge(own, self.given)
        config, keys, used = self._apply(overrides)
        if not untrained and isinstance(config.get("training"), Mapping) and config["training"].get("kind") == "none":
            raise UserError("training=none does not apply to a trained network: choose other curves by only=[…]")
        grammar.check_kinds(overrides)
        for item in own:
            if item.key_or_group not in used:
                raise _unknown_key(item.key_or_group, keys)
        return self._made(slug, config, own)

    def _made(self, slug: str | None, config: Config, own: "Sequence[Override]") -> Curve:
        """The curve of a composed config, with the name `slug` or, without one, the name that its settings give."""
        settings = make_settings(config, _top(config))
        if settings.problem.own_files:
            from onsager_cli.config.own_matrix import with_files  # reads files, with NumPy

            settings = replace(settings, problem=with_files(settings.problem))
        self.effective |= effective(settings, config, own)
        self.learns |= settings.trained
        name = slug_of(settings)
        if slug == MATCHED != name:
            raise UserError(
                f"the name {MATCHED} is only for network=vamp shrinkage=bg with the true prior, A and noise: write "
                f"~curves.{MATCHED}, or rename the curve"
            )
        single = slug is None
        compared = single if self.top.attainable is None else self.top.attainable
        return Curve(slug or name, settings, Path(self.top.output), compared)

    def check_all_keys_used(self) -> None:
        """Raises UserError for an override of the command line whose key no curve has."""
        for item in self.given:
            if item.key_or_group in self.unused:
                if not self.learns and item.key_or_group.startswith("training."):
                    raise UserError(
                        f"{item.input_line}: nothing here learns, so that no schedule has an effect: leave it out"
                    )
                raise _unknown_key(item.key_or_group, self.known)


def _by_problem(config: Config, given: "Sequence[Override]") -> "list[Override]":
    """The options that a problem sets unless the command does: its schedule, and the start of the shrinkage.

    The start of family F for the problem P is the option shrinkage=F_P.
    """
    options = {item.key_or_group: item.value() for item in given if grammar.is_group(item)}
    problem, training, shrinkage = groups = [config.get(name) or {} for name in ("problem", "training", "shrinkage")]
    if not all(isinstance(group, Mapping) for group in groups):
        return []
    found = []
    kind = problem.get("kind")
    schedule = find(ProblemKind, kind).schedule if kind in names(ProblemKind) else ""
    if schedule and "training" not in options and training.get("kind") == DEFAULT_TRAINING:
        found.append(f"training={schedule}")
    family = options.get("shrinkage", shrinkage.get("family"))
    start = f"{'bg' if family == 'matched' else family}_{problem.get('name')}"
    if start in catalog.config_files("shrinkage"):
        found.append(f"shrinkage={start}")
    return grammar.parse(found)


def _check_noise(given: "Sequence[Override]") -> None:
    """Raises UserError where a command sets the noise twice."""
    keys = {item.key_or_group: item for item in given if not item.is_delete() and item.value() is not None}
    if (variance := keys.get("problem.noise_variance")) and (snr := keys.get("problem.snr_db")):
        raise UserError(f"{variance.input_line} and {snr.input_line} both set the noise: leave one out")


def _words(line: str) -> list[str]:
    """The overrides in the line of a curve, which may have quotes as in a shell. Raises UserError for one left open."""
    try:
        return shlex.split(line)
    except ValueError:
        raise UserError(f"a quote is not closed in {show(line)}") from None


def _is_training(item: "Override") -> bool:
    """Whether an override is about the training: its option or one of its keys."""
    return item.key_or_group.split(".")[0] == "training"


def _merge(first: "Sequence[Override]", then: "Sequence[Override]") -> "list[Override]":
    """Overrides of both, one per key; `then` wins."""
    return list({item.key_or_group: item for item in (*first, *then)}.values())


def _unknown_key(key: str, keys: Iterable[str]) -> UserError:
    """The error for a key that nothing has: the nearest one, or what there is in its group."""
    known = sorted({item.removeprefix("@") for item in keys})  # @experiment is our own name for the choice
    group, _, name = key.rpartition(".")
    names = {item.rpartition(".")[2]: item for item in known if item.rpartition(".")[0] == group}
    if group and not names:
        return UserError(f"unknown key '{key}'{did_you_mean(key, known)}")
    if not group:  # perhaps the group was forgotten: depth for network.depth
        names = {item.rpartition(".")[2]: item for item in known} | names
    near = did_you_mean(name, names)
    for short, full in names.items():
        near = near.replace(f" {short}?", f" {full}?")
    top = [item for item in known if "." not in item]
    there = "" if near else f": {group} has {one_of(names)}" if group else f": known are {one_of(top)}"
    return UserError(f"unknown key '{key}'{near}{there}")


def _top(config: Config) -> Top:
    """The keys of the primary config that are no group; UserError for a key that has no place there."""
    own = known_keys(Top)
    places = {"problem", "signal", "network", "shrinkage", "training", "curves", "figure", "plot", "@experiment", *own}
    for key in config:
        if key not in places:
            known = sorted(places - {"@experiment"})
            where = f" in experiment={name}" if (name := config.get("@experiment")) else ""
            raise UserError(f"unknown key {show(key)}{where}{did_you_mean(key, known)}: known are {one_of(known)}")
    return build(Top, {key: config[key] for key in own if key in config}, "")


def _on_every_matrix(curves: Iterable[Curve], seeds: Sequence[int]) -> Iterator[Curve]:
    """Each curve as it is, then once for every further seed: on a matrix drawn anew, not on the published one.

    Raises UserError for a matrix of the user's own, which cannot be drawn anew.
    """
    for curve in curves:
        yield curve
        problem = curve.settings.problem
        if seeds[1:] and problem.matrix is not None:
            raise UserError(
                f"curve {curve.slug}: seeds draws further matrices, and problem.matrix is fixed: leave one out"
            )
        if problem.instance == "authors2017":
            problem = replace(problem, instance="seeded")  # type: ignore[call-arg]
        for seed in seeds[1:]:
            yield replace(curve, settings=replace(curve.settings, problem=problem, seed=seed))
