"""Tables to figures: NMSE in dB over layers (or iterations), as pdf, svg and png with reproducible bytes.

The look is data: `STYLES` gives each (network, shrinkage) its colour and marker, `UNTIED` what tells untied
from tied, `paper.mplstyle` the rest. The colours are Okabe and Ito's, which colour-blind readers tell apart.
"""

import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from onsager_cli.config.figure import FORMATS
from onsager_cli.errors import UserError
from onsager_cli.figures.looks import GREY, Look, styles
from onsager_cli.store.files import atomic_write
from onsager_cli.store.seeds import averaged

# Nothing that varies from run to run may enter the files.
_METADATA: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {"Software": None}}

# Above this a curve has diverged (0 dB is the estimate x = 0): it is cut off there, with an arrow.
_CEILING_DB = 5.0
# Height of the axes with their labels, and of one line of the legend below them, in inches.
_AXES_HEIGHT, _LEGEND_LINE = 2.6, 0.142


Beside = Callable[[Axes, Mapping[str, Look]], None]  # draws a second panel, given slug → style


def build(figure: Any, rows: Sequence[Mapping[str, Any]], *, beside: Beside | None = None) -> Figure:
    """The drawn figure, not yet written. Arguments as in `draw`."""
    hidden = set(getattr(figure, "hidden", None) or ())
    metric = getattr(figure, "metric", None) or "nmse_db"
    shown = [row for row in averaged(rows) if row["curve"] not in hidden and row.get(metric) is not None]
    if not shown:
        raise UserError(f"{figure.name}: nothing to draw, none of its curves has a point yet")
    looks = styles(shown, getattr(figure, "labels", None))
    averages = any("matrices" in row for row in shown)
    with matplotlib.style.context(["default", "onsager_cli.figures.paper"]):
        panels = 1 if beside is None else 2
        lines = math.ceil(len(looks) / (2 * panels))
        drawing = Figure(figsize=(3.5 * panels, _AXES_HEIGHT + _LEGEND_LINE * lines))
        axes = drawing.add_subplot(1, panels, 1)
        _set_axes(axes, figure, shown, metric)
        views = [axes, *_insets(axes, getattr(figure, "inset", None))]
        for slug, style in looks.items():
            points = [row for row in shown if row["curve"] == slug]
            shaded = ("matrices" in points[0]) == averages  # bands of one figure mean one thing
            for view in views:
                _draw_curve(view, points, metric, style, shaded)
            _mark_exit(axes, points, metric, style)
        if beside is not None:
            beside(drawing.add_subplot(1, panels, 2), looks)
        # Handles of the main axes only: an inset shows the same curves again.
        drawing.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=min(len(looks), 2 * panels))
    return drawing


def draw(
    figure: Any,
    rows: Sequence[Mapping[str, Any]],
    folder: Path | str,
    formats: Sequence[str] = FORMATS,
    *,
    beside: Beside | None = None,
) -> list[Path]:
    """Draw NMSE over layers and write FOLDER/NAME.FORMAT; the paths written, in the order of `formats`.

    The band around a curve is one standard error over the samples. Of a curve on several matrices the mean is drawn,
    with one standard error over them, and other curves have no band then.

    Args:
        figure: has `name` and, each optional: `hidden` (slugs not drawn), `xlabel`, `xscale` (linear, log),
            `xlim`, `ylim` (two numbers, dB), `inset` (layer from, to, dB from, to: magnified in the upper
            right corner), `metric` (a column; default nmse_db), `labels` (slug → text).
        rows: of a table (tables.COLUMNS), in the order the legend shall have. A row without layer is a level,
            drawn as a horizontal line. Curves that are missing or incomplete are drawn as far as they go.
        folder: created if missing.
        formats: of pdf, svg, png.
        beside: draws a panel at the right, of the same curves.

    The same rows give the same bytes. Raises UserError for an unknown format, for nothing to draw, and if the
    files cannot be written.
    """
    for name in formats:
        if name not in FORMATS:
            raise UserError(f"plot.formats must be of {', '.join(FORMATS)}, got {name}")
    return save(build(figure, rows, beside=beside), Path(folder), figure.name, formats)


