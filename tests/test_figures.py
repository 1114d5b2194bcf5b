"""Figures: reproducible bytes, every curve and label there, nothing under the legend, honest when cut off."""

import io
import math
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation

from onsager_cli.config.figure import FigureSpec
from onsager_cli.errors import UserError
from onsager_cli.figures.curves import FORMATS, USUAL_FORMATS, build, save, y_limits
from onsager_cli.figures.looks import style_of, styles
from onsager_cli.kinds.records import NetworkKind
from onsager_cli.kinds.registry import find


def curve(slug, network, shrinkage, tied, values):
    return [
        {
            "curve": slug,
            "network": network,
            "shrinkage": shrinkage,
            "tied": tied,
            "layer": layer,
            "nmse_db": value,
            "nmse_db_se": 0.2,
        }
        for layer, value in enumerate(values, 1)
    ]


def level(slug, network, value):
    return [{"curve": slug, "network": network, "shrinkage": None, "tied": None, "layer": None, "nmse_db": value}]


def falling(floor, rate, depth=15, start=-5.0):
    return [10 * math.log10(10 ** ((start - rate * t) / 10) + 10 ** (floor / 10)) for t in range(depth)]


def fig10():
    rows = curve("lista_tied", "lista", "threshold", True, falling(-38, 2.4))
    for number, family in enumerate(("soft", "exp", "pwlin", "spline", "bg")):
        rows += curve(f"lamp_tied_{family}", "lamp", family, True, falling(-40 - number, 5.5))
    for family in ("pwlin", "bg"):
        rows += curve(f"lamp_untied_{family}", "lamp", family, False, falling(-45.5, 6))
    return rows + level("oracle", "oracle", -45.97)


def fig9():
    diverging = [-4.0, -5, -4, -1, 3, 9, 17, 26, 34, *([36.0] * 21)]
    return curve("amp_l1", "amp", "soft", None, diverging) + curve(
        "lista_tied", "lista", "threshold", True, falling(-30, 1.9, 20)
    )


def spec(name="fig", **options):
    return FigureSpec(**{"kind": "curves", "name": name, "hidden": (), "metric": "nmse_db", "error": "band", **options})


def draw(figure, rows, folder, formats=USUAL_FORMATS):
    return save(build(figure, rows), folder, figure.name, formats)


def labels(drawing: Figure) -> list[str]:
    return [text.get_text() for text in drawing.legends[0].get_texts()]


def line_of(drawing: Figure, label: str):
    (line,) = [line for line in drawing.axes[0].get_lines() if line.get_label() == label]
    return line


def x_of(drawing: Figure, label: str) -> list[float]:
    return np.asarray(line_of(drawing, label).get_xdata()).tolist()


def y_of(drawing: Figure, label: str) -> list[float]:
    return np.asarray(line_of(drawing, label).get_ydata()).tolist()


def rendered(drawing: Figure) -> Figure:
    drawing.savefig(io.BytesIO(), format="png")
    return drawing


def test_every_curve_is_drawn_with_its_points_and_named():
    drawing = build(spec(), fig10())
    assert labels(drawing) == [
        "LISTA, tied",
        "LAMP-$\\ell_1$, tied",
        "LAMP-exp, tied",
        "LAMP-pwlin, tied",
        "LAMP-spline, tied",
        "LAMP-BG, tied",
        "LAMP-pwlin, untied",
        "LAMP-BG, untied",
        "support oracle",
    ]
    assert x_of(drawing, "LAMP-BG, untied") == list(range(1, 16))
    assert y_of(drawing, "LAMP-BG, untied") == falling(-45.5, 6)
    assert set(y_of(drawing, "support oracle")) == {-45.97}
    assert drawing.axes[0].get_ylabel() == "NMSE (dB)"
    assert drawing.axes[0].get_xlabel() == "layer"


