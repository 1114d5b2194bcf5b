"""What `figure.*` asks of any drawing, whatever its kind: size, type, legend, markers, heading, letters of panels."""

import contextlib
import logging
import math
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Literal

import matplotlib.style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from onsager_cli.config.figure import FigureSpec
from onsager_cli.errors import UserError
from onsager_cli.text import show

PAPER = ("default", "onsager_cli.figures.paper")
FONT_SIZE = 8.0  # points, of the paper's style
Place = Literal["outside lower center", "outside right center", "outside upper center"]
PLACES: dict[str, Place] = {
    "below": "outside lower center", "right": "outside right center", "above": "outside upper center",
}  # fmt: skip
LETTERS = "abcdefghijklmnopqrstuvwxyz"

_own: ContextVar[tuple[str, ...]] = ContextVar("_own", default=())


@contextlib.contextmanager
def paper() -> Iterator[None]:
    """Within the block, Matplotlib has the paper's style, and on top of it the style sheet of the figure."""
    with matplotlib.style.context([*PAPER, *_own.get()]):
        yield


@contextlib.contextmanager
def styled(figure: FigureSpec) -> Iterator[None]:
    """Within the block, `paper` has `figure.style` on top. Raises UserError for a style sheet that there is not."""
    sheets = () if figure.style is None else (figure.style,)
    try:
        with _complaints() as found, matplotlib.style.context([*PAPER, *sheets]):
            pass
        if found:
            raise UserError(f"figure.style={figure.style} is not a style sheet of Matplotlib: {found[0]}")
    except OSError:
        known = ", ".join(name for name in matplotlib.style.available if not name.startswith("_"))
        raise UserError(
            f"figure.style must be a file of Matplotlib's style keys, or one of {known}; got {show(figure.style)}"
        ) from None
    token = _own.set(sheets)
    try:
        yield
    finally:
        _own.reset(token)


@contextlib.contextmanager
def _complaints() -> Iterator[list[str]]:
    """The lines that Matplotlib logs within the block, instead of printing them."""
    found: list[str] = []
    logger, handler = logging.getLogger("matplotlib"), logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(" ".join(record.getMessage().split()))
    before, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


def laid_out(drawing: Figure, figure: FigureSpec) -> Figure:
    """The drawing as the keys of the figure ask for it."""
    with paper():
        _lay_out(drawing, figure)
    return drawing


def _lay_out(drawing: Figure, figure: FigureSpec) -> None:
    if figure.font_size is not None:
        _scale_text(drawing, figure.font_size / FONT_SIZE)
    if figure.mark_every is not None:
        for line in (line for axes in _all(drawing, Axes) for line in axes.get_lines()):  # not those of the legend
            if line.get_marker() not in (None, "None", "", " ") and len(line.get_xdata()) > 1:  # type: ignore[arg-type]
                line.set_markevery(figure.mark_every)
    if figure.legend is not None or figure.legend_columns is not None:
        _place_legend(drawing, figure.legend or "below", figure.legend_columns)
    panels = [axes for axes in drawing.axes if axes.axison]
    if figure.letters and len(panels) > 1:
        for letter, axes in zip(LETTERS, panels, strict=False):
            axes.set_title(f"({letter})", loc="left", fontweight="bold", fontsize=figure.font_size or FONT_SIZE)
    if figure.heading:
        drawing.suptitle(figure.title, fontsize=(figure.font_size or FONT_SIZE) * 1.1)
    width, height = drawing.get_size_inches()
    drawing.set_size_inches(figure.width or width, figure.height or height)


def _all(drawing: Figure, kind: type[Artist]) -> list:
    """Every artist of a kind in a drawing."""
    return drawing.findobj(kind)


def _scale_text(drawing: Figure, factor: float) -> None:
    """Scale all type, and the legend's handles with it."""
    for text in _all(drawing, Text):
        text.set_fontsize(text.get_fontsize() * factor)
    for axes in drawing.axes:
        for axis in (axes.xaxis, axes.yaxis):
            size = axis.get_major_ticks()[0].label1.get_fontsize() if axis.get_major_ticks() else FONT_SIZE
            axis.set_tick_params(labelsize=size)


def _place_legend(drawing: Figure, place: str, columns: int | None) -> None:
    """Put the legend of the drawing, or of its axes, somewhere else."""
    handles, labels, size, count = [], [], None, 1
    for legend in [*drawing.legends, *(one for axes in drawing.axes if (one := axes.get_legend()) is not None)]:
        texts = [text.get_text() for text in legend.get_texts()]
        new = [number for number, text in enumerate(texts) if text not in labels]
        handles += [legend.legend_handles[number] for number in new]
        labels += [texts[number] for number in new]
        size, count = legend.get_texts()[0].get_fontsize() if texts else size, getattr(legend, "_ncols", 1)
        legend.remove()
    drawing.legends.clear()
    if place == "none" or not labels:
        return
    if place == "inside":
        axes = drawing.axes[0]
        axes.legend(handles, labels, loc="best", ncols=columns or 1, fontsize=size)
        return
    where = PLACES[place]
    usual = 1 if place == "right" else max(count, math.ceil(len(labels) / 6))
    drawing.legend(handles, labels, loc=where, ncols=columns or usual, fontsize=size)
