"""Tables to figures: NMSE in dB over layers (or iterations), as pdf, svg and png with reproducible bytes.

`looks` gives each curve its colour, marker and label; the rest of the style is in `paper.mplstyle`.
"""

import contextlib
import io
import logging
import math
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import (
    FixedLocator,
    LogFormatterSciNotation,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
    ScalarFormatter,
)

from onsager_cli.config.figure import BARS, FORMATS, USUAL_FORMATS, FigureSpec
from onsager_cli.errors import Notice, UserError
from onsager_cli.figures.kinds import Rows, columns
from onsager_cli.figures.layout import paper
from onsager_cli.figures.looks import GREY, Look, Style, line_of, marker_of, styles
from onsager_cli.figures.turns import take_turns
from onsager_cli.store.files import atomic_write
from onsager_cli.store.seeds import averaged
from onsager_cli.store.tables import Row, by_curve

# Nothing that varies from run to run may enter the files.
_METADATA = {
    "pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {"Software": None}, "eps": {}, "pgf": {},
}  # fmt: skip
# Above this a curve has diverged (0 dB is the estimate x = 0): it is cut off there, with an arrow.
_CEILING_DB = 5.0
# Height of the axes with their labels, and of one line of the legend below them, in inches.
_AXES_HEIGHT, _LEGEND_LINE = 2.6, 0.142

Beside = Callable[[Axes, Mapping[str, Look]], None]
"""Draws a second panel, given slug → look."""


def build(figure: FigureSpec, rows: Rows, *, beside: Beside | None = None, per_line: int = 2) -> Figure:
    """Draw NMSE in dB over layers.

    The band around a curve, or its bars, are one standard error over the samples. Of a curve on several matrices the mean
    is drawn, with one standard error over them, and other curves have none then.

    Args:
        figure: its name, what it hides, labels, axes (layers and dB), the inset in the upper right corner, and the
            column that is drawn.
        rows: of a table (tables.COLUMNS), in the order the legend shall have. A row without layer is a level,
            drawn as a horizontal line. Curves that are missing or incomplete are drawn as far as they go.
        beside: draws a panel at the right, of the same curves.
        per_line: how many curves a line of the legend below a panel names.

    Raises UserError if there is nothing to draw.
    """
    metric = figure.metric
    shown = [row for row in averaged(rows) if row["curve"] not in figure.hidden and row.get(metric) is not None]
    if not shown:
        raise UserError(f"{figure.name}: nothing to draw: no curve has a point yet")
    looks = styles(shown, figure.labels)
    averages = any("matrices" in row for row in shown)
    across = 1 if beside is None else 2
    height = _AXES_HEIGHT + _LEGEND_LINE * math.ceil(len(looks) / (per_line * across))
    with paper():
        drawing = Figure(figsize=(3.5 * across, height))
        axes = drawing.add_subplot(1, across, 1)
        _set_axes(axes, figure, shown)
        views = [axes, _inset(axes, figure.inset)] if figure.inset else [axes]
        for slug, points in by_curve(shown).items():
            by_layer = sorted((row for row in points if row["layer"] is not None), key=lambda row: row["layer"])
            shaded = ("matrices" in points[0]) == averages  # bands of one figure mean one thing
            for view in views:
                _draw_curve(view, by_layer or points, metric, looks[slug], figure.error if shaded else None)
            _mark_exit(axes, by_layer, metric, looks[slug])
        if beside is not None:
            beside(drawing.add_subplot(1, across, 2), looks)
        for view in dict.fromkeys([*drawing.axes, *views]):
            take_turns(view)
        # Handles of the main axes only: an inset shows the same curves again.
        drawing.legend(
            *axes.get_legend_handles_labels(), loc="outside lower center", ncols=min(len(looks), per_line * across)
        )
    return drawing


def save(drawing: Figure, folder: Path, name: str, formats: Sequence[str] = USUAL_FORMATS) -> list[Path]:
    """Write FOLDER/NAME.FORMAT in each format, bytes free of dates and versions; the paths, in the order of `formats`.

    Raises UserError for an unknown format, for what Matplotlib cannot draw, such as wrong mathematics between $ signs,
    and if a file cannot be written.
    """
    for kind in formats:
        if kind not in FORMATS:
            raise UserError(f"plot.formats must be of {', '.join(FORMATS)}, got {kind}")
    drawn: dict[Path, bytes] = {}
    with paper(), drawing_errors(name):
        for kind in formats:
            drawn[folder / f"{name}.{kind}"] = _bytes(drawing, kind, name)
    for path, data in drawn.items():
        atomic_write(path, data)
    return list(drawn)


