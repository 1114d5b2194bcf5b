"""What a command asks for: the curves of one experiment, with the settings of each."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onsager_cli.config.figure import FigureSpec, PlotSpec
from onsager_cli.config.settings import NO_SHRINKAGE, Settings
from onsager_cli.store.files import checksum

# Keys of networks and schedules that came later, with what was meant before: there the identity stays what it was.
OLDER_MEANING = {"theta_per": "group", "learn": ("B", "theta"), "warmup": 0}


@dataclass(frozen=True)
class Curve:
    """One curve of a figure: a name and the settings that decide its numbers."""

    slug: str
    settings: Settings

    def identity(self) -> dict[str, Any]:
        """Everything that decides the numbers, as plain JSON.

        Without the depth, since more layers continue the same training (unless all learn at once), without names, and
        without keys that the kind of network does not use. A matrix of the user's own counts by its content, not by
        its path. Raises UserError if that matrix cannot be read.
        """
        parts = {
            name: dataclasses.asdict(getattr(self.settings, name))
            for name in ("problem", "network", "shrinkage", "training")
        }
        network, problem = parts["network"], parts["problem"]
        joint = parts["training"].pop("joint", None)
        for key in ("name", "depth"):
            del network[key]
        del problem["name"]
        parts["training"] = _used(parts["training"])
        parts["network"] = network = {
            key: value for key, value in network.items() if value not in (None, {}, OLDER_MEANING.get(key))
        }
        if network["kind"] == "lamp" and parts["training"]["kind"] == "none":
            network.pop("learn", None)  # AMP learns nothing, whatever training would tune
        if not problem.get("options"):
            problem.pop("options", None)
        if problem.get("known_operator") is not False:
            problem.pop("known_operator", None)
        if problem.get("matrix") is not None:
            problem["matrix"] = checksum(Path(problem["matrix"]), "problem.matrix")
        if network["kind"] in NO_SHRINKAGE:
            del parts["shrinkage"]
        if joint:
            parts["training"]["joint"] = self.settings.network.depth
        parts |= {"seed": self.settings.seed, "precision": self.settings.precision}
        return json.loads(json.dumps(parts))  # tuples as lists


def _used(part: dict[str, Any]) -> dict[str, Any]:
    """A part of an identity without the keys that are not used, at any level."""
    return {
        key: _used(value) if isinstance(value, dict) else value
        for key, value in part.items()
        if value is not None and value != OLDER_MEANING.get(key)
    }


@dataclass(frozen=True)
class Experiment:
    """The curves that a command trains or draws, and how the figure is drawn.

    `overrides` are those of the command, so that messages can say which command goes on; `partial`, whether `only` has
    left curves out. An experiment of several panels has no curves of its own. `effective` are the keys of schedules by
    which one of the curves is trained, such as training.lamp.steps.
    """

    name: str
    title: str
    curves: tuple[Curve, ...]
    figure: FigureSpec
    output: Path
    plot: PlotSpec
    single: bool
    overrides: tuple[str, ...]
    panels: tuple["Experiment", ...] = ()
    partial: bool = False
    effective: frozenset[str] = frozenset()

    @property
    def first_curves(self) -> tuple[Curve, ...]:
        """Each curve once, on the first of its matrices."""
        return tuple({curve.slug: curve for curve in reversed(self.curves)}.values())[::-1]

    def renamed(self, suffix: str) -> "Experiment":
        """The same under a longer name, that of its folder and files."""
        name = self.name + suffix
        title = name if self.figure.title == self.name else self.figure.title
        figure = dataclasses.replace(self.figure, name=name, title=title)
        panels = tuple(panel.renamed(suffix) for panel in self.panels)
        return dataclasses.replace(self, name=name, title=title, figure=figure, panels=panels)

    @property
    def parts(self) -> tuple["Experiment", ...]:
        """What is trained, drawn and recorded: the panels, or the experiment itself."""
        return self.panels or (self,)
