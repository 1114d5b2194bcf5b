"""What a command is about: the curves of one experiment, with the settings of each, made from overrides.

`load_experiment` composes the config tree, validates it and returns frozen dataclasses; nothing after it knows about
Hydra. An experiment file lists curves as overrides on top of itself. Overrides of the command line come last and win.
Without an experiment there is one curve.
"""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onsager_cli.config import overrides as grammar
from onsager_cli.config.compose import Composed, Composer, composer
from onsager_cli.config.experiment import Curve, Experiment
from onsager_cli.config.figure import FigureSpec, PlotSpec, check_kind, make_figure
from onsager_cli.config.names import MATCHED, chosen, safe, slug_of
from onsager_cli.config.schedules import effective
from onsager_cli.config.settings import Top, make_settings
from onsager_cli.errors import UserError
from onsager_cli.kinds.checks import build, known_keys
from onsager_cli.text import did_you_mean, one_of, show

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

# Keys that the name of a curve tells; in an experiment they belong to the curve, not to the command line.
NAMED_BY_SLUG = ("network", "network.kind", "network.name", "network.tied", "shrinkage", "shrinkage.family")
# Keys that the command line may not override if the curve sets them.
MADE_BY_CURVE = (
    "problem", "problem.embedding", "problem.known_operator", "network.onsager", "network.init", "training.joint",
)  # fmt: skip


def load_experiment(overrides: Sequence[str]) -> Experiment:
    """Compose and validate what the overrides ask for. Raises UserError for every mistake in them."""
    return load_parsed(grammar.parse(overrides))


def load_parsed(parsed: "Sequence[Override]") -> Experiment:
    """The same for overrides that are parsed already."""
    with composer() as compose:
        return _load(compose, parsed)


def _load(compose: Composer, parsed: "Sequence[Override]", panel: bool = False) -> Experiment:
    """The experiment of the overrides; UserError for one with panels where a `panel` is asked for."""
    grammar.check_no_sweep(parsed)
    grammar.check_options(parsed)
    loader = _Loader(compose, parsed)
    config = loader.base
    top = _top(config)
    plot = build(PlotSpec, config.get("plot"), "plot")
    if top.panels and panel:  # found before these are looked at, for an experiment may name itself
        raise UserError(f"panels must be experiments with curves: {config['@experiment']} has panels itself")
    if top.panels:
        return _of_panels(compose, config, top, plot, parsed)
    curves = loader.curves(top)
    loader.check_all_keys_used()
    if top.seeds is not None and top.seeds[0] != top.seed:
        raise UserError(f"seeds must begin with seed={top.seed}, got {show(list(top.seeds))}")
    single, slugs = not config["curves"], config["curves"] or [curves[0].slug]
    name = str(config["@experiment"] or "figure").replace("/", "-")
    if single:
        name = f"{curves[0].slug}-{curves[0].settings.problem.name}"
    figure = make_figure(config.get("figure"), name, slugs)
    if top.seeds is not None and figure.kind != "curves":
        raise UserError(f"seeds are for curves over layers: {figure.name} shows one matrix")
    if all(curve.slug in figure.hidden for curve in curves):
        figure = dataclasses.replace(figure, hidden=())  # somebody chose these, so they want to see them
    for curve in curves:
        check_kind(figure, curve.slug, curve.settings)
    curves = _on_every_matrix(curves, top.seeds or ())
    return Experiment(
        figure.name, figure.title, curves, figure, Path(top.output), plot, single, grammar.typed(parsed),
        partial=top.only is not None, effective=frozenset(loader.effective),
    )  # fmt: skip


def _of_panels(
    compose: Composer, config: Mapping[str, Any], top: Top, plot: PlotSpec, parsed: "Sequence[Override]"
) -> Experiment:
    """The experiment whose panels are experiments, each with the other overrides of the command."""
    if config.get("curves"):
        raise UserError("panels are experiments with curves of their own: leave curves out")
    name = config["@experiment"]
    if name is None:
        raise UserError(f"panels belong to an experiment, got {show(list(top.panels))}: add +experiment=…")
    others = [item for item in parsed if item.key_or_group not in ("experiment", "panels")]
    asked = [grammar.parse([f"+experiment={panel}"]) for panel in top.panels]
    parts = tuple(_load(compose, [*one, *others], panel=True) for one in asked)
    names = [part.name for part in parts]
    if twins := [one for one in names if names.count(one) > 1]:
        raise UserError(
            f"figure.name must be another for each panel, got {show(twins[0])} for {len(twins)} of them: leave it out"
        )
    figure = make_figure(config.get("figure"), name, [])
    return Experiment(
        figure.name, figure.title, (), figure, Path(top.output), plot, False, grammar.typed(parsed), parts
    )


