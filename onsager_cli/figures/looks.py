"""How curves look: colour, marker, line and legend text of each (network, shrinkage), from the records of networks.

The colours are Okabe and Ito's, which colour-blind readers tell apart. Curves that often coincide have markers of
different sizes, the smaller drawn later, so that each stays visible.
"""

import itertools
from collections.abc import Iterable, Mapping
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
# What native complex numbers change: fine dots, where the same network on the real embedding has a line, and a line
# with dots where it has dots itself.
COMPLEX_LINE, COMPLEX_DOTS = (0, (1, 1)), "-."
# For networks without a look and for curves that would otherwise look alike.
_SPARE = tuple(
    Look(color, marker) for color, marker in zip((SKY, YELLOW, GREEN, PURPLE, ORANGE, GREY), "dP*H8p", strict=True)
)
TWIN_LINES = ("-.", "-", "--", ":")  # of twins, each for as many as there are spare colours


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
        return _SPARE[0]
    if kind.family:
        kind, network = _networks()[kind.family], kind.family
    # The name of the curve alone tells what VAMP was told.
    looks = kind.looks.get(MATCHED if row.get("curve") == MATCHED else network, {})
    style = looks.get(family.name if family else shrinkage) or looks.get("")
    if style is None and not shrinkage:
        return _SPARE[0]
    style = style or replace(_SPARE[0], label=f"{network.upper()}-{of_family}")
    if network == kind.untrained and tied is not None:  # an algorithm has nothing to tie
        style = replace(style, label=f"{style.label}, tuned")
    elif tied:
        style = replace(style, label=f"{style.label}, tied")
    elif tied is not None:
        style = replace(style, label=f"{style.label}, untied", line="--", size=style.size + _RING, open_marker=True)
    if row.get("embedding") == "complex":
        line = COMPLEX_DOTS if style.line == ":" else COMPLEX_LINE
        style = replace(style, label=f"{style.label}, complex", line=line)
    return style


def styles(rows: Iterable[Row], labels: Mapping[str, str] | None = None) -> dict[str, Look]:
    """Slug → look, in order of appearance, no two alike: a later twin has its slug and a spare colour.

    `labels` (slug → text) are what the legend calls curves.
    """
    looks = {slug: style_of(points[0]) for slug, points in by_curve(rows).items()}
    colors = {style.color for style in looks.values() if style.label}
    # Colours that nobody has come first.
    spare = enumerate(itertools.cycle(sorted(_SPARE, key=lambda style: style.color in colors)))
    chosen: dict[str, Look] = {}
    taken: set[str] = set()
    for slug, style in looks.items():
        if not style.label or style.label in taken:
            (number, look), name = next(spare), slug.replace("_", " ")
            # The line lets one below show: twins are often alike.
            line = TWIN_LINES[number // len(_SPARE) % len(TWIN_LINES)]
            style = replace(style, color=look.color, marker=look.marker, line=line, label=name)
        taken.add(style.label)
        chosen[slug] = replace(style, label=(labels or {}).get(slug, style.label))
    return chosen


def line_of(style: Look) -> Style:
    """How Matplotlib draws the line of a curve."""
    return {"color": style.color, "linestyle": style.line, "linewidth": style.width}


def marker_of(style: Look) -> Style:
    """How Matplotlib draws the points of a curve; a ring is open in the middle."""
    filled = "white" if style.open_marker else style.color
    return {"marker": style.marker or None, "markersize": style.size, "markerfacecolor": filled}
