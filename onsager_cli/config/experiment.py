"""What a command asks for: the curves of one experiment, with the settings of each and its place in the store."""

from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from pathlib import Path

from onsager_cli.config.figure import FigureSpec, PlotSpec
from onsager_cli.config.identity import identity_of, tied_twin
from onsager_cli.kinds.settings import Settings
from onsager_cli.store.curves import CurveFolder, Store, canonical
from onsager_cli.store.files import Json

_identity = lru_cache(maxsize=1000)(identity_of)  # a tied network and the twin of an untied one are the same curve


@dataclass(frozen=True)
class Curve:
    """One curve of a figure: a name, the settings that decide its numbers, and the store that keeps it.

    With `attainable`, onsager finds what is attainable on its problem, and compares the curve with that.
    """

    slug: str
    settings: Settings
    output: Path = Path("outputs")
    attainable: bool = False

    def __getstate__(self) -> Json:
        """Pickle the fields alone: what was looked up may be another thing by the time a job runs."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @cached_property
    def identity(self) -> Json:
        """Everything that decides the numbers, as plain JSON. Raises UserError if a file cannot be read."""
        if not self.settings.problem.own_files:
            return _identity(self.settings)
        return identity_of(self.settings)  # a file counts by what it holds now

    @cached_property
    def key(self) -> str:
        """The identity as one text, by which two curves are the same training."""
        return canonical(self.identity)

    @property
    def folder(self) -> CurveFolder:
        """Where the store keeps this curve; looked up once it is there, since another process may make it first."""
        known = self.__dict__.get("_folder")
        if known is None or not known.exists:
            known = self.__dict__["_folder"] = Store(self.output).curve(self.identity, self.label)
        return known

    def claim(self) -> CurveFolder:
        """The folder, made if there is none: two processes that name the curve differently get the same."""
        self.__dict__["_folder"] = Store(self.output).claim(self.identity, self.label)
        return self.folder

    @property
    def label(self) -> str:
        """What its folder is called, beside the hash."""
        return f"{self.settings.problem.name}-{self.slug}"

    @cached_property
    def twin(self) -> "Curve | None":
        """The tied network that this untied one is bootstrapped from (Algorithm 3), if its training asks for one."""
        settings = tied_twin(self.settings)
        return settings and Curve(self.slug.replace("untied", "tied"), settings, self.output)

    def to_depth(self, depth: int) -> "Curve":
        """The same curve with another number of layers."""
        network = replace(self.settings.network, depth=depth)  # type: ignore[call-arg]
        return replace(self, settings=replace(self.settings, network=network))


@dataclass(frozen=True)
class Experiment:
    """The curves that a command trains or draws, and how the figure is drawn.

    `overrides` are those of the command, so that messages can say which command resumes. `partial` says whether `only`
    has left curves out. An experiment of several panels has no curves of its own. `effective` are the keys of
    schedules by which one of the curves is trained, such as training.lamp.steps. `jobs` of them are trained side by side;
    None: as many as the machine allows. On `fresh` samples, `record` judges what is trained once more.
    """

    curves: tuple[Curve, ...]
    figure: FigureSpec
    output: Path
    plot: PlotSpec
    single: bool
    overrides: tuple[str, ...]
    panels: tuple["Experiment", ...] = ()
    partial: bool = False
    effective: frozenset[str] = frozenset()
    jobs: int | None = None
    fresh: int | None = None

    @property
    def name(self) -> str:
        """The name of the figure, of its folder and files."""
        return self.figure.name

    @property
    def first_curves(self) -> tuple[Curve, ...]:
        """Each curve once, on the first of its matrices."""
        return tuple({curve.slug: curve for curve in reversed(self.curves)}.values())[::-1]

    @property
    def place(self) -> Path:
        """The folder of the figure's table and drawings."""
        return Store(self.output).figure(self.name)

    def renamed(self, suffix: str) -> "Experiment":
        """The same under a longer name, that of its folder and files."""
        name = self.name + suffix
        title = name if self.figure.title == self.name else self.figure.title
        panels = tuple(panel.renamed(suffix) for panel in self.panels)
        return replace(self, figure=replace(self.figure, name=name, title=title), panels=panels)

    @property
    def parts(self) -> tuple["Experiment", ...]:
        """What is trained, drawn and recorded: the panels, or the experiment itself."""
        return self.panels or (self,)