def save(drawing: Figure, folder: Path, name: str, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write a figure in each format, bytes free of dates and versions.

    Raises UserError for a text whose mathematics (between $ signs) cannot be read, and if a file cannot be written.
    """
    paths = []
    with matplotlib.style.context(["default", "onsager_cli.figures.paper"]):
        for kind in formats:
            buffer = io.BytesIO()
            try:
                drawing.savefig(buffer, format=kind, metadata=_METADATA[kind])
            except ValueError as error:
                if not re.search(r"Parse\w*Exception", str(error)):
                    raise
                formula = str(error).strip().partition("\n")[0]
                raise UserError(f"{name}: a label or axis has no mathematics that can be drawn: {formula}") from error
            paths.append(folder / f"{name}.{kind}")
            atomic_write(paths[-1], buffer.getvalue())
    return paths


def _set_axes(axes: Axes, figure: Any, rows: Sequence[Mapping[str, Any]], metric: str) -> None:
    layers = [row["layer"] for row in rows if row["layer"] is not None] or [1]
    logarithmic = getattr(figure, "xscale", None) == "log"
    axes.set_xscale("log" if logarithmic else "linear")
    axes.set_xlabel(getattr(figure, "xlabel", None) or ("iteration" if logarithmic else "layer"))
    axes.set_ylabel("NMSE (dB)")
    low, high = min(layers), max(layers)
    margin = 0 if logarithmic else 0.03 * max(high - low, 1)
    if logarithmic:
        low, high = 0.93 * max(low, 1), 1.07 * max(high, 10)
        axes.xaxis.set_major_formatter(ScalarFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(11, integer=True, steps=[1, 2, 5, 10]))
    axes.set_xlim(*(getattr(figure, "xlim", None) or (low - margin, high + margin)))
    axes.set_ylim(*(getattr(figure, "ylim", None) or y_limits([row[metric] for row in rows])))
    axes.yaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 5, 10]))


def y_limits(values: Iterable[float]) -> tuple[float, float]:
    """Round limits in dB around all finite values; a diverging curve cannot squeeze the others."""
    finite = sorted(value for value in values if math.isfinite(value)) or [-10.0, 0.0]
    kept = [value for value in finite if value <= _CEILING_DB] or finite
    low, high = 5 * math.floor((kept[0] - 1.2) / 5), 5 * math.ceil((kept[-1] + 1.2) / 5)
    if len(kept) < len(finite):
        high = _CEILING_DB
    return float(low), float(max(high, low + 5))


def _insets(axes: Axes, window: Sequence[float] | None) -> list[Axes]:
    """The magnified view of (layer from, to, dB from, to) in the upper right corner, if one is wanted."""
    if not window:
        return []
    left, right, low, high = window
    inset = axes.inset_axes((0.5, 0.58, 0.47, 0.38))
    inset.set_xlim(left, right)
    inset.set_ylim(low, high)
    inset.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    inset.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    inset.tick_params(labelsize=6.5, pad=1.5)
    axes.add_patch(
        Rectangle((left, low), right - left, high - low, fill=False, edgecolor=GREY, linewidth=0.5, zorder=4)
    )
    return [inset]


def _by_layer(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted((row for row in rows if row["layer"] is not None), key=lambda row: row["layer"])


def _draw_curve(axes: Axes, rows: Sequence[Mapping[str, Any]], metric: str, style: Look, shaded: bool) -> None:
    looks: dict[str, Any] = {
        "color": style.color,
        "linestyle": style.line,
        "linewidth": style.width,
        "label": style.label,
    }
    shade: dict[str, Any] = {"color": style.color, "alpha": 0.2, "linewidth": 0}
    points = _by_layer(rows)
    if not points:
        level, error = rows[0][metric], _standard_error(rows[0], metric)
        axes.axhline(level, zorder=1.8, **looks)
        if shaded and error:
            axes.axhspan(level - error, level + error, **shade)
        return
    layers, values = [row["layer"] for row in points], [row[metric] for row in points]
    crowded = len(points) > 40
    axes.plot(
        layers,
        values,
        marker=style.marker or None,
        markersize=style.size,
        markerfacecolor="white" if style.open_marker else style.color,
        markevery=0.08 if crowded else None,
        zorder=3 - style.size / 10,  # the smaller on top
        **looks,
    )
    errors = [_standard_error(row, metric) for row in points]
    if shaded and any(errors):
        low, high = ([value + sign * error for value, error in zip(values, errors, strict=True)] for sign in (-1, 1))
        axes.fill_between(layers, low, high, **shade)


def _standard_error(row: Mapping[str, Any], metric: str) -> float:
    """That of a point, in dB; 0 where nobody knows it."""
    error = row.get(f"{metric}_se")
    return error if error is not None and math.isfinite(error) else 0.0


def _mark_exit(axes: Axes, rows: Sequence[Mapping[str, Any]], metric: str, style: Look) -> None:
    """An arrow where a curve leaves through the top, with the level it reaches."""
    points = _by_layer(rows)
    layers, values = [row["layer"] for row in points], [row[metric] for row in points]
    top = axes.get_ylim()[1]
    above = next((i for i, value in enumerate(values) if not value <= top), None)
    if above is None:
        return
    finite = [value for value in values if math.isfinite(value)]
    x = layers[above]
    if above and math.isfinite(values[above]):
        share = (top - values[above - 1]) / (values[above] - values[above - 1])
        x = layers[above - 1] + share * (layers[above] - layers[above - 1])
    reached = f"to {max(finite):.0f} dB" if len(finite) == len(values) else "diverges"
    # The arrow stands on the frame, the words inside, on the side with more room.
    right = axes.transAxes.inverted().transform(axes.transData.transform((x, top)))[0] < 0.6
    axes.plot([x], [top], marker="^", color=style.color, markersize=4.5, clip_on=False, zorder=5, linestyle="none")
    axes.annotate(
        reached,
        (x, top),
        xytext=(6 if right else -6, -3),
        textcoords="offset points",
        ha="left" if right else "right",
        va="top",
        fontsize=7,
        color=style.color,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.85},
    )


def panels(rows: int, columns: int, width: float, height: float) -> tuple[Figure, list[Any]]:
    """A figure of so many axes, in inches, and the axes row by row. To be called within the paper's style."""
    drawing = Figure(figsize=(width, height))
    return drawing, list(drawing.subplots(rows, columns, squeeze=False).flat)