def test_tied_and_untied_differ_without_colour_and_families_differ_in_colour():
    drawing = build(spec(), fig10())
    tied, untied = line_of(drawing, "LAMP-BG, tied"), line_of(drawing, "LAMP-BG, untied")
    assert tied.get_color() == untied.get_color()
    assert (tied.get_linestyle(), untied.get_linestyle()) == ("-", "--")
    assert to_hex(untied.get_markerfacecolor()) == "#ffffff" != to_hex(tied.get_markerfacecolor())
    lamp = list(find(NetworkKind, "lamp").looks["lamp"].values())
    assert len({style.color for style in lamp}) == len({style.marker for style in lamp}) == len(lamp)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [fig10(), fig9(), fig9()[:1], level("oracle", "oracle", -46.0)])
@pytest.mark.parametrize("options", [{}, {"inset": (9.5, 15.5, -46.4, -43)}])
def test_the_legend_and_the_inset_cover_no_point(rows, options):
    drawing = rendered(build(spec(**options), rows))
    axes = drawing.axes[0]
    boxes = [drawing.legends[0].get_window_extent(), *(inset.get_window_extent() for inset in axes.child_axes)]
    assert len(boxes) == 1 + len(options)
    axes_box = axes.get_window_extent()
    assert not boxes[0].overlaps(axes_box)
    for row in rows:
        position = axes.transData.transform((row["layer"] or 1, row["nmse_db"]))
        assert not any(box.contains(*position) for box in boxes)
    # The legend itself is whole, inside the paper, and keeps the axes at their usual size.
    paper = drawing.bbox
    assert boxes[0].x0 >= paper.x0
    assert boxes[0].x1 <= paper.x1
    assert boxes[0].y0 >= paper.y0
    assert axes_box.height / drawing.dpi > 2.0
    assert drawing.get_figwidth() == 3.5


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "pgf"])  # pgf needs LaTeX
def test_the_same_table_gives_the_same_bytes_and_another_gives_others(tmp_path, kind, monkeypatch):
    (first,) = draw(spec(), fig9(), tmp_path / "a", [kind])
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")  # as if drawn at another time
    (second,) = draw(spec(), fig9(), tmp_path / "b", [kind])
    changed = fig9()
    changed[-1] = changed[-1] | {"nmse_db": -20.0}
    (third,) = draw(spec(), changed, tmp_path / "c", [kind])
    assert first.name == f"fig.{kind}"
    assert first.read_bytes() == second.read_bytes() != third.read_bytes()


def test_the_user_s_own_matplotlib_settings_do_not_leak_in(tmp_path):
    import matplotlib

    (first,) = draw(spec(), fig9(), tmp_path / "a", ["svg"])
    with matplotlib.rc_context({"font.size": 20, "lines.linewidth": 9, "svg.hashsalt": "x"}):
        (second,) = draw(spec(), fig9(), tmp_path / "b", ["svg"])
        assert matplotlib.rcParams["font.size"] == 20
    assert first.read_bytes() == second.read_bytes()


def test_a_half_trained_figure_draws_what_is_there():
    rows = [row for row in fig10() if row["layer"] in (1, 2, 5) and row["curve"] != "lamp_tied_bg"]
    drawing = build(spec(), [*rows, *curve("lamp_tied_bg", "lamp", "bg", True, [None])])
    assert "LAMP-BG, tied" not in labels(drawing)
    assert "support oracle" not in labels(drawing)
    assert x_of(drawing, "LISTA, tied") == [1, 2, 5]


def test_nothing_to_draw_and_unknown_formats_are_said(tmp_path):
    with pytest.raises(UserError, match="fig: nothing to draw"):
        draw(spec(), [], tmp_path)
    with pytest.raises(UserError, match="fig: nothing to draw"):
        draw(spec(hidden=["oracle"]), level("oracle", "oracle", -46.0), tmp_path)
    with pytest.raises(UserError, match=r"plot\.formats must be of pdf, svg, png, eps, pgf, got jpg"):
        draw(spec(), fig9(), tmp_path, ["png", "jpg"])
    assert list(tmp_path.iterdir()) == []


