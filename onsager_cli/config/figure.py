"""Schema of `figure.*` and `plot.*`: what is drawn, and how it looks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from onsager_cli.config.names import safe
from onsager_cli.errors import UserError
from onsager_cli.kinds.checks import build, choice, flag, integer, number, optional, text
from onsager_cli.kinds.lists import numbers, texts, words
from onsager_cli.kinds.records import FigureKind
from onsager_cli.kinds.registry import find, names
from onsager_cli.kinds.settings import Settings
from onsager_cli.text import cell, did_you_mean, show

USUAL_FORMATS = ("pdf", "svg", "png")
FORMATS = (*USUAL_FORMATS, "eps", "pgf")
ERRORS = (BAND, BARS) = ("band", "bars")  # how a standard error is drawn
LARGEST_LIMIT = 1e6  # layers or dB
LONGEST_LABEL = 200  # characters


@dataclass(frozen=True)
class FigureSpec:
    """How an experiment's figure looks (`figure.*`); limits in layers and in dB, None for automatic.

    `kind` is what it shows (figures/); the keys below the caption are for curves over layers. `false_alarms` is the rate
    at which kind=detection decides who is active.
    `hidden` curves are trained and recorded, not drawn; `labels` say what the legend calls others than it would by itself.
    """

    kind: str = choice(*names(FigureKind))
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
    error: str = choice(*ERRORS)
    width: float | None = optional(number(low=1, high=40))  # inches
    height: float | None = optional(number(low=1, high=40))
    font_size: float | None = optional(number(low=3, high=40))  # points
    style: str | None = optional(text(null=True))
    legend: str | None = optional(choice("below", "above", "right", "inside", "none"))
    legend_columns: int | None = optional(integer(1, 20))
    mark_every: int | None = optional(integer(1, 1000))
    heading: bool | None = optional(flag())
    letters: bool | None = optional(flag())
    conditions: Mapping[str, str] | None = optional(texts())  # panel: overrides with alternatives (figures.mismatch)
    false_alarms: float = number(above=0, below=1)


@dataclass(frozen=True)
class PlotSpec:
    """What is drawn and written (`plot.*`)."""

    state_evolution: bool = flag()
    formats: tuple[str, ...] = words(FORMATS, some=True)


def make_figure(raw: object, name: str, slugs: Iterable[str]) -> FigureSpec:
    """Validates `figure`; a figure without a name, a title or a caption is called `name`.

    In a caption, {false_alarms} stands for the value of that key.
    """
    figure = build(FigureSpec, raw, "figure")
    title = figure.title or figure.name or name
    caption = (figure.caption or title).replace("{false_alarms}", cell(figure.false_alarms))
    figure = replace(figure, name=figure.name or name, title=title, caption=caption)
    safe(figure.name, "figure.name")
    known = list(map(str, slugs))
    for key, named in (("hidden", figure.hidden), ("labels", figure.labels)):
        if unknown := [slug for slug in named if slug not in known]:
            raise UserError(f"figure.{key}: no curve '{unknown[0]}'{did_you_mean(unknown[0], known)}")
    _check_looks(figure)
    return figure


def _check_looks(figure: FigureSpec) -> None:
    """Raises UserError for limits that no axis has, and for a label that has no room."""
    pair, four = "two numbers in rising order", "[layer from, to, dB from, to], each pair in rising order"
    for key, limits, form in (("xlim", figure.xlim, pair), ("ylim", figure.ylim, pair), ("inset", figure.inset, four)):
        ends = list(limits or ())
        if any(low >= high for low, high in zip(ends[::2], ends[1::2], strict=True)):
            raise UserError(f"figure.{key} must be {form}, got {show(ends)}")
        if any(abs(end) > LARGEST_LIMIT for end in ends):
            raise UserError(f"figure.{key} must be within ±{LARGEST_LIMIT:g}, got {show(ends)}")
    if figure.xscale == "log" and figure.xlim is not None and figure.xlim[0] <= 0:
        raise UserError(f"figure.xlim must begin above 0 for figure.xscale=log, got {show(list(figure.xlim))}")
    for slug, label in figure.labels.items():
        if label.startswith("_"):  # Matplotlib leaves it out of the legend
            raise UserError(f"figure.labels.{slug} must not begin with _, got {show(label)}")
    for key, label in [
        ("xlabel", figure.xlabel or ""),
        *((f"labels.{slug}", of) for slug, of in figure.labels.items()),
    ]:
        if len(label) > LONGEST_LABEL:
            raise UserError(f"figure.{key} must have at most {LONGEST_LABEL} characters, got {show(label)}")


def check_kind(figure: FigureSpec, slug: str, settings: Settings) -> None:
    """Raises UserError for a curve that this kind of figure refuses."""
    if (refusal := find(FigureKind, figure.kind).refuses(settings)) is not None:
        raise UserError(f"curve {slug}: figure.kind={figure.kind} {refusal}")
