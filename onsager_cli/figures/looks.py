"""How curves look: colour, marker, line and legend text of each (network, shrinkage), from the records of networks.

The colours are Okabe and Ito's, which colour-blind readers tell apart. In a grey print line and marker tell curves apart:

| curve           | line          | marker                    |
|-----------------|---------------|---------------------------|
| tied            | as its record | full                      |
| untied          | dashes        | a larger ring             |
| complex         | dash, dot     | half full, left           |
| complex, untied | dash, two dots | a larger ring, half full |

Curves that often coincide have markers of different sizes, the smaller drawn later; `turns` does the rest.
"""

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar

from onsager_cli.config.names import MATCHED
from onsager_cli.kinds.records import (
    BLACK,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    YELLOW,
    Kind,
    Line,
    Look,
    NetworkKind,
    ShrinkageKind,
)
from onsager_cli.kinds.registry import every, find, names
from onsager_cli.store.tables import Row, by_curve

K = TypeVar("K", bound=Kind)
Style = dict[str, Any]
"""Keyword arguments of Matplotlib."""

STATE_EVOLUTION = Look(BLACK, "", ":", 0.6, label="state evolution")
_RING = 1.3  # points by which the ring of an untied network is larger than a coinciding tied marker
# What native complex numbers change, where the same network on the real embedding has the line or the marker before
# the colon. The markers before it cannot be half full.
COMPLEX_LINES: dict[Line, Line] = {"-": "-.", "--": (0, (4, 1.2, 1, 1.2, 1, 1.2)), ":": (0, (5, 1.5, 1, 1.5))}
COMPLEX_MARKERS = {"x": "X", "+": "P", "1": "p", "2": "d"}
_COMPLEX_SIZE = 4.2  # at least, in points, so that halves are seen
# For networks without a look, and for curves that would otherwise look alike: each colour in turn, each marker in turn,
# each line for as many as there are markers. A line that lets one below show comes first: twins are often alike.
_COLORS = (SKY, YELLOW, GREEN, PURPLE, ORANGE, GREY)
MARKERS = ("d", "P", "*", "X", "p", "v", "^", "<", ">", "s", "D", "h", "3", "4", "8")
TWIN_LINES: tuple[Line, ...] = ("-.", "-", "--", ":")
_BARE_LINES: tuple[Line, ...] = (":", "-.", "--", (0, (1, 3)), (0, (5, 1, 1, 1, 1, 1)))  # of curves without a marker
_UNKNOWN = Look(SKY, "d")
_TWIN_SIZES = (3.6, 5.0)  # in turn: one of each size is seen where two coincide


@cache
def _networks() -> dict[str, NetworkKind]:
    """Name of a network in tables → record of its kind, for built-in kinds."""
    return {name: kind for kind in every(NetworkKind) for name in (kind.name, *kind.looks, kind.untrained) if name}


@cache
def _families() -> dict[str, ShrinkageKind]:
    """Name of a shrinkage family, or its short name, → record."""
    return {name: kind for kind in every(ShrinkageKind) for name in (kind.name, kind.slug) if name}


def _record(group: type[K], built_in: Mapping[str, K], name: str) -> K | None:
    """The record that a name in a table means: a built-in one, else that of a package; None if nobody offers it."""
    return built_in.get(name) or (find(group, name) if name in names(group) else None)


def style_of(row: Row) -> Look:
    """Look and legend text of the curve that `row` belongs to; label "" if nobody gave its network a look."""
    network, shrinkage, tied = row.get("network") or "", row.get("shrinkage") or "", row.get("tied")
    family = _record(ShrinkageKind, _families(), shrinkage)
    of_family = family.label or family.name if family else shrinkage
    if network == "state_evolution":
        name = f"{row['curve'].partition('_')[0].upper()}-{of_family}"
        return replace(STATE_EVOLUTION, label=f"{STATE_EVOLUTION.label}, {name}")
    kind = _record(NetworkKind, _networks(), network)
    if kind is None:
        return _UNKNOWN
    if kind.family:
        kind, network = _networks()[kind.family], kind.family
    # The name of the curve alone tells what VAMP was told.
    looks = kind.looks.get(MATCHED if row.get("curve") == MATCHED else network, {})
    style = looks.get(family.name if family else shrinkage) or looks.get("")
    if style is None and not shrinkage:
        return _UNKNOWN
    style = style or replace(_UNKNOWN, label=f"{network.upper()}-{of_family}")
    if network == kind.untrained and tied is not None:  # an algorithm has nothing to tie
        style = replace(style, label=f"{style.label}, tuned")
    elif tied:
        style = replace(style, label=f"{style.label}, tied")
    elif tied is not None:
        style = replace(style, label=f"{style.label}, untied", line="--", size=style.size + _RING, open_marker=True)
    return _complex(style) if row.get("embedding") == "complex" else style


