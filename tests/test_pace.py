"""What curves take on this machine, as far as such curves were trained here before."""

import json

import pytest

from onsager_cli.config.load import load_experiment
from onsager_cli.run.pace import COMPILE_SECONDS, FILE, Pace
from onsager_cli.training.resources import Needs

NEEDS = Needs("c", {}, {}, 0.0, 1e10, programs=2)
PROMISED = 10 + 2 * COMPILE_SECONDS  # at 1e9 operations per second


@pytest.fixture
def curves():
    """A tied network, an untied one and LISTA."""
    words = (["network=lamp"], ["network=lamp", "network.tied=false"], ["network=lista"])
    return [load_experiment(word).curves[0] for word in words]


def test_a_new_machine_knows_nothing(tmp_path, curves):
    pace = Pace(tmp_path, 1, 1e9)
    assert not any(map(pace.knows, curves))
    assert pace.seconds(curves[0], NEEDS) == pytest.approx(PROMISED)
    assert Pace(tmp_path, 2, 1e9).seconds(curves[0], NEEDS) == pytest.approx(20 + 2 * COMPILE_SECONDS)


def test_a_curve_takes_what_its_like_took_and_others_what_is_usual(tmp_path, curves):
    tied, untied, lista = curves
    Pace(tmp_path, 1, 1e9).note(tied, NEEDS, 2 * PROMISED)
    Pace(tmp_path, 1, 1e9).note(untied, NEEDS, 4 * PROMISED)
    pace = Pace(tmp_path, 1, 1e9)
    assert [pace.knows(curve) for curve in curves] == [True, True, False]
    assert [pace.seconds(curve, NEEDS) / PROMISED for curve in curves] == pytest.approx([2, 4, 3])
    pace.note(tied, NEEDS, 4 * PROMISED)
    assert Pace(tmp_path, 1, 1e9).seconds(tied, NEEDS) == pytest.approx(3 * PROMISED)
    assert not Pace(tmp_path, 2, 1e9).knows(tied)  # side by side is another pace
    del lista


def test_the_start_is_no_measure(tmp_path, curves):
    Pace(tmp_path, 1, 1e9).note(curves[0], NEEDS, 1.0)
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", '{"x": {"y": null}}', '{"a": {"b": [1]}}', '{"a": 3}', "[" * 100_000, '{"a": {"b": 1e999}}',
     json.dumps({"a": {"b": 10**400}})],
    ids=range(10),
)  # fmt: skip
def test_a_damaged_file_says_nothing(tmp_path, curves, text):
    (tmp_path / FILE).write_text(text)
    pace = Pace(tmp_path, 1, 1e9)
    assert pace.seconds(curves[0], NEEDS) == pytest.approx(PROMISED)
    pace.note(curves[0], NEEDS, 2 * PROMISED)
    assert Pace(tmp_path, 1, 1e9).knows(curves[0])
