"""What a sweep found: the NMSE over the one number that was swept, else all curves over layers in one drawing.

A row belongs to a line of the drawing, `curve`, and has the columns of curves.csv; `x` is the number that was swept.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, ScalarFormatter

from onsager_cli.config.figure import FigureSpec
from onsager_cli.errors import UserError
from onsager_cli.figures.curves import build, draw_errors, standard_error, within_a_decade, y_limits
from onsager_cli.figures.kinds import Rows
from onsager_cli.figures.layout import paper
from onsager_cli.figures.looks import line_of, marker_of, style_of, styles
from onsager_cli.figures.turns import take_turns
from onsager_cli.store.tables import by_curve, grouped

X = "x"
FEW = 8  # values, each of which gets a tick
DECADES = 20.0  # the largest value over the smallest, from which on the axis is logarithmic
WIDTH, HEIGHT, LINE = 3.5, 2.6, 0.142  # inches: of the drawing, of its axes, of a line of the legend
LONGEST_BESIDE = 30  # characters of a text in the legend, up to which two stand side by side


def draw(figure: FigureSpec, rows: Rows, axis: str | None) -> Figure:
    """The drawing of rows, over the key `axis` or, without one, over layers. Raises UserError if there is none to draw."""
    if axis is None:
        return build(figure, rows, per_line=_per_line(figure.labels.values()))
    shown = [row for row in rows if row.get(figure.metric) is not None and math.isfinite(row[figure.metric])]
    if not shown:
        raise UserError(f"{figure.name}: nothing to draw, none of its runs has an NMSE yet")
    looks = styles(shown, figure.labels)
    across = min(_per_line(look.label for look in looks.values()), len(looks))
    with paper():
        drawing = Figure(figsize=(WIDTH, HEIGHT + LINE * math.ceil(len(looks) / across)))
        axes = drawing.add_subplot()
        for name, points in by_curve(shown).items():
            points = sorted(points, key=lambda row: row[X])
            look, xs = looks[name], [row[X] for row in points]
            values = [row[figure.metric] for row in points]
            axes.plot(xs, values, label=look.label, zorder=3 - look.size / 10, **line_of(look), **marker_of(look))
            errors = [standard_error(row, figure.metric) for row in points]
            draw_errors(axes, xs, values, errors, look, figure.error)
        axes.set_xlabel(figure.xlabel or axis)
        axes.set_ylabel("NMSE (dB)")
        axes.set_ylim(figure.ylim or y_limits([row[figure.metric] for row in shown]))
        axes.yaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 5, 10]))
        _set_ticks(axes, sorted({row[X] for row in shown}))
        take_turns(axes)
        drawing.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=across)
    return drawing


def labels(rows: Rows, swept: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """What the legend calls each line: its network and, where networks are alike, what differs among these.

    `swept` is line → key → value; a key "" stands for the value alone. If all lines are of one network, its name is left
    out.
    """
    networks = {name: style_of(points[0]).label for name, points in by_curve(rows).items()}
    found = {}
    for network, names in grouped((network, name) for name, network in networks.items()).items():
        differing = [key for key in swept[names[0]] if len({swept[name].get(key) for name in names}) > 1]
        for name in names:
            own = [(key.rpartition(".")[2], swept[name][key]) for key in differing]
            words = ", ".join(f"{key}={value}" if key else value for key, value in own)
            known = "" if words and len(names) == len(networks) else network
            found[name] = ", ".join(filter(None, (known, words))) or name
    return found


def _per_line(texts: Iterable[str]) -> int:
    """How many texts have room in a line of the legend."""
    return 2 if max(map(len, texts), default=0) <= LONGEST_BESIDE else 1


def _set_ticks(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis for values of many sizes, and ticks at the values themselves if these are few."""
    low, high = values[0], values[-1]
    logarithmic = low > 0 and high / low >= DECADES
    if logarithmic:
        axes.set_xscale("log")
        within_a_decade(axes.xaxis, low, high)
        axes.xaxis.set_major_formatter(ScalarFormatter())
    if len(values) <= FEW:
        axes.xaxis.set_major_locator(FixedLocator(list(values)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
