"""Curves of one figure are told apart without colour, and curves that coincide stay visible."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import slow
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from test_figures import curve, labels, spec

from onsager_cli.config.experiment import Experiment
from onsager_cli.figures import sizes
from onsager_cli.figures.curves import build
from onsager_cli.figures.kinds import implementation_of, kind_of
from onsager_cli.figures.looks import in_print, marker_of, style_of, styles
from onsager_cli.run.redraw import recorded, tables_of

ROOT = Path(__file__).parents[1] / "experiments"
DRAWN = sorted(path.parent.name for path in ROOT.glob("*/*.svg"))


@cache
def experiments() -> dict[str, Experiment]:
    return {experiment.name: experiment for experiment in recorded(ROOT)}


@cache
def drawing(name: str) -> Figure:
    experiment = experiments()[name]
    return implementation_of(experiment).draw(experiment.figure, *tables_of(ROOT / name))


def named(drawing: Figure) -> list[list[Any]]:
    """The lines of each axes that a legend names."""
    return [[line for line in axes.get_lines() if not str(line.get_label()).startswith("_")] for axes in drawing.axes]


def without_colour(line: Any) -> tuple[object, ...]:
    """Line, marker and filling of a line, as a grey print shows them."""
    marked = line.get_marker() not in ("None", "", None)
    filled = (line.get_fillstyle(), to_hex(line.get_markerfacecolor(), keep_alpha=True) in ("#ffffffff", "#00000000"))
    dashes = line._unscaled_dash_pattern if line.get_linestyle() != "None" else None
    return str(dashes), line.get_marker(), marked and filled


@pytest.mark.slow
@pytest.mark.parametrize("name", slow(*DRAWN, but=["mismatch"]))
def test_no_two_curves_of_a_recorded_figure_need_colour(name):
    for lines in named(drawing(name)):
        seen = {without_colour(line): line.get_label() for line in lines}
        assert len(seen) == len({line.get_label() for line in lines})


@pytest.mark.slow
@pytest.mark.parametrize("name", slow(*DRAWN, but=["fig15c", "mismatch"]))
def test_every_curve_of_a_recorded_figure_shows_a_marker(name):
    if name == "params":  # its points are lines of their own
        return
    for lines in named(drawing(name)):
        assert [line.get_label() for line in lines if line.get_markevery() == []] == []


@pytest.mark.slow
def test_every_recorded_figure_is_looked_at():
    assert sorted(name for name, experiment in experiments().items() if kind_of(experiment).draws) == DRAWN


@pytest.mark.parametrize(
    ("network", "shrinkage", "tied"),
    [("lamp", "bg", True), ("lamp", "bg", False), ("em_vamp", None, None), ("amp", "bg", None), ("lista", "", True)],
)
def test_complex_twins_differ_in_line_and_marker(network, shrinkage, tied):
    row = {"network": network, "shrinkage": shrinkage, "tied": tied}
    real, native = style_of(row | {"embedding": "real"}), style_of(row | {"embedding": "complex"})
    assert real.color == native.color
    assert real.line != native.line
    drawn, twin = marker_of(real), marker_of(native)
    assert "fillstyle" not in drawn
    assert twin["fillstyle"] == ("top" if tied is False else "left")
    assert twin["marker"] not in "x+12"  # which cannot be half full


def test_networks_of_different_families_with_one_marker_get_two():
    rows = curve("cp", "lista_cp", "threshold", True, [-1.0]) + curve("l1", "lamp", "soft", True, [-2.0])
    assert style_of(rows[0]).marker == style_of(rows[1]).marker
    looks = styles(rows)
    assert len({look.marker for look in looks.values()}) == 2
    assert looks["l1"].color == style_of(rows[1]).color


def test_many_predictions_without_markers_have_lines_of_their_own():
    rows = [
        {"curve": f"{name}_state_evolution", "network": "state_evolution", "shrinkage": "bg", "layer": 1}
        for name in ("amp_bg", "vamp_bg", "amp_bg_2")
    ]
    assert len({in_print(look) for look in styles(rows).values()}) == 3


def shown(drawing: Figure) -> dict[str, list[int]]:
    """Curve → the points whose markers are drawn."""
    found = {}
    for line in drawing.axes[0].get_lines():
        every: Any = line.get_markevery()
        found[str(line.get_label())] = list(range(len(np.asarray(line.get_xdata())))) if every is None else every
    return found


def of(*levels: float, depth: int = 8, step: float = -4.0) -> list[dict]:
    """Tied LAMP-BG and twins of it, each so much (dB) above the first."""
    return [
        row
        for number, above in enumerate(levels)
        for row in curve(f"c{number}", "lamp", "bg", True, [step * t + above for t in range(1, depth + 1)])
    ]


def test_markers_of_curves_apart_are_all_shown():
    assert set(map(tuple, shown(build(spec(), of(0, 8))).values())) == {tuple(range(8))}


def test_markers_of_two_coinciding_curves_take_turns():
    assert list(shown(build(spec(), of(0, 0.1))).values()) == [[0, 2, 4, 6], [1, 3, 5, 7]]


def test_a_curve_that_leaves_the_others_shows_all_its_markers_from_there():
    rows = of(0, 0)
    rows = [row if row["curve"] == "c0" or row["layer"] < 5 else row | {"nmse_db": -9.0} for row in rows]
    assert list(shown(build(spec(), rows)).values()) == [[0, 2, 4, 5, 6, 7], [1, 3, 4, 5, 6, 7]]


def test_many_coinciding_curves_all_show_markers():
    found = shown(build(spec(), of(*[0.0] * 10)))
    assert len(found) == 10
    assert all(found.values())
    assert sorted({index for indices in found.values() for index in indices}) == list(range(8))


def test_the_legend_has_the_marker_of_a_curve_that_shows_few():
    legend: Any = build(spec(), of(0, 0.1)).legends[0]
    assert all(handle.get_marker() not in ("None", "") for handle in legend.legend_handles)
    assert [handle for handle in legend.legend_handles if handle.get_markevery() == []] == []


def test_points_that_are_no_numbers_take_no_turns():
    rows = of(0, 0)
    rows[3]["nmse_db"] = rows[11]["nmse_db"] = float("nan")
    assert all(shown(build(spec(), rows)).values())


def test_the_legend_of_params_explains_pale_markers():
    assert "pale: not identifiable" in labels(drawing("params"))


def test_the_legend_of_detection_explains_the_markers():
    legend: Any = drawing("fig15").axes[1].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["threshold for 0.001 false alarms"]


def test_layers_of_the_figure_over_sizes_differ_without_colour():
    rows = [
        {"size": f"n{N}", "method": "lvamp", "N": N, "evolution": "vamp", "network": "lvamp", "shrinkage": "bg",
         "tied": True, "layer": t, "nmse_db": -9.0, "nmse_db_se": 0.1, "gap_db": 0.2, "log_odds_zero": 1.0 + t / N,
         "prior_log_odds": 2.2}
        for N in (250, 500) for t in range(1, 7)
    ]  # fmt: skip
    lines = named(sizes.draw(spec(), [], {"sizes": rows}))[1]
    assert len({without_colour(line) for line in lines}) == 7  # and the prior
