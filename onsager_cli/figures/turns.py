"""Where curves coincide, their markers take turns, so that each curve shows some of its own.

At each x, the curves that have waited longest come first, and of those the one with the fewest points. A marker that
would lie on another one is left out; where there are more curves than places, it may lie on one of another size.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

NEAR = 0.022  # heights of the axes: about a marker
APART = 1.0  # points by which sizes differ so that both markers are seen
EDGE = 1e-6
MOST = 40  # points of a curve: a longer one has few markers anyway
Point = tuple[float, int, int]
"""Height in the axes from 0 to 1, number of the line, number of its point."""


def take_turns(axes: Axes) -> None:
    """Let the markers of the coinciding curves in the axes take turns; a line whose markers are chosen stays."""
    lines = [line for line in axes.get_lines() if _has_markers(line)]
    sizes = [float(line.get_markersize()) for line in lines]
    shown: list[list[int]] = [[] for _ in lines]
    waiting = [0] * len(lines)  # places since the last marker
    places = list(_by_place(axes, lines))
    inside = Counter(number for points in places for _, number, _ in points)

    def order(number: int) -> tuple[int, ...]:
        return (-waiting[number], inside[number], number)

    for points in places:
        chosen: list[Point] = []
        for height, number, index in sorted(points, key=lambda point: order(point[1])):
            close = [other for at, other, _ in chosen if not abs(at - height) > NEAR]
            if len(lines) > len(places):
                close = [other for other in close if abs(sizes[other] - sizes[number]) < APART] or close[1:]
            waiting[number] = waiting[number] + 1 if close else 0
            if not close:
                chosen.append((height, number, index))
                shown[number].append(index)
    for line, indices in zip(lines, shown, strict=True):
        if len(indices) < len(np.asarray(line.get_xdata())):
            line.set_markevery(indices)


def _has_markers(line: Line2D) -> bool:
    """Whether a line has several markers, all of them so far."""
    joined = line.get_linestyle() not in ("None", "none", "", " ")
    marked = line.get_marker() not in (None, "None", "none", "", " ")
    return joined and marked and line.get_markevery() is None and 1 < len(np.asarray(line.get_xdata())) <= MOST


def _by_place(axes: Axes, lines: Sequence[Line2D]) -> Iterator[list[Point]]:
    """The points of the lines at each x, from left to right, as far as they are inside the axes."""
    axes.get_ylim()  # settles limits that Matplotlib finds by itself
    to_axes = axes.transData + axes.transAxes.inverted()
    found: list[tuple[float, Point]] = []
    for number, line in enumerate(lines):
        points = np.asarray(line.get_xydata(), float)
        with np.errstate(all="ignore"):
            seen = to_axes.transform(points)
            inside = np.all((seen > -EDGE) & (seen < 1 + EDGE), axis=1)
        found += [(float(points[i, 0]), (float(seen[i, 1]), number, int(i))) for i in np.flatnonzero(inside)]
    found.sort()
    for _, points in groupby(found, key=lambda item: item[0]):
        yield [point for _, point in points]
