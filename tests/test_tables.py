"""Tables: typed round trips; a broken one names file, line and column."""

from typing import Any

import numpy as np
import pytest

from onsager_cli.errors import UserError
from onsager_cli.store.tables import COLUMNS, all_trainings, csv_bytes, read_csv, read_table, trainings, write_table

ROW = {
    "curve": "lamp_tied_bg",
    "network": "lamp",
    "shrinkage": "bg",
    "tied": True,
    "layer": 3,
    "nmse_db": -17.51138,
    "nmse_db_se": 0.0123456789,
    "nmse_mean_ratio_db": -16.5,
    "problem": "gaussian",
    "instance": "authors2017",
    "seed": 0,
    "steps": 2000,
    "seconds": 123.456789,
    "parameters": 125006,
}


def test_a_table_comes_back_typed(tmp_path):
    rows = [
        ROW,
        ROW | {"layer": 4, "tied": False, "curve": 'quote,"comma'},
        {"curve": "oracle", "nmse_db": -46.03},
        ROW | {"curve": "amp_l1", "tied": None, "nmse_db": float("inf"), "nonconverged": 2},
    ]
    write_table(tmp_path / "t.csv", rows)
    back = read_table(tmp_path / "t.csv")
    assert list(back[0]) == list(COLUMNS)
    assert back[0] == dict.fromkeys(COLUMNS) | ROW | {"nmse_db": -17.5114, "nmse_db_se": 0.0123457, "seconds": 123.457}
    assert back[1]["tied"] is False
    assert back[1]["curve"] == 'quote,"comma'
    assert back[2]["layer"] is None
    assert back[2]["nmse_db"] == -46.03
    assert back[3]["nmse_db"] == np.inf
    assert back[3]["nonconverged"] == 2
    write_table(tmp_path / "again.csv", back)
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "t.csv").read_bytes()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("layer", "leyer", "t.csv: column layer is missing"),
        ("rescued", "steps", "t.csv: column steps appears twice"),
        (",3,", ",three,", "t.csv, line 2, column layer: must be a whole number, got 'three'"),
        (",3,", ",3.5,", "line 2, column layer: must be a whole number"),
        ("-17.5114", "-17.5dB", "line 2, column nmse_db: must be a number, got '-17.5dB'"),
        ("true", "True", "line 2, column tied: must be true, false or empty, got 'True'"),
        (",2000,", ",2000,,", f"line 2: {len(COLUMNS) + 1} fields, the header has {len(COLUMNS)}"),
        ("lamp_tied_bg", '"lamp', "not a CSV table"),
    ],
)
def test_a_broken_table_names_file_line_and_column(tmp_path, old, new, message):
    path = tmp_path / "t.csv"
    write_table(path, [ROW])
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        read_table(path)


def test_two_rows_for_one_point_and_bytes_that_are_no_text_are_refused(tmp_path):
    write_table(tmp_path / "t.csv", [ROW, ROW | {"layer": 4}, ROW | {"nmse_db": -1.0}])
    with pytest.raises(UserError, match="line 4: the same point as line 2"):
        read_table(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not a CSV table in UTF-8"):
        read_table(tmp_path / "t.csv")


def test_a_later_version_s_columns_are_kept_as_text(tmp_path):
    path = tmp_path / "t.csv"
    write_table(path, [ROW])
    header, row = path.read_text().splitlines()
    path.write_text(f"{header},unit\n{row},1e3\n")
    assert read_table(path)[0]["unit"] == "1e3"


@pytest.mark.parametrize(
    ("change", "error"),
    [({"nmse": 1}, ValueError), ({"tied": "true"}, TypeError), ({"layer": 1.5}, TypeError), ({"curve": 3}, TypeError)],
)
def test_rows_of_the_wrong_shape_are_not_written(tmp_path, change, error):
    with pytest.raises(error):
        write_table(tmp_path / "t.csv", [ROW | change])
    assert not (tmp_path / "t.csv").exists()


def test_any_table_is_read_as_text_with_its_lines(tmp_path):
    (tmp_path / "t.csv").write_bytes(csv_bytes([{"a": 'x,"\ny', "b": 1 / 3}, {"b": None}, {"a": True, "b": 2}]))
    assert read_csv(tmp_path / "t.csv") == (
        ["a", "b"], [(3, ['x,"\ny', "0.333333"]), (4, ["", ""]), (5, ["true", "2"])],
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"unknown columns \['c'\]; known columns are a, b"):
        csv_bytes([{"a": 1, "b": 2}, {"c": 3}])
    (tmp_path / "t.csv").write_text("a,b\n1,2\n\n1\n")
    with pytest.raises(UserError, match="line 4: 1 fields, the header has 2"):
        read_csv(tmp_path / "t.csv")


def test_a_network_is_one_training_per_matrix_whatever_it_is_called():
    def curve(name: str, depth: int, **more: Any) -> list[dict[str, Any]]:
        return [
            dict.fromkeys(COLUMNS) | ROW | {"curve": name, "layer": t, "seconds": 10.0 * t, "steps": t} | more
            for t in range(1, depth + 1)
        ]

    oracle = curve("oracle", 1, layer=None, steps=0, seconds=0.0)
    shallow, deep = trainings([*curve("a", 3), *oracle]), trainings(curve("b", 5))
    assert list(shallow) == list(deep)
    assert (*shallow.values(), *deep.values()) == (30.0, 50.0)
    assert list(all_trainings([deep, shallow]).values()) == [50.0]
    assert len(trainings([*curve("a", 3), *curve("a", 3, seed=1), *curve("c", 3, nmse_db=-1.0)])) == 3