class _Loader:
    """Applies overrides in their order: experiment, curve, command line; a key reaches Hydra once.

    An override of the command line that a curve has no use for (network.depth for the oracle, training=paper for
    AMP) is left out for that curve; one that no curve has a use for is a mistake.
    """

    def __init__(self, compose: Composer, parsed: "Sequence[Override]") -> None:
        self.compose = compose
        self.groups = [item for item in parsed if grammar.is_group(item)]
        self.values = [item for item in parsed if not grammar.is_group(item)]
        self.known: set[str] = set()
        self.effective: set[str] = set()
        self.unused = {item.key_or_group for item in self.values}
        self.base = self._apply(self.groups, self.values).config

    def _apply(self, groups: "Sequence[Override]", values: "Sequence[Override]") -> Composed:
        """The config of the groups, with those of the values that it has a place for."""
        composed = self.compose(groups, values)
        self.known |= composed.keys
        self.unused -= composed.used
        return composed

    def curves(self, top: Top) -> tuple[Curve, ...]:
        """The curves asked for, validated."""
        listed = self.base.get("curves")
        if not isinstance(listed, Mapping):
            raise UserError(f"curves must map names to overrides, got {show(listed)}")
        if not listed:
            return (self._single(top),)
        for item in (*self.groups, *self.values):
            if item.key_or_group in NAMED_BY_SLUG:
                raise UserError(
                    f"{item.input_line} would change what the curves of the experiment are: "
                    "choose curves by only=[…], or leave +experiment out"
                )
        slugs = chosen(listed, top.only, build(FigureSpec, self.base.get("figure"), "figure").hidden)
        return tuple(self._curve(str(slug), listed[slug]) for slug in slugs)

    def _single(self, top: Top) -> Curve:
        """The one curve of a command without an experiment."""
        if (experiment := self.base["@experiment"]) is not None:
            raise UserError(
                f"experiment={experiment} has neither curves nor panels: list its curves as `curves: {{name: overrides}}`"
            )
        if top.only is not None:
            raise UserError("only=… chooses curves of an experiment: add +experiment=…")
        self.check_all_keys_used()
        grammar.check_kinds(self.values)
        settings = make_settings(self.base, top)
        self.effective |= effective(settings, self.base)
        return Curve(slug_of(settings), settings, Path(top.output))

    def _curve(self, slug: str, spec: object) -> Curve:
        """The curve `slug`, from its line in the experiment and the command line."""
        safe(slug, "a curve's name")
        if not isinstance(spec, str):
            raise UserError(f"curves.{slug} must be overrides in one line, got {show(spec)}")
        try:
            own = grammar.parse(spec.split())
            grammar.check_no_sweep(own)
            grammar.check_options(own)
            self._check_made_by_curve(own)
            return self._made(slug, own)
        except UserError as error:
            raise UserError(f"curve {slug}: {error}") from error

    def _check_made_by_curve(self, own: "Sequence[Override]") -> None:
        given = {item.key_or_group: item for item in (*self.groups, *self.values)}
        for item in own:
            asked = given.get(item.key_or_group, item)
            if item.key_or_group in MADE_BY_CURVE and asked.input_line != item.input_line:
                raise UserError(f"{asked.input_line} would change what it is: {item.input_line}")

    def _made(self, slug: str, own: "Sequence[Override]") -> Curve:
        """The curve of its own overrides and those of the command."""
        own_groups = [item for item in own if grammar.is_group(item)]
        own_values = [item for item in own if not grammar.is_group(item)]
        if any(map(_is_training, self.groups)):  # another schedule than the one these are keys of
            own_values = [item for item in own_values if not _is_training(item)]
        groups, values = _merge(own_groups, self.groups), _merge(own_values, self.values)
        untouched = _merge(own_groups, [item for item in self.groups if not _is_training(item)])
        untrained = self.compose.training(untouched) == "none"
        if untrained:
            # Nobody trains AMP or the oracle, whatever schedule the command asks for.
            groups = untouched
            self.unused -= {item.key_or_group for item in self.values if _is_training(item)}
            values = _merge(own_values, [item for item in self.values if not _is_training(item)])
        composed = self._apply(groups, values)
        config = composed.config
        if not untrained and isinstance(config.get("training"), Mapping) and config["training"].get("kind") == "none":
            raise UserError(
                "it is a trained network, and training=none does not apply: choose curves by only=[…], or leave "
                "+experiment out"
            )
        grammar.check_kinds(values)
        for item in own_values:
            if item.key_or_group not in composed.used:
                raise _unknown_key(item.key_or_group, composed.keys)
        settings = make_settings(config, _top(config))
        self.effective |= effective(settings, config, own_values)
        if slug == MATCHED != slug_of(settings):
            raise UserError(
                "it is not matched, which is network=vamp shrinkage=bg told the prior, A and the noise: leave it "
                f"out by ~curves.{MATCHED}, or name it otherwise"
            )
        return Curve(slug, settings, Path(self.base["output"]))

    def check_all_keys_used(self) -> None:
        """Raises UserError for an override of the command line that no curve has a place for."""
        for item in self.values:
            if item.key_or_group in self.unused:
                raise _unknown_key(item.key_or_group, self.known)


