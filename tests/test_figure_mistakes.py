"""Figures that cannot be drawn as they are asked for, and labels that need room."""

import contextlib
import itertools
import re

import pytest
import yaml
from conftest import slow
from matplotlib.axis import Axis
from test_figures import curve, draw, fig10, level, rendered, spec

from onsager_cli.config.catalog import package_conf
from onsager_cli.config.figure import make_figure
from onsager_cli.errors import Notice, UserError
from onsager_cli.figures.costs import draw as draw_costs
from onsager_cli.figures.curves import build, save
from onsager_cli.figures.params_drawing import PANELS
from onsager_cli.figures.params_drawing import draw as draw_params


def test_mathematics_that_cannot_be_drawn_is_said(tmp_path):
    with pytest.raises(UserError, match=r"fig: .*\\nothing"):
        draw(spec(xlabel=r"$\nothing$"), fig10(), tmp_path, ("svg",))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "words"),
    [(RecursionError("deep"), "deep"), (OverflowError("large\nmore"), "large"), (KeyError(), "KeyError")],
)
def test_what_matplotlib_raises_is_one_line(tmp_path, monkeypatch, error, words):
    def fail(*_args, **_kwargs):
        raise error

    drawing = build(spec(), fig10())
    monkeypatch.setattr(drawing, "savefig", fail)
    with pytest.raises(
        UserError, match=rf"^fig cannot be drawn \({words}\): look at figure.labels, .* and figure.inset$"
    ):
        save(drawing, tmp_path, "fig")


def test_formulas_in_formulas_are_drawn_or_refused_in_one_line(tmp_path):
    with contextlib.suppress(UserError):
        draw(spec(xlabel=f"${'{' * 95}x{'}' * 95}$"), fig10(), tmp_path, ["svg"])


def test_limits_that_leave_out_a_curve_are_told():
    rows = curve("lista_tied", "lista", "threshold", True, [-5.0, -9.0]) + level("oracle", "oracle", -46.0)
    with pytest.warns(Notice, match=r"^fig: figure.ylim=\[-50,-40\] leaves out lista_tied: write figure.ylim=null$"):
        build(spec(ylim=(-50, -40)), rows)
    with pytest.warns(Notice, match=r"^fig: figure.xlim=\[3,4\] leaves out lista_tied: write figure.xlim=null$"):
        build(spec(xlim=(3, 4)), rows)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"ylim": [-1e308, 1e308]}, "figure.ylim must be within ±1e+06"),
        ({"xlim": [1, 1]}, "figure.xlim must be two numbers in rising order, got [1.0, 1.0]"),
        ({"inset": [3, 1, 0, -10]}, "figure.inset must be [layer from, to, dB from, to], each pair in rising order"),
        ({"inset": [1, 3, 0, -10]}, "figure.inset must be [layer from, to, dB from, to], each pair in rising order"),
        ({"inset": [0, 1e308, -1e308, 1e308]}, "figure.inset must be within ±1e+06"),
        ({"xlim": [0, 3], "xscale": "log"}, "figure.xlim must begin above 0 for figure.xscale=log, got [0.0, 3.0]"),
        ({"xlabel": "x" * 201}, "figure.xlabel must have at most 200 characters"),
        ({"labels": {"a": "x" * 201}}, "figure.labels.a must have at most 200 characters"),
        ({"labels": {"a": "_x"}}, "figure.labels.a must not begin with _, got '_x'"),
        ({"title": "x" * 1001}, "figure.title must have at most 1000 characters"),
    ],
)
def test_looks_that_no_figure_has(raw, words):
    usual = yaml.safe_load((package_conf() / "config.yaml").read_text())["figure"]
    assert make_figure(usual, "fig", ["a"]).name == "fig"
    with pytest.raises(UserError, match=re.escape(words)):
        make_figure({**usual, **raw}, "fig", ["a"])


@pytest.mark.parametrize("adds", [(400, 800), (800, 200), (2_000_000, 300_000), (1000, 100_000)])
def test_labels_of_multiply_adds_do_not_overlap(adds):
    rows = curve("lamp_tied_bg", "lamp", "bg", True, [-2.0, -3.0, -4.0])
    costs = [row | {"multiply_adds": adds[0] + (row["layer"] - 1) * adds[1]} for row in rows]
    assert_room(rendered(draw_costs(spec(), rows, {"costs": costs})).axes[1].xaxis)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("low", "high"), slow((0.98, 1.02), (0.8, 1.3), (0.18, 1.9), (0.1, 2.0), (0.02, 1.0), but=[(0.8, 1.3), (0.1, 2.0)])
)
def test_labels_of_phi_do_not_overlap(low, high):
    table = [
        {"problem": "p", "curve": "c", "tied": False, "layer": layer, "quantity": quantity, "learned": value,
         "prescribed": None, "identifiable": True}
        for quantity in PANELS for layer, value in enumerate((low, high), 1)
    ]  # fmt: skip
    axes = rendered(draw_params(spec(), [], {"params": table})).axes
    assert_room(axes[list(PANELS).index("phi")].yaxis)


def assert_room(axis: Axis) -> None:
    """At least two labels on an axis, and no two of them overlap."""
    low, high = sorted(axis.get_view_interval())
    ticks = [tick for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()) if low <= tick.get_loc() <= high]
    boxes = [tick.label1.get_window_extent() for tick in ticks if tick.label1.get_text()]
    assert len(boxes) >= 2
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
