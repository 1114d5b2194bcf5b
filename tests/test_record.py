"""The published record: complete, generated from the tables alone, and honest about what is missing."""

import re
import subprocess
import sys
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from onsager_cli.config.figure import FigureSpec
from onsager_cli.config.load import load_experiment
from onsager_cli.errors import Notice, UserError
from onsager_cli.record.gallery import write_index
from onsager_cli.record.pages import heading, missing, readme, record
from onsager_cli.store.tables import COLUMNS, read_table
from onsager_cli.text import duration

LISTA = [-6.4, -11.5, -14.7, -17.4, -20.1, -22.3, -24.0, -25.5]
NOTE = {"versions": {"python": "3.11.2", "jax": "0.10.2"}, "machine": {"cpu": "A | B", "cores": 2, "memory_gib": 23.4}}


@dataclass
class Problem:
    kind: str = "bernoulli_gaussian"
    name: str = "gaussian"
    N: int = 500
    M: int = 250
    gamma: float = 0.1
    kappa: float | None = None
    instance: str = "authors2017"


@dataclass
class Training:
    kind: str = "fast"
    batch: int = 500


def curve(slug, depth, seed=0) -> Any:
    settings = SimpleNamespace(
        problem=Problem(), network=SimpleNamespace(depth=depth), training=Training(), seed=seed, precision="highest"
    )
    return SimpleNamespace(slug=slug, settings=settings)


def experiment(*curves, overrides=("+experiment=fig10", "output=/secret/place"), name="fig10", **options) -> Any:
    texts = {"name": name, "title": "i.i.d. Gaussian A", "caption": "LISTA and LAMP."}
    figure = FigureSpec(**{"kind": "curves", "hidden": (), "metric": "nmse_db", **texts, **options})
    return SimpleNamespace(figure=figure, curves=curves, overrides=overrides)


def rows_of(slug, network, shrinkage, tied, values, **more):
    return [
        dict.fromkeys(COLUMNS)
        | {
            "curve": slug,
            "network": network,
            "shrinkage": shrinkage,
            "tied": tied,
            "layer": layer,
            "nmse_db": value,
            "nmse_db_se": 0.04,
            "problem": "gaussian",
            "instance": "authors2017",
            "seed": 0,
            "steps": 1000 * (layer or 0),
            "seconds": 10.0 * (layer or 0),
            "parameters": 125_000,
            "test_samples": 1000,
        }
        | more
        for layer, value in (enumerate(values, 1) if isinstance(values, list) else [(None, values)])
    ]


@pytest.fixture
def rows():
    return rows_of("lista_tied", "lista", "threshold", True, LISTA) + rows_of(
        "oracle", "oracle", None, None, -46.03, steps=0, seconds=0.0
    )


