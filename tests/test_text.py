"""Words for people: times, sizes, cells, tables, templates."""

import pytest

from onsager_cli.text import cell, clock, markdown_table, render, size_binary, size_decimal


def test_times_and_sizes():
    assert [clock(s) for s in (-1, 45, 59.6, 185, 7380)] == ["0 s", "45 s", "1:00 min", "3:05 min", "2:03 h"]
    assert [size_binary(n) for n in (1, 12 * 2**20, 2**29, 3.4 * 2**30)] == ["1 MiB", "12 MiB", "0.5 GiB", "3.4 GiB"]
    assert [size_decimal(n) for n in (5, 999, 1500, 34_000, 1_230_000, 1.2e9)] == [
        "5 B", "999 B", "1.5 kB", "34 kB", "1.2 MB", "1.2 GB",
    ]  # fmt: skip


def test_cells_and_tables():
    assert [cell(value) for value in (None, True, 1 / 3, 7, "x")] == ["", "true", "0.333333", "7", "x"]
    assert markdown_table(["a", "b"], [["x|y", "1"]]) == "| a | b |\n| --- | ---: |\n| x\\|y | 1 |"
    assert markdown_table(["", ""], []) == "|  |  |\n| --- | --- |"
    assert markdown_table(["a", "b", "c"], [], right=("b",)).endswith("| --- | ---: | --- |")


def test_a_template_takes_values_as_they_are_and_needs_all_of_them():
    assert "{{ 1 }} <b> & |" in render("claims.md.j2", summary="{{ 1 }} <b> & |", table="")
    with pytest.raises(Exception, match="'table' is undefined"):
        render("claims.md.j2", summary="")