def _is_training(item: "Override") -> bool:
    return item.key_or_group.split(".")[0] == "training"


def _merge(first: "Sequence[Override]", then: "Sequence[Override]") -> "list[Override]":
    """Overrides of both, one per key; `then` wins."""
    return list({item.key_or_group: item for item in (*first, *then)}.values())


def _unknown_key(key: str, known: Collection[str]) -> UserError:
    """The error for a key that nothing has: the nearest one, or what there is in its group."""
    known = {item.removeprefix("@") for item in known}  # @experiment is our own name for the choice
    group, _, name = key.rpartition(".")
    siblings = sorted(item for item in known if item.rpartition(".")[0] == group)
    names = {item.rpartition(".")[2]: item for item in siblings}
    if group and not siblings:
        return UserError(f"unknown key '{key}'{did_you_mean(key, sorted(known))}")
    if not group:  # perhaps the group was forgotten: depth for network.depth
        names = {item.rpartition(".")[2]: item for item in sorted(known)} | names
    near = did_you_mean(name, names)
    for short, full in names.items():
        near = near.replace(f" {short}?", f" {full}?")
    there = f": {group} has {one_of(names)}" if group and not near else ""
    return UserError(f"unknown key '{key}'{near}{there}")


def _top(config: Mapping[str, Any]) -> Top:
    """The keys of the primary config that are no group; UserError for a key that has no place there."""
    own = known_keys(Top)
    places = {"problem", "network", "shrinkage", "training", "curves", "figure", "plot", "@experiment", *own}
    for key in config:
        if key not in places:
            raise UserError(f"unknown key '{key}'{did_you_mean(key, places - {'@experiment'})}")
    return build(Top, {key: config[key] for key in own if key in config}, "")


def _on_every_matrix(curves: Iterable[Curve], seeds: Sequence[int]) -> tuple[Curve, ...]:
    """Each curve as it is, then once for every further seed: on a matrix drawn anew, not on the published one.

    Raises UserError for a matrix of the user's own, which cannot be drawn anew.
    """
    found: list[Curve] = []
    for curve in curves:
        found.append(curve)
        for seed in seeds[1:]:
            problem = curve.settings.problem
            if problem.matrix is not None:
                raise UserError(
                    f"curve {curve.slug}: seeds are further matrices, and problem.matrix is the only one of its kind: leave "
                    "one of them out"
                )
            if problem.instance == "authors2017":
                problem = dataclasses.replace(problem, instance="seeded")  # type: ignore[call-arg]
            settings = dataclasses.replace(curve.settings, problem=problem, seed=seed)
            found.append(dataclasses.replace(curve, settings=settings))
    return tuple(found)
