"""Where curves coincide, their markers take turns, so that each curve shows one of its own now and then.

Up to FEW coinciding curves show one marker at a place; more of them show two, of different sizes, the smaller on top.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

NEAR = 0.013  # heights of the axes: about half a marker
FEW = 4
APART = 1.0  # points by which sizes differ so that both markers are seen
MOST = 40  # points of a curve: a longer one has few markers anyway
Point = tuple[float, int, int]
"""Height in the axes from 0 to 1, number of the line, number of its point."""


def take_turns(axes: Axes) -> None:
    """Let the markers of the coinciding curves in the axes take turns; a line whose markers are chosen stays."""
    lines = [line for line in axes.get_lines() if _has_markers(line)]
    shown: list[list[int]] = [[] for _ in lines]
    waiting = [0] * len(lines)  # places since the last marker
    for points in _by_place(axes, lines):
        for cluster in _clusters(points):
            chosen = _chosen(cluster, waiting, [float(line.get_markersize()) for line in lines])
            for _, number, index in cluster:
                waiting[number] = 0 if number in chosen else waiting[number] + 1
                if number in chosen:
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
    """The points of the lines at each x, from left to right."""
    axes.get_ylim()  # settles limits that Matplotlib finds by itself
    to_axes = axes.transData + axes.transAxes.inverted()
    found: list[tuple[float, Point]] = []
    for number, line in enumerate(lines):
        points = np.asarray(line.get_xydata(), float)
        with np.errstate(all="ignore"):
            heights = to_axes.transform(points)[:, 1]
        found += [(float(points[i, 0]), (float(height), number, i)) for i, height in enumerate(heights)]
    found.sort()
    for _, points in groupby(found, key=lambda item: item[0]):
        yield [point for _, point in points]


def _clusters(points: Sequence[Point]) -> Iterator[list[Point]]:
    """The points of one place, those together that lie on each other."""
    cluster: list[Point] = []
    for point in sorted(points):
        if cluster and not point[0] - cluster[-1][0] <= NEAR:
            yield cluster
            cluster = []
        cluster.append(point)
    yield cluster


def _chosen(cluster: Sequence[Point], waiting: Sequence[int], sizes: Sequence[float]) -> set[int]:
    """The lines of a cluster that show their markers: those that have waited longest."""
    order = sorted((number for _, number, _ in cluster), key=lambda number: (-waiting[number], number))
    if len(order) <= FEW:
        return {order[0]}
    apart = (number for number in order[1:] if abs(sizes[number] - sizes[order[0]]) >= APART)
    return {order[0], next(apart, order[0])}