def _bytes(drawing: Figure, kind: str, name: str) -> bytes:
    """The drawing in a format. Raises UserError for pgf without LaTeX, which measures its text."""
    buffer = io.BytesIO()
    logger = logging.getLogger("matplotlib.backends.backend_ps")
    before = logger.level
    logger.setLevel(logging.ERROR)  # that bands are opaque in eps is known
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "constrained_layout not applied")
            drawing.savefig(buffer, format=kind, metadata=_METADATA[kind])
    except UserWarning as error:
        width, height = drawing.get_size_inches()
        size = f"figure.width={width:g} and figure.height={height:g}"
        raise UserError(f"{name}: {size} leave no room for the axes: raise them, or lower figure.font_size") from error
    except RuntimeError as error:
        if kind != "pgf":
            raise
        raise UserError(
            f"{name}.pgf needs LaTeX on this machine, which measures its text: {first_sentence(error)}"
        ) from error
    finally:
        logger.setLevel(before)
    data = buffer.getvalue()
    return re.sub(rb"(?m)^%%(CreationDate|Creator):.*\n", b"", data) if kind == "eps" else data


def first_sentence(error: Exception) -> str:
    """The first line of an error."""
    return str(error).partition("\n")[0].partition(";")[0]


@contextlib.contextmanager
def drawing_errors(name: str) -> Iterator[None]:
    """Turn what Matplotlib raises within the block into a UserError: of the figure's keys, it cannot draw them all."""
    try:
        yield
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).partition("\n")[0]
        if re.search(r"Parse\w*Exception", str(error)):
            raise UserError(f"{name}: cannot draw the mathematics of a label or axis: {reason}") from error
        keys = "figure.labels, figure.xlabel, figure.xlim, figure.ylim and figure.inset"
        raise UserError(f"{name} cannot be drawn ({reason}): look at {keys}") from error


def _set_axes(axes: Axes, figure: FigureSpec, rows: Rows) -> None:
    layers = [row["layer"] for row in rows if row["layer"] is not None] or [1]
    low, high = min(layers), max(layers)
    logarithmic = figure.xscale == "log"
    axes.set_xscale("log" if logarithmic else "linear")
    axes.set_xlabel(figure.xlabel or ("iteration" if logarithmic else "layer"))
    axes.set_ylabel("NMSE (dB)")
    if logarithmic:
        low, high = 0.93 * max(low, 1), 1.07 * max(high, 10)
        axes.xaxis.set_major_formatter(ScalarFormatter())
    else:
        margin = 0.03 * max(high - low, 1)
        low, high = low - margin, high + margin
        axes.xaxis.set_major_locator(MaxNLocator(11, integer=True, steps=[1, 2, 5, 10]))
    axes.set_xlim(figure.xlim or (low, high))
    axes.set_ylim(figure.ylim or y_limits([row[figure.metric] for row in rows]))
    _warn_of_limits(figure, rows)
    axes.yaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 5, 10]))


def _warn_of_limits(figure: FigureSpec, rows: Rows) -> None:
    """A Notice if no point of a curve over layers is within the limits that the figure gives."""
    over_layers = by_curve(row for row in rows if row["layer"] is not None)
    for key, limits, column in (("xlim", figure.xlim, "layer"), ("ylim", figure.ylim, figure.metric)):
        low, high = limits or (-math.inf, math.inf)
        outside = [slug for slug, of in over_layers.items() if not any(low <= row[column] <= high for row in of)]
        if limits and outside:
            text = f"{figure.name}: figure.{key}=[{low:g},{high:g}] leaves out {', '.join(outside)}: write figure.{key}=null"
            warnings.warn(text, Notice, stacklevel=2)


def y_limits(values: Iterable[float]) -> tuple[float, float]:
    """Round limits in dB around all finite values; a diverging curve cannot squeeze the others."""
    finite = sorted(value for value in values if math.isfinite(value)) or [-10.0, 0.0]
    kept = [value for value in finite if value <= _CEILING_DB] or finite
    low, high = 5 * math.floor((kept[0] - 1.2) / 5), 5 * math.ceil((kept[-1] + 1.2) / 5)
    if len(kept) < len(finite):
        high = _CEILING_DB
    return float(low), float(max(high, low + 5))