def test_hidden_curves_are_not_drawn():
    assert "LISTA, tied" not in labels(build(spec(hidden=("lista_tied",)), fig10()))


def test_a_diverging_curve_is_cut_off_with_a_note_and_squeezes_nobody():
    drawing = build(spec(), fig9())
    low, high = drawing.axes[0].get_ylim()
    assert (low, high) == (-35.0, 5.0)
    (note,) = drawing.axes[0].texts
    assert isinstance(note, Annotation)
    assert note.get_text() == "to 36 dB"
    assert 5 < note.xy[0] < 6
    assert note.xy[1] == high


@pytest.mark.parametrize("last", [math.inf, math.nan])
def test_an_overflow_is_drawn_as_divergence(last, tmp_path):
    rows = curve("amp_l1", "amp", "soft", None, [-4.0, 2.0, last, last]) + fig10()
    assert [note.get_text() for note in build(spec(), rows).axes[0].texts] == ["diverges"]
    assert draw(spec(), rows, tmp_path, ["png"])[0].stat().st_size > 10_000


def test_a_figure_where_nothing_diverges_has_no_note():
    assert list(build(spec(), fig10()).axes[0].texts) == []


@pytest.mark.parametrize(
    ("values", "limits"),
    [
        ([-5.6, -45.97], (-50, 0)),
        ([-20.0, -0.5], (-25, 5)),
        ([-4.0, 4.9, 300.0, math.inf], (-10, 5)),
        ([30.0, 40.0], (25, 45)),
        ([-46.0], (-50, -40)),
        ([], (-15, 5)),
    ],
)
def test_limits_are_round_and_ignore_divergence(values, limits):
    assert y_limits(values) == limits


def test_given_limits_labels_and_axes_win():
    drawing = build(spec(xlim=(0, 7), ylim=(-30, 0), xlabel="iteration", labels={"lista_tied": "ours"}), fig10())
    axes = drawing.axes[0]
    assert axes.get_xlim() == (0, 7)
    assert axes.get_ylim() == (-30, 0)
    assert axes.get_xlabel() == "iteration"
    assert labels(drawing)[0] == "ours"


def test_a_long_run_on_a_logarithmic_axis_has_few_markers():
    rows = curve("ista", "ista", "threshold", None, falling(-36, 0.01, 6000))
    drawing = rendered(build(spec(xscale="log"), rows))
    axes = drawing.axes[0]
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "iteration"
    assert axes.get_xlim()[1] > 6000
    assert [text.get_text() for text in axes.get_xticklabels()][1:5] == ["1", "10", "100", "1000"]
    assert line_of(drawing, "ISTA").get_markevery() is not None
    assert len(x_of(drawing, "ISTA")) == 6000


def test_the_band_spans_one_standard_error():
    rows = curve("lista_tied", "lista", "threshold", True, [-5.0, -9.0])
    drawing = build(spec(), rows)
    (band,) = drawing.axes[0].collections
    box = band.get_datalim(drawing.axes[0].transData)
    assert (box.y0, box.y1) == pytest.approx((-9.2, -4.8))
    level = build(spec(), [rows[0] | {"layer": None}])
    (span,) = level.axes[0].patches
    assert isinstance(span, Rectangle)
    assert (span.get_y(), span.get_height()) == pytest.approx((-5.2, 0.4))
    unknown = [row | {"nmse_db_se": error} for row, error in zip(rows, (None, math.inf), strict=True)]
    assert not build(spec(), unknown).axes[0].collections


def test_bars_span_one_standard_error():
    rows = curve("lista_tied", "lista", "threshold", True, [-5.0, -9.0])
    (bars,) = build(spec(error="bars"), rows).axes[0].collections
    assert isinstance(bars, LineCollection)
    np.testing.assert_allclose([line[:, 1] for line in bars.get_segments()], [(-5.2, -4.8), (-9.2, -8.8)])


