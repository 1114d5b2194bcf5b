"""What `figure.*` asks of any drawing: size, type, style sheet, legend, markers, heading, letters, formats."""

import struct
from typing import Any

import numpy as np
import pytest
from matplotlib.lines import Line2D
from matplotlib.text import Text

from onsager_cli.config.figure import FigureSpec
from onsager_cli.config.load import load_experiment
from onsager_cli.errors import UserError
from onsager_cli.figures import curves
from onsager_cli.figures.kinds import implementation_of
from onsager_cli.figures.layout import laid_out, styled
from onsager_cli.record import pages


def rows(count: int = 6) -> list[dict]:
    return [
        {
            "curve": f"lamp_tied_{family}", "network": "lamp", "shrinkage": family, "tied": True, "layer": t,
            "nmse_db": -4.0 * t - k, "nmse_db_se": 0.1, "problem": "gaussian", "instance": "seeded", "seed": 0, "steps": 1,
        }
        for k, family in enumerate(("bg", "pwlin", "soft"))
        for t in range(1, count + 1)
    ]  # fmt: skip


def spec(*overrides: str) -> FigureSpec:
    return load_experiment(["network=lamp", *overrides]).figure


def drawn(*overrides: str):
    figure = spec(*overrides)
    with styled(figure):
        return laid_out(curves.build(figure, rows()), figure)


def test_nothing_asked_changes_nothing(tmp_path):
    figure = spec()
    plain = curves.build(figure, rows())
    with styled(figure):
        same = laid_out(curves.build(figure, rows()), figure)
    for name, drawing in (("plain", plain), ("same", same)):
        curves.save(drawing, tmp_path, name, ("svg",))
    assert (tmp_path / "plain.svg").read_bytes() == (tmp_path / "same.svg").read_bytes()


def test_size(tmp_path):
    drawing = drawn("figure.width=7", "figure.height=3")
    assert tuple(drawing.get_size_inches()) == (7, 3)
    curves.save(drawing, tmp_path, "f", ("png",))
    width, height = struct.unpack(">II", (tmp_path / "f.png").read_bytes()[16:24])
    assert (width, height) == (2100, 900)  # 300 dots per inch
    assert drawn("figure.width=7").get_size_inches()[1] == drawn().get_size_inches()[1]


def test_font_size():
    before, after = (
        sorted(float(text.get_fontsize()) for text in drawn(*words).findobj(Text) if text.get_text())
        for words in ((), ("figure.font_size=16",))
    )
    np.testing.assert_allclose(after, 2 * np.array(before))


@pytest.mark.parametrize(("place", "count"), [("none", 0), ("right", 1), ("below", 1), ("above", 1)])
def test_legend(place, count):
    drawing = drawn(f"figure.legend={place}")
    assert len(drawing.legends) == count
    for legend in drawing.legends:
        assert [text.get_text() for text in legend.get_texts()] == [
            "LAMP-BG, tied",
            "LAMP-pwlin, tied",
            "LAMP-$\\ell_1$, tied",
        ]


def test_legend_inside_and_its_columns():
    drawing = drawn("figure.legend=inside", "figure.legend_columns=3")
    assert not drawing.legends
    legend: Any = drawing.axes[0].get_legend()
    assert legend._ncols == 3


def test_markers():
    found: list[Any] = drawn("figure.mark_every=3").axes[0].findobj(Line2D)
    lines = [line for line in found if len(line.get_xdata()) == 6]
    assert {line.get_markevery() for line in lines} == {3}
    assert len(lines) == 3


def test_a_legend_has_one_marker_of_each_curve():
    (legend,) = drawn("figure.mark_every=1").legends
    handles: list[Any] = list(legend.legend_handles)
    assert [handle.get_markevery() for handle in handles] == [[1]] * 3  # of the three points of its line