def cells(text, first):
    """The cells after `first` in the table line that starts with it."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_the_record_is_whole_and_the_same_every_time(tmp_path, rows):
    what = experiment(curve("lista_tied", 8), curve("oracle", None))
    made = {("lista_tied", 0): NOTE, ("oracle", 0): NOTE}
    paths = record(what, rows, made, tmp_path / "fig10")
    assert sorted(path.name for path in paths) == ["README.md", "curves.csv", "fig10.png", "fig10.svg"]
    assert sorted(path.name for path in (tmp_path / "fig10").iterdir()) == sorted(path.name for path in paths)
    assert read_table(tmp_path / "fig10" / "curves.csv") == rows
    again = record(what, rows, made, tmp_path / "again")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in paths]


def test_a_page_says_which_curves_fresh_samples_judge(rows):
    assert "fresh samples" not in readme(experiment(), rows, {})
    judged = [row | {"fresh_samples": 20_000} for row in rows]
    assert " Every curve is also tested on 20,000 fresh samples" in readme(experiment(), judged, {})
    some = [row if row["curve"] == "oracle" else row | {"fresh_samples": 20_000} for row in rows]
    assert " Every curve except `oracle` is also tested on 20,000 fresh samples" in readme(experiment(), some, {})
    few = [*some, *(row | {"curve": "other"} for row in rows if row["layer"])]
    assert " Only `lista_tied` is also tested on 20,000 fresh samples" in readme(experiment(), few, {})


def test_a_record_of_another_command_is_not_replaced_without_a_word(tmp_path, rows):
    record(experiment(), rows, {}, tmp_path)
    record(experiment(), rows, {}, tmp_path)  # the same one; a warning would fail the test
    with pytest.warns(Notice, match=r"replaces .*README\.md, which `onsager record \+experiment=fig10` made"):
        record(experiment(overrides=("+experiment=fig10", "problem.snr_db=20")), rows, {}, tmp_path)


def test_the_page_says_how_it_was_made(rows):
    rows = [{**row, "seed": 7} for row in rows]
    text = readme(experiment(curve("lista_tied", 8, seed=7)), rows, {("lista_tied", 7): NOTE | {"device": "cpu"}})
    assert text.startswith("# Fig. 10: i.i.d. Gaussian A\n\n![LISTA and LAMP.](fig10.svg)\n\nLISTA and LAMP. ")
    assert "test set of 1000 samples" in text
    assert "at most 0.04 dB" in text
    assert "onsager train +experiment=fig10\nonsager record +experiment=fig10\n" in text
    assert "secret" not in text
    assert cells(text, "seed") == ["7"]
    assert cells(text, "instance") == ["authors2017"]
    assert cells(text, "problem") == ["gaussian (N 500, M 250, gamma 0.1)"]
    assert cells(text, "schedule") == ["kind fast (batch 500)"]
    assert cells(text, "versions") == ["python 3.11.2, jax 0.10.2"]
    assert "A \\| B, 2 cores, 23.4 GiB memory, cpu" in text
    assert "Incomplete" not in text


def test_a_note_of_another_form_says_nothing(rows):
    text = readme(experiment(curve("lista_tied", 8)), rows, {("lista_tied", 0): {"versions": 3, "machine": ["x"]}})
    assert "| versions |" not in text
    assert "| machine |" not in text


def test_the_page_says_which_seeds_were_made_elsewhere(rows):
    what = experiment(*(curve("lista_tied", 8, seed=seed) for seed in (0, 1, 2)))
    elsewhere = NOTE | {"device": "NVIDIA H200"}
    text = readme(what, rows, {("lista_tied", 0): NOTE, ("lista_tied", 1): elsewhere, ("lista_tied", 2): elsewhere})
    here = "A \\| B, 2 cores, 23.4 GiB memory"
    assert f"| machine | {here} (seed 0); {here}, NVIDIA H200 (seeds 1, 2) |" in text
    assert cells(text, "versions") == ["python 3.11.2, jax 0.10.2"]


def test_the_page_has_the_numbers(rows):
    text = readme(experiment(), rows, {})
    header, lista, oracle = (
        cells(text.split("## Comparison")[0], name) for name in ("curve", "`lista_tied`", "`oracle`")
    )
    assert header == ["1", "2", "3", "4", "5", "6", "8"]
    assert lista == ["-6.40", "-11.50", "-14.70", "-17.40", "-20.10", "-22.30", "-25.50"]
    assert oracle == ["-46.03"] * 7
    cost = text.split("## Training cost")[1]
    assert cells(cost, "`lista_tied`") == ["8", "8,000", "80.0", "125,000"]
    assert cells(cost, "**together**") == ["", "8,000", "80.0 (1 min 20 s)", ""]


def test_the_table_ends_where_every_matrix_has_a_value():
    """Algorithms without training stop at another iteration on each matrix."""
    rows = rows_of("ista", "ista", "soft", None, [-1.0, -2.0, -3.0, -4.0])
    rows += rows_of("ista", "ista", "soft", None, [-1.0, -2.0, -3.0], seed=1)
    table = readme(experiment(), rows, {}).split("## Training cost")[0]
    assert cells(table, "curve") == ["1", "2", "3"]
    assert cells(table, "`ista`") == ["-1.00", "-2.00", "-3.00"]


def test_what_is_missing_is_named(rows):
    curves = (curve("lista_tied", 8), curve("lamp_tied_bg", 15), curve("oracle", None))
    assert missing(curves, rows) == ["lamp_tied_bg"]
    assert missing(curves, rows[4:]) == ["lista_tied: layers 1-4", "lamp_tied_bg"]
    assert missing((curve("lista_tied", 9),), rows) == ["lista_tied: layer 9"]
    assert missing((curve("oracle", None),), rows[:8]) == ["oracle"]
    text = readme(experiment(*curves), rows[:5], {})
    assert "**Incomplete.** Not trained yet: `lista_tied: layers 6-8`; `lamp_tied_bg`; `oracle`." in text


def test_what_a_mean_hides_is_said():
    rows = rows_of("amp_l1", "amp", "soft", None, [-4.0, -6.0], nonconverged=2, nmse_median_db=-6.5, rescued=1)
    text = readme(experiment(hidden=("amp_l1",)), rows, {})
    assert "`amp_l1`, layer 2: 2 of 1000 realizations not converged; median -6.50 dB." in text
    assert "`amp_l1`: a stage diverged and restarted (layer 1)." in text  # `rescued` counts all layers so far
    assert "Recorded but not drawn: `amp_l1`." in text
    assert "not enough" not in text


def test_layers_that_do_harm_are_said():
    rows = rows_of("lamp_tied_bg", "lamp", "bg", True, [-4.0, -6.0, -5.89]) + rows_of(
        "lamp_tied_l1", "lamp", "soft", True, [-4.0, -6.0, -5.91]
    )
    text = readme(experiment(), rows, {})
    assert (
        "`lamp_tied_bg`: -6.00 dB at layer 2, -5.89 dB at the last layer. The NMSE rises after layer 2: the schedule may be"
        in text
    )
    assert text.count("may be too short") == 1
    above = readme(experiment(), rows_of("lamp_tied_bg", "lamp", "bg", True, [-4.0, -6.0, 192.0]), {})
    assert "`lamp_tied_bg`: -6.00 dB at layer 2, 192.00 dB at the last layer. The network diverges." in above
    assert "may be too short" not in above


def test_matrices_that_need_different_numbers_of_iterations():
    rows = rows_of("ista", "ista", "soft", None, [-4.0, -6.0]) + [
        {**row, "seed": 1, "instance": "seeded"} for row in rows_of("ista", "ista", "soft", None, [-4.0, -6.0, -7.0])
    ]
    assert "| `ista` | 2 to 3 |" in readme(experiment(), rows, {})


def test_the_program_s_own_experiments_fit():
    quick = load_experiment(["+experiment=quick"])
    assert missing(quick.curves, []) == [item.slug for item in quick.curves]
    rows = rows_of("oracle", "oracle", None, None, -46.03)
    assert missing(quick.curves, rows) == [item.slug for item in quick.curves if item.slug != "oracle"]
    text = readme(quick, rows, {})
    assert "onsager train +experiment=quick\n" in text
    assert cells(text, "problem")[0].startswith("gaussian (N 500, M 250, gamma 0.1, snr_db 40")
    assert cells(text, "schedule")[0].startswith("kind fast (")
    assert "none" not in cells(text, "schedule")[0]
    assert "descent" not in text
    (lamp,) = [line for line in text.splitlines() if "`lamp_tied_bg`" in line and "optimizer" in line]
    assert "spectral_rates 0.3 0.3 0.2" in lamp


@pytest.mark.slow
def test_a_schedule_is_told_once():
    text = readme(load_experiment(["+experiment=fig10"]), rows_of("oracle", "oracle", None, None, -46.03), {})
    told = [line for line in text.splitlines() if "optimizer adam" in line]
    assert sum("`lamp_tied_bg`" in line for line in told) == 1
    assert any(
        line.startswith("- `lamp_tied_l1`, `lamp_tied_exp`, `lamp_tied_spline`, `lamp_tied_bg`: ") for line in told
    )
    assert not any("compared with" in line for line in told)  # the tied networks are curves of the figure
    alone = load_experiment(["network=lamp", "shrinkage=bg", "network.tied=false"])
    text = readme(alone, rows_of("oracle", "oracle", None, None, -46.03), {})
    assert "- The tied network of `lamp_untied_bg`: optimizer adam" in text


@pytest.mark.parametrize(("kind", "shaded"), [("curves", 1), ("costs", 1), ("detection", 1), ("params", 0)])
def test_a_caption_says_what_is_shaded_wherever_curves_over_layers_are_drawn(rows, kind, shaded):
    what = experiment(curve("lista_tied", 8), curve("oracle", None), kind=kind)
    tables = {"costs": [], "detection": [], "roc": [], "params": []}
    caption = readme(what, rows, {}, tables).split("\n\n")[2]
    assert caption.startswith("LISTA and LAMP.")
    assert caption.count("Shaded is one standard error over the test samples, at most 0.04 dB.") == shaded


def test_tables_figures_and_record_need_no_jax():
    code = (
        "import sys, onsager_cli.store.curves, onsager_cli.figures.curves, onsager_cli.record.pages\n"
        "print(sorted({'jax', 'flax', 'optax', 'matplotlib.pyplot', 'jinja2', 'markdown_it'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_empty_record_is_refused(tmp_path):
    with pytest.raises(UserError, match="fig10: nothing to record"):
        record(experiment(), [], {}, tmp_path / "fig10")
    assert not (tmp_path / "fig10").exists()


def test_a_single_curve_can_be_recorded_without_a_figure_number(tmp_path, rows):
    what = experiment(curve("lista_tied", 8), name="lista_tied-gaussian", overrides=("network=lista",))
    record(what, rows[:8], {}, tmp_path / "x")
    text = (tmp_path / "x" / "README.md").read_text()
    assert text.startswith("# i.i.d. Gaussian A\n")
    assert "onsager train network=lista\n" in text


def test_the_gallery_lists_every_record_in_order(tmp_path, rows):
    for name in ("fig10", "fig9", "fig1a", "params"):
        record(experiment(name=name, caption=f"Caption of {name}."), rows, {}, tmp_path / name)
    (tmp_path / "notes").mkdir()
    text = write_index(tmp_path).read_text()
    assert re.findall(r"^## \[(.*)\]\((.*)\)$", text, re.M) == [
        ("Fig. 1a: i.i.d. Gaussian A", "fig1a/README.md"),
        ("Fig. 9: i.i.d. Gaussian A", "fig9/README.md"),
        ("Fig. 10: i.i.d. Gaussian A", "fig10/README.md"),
        ("i.i.d. Gaussian A", "params/README.md"),
    ]
    assert "Caption of fig9." in text
    assert "2 curves, 1 trained network in 1 min 20 s." in text
    assert "Number of trained networks: 1, trained in 1 min 20 s." in text
    for target in re.findall(r"\]\(([^)]*)\)", text):
        assert (tmp_path / target).is_file()
    assert text == write_index(tmp_path).read_text()


@pytest.mark.slow
def test_a_page_needs_no_docstrings():
    """python -OO drops them."""
    code = (
        "from onsager_cli.figures import params\n"
        "row = {'problem': 'p', 'curve': 'c', 'quantity': 'phi', 'identifiable': False, 'relative_error': 1.0}\n"
        "print(params.page({'params': [row]}))"
    )
    done = subprocess.run([sys.executable, "-OO", "-c", code], capture_output=True, text=True, check=True)
    assert "| linear_map_db " in done.stdout
    assert "costs 0.001 dB in its layer" in done.stdout
    assert "identifiable if `flat_range` is at most 0.1." in done.stdout
    assert "| p | `c` | phi | 0 of 1 |" in done.stdout


def test_small_wordings():
    assert [duration(s) for s in (0, 59.94, 59.96, 200, 3599.6, 7325)] == [
        "0.0 s",
        "59.9 s",
        "1 min 0 s",
        "3 min 20 s",
        "1 h 0 min",
        "2 h 2 min",
    ]
    assert heading("fig1b", "t") == "Fig. 1b: t"
    assert heading("params", "t") == "t"
