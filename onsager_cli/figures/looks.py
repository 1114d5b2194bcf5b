"""How curves look: colour, marker, line and legend text of each (network, shrinkage).

The colours are Okabe and Ito's, which colour-blind readers tell apart.
"""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from onsager_cli.config.names import MATCHED

BLACK, GREY, ORANGE, SKY, GREEN = "#000000", "#6e6e6e", "#E69F00", "#56B4E9", "#009E73"


BLUE, VERMILLION, PURPLE, YELLOW = "#0072B2", "#D55E00", "#CC79A7", "#B8A800"


@dataclass(frozen=True)
class Style:
    """How one curve looks."""

    color: str
    marker: str = "o"
    line: str | tuple[int, tuple[int, ...]] = "-"
    width: float = 1.0
    size: float = 3.6
    open_marker: bool = False
    label: str = ""


# (network, shrinkage) → look; None as shrinkage: whatever the shrinkage is. Curves that often coincide have
# markers of different sizes, the smaller drawn later, so that each stays visible.
STYLES: dict[tuple[str, str | None], Style] = {
    ("lista", None): Style(VERMILLION, "s", size=3.0, label="LISTA"),
    ("lamp", "soft"): Style(ORANGE, "v", size=3.3, label="LAMP-$\\ell_1$"),
    ("lamp", "exp"): Style(PURPLE, "<", size=5.6, label="LAMP-exp"),
    ("lamp", "pwlin"): Style(GREEN, "^", size=4.2, label="LAMP-pwlin"),
    ("lamp", "spline"): Style(SKY, "D", size=3.6, label="LAMP-spline"),
    ("lamp", "bg"): Style(BLUE, "o", size=2.8, label="LAMP-BG"),
    ("lvamp", "soft"): Style(YELLOW, "X", label="LVAMP-$\\ell_1$"),
    ("lvamp", "pwlin"): Style(ORANGE, ">", size=5.0, label="LVAMP-pwlin"),
    ("lvamp", "bg"): Style(PURPLE, "h", size=2.8, label="LVAMP-BG"),
    ("amp", "soft"): Style(GREY, "x", label="AMP-$\\ell_1$"),
    ("amp", "pwlin"): Style(GREY, "1", size=5.0, label="AMP-pwlin"),
    ("amp", "bg"): Style(SKY, "2", size=5.0, label="AMP-BG"),
    ("vamp", "soft"): Style(BLUE, "o", label="VAMP-$\\ell_1$"),
    ("vamp", "bg"): Style(GREY, "+", ":", size=2.7, label="VAMP-BG"),
    (MATCHED, "bg"): Style(BLACK, "+", ":", size=2.7, label="matched VAMP"),
    ("em_vamp", None): Style(BLACK, "x", ":", size=2.7, label="EM-VAMP"),
    ("ista", None): Style(VERMILLION, "s", label="ISTA"),
    ("fista", None): Style(GREEN, "^", label="FISTA"),
    ("oracle", None): Style(BLACK, "", "-", 0.9, label="support oracle"),
    ("lmmse", None): Style(GREY, "", "-.", 0.9, label="LMMSE"),
    ("cnn", None): Style(YELLOW, "", "--", 0.9, label="CNN"),
    ("state_evolution", None): Style(BLACK, "", ":", 0.6, label="state evolution"),
}


# Other spellings that tables may hold.
_SYNONYMS = {"l1": "soft", "lvamp_gh": "lvamp"}


_NAMES = {"amp": "AMP", "vamp": "VAMP", "lamp": "LAMP", "lvamp": "LVAMP", "bg": "BG", "soft": "$\\ell_1$"}


# What untied changes in the look: dashes, and a ring that shows around a coinciding tied marker.
UNTIED: dict[str, Any] = {"line": "--", "open_marker": True}


_RING = 1.3


# What native complex numbers change: fine dots, where the same network on the real embedding has a line, and a line
# with dots where it has dots itself.
COMPLEX_LINE, COMPLEX_DOTS = (0, (1, 1)), "-."


# For networks from elsewhere and for curves that would otherwise look alike.
_SPARE = tuple(
    Style(color, marker)
    for color, marker in zip((SKY, YELLOW, GREEN, PURPLE, ORANGE, GREY), "dP*H8p", strict=True)
)


def style_of(row: Mapping[str, Any]) -> Style:
    """Look and legend text of the curve that `row` belongs to; label "" if its network is not in STYLES."""
    style = _style_of(row)
    if row.get("embedding") == "complex" and style.label:
        line = COMPLEX_DOTS if style.line == ":" else COMPLEX_LINE
        return replace(style, label=f"{style.label}, complex", line=line)
    return style


def _style_of(row: Mapping[str, Any]) -> Style:
    network, shrinkage = (_SYNONYMS.get(row.get(key) or "", row.get(key)) for key in ("network", "shrinkage"))
    if network == "vamp" and row.get("curve") == MATCHED:  # the name alone says what it was told
        network = MATCHED
    style = STYLES.get((network or "", shrinkage)) or STYLES.get((network or "", None))
    if style is None and network in _NAMES and shrinkage:
        style = replace(_SPARE[0], label=f"{_NAMES[network]}-{_NAMES.get(shrinkage, shrinkage)}")
    if style is None:
        return _SPARE[0]
    if network == "state_evolution":
        algorithm = row["curve"].partition("_")[0]
        name = f"{_NAMES.get(algorithm, algorithm)}-{_NAMES.get(shrinkage or '', shrinkage)}"
        return replace(style, label=f"{style.label}, {name}")
    tied = row.get("tied")
    if network == "amp" and tied is not None:
        return replace(style, label=f"{style.label}, tuned")
    # An algorithm that nobody trained has nothing to tie; its name alone says all.
    if tied is None or network not in ("lista", "lamp", "lvamp"):
        return style
    if tied:
        return replace(style, label=f"{style.label}, tied")
    return replace(style, label=f"{style.label}, untied", size=style.size + _RING, **UNTIED)


def styles(rows: Iterable[Mapping[str, Any]], labels: Mapping[str, str] | None = None) -> dict[str, Style]:
    """slug → style in order of appearance, no two alike: a later twin has its slug and a spare colour.

    `labels` (slug → text) say what the legend calls them.
    """
    first: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        first.setdefault(row["curve"], row)
    looks = {slug: style_of(row) for slug, row in first.items()}
    colors = {style.color for style in looks.values() if style.label}
    # Colours that nobody has come first.
    spare = itertools.cycle(sorted(_SPARE, key=lambda style: style.color in colors))
    chosen: dict[str, Style] = {}
    told: set[str] = set()
    for slug, style in looks.items():
        if not style.label or style.label in told:
            look, name = next(spare), slug.replace("_", " ")
            # The line lets one below show: twins are often alike.
            style = replace(style, color=look.color, marker=look.marker, line="-.", label=name)
        told.add(style.label)
        chosen[slug] = replace(style, label=(labels or {}).get(slug, style.label))
    return chosen