def test_heading_and_letters():
    assert drawn("figure.heading=true", "figure.title=Mine").get_suptitle() == "Mine"
    assert drawn("figure.title=Mine").get_suptitle() == ""
    experiment = load_experiment(["+experiment=mismatch", "figure.letters=true"])
    table = [
        {"panel": panel, "condition": "", "key": "problem.snr_db", "value": value, "nmse_db": -3.0, **rows()[0]}
        for panel in ("SNR", "activity") for value in ("0", "10")
    ]  # fmt: skip
    drawing = laid_out(
        implementation_of(experiment).draw(experiment.figure, [], {"mismatch": table}), experiment.figure
    )
    letters = [axes.get_title(loc="left") for axes in drawing.axes]
    assert letters == ["(a)", "(b)"]


def test_style_sheet(tmp_path):
    """On top of the paper's: a key that it does not set stays."""
    (tmp_path / "own.mplstyle").write_text("axes.linewidth: 3\n")
    axes = drawn(f"figure.style={tmp_path / 'own.mplstyle'}").axes[0]
    assert axes.spines["left"].get_linewidth() == 3
    assert axes.xaxis.label.get_fontfamily() == drawn().axes[0].xaxis.label.get_fontfamily()
    with (
        pytest.raises(UserError, match=r"figure\.style must be a file .* got 'nothing'"),
        styled(spec("figure.style=nothing")),
    ):
        pass


def test_formats(tmp_path, caplog):
    curves.save(drawn(), tmp_path, "f", ("eps",))
    assert (tmp_path / "f.eps").read_bytes().startswith(b"%!PS-Adobe")
    first = (tmp_path / "f.eps").read_bytes()
    curves.save(drawn(), tmp_path, "f", ("eps",))
    assert (tmp_path / "f.eps").read_bytes() == first


def test_pgf_without_latex(tmp_path, monkeypatch):
    """It measures its text by LaTeX: without that, one line says so."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"f\.pgf.*LaTeX"):
        curves.save(drawn(), tmp_path, "f", ("pgf",))
    assert not (tmp_path / "f.pgf").exists()


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("figure.width=0", r"figure\.width must be at least 1, got 0"),
        ("figure.font_size=big", r"figure\.font_size must be a number, got 'big'"),
        ("figure.legend=left", r"figure\.legend must be below, above, right, inside or none, got 'left'"),
        ("figure.mark_every=0", r"figure\.mark_every must be at least 1, got 0"),
        ("plot.formats=[gif]", r"plot\.formats"),
    ],
)
def test_mistakes(word, said):
    with pytest.raises(UserError, match=said):
        spec(word)


def test_a_page_draws_by_them(tmp_path):
    experiment = load_experiment(["network=lamp", "shrinkage=bg", "figure.width=5"])
    (path,) = pages.draw(experiment, rows(), {}, tmp_path, ("png",))
    assert struct.unpack(">I", path.read_bytes()[16:20]) == (1500,)


def test_what_is_no_style_sheet_is_refused_and_the_figure_stays(tmp_path, capfd):
    (tmp_path / "bad.csv").write_text("1,2\n3\n")
    experiment = load_experiment(["network=lamp", "shrinkage=bg"])
    (path,) = pages.draw(experiment, rows(), {}, tmp_path, ("png",))
    before = path.read_bytes()
    other = load_experiment(["network=lamp", "shrinkage=bg", f"figure.style={tmp_path / 'bad.csv'}"])
    with pytest.raises(UserError, match=r"figure\.style=.*bad\.csv is not a style sheet of Matplotlib: Missing colon"):
        pages.draw(other, rows(), {}, tmp_path, ("png",))
    assert path.read_bytes() == before
    assert capfd.readouterr().err == ""


def test_no_room_for_the_axes(tmp_path):
    experiment = load_experiment(["network=lamp", "shrinkage=bg", "figure.width=1", "figure.legend=right"])
    with pytest.raises(UserError, match=r"figure\.width=1 and figure\.height=2\.\d+ leave no room for the axes"):
        pages.draw(experiment, rows(), {}, tmp_path, ("png",))
    assert not list(tmp_path.iterdir())