def _complex(style: Look) -> Look:
    """The look of a network over the complex numbers, given that of the same network on the real embedding."""
    line, marker = COMPLEX_LINES.get(style.line, style.line), COMPLEX_MARKERS.get(style.marker, style.marker)
    size = max(style.size, _COMPLEX_SIZE) if style.marker else style.size
    return replace(style, label=f"{style.label}, complex", line=line, marker=marker, size=size, half=True)


def in_print(style: Look) -> tuple[object, ...]:
    """What is left of a look in a print without colours: no two curves of a figure should share it."""
    return (style.line, style.marker, style.marker != "" and (style.open_marker, style.half))


def styles(rows: Iterable[Row], labels: Mapping[str, str] | None = None) -> dict[str, Look]:
    """Slug → look, in order of appearance, no two alike, as far as there are looks: not in a print without colours, either.

    A later twin has its slug and a spare colour. `labels` (slug → text) are what the legend calls curves.
    """
    looks = {slug: style_of(points[0]) for slug, points in by_curve(rows).items()}
    spare = _spare([style for style in looks.values() if style.label])
    chosen: dict[str, Look] = {}
    taken: set[object] = set()  # labels, and what prints show
    for slug, style in looks.items():
        if not style.label or style.label in taken:
            style = _twin(replace(style, label=slug.replace("_", " ")), spare, taken)
        elif in_print(style) in taken:
            style = _unlike(style, [one.marker for one in looks.values()], taken)
        taken |= {style.label, in_print(style)}
        chosen[slug] = replace(style, label=(labels or {}).get(slug, style.label))
    return chosen


def _spare(looks: Iterable[Look]) -> Iterator[Look]:
    """Looks without end. Colours and markers that `looks` lack come first."""
    colors = sorted(_COLORS, key=lambda color: color in {look.color for look in looks})
    markers = sorted(MARKERS, key=lambda marker: marker in {look.marker for look in looks})
    for number in itertools.count():
        rounds, place = divmod(number, len(markers))
        shift = rounds // len(TWIN_LINES)  # the same line and marker again: another colour
        line, size = TWIN_LINES[rounds % len(TWIN_LINES)], _TWIN_SIZES[number % len(_TWIN_SIZES)]
        yield Look(colors[(number + shift) % len(colors)], markers[place], line, size=size)


def _twin(style: Look, spare: Iterator[Look], taken: Collection[object]) -> Look:
    """The look with colour, marker and line of the first spare one that nothing in `taken` has in print."""
    found = (
        replace(style, color=of.color, marker=of.marker, line=of.line, size=max(style.size, of.size)) for of in spare
    )
    tries = len(MARKERS) * len(TWIN_LINES)
    return next((one for one in itertools.islice(found, tries) if in_print(one) not in taken), None) or next(found)


def _unlike(style: Look, used: Collection[str], taken: Collection[object]) -> Look:
    """The look with another marker, or without one with another line, that nothing in `taken` has in print."""
    if not style.marker:
        found = (replace(style, line=line) for line in _BARE_LINES)
    else:
        markers = sorted(MARKERS, key=lambda marker: marker in used)
        found = (replace(style, marker=marker, size=max(style.size, _TWIN_SIZES[0])) for marker in markers)
    return next((one for one in found if in_print(one) not in taken), style)


def line_of(style: Look) -> Style:
    """How Matplotlib draws the line of a curve."""
    return {"color": style.color, "linestyle": style.line, "linewidth": style.width}


def marker_of(style: Look) -> Style:
    """How Matplotlib draws the points of a curve: full, a ring, or half full."""
    found: Style = {"marker": style.marker or None, "markersize": style.size, "markerfacecolor": style.color}
    if style.half and style.marker:
        return found | {"fillstyle": "top" if style.open_marker else "left", "markerfacecoloralt": "white"}
    return found | ({"markerfacecolor": "white"} if style.open_marker else {})
