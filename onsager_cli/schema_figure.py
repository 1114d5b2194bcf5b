"""Schema of `figure.*` and `plot.*`: what is drawn, and how it looks."""

from collections.abc import Mapping
from dataclasses import dataclass

from onsager_cli.checks import choice, flag, numbers, text, texts, words

FORMATS = ("pdf", "svg", "png")


@dataclass(frozen=True)
class FigureSpec:
    """How an experiment's figure looks (`figure.*`); limits in layers and in dB, None for automatic.

    `kind` is what it shows (analyses/); the keys below the caption are for curves over layers.
    `hidden` curves are trained and recorded, not drawn; `labels` say what the legend calls others than it would by itself.
    """

    kind: str = choice("curves", "qq", "params", "complexity", "detection", "costs")
    name: str = text(null=True)
    title: str = text(null=True)
    caption: str = text(null=True)
    hidden: tuple[str, ...] = words()
    labels: Mapping[str, str] = texts()
    xlim: tuple[float, float] | None = numbers(2, null=True)
    ylim: tuple[float, float] | None = numbers(2, null=True)
    inset: tuple[float, float, float, float] | None = numbers(4, null=True)  # (layer from, to, dB from, to)
    xlabel: str | None = text(null=True)
    xscale: str = choice("linear", "log")
    metric: str = choice("nmse_db", "nmse_mean_ratio_db")


@dataclass(frozen=True)
class PlotSpec:
    """What is drawn and written (`plot.*`)."""

    state_evolution: bool = flag()
    formats: tuple[str, ...] = words(FORMATS)
