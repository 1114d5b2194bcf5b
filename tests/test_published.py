"""Published numbers beside ours: only where network, problem and samples are the same."""

from pathlib import Path

import pytest
from test_record import LISTA, experiment, rows, rows_of  # noqa: F401

from onsager_cli.cli import bench
from onsager_cli.config.load import load_experiment
from onsager_cli.record.pages import readme
from onsager_cli.record.published import REFERENCES, comparisons


def test_results_are_held_against_published_numbers_with_their_sign(rows):  # noqa: F811  # the fixture
    found = {(item.curve, item.source): item for item in comparisons(rows)}
    assert [slug for slug, _ in found] == ["lista_tied", "oracle", "oracle"]
    lista = found["lista_tied", "third-party run of the authors' code, same instance"]
    assert lista.layers == (1, 2, 3, 4, 5, 6)
    assert lista.differences == pytest.approx((0.011, 0.008, -0.047, 0.021, 0.034, -0.031))
    text = readme(experiment(), rows, {})
    assert "The largest difference is -0.05 dB (layer 3). Negative means a lower NMSE here." in text
    assert "The largest difference is -0.06 dB. Negative" in text  # the oracle of the plot script, -45.97
    assert ["+0.011", "+0.008", "-0.047", "+0.021", "+0.034", "-0.031"] in [
        [cell.strip() for cell in line.strip("|").split("|")][1:] for line in text.splitlines()
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"instance": "seeded"},
        {"problem": "kappa100"},
        {"tied": False},
        {"network": "lamp"},
        {"nmse_db": None},
        {"curve": "lista_tied_estimated"},
    ],
)
def test_nothing_is_compared_with_what_it_is_not(change):
    table = rows_of("lista_tied", "lista", "threshold", True, LISTA)
    assert comparisons(table)
    assert comparisons([row | change for row in table]) == []


def test_every_reference_is_found_by_a_curve_of_its_kind():
    for reference in REFERENCES:
        values = list(reference.values) if reference.first else reference.values[0]
        table = rows_of(
            reference.curve, reference.network, reference.shrinkage, reference.tied, values, problem=reference.problem
        )  # fmt: skip
        layers = dict(zip(range(1, 100), reference.layers, strict=False)) or {
            row["layer"]: row["layer"] for row in table
        }
        table = [{**row, "layer": layers[row["layer"]]} for row in table]
        (match,) = [item for item in comparisons(table, reference.experiment) if item.source == reference.source]
        assert match.there == reference.values
        assert set(match.differences) == {0.0}


def test_a_variant_of_a_network_is_not_compared_with_the_network():
    """In the columns of a table, a variant is the network that it is a variant of; the name tells them apart."""
    table = [
        row
        for name in ("lamp_tied_bg", "lamp_tied_bg_no_onsager", "lamp_joint_bg", "lamp_tied_bg_estimated")
        for row in rows_of(name, "lamp", "bg", True, LISTA)
    ]
    assert [found.curve for found in comparisons(table)] == ["lamp_tied_bg"]
    text = readme(experiment(), table, {})
    assert "`lamp_tied_bg` against: " in text
    assert text.count(" against: ") == 1


def test_the_names_of_references_are_names_of_curves():
    """A curve that is renamed would lose its comparison silently."""
    names = {reference.curve for reference in REFERENCES}
    single = {
        load_experiment(words.split()).curves[0].slug
        for words in (
            "network=lista", "network=lamp shrinkage=bg", "network=vamp shrinkage=bg", "network=oracle",
            *(f"+experiment=rivals only=[{name}]" for name in ("alista", "alista_at", "aglista")),
            "+experiment=rivals_na only=[na_alista]",
        )
    }  # fmt: skip
    assert names == single


def test_published_numbers_are_typed_in_once():
    assert {"lista": REFERENCES[0].values, "lamp-bg": REFERENCES[1].values} == bench.PUBLISHED
    package = Path(bench.__file__).parents[1]
    typed = [path.name for path in package.rglob("*.py") if "-34.373" in path.read_text()]
    assert typed == ["published.py"]


def test_logs_are_of_their_experiment_alone():
    """Numbers of the NA-ALISTA authors' setting stand beside the experiment of that setting, and nowhere else."""
    table = [
        {"curve": "alista", "network": "alista", "shrinkage": "threshold", "tied": None, "layer": layer, "problem": "gaussian",
         "instance": "seeded", "seed": seed, "nmse_db": -float(layer)}
        for seed in (0, 1) for layer in (1, 3, 8)
    ]  # fmt: skip
    (found,) = comparisons(table, "rivals")
    assert (found.layers, found.here, found.there) == ((1, 8), (-1.0, -8.0), (-4.269, -32.424))
    assert comparisons(table, "rivals_kappa15") == comparisons(table) == []