def _inset(axes: Axes, window: Sequence[float]) -> Axes:
    """The magnified view of (layer from, to, dB from, to) in the upper right corner."""
    left, right, low, high = window
    inset = axes.inset_axes((0.5, 0.58, 0.47, 0.38))
    inset.set_xlim(left, right)
    inset.set_ylim(low, high)
    whole = range(math.ceil(left), math.floor(right) + 1)
    inset.xaxis.set_major_locator(FixedLocator(whole) if len(whole) <= 2 else MaxNLocator(5, integer=True))
    inset.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    inset.ticklabel_format(axis="y", useOffset=False)
    inset.tick_params(labelsize=6.5, pad=1.5)
    frame: Style = {"fill": False, "edgecolor": GREY, "linewidth": 0.5, "zorder": 4}
    axes.add_patch(Rectangle((left, low), right - left, high - low, **frame))
    return inset


def _draw_curve(axes: Axes, points: Rows, metric: str, style: Look, error: str | None) -> None:
    """Draw the points of a curve by layer, or its level, with their standard errors as `error` says (None: without)."""
    line = {**line_of(style), "label": style.label}
    layers, values = columns(points, "layer", metric)
    errors = [standard_error(row, metric) for row in points]
    if layers[0] is None:
        axes.axhline(values[0], zorder=1.8, **line)
        if error and errors[0]:
            axes.axhspan(values[0] - errors[0], values[0] + errors[0], **_shade(style))
        return
    frequent = 0.08 if len(points) > 40 else None
    # The smaller marker is on top.
    axes.plot(layers, values, markevery=frequent, zorder=3 - style.size / 10, **line, **marker_of(style))
    if error:
        draw_errors(axes, layers, values, errors, style, error)


def draw_errors(
    axes: Axes, xs: Sequence[float], values: Sequence[float], errors: Sequence[float], style: Look, how: str
) -> None:
    """Draw one standard error on each side of a curve, as `how` says: a band, or bars."""
    if not any(errors):
        return
    if how == BARS:
        caps: Style = {"capsize": 0.7 * style.size + 1.5, "capthick": 0.8}  # wider than the marker
        axes.errorbar(xs, values, errors, fmt="none", ecolor=style.color, elinewidth=0.8, zorder=3, **caps)
        return
    low, high = ([value + sign * error for value, error in zip(values, errors, strict=True)] for sign in (-1, 1))
    axes.fill_between(xs, low, high, **_shade(style))


def _shade(style: Look) -> Style:
    """How Matplotlib draws the band of a curve."""
    return {"color": style.color, "alpha": 0.2, "linewidth": 0}


def standard_error(row: Row, metric: str) -> float:
    """That of a point, in dB; 0 where nobody knows it."""
    error = row.get(f"{metric}_se")
    return error if error is not None and math.isfinite(error) else 0.0


def _mark_exit(axes: Axes, points: Rows, metric: str, style: Look) -> None:
    """An arrow where a curve leaves through the top, with the level it reaches."""
    layers, values = columns(points, "layer", metric)
    top = axes.get_ylim()[1]
    above = next((i for i, value in enumerate(values) if not value <= top), None)
    if above is None:
        return
    x = layers[above]
    if above and math.isfinite(values[above]):
        share = (top - values[above - 1]) / (values[above] - values[above - 1])
        x = layers[above - 1] + share * (layers[above] - layers[above - 1])
    reached = f"to {max(values):.0f} dB" if all(map(math.isfinite, values)) else "diverges"
    # The arrow stands on the frame, the words inside, on the side with more room.
    right = axes.transAxes.inverted().transform(axes.transData.transform((x, top)))[0] < 0.6
    axes.plot([x], [top], marker="^", color=style.color, markersize=4.5, clip_on=False, zorder=5, linestyle="none")
    side: Style = {"xytext": (6, -3), "ha": "left"} if right else {"xytext": (-6, -3), "ha": "right"}
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.85}
    axes.annotate(
        reached, (x, top), textcoords="offset points", va="top", fontsize=7, color=style.color, bbox=box, **side
    )


def within_a_decade(axis: Axis, low: float, high: float) -> bool:
    """Give a logarithmic axis from `low` to `high` few even ticks if it has less than a decade; whether it has.

    The usual ticks of so short an axis are so many that their labels overlap. One of less than two decades has ticks at
    1 and 3 times powers of ten.
    """
    if not 0 < low < high < 10 * low:
        if 0 < low < high < 100 * low:
            axis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
            axis.set_major_formatter(LogFormatterSciNotation(minor_thresholds=(10, 10)))
            axis.set_minor_formatter(NullFormatter())
        return False
    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(ScalarFormatter(useMathText=True))
    return True


@contextlib.contextmanager
def panels(rows: int, columns: int, width: float, height: float) -> Iterator[tuple[Figure, list[Axes]]]:
    """Within the block, the paper's style: a figure of so many inches with so many axes, and the axes row by row."""
    with paper():
        drawing = Figure(figsize=(width, height))
        yield drawing, list(drawing.subplots(rows, columns, squeeze=False).flat)