def test_another_metric_can_be_drawn():
    rows = [row | {"nmse_mean_ratio_db": -3.0} for row in fig9()]
    assert set(y_of(build(spec(metric="nmse_mean_ratio_db"), rows), "LISTA, tied")) == {-3.0}


def test_a_twin_has_a_colour_that_nobody_has_a_line_that_shows_the_other_and_the_label_it_is_given():
    rows = [
        row
        for name in ("first", "second", "third", "lvamp_tied_bg")
        for row in curve(name, "lvamp" if "lvamp" in name else "lamp", "bg", True, [-5.0, -9.0])
    ]
    rows = [row for pair in zip(rows[0::2], rows[1::2], strict=True) for row in pair]  # by layer, not by curve
    chosen = styles(rows, {"second": "LAMP-BG, otherwise"})
    assert list(chosen) == ["first", "second", "third", "lvamp_tied_bg"]
    assert [look.label for look in chosen.values()] == [
        "LAMP-BG, tied", "LAMP-BG, otherwise", "third", "LVAMP-BG, tied",
    ]  # fmt: skip
    assert len({look.color for look in chosen.values()}) == 4
    assert [look.line for look in chosen.values()] == ["-", "-.", "-.", "-"]


def test_no_two_curves_look_alike_even_from_unknown_networks():
    rows = []
    for slug in ("lamp_tied_bg", "lamp_tied_bg_joint", "lamp_tied_bg_paper"):
        rows += curve(slug, "lamp", "bg", True, [-5.0])
    for slug in ("mine_a", "mine_b"):
        rows += curve(slug, "my_network", "my_family", None, [-5.0])
    chosen = styles(rows)
    assert [style.label for style in chosen.values()] == [
        "LAMP-BG, tied",
        "lamp tied bg joint",
        "lamp tied bg paper",
        "mine a",
        "mine b",
    ]
    assert len({(style.color, style.marker) for style in chosen.values()}) == 5


@pytest.mark.parametrize(
    ("network", "shrinkage", "tied", "label"),
    [
        ("amp", "soft", None, "AMP-$\\ell_1$"),
        ("amp", "soft", True, "AMP-$\\ell_1$, tuned"),
        ("lamp", "l1", False, "LAMP-$\\ell_1$, untied"),
        ("amp", "bg", None, "AMP-BG"),
        ("matched_vamp", "bg", None, "matched VAMP"),
        ("lvamp", "pwlin", False, "LVAMP-pwlin, untied"),
        ("ista", "threshold", None, "ISTA"),
        ("unknown", None, None, ""),
    ],
)
def test_names(network, shrinkage, tied, label):
    assert style_of({"network": network, "shrinkage": shrinkage, "tied": tied}).label == label


def test_only_what_is_named_matched_is_called_so():
    row = {"network": "vamp", "shrinkage": "bg", "tied": None}
    looks = styles([row | {"curve": slug, "layer": 1} for slug in ("matched_vamp", "vamp_bg")])
    assert [look.label for look in looks.values()] == ["matched VAMP", "VAMP-BG"]
    assert len({look.color for look in looks.values()}) == 2


@pytest.mark.parametrize("window", [(14.5, 15.2, -45.6, -43.2), (7.9, 8.1, -44.001, -44.0), (1, 100, -1e4, 100)])
def test_tick_labels_of_an_inset_do_not_overlap_and_name_whole_layers(window):
    inset = rendered(build(spec(inset=window), fig10())).axes[0].child_axes[0]
    layers, decibels = (
        [tick for tick in ticks if tick.get_text()] for ticks in (inset.get_xticklabels(), inset.get_yticklabels())
    )
    assert all(float(tick.get_text()).is_integer() for tick in layers)
    assert len(decibels) >= 3
    for ticks in (layers, decibels):
        boxes = [tick.get_window_extent() for tick in ticks]
        assert not any(one.overlaps(other) for one, other in pairwise(boxes))
    assert inset.yaxis.get_offset_text().get_text() == ""
