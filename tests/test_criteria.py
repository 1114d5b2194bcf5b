"""The vocabulary of claims, against numbers worked out by hand, and every mistake that a claims file can hold."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onsager_cli.claims.criteria import LIMITS, VERBS, parse
from onsager_cli.claims.measures import Data, Limits, Range
from onsager_cli.claims.recorded import NotRecordedError, Record
from onsager_cli.errors import UserError
from onsager_cli.store.tables import write_table

CURVES = {
    "a": {1: -1.0, 2: -4.0, 3: -9.0, 4: -10.0},
    "b": {1: -2.0, 2: -3.0, 3: -5.0, 4: -11.5, 5: -12.0},
    "c": {1: -6.0, 2: -5.0, 3: -4.0, 4: -3.0},
    "flat": {None: -7.0},
    "gap": {1: -1.0, 2: -2.0, 5: -9.0},
    "thin": {1: -1.0, 60: -9.0, 80: -10.5, 90: -11.0},
    "lost": {1: -1.0, 2: math.nan, 3: math.nan},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Data:
    folder = tmp_path_factory.mktemp("record")
    rows = [{"curve": slug, "layer": t, "nmse_db": v} for slug, of in CURVES.items() for t, v in of.items()]
    write_table(folder / "mine" / "curves.csv", rows)
    write_table(folder / "other" / "curves.csv", [{"curve": "a", "layer": 2, "nmse_db": -40.0}])
    (folder / "mine" / "cells.csv").write_text("name,size,tied,value\nx,1,true,3\nx,2,false,4.5\ny,1,false,\n")
    return Data(Record(folder), "mine", "nmse_db")


def series(data: Data, **raw) -> dict:
    """Layer → value, a range where it is one."""
    (check,) = parse({**raw, "at_least": 0}, "here")
    return check.measure.series(data)


@pytest.mark.parametrize(
    ("raw", "values"),
    [
        ({"value": "a"}, CURVES["a"]),
        ({"value": "other/a"}, {2: -40}),
        ({"difference": ["a", "b"]}, {1: 1, 2: -1, 3: -4, 4: 1.5}),
        ({"gap": ["a", "b"]}, {1: 1, 2: 1, 3: 4, 4: 1.5}),
        ({"difference": ["a", "flat"]}, {1: 6, 2: 3, 3: -2, 4: -3}),
        ({"difference": ["flat", "flat"]}, {None: 0}),
        ({"lowest": ["a", "b", "c"]}, {1: -6, 2: -5, 3: -9, 4: -11.5}),
        ({"highest": ["a", "b", "c"]}, {1: -1, 2: -3, 3: -4, 4: -3}),
        ({"spread": ["a", "b", "c"]}, {1: 5, 2: 2, 3: 5, 4: 8.5}),
        ({"order": ["b", "a", "c"]}, {1: -5, 2: -1, 3: -4, 4: 1.5}),
        ({"step": "a"}, {2: 3, 3: 5, 4: 1}),
        ({"limit": "b"}, {None: -12}),
        ({"difference": ["b", {"limit": "b"}], "layers": 3}, {3: 7}),
        ({"value": "b", "layers": "2..3"}, {2: -3, 3: -5}),
        ({"value": "b", "layers": "4.."}, {4: -11.5, 5: -12}),
        ({"difference": ["a", "b"], "layers": "last"}, {4: 1.5}),
        ({"value": "b", "when": {"step": "a", "more_than": 2}}, {2: -3, 3: -5}),
        ({"value": "b", "take": "max"}, {None: -2}),
        ({"value": "b", "layers": "2..4", "take": "min"}, {None: -11.5}),
        ({"value": "b", "take": "mean"}, {None: -6.7}),
        ({"value": "b", "take": "median"}, {None: -5}),
        ({"difference": [{"difference": ["a", "b"]}, "c"], "layers": 1}, {1: 7}),
        ({"difference": [{"value": "a", "layers": 1, "take": "max"}, {"value": "b", "take": "min"}]}, {None: 11}),
        ({"first": "a", "reaches": -4}, {None: 2}),
        ({"first": "a", "reaches": -10.5}, {None: (5, math.inf)}),
        ({"first": "c", "exceeds": -5}, {None: 3}),
        ({"first": "gap", "reaches": -5}, {None: (3, 5)}),
        ({"first": "thin", "reaches": -10}, {None: 80}),
        ({"first": "thin", "reaches": -10.2}, {None: (61, 80)}),
        ({"first": "lost", "exceeds": 0}, {None: 2}),
        ({"first": "lost", "reaches": -5}, {None: (4, math.inf)}),
        ({"ratio": [{"first": "a", "reaches": -9}, {"first": "c", "reaches": -5}]}, {None: 3}),
        ({"ratio": [{"first": "a", "reaches": -20}, {"first": "gap", "reaches": -5}]}, {None: (1, math.inf)}),
        ({"column": "value", "table": "mine/cells.csv", "where": {"name": "x"}}, {"line 2": 3, "line 3": 4.5}),
        ({"column": "value", "table": "mine/cells.csv", "where": {"tied": True}}, {"line 2": 3}),
        ({"column": "size", "table": "mine/cells.csv", "where": {"size": [2.0, 7]}}, {"line 3": 2}),
    ],
)  # fmt: skip
def test_measures(raw, values, data):
    found = series(data, **raw)
    wanted = {t: value if isinstance(value, tuple) else (value, value) for t, value in values.items()}
    assert list(found) == list(wanted)
    for t, value in found.items():
        assert tuple(value) == pytest.approx(wanted[t]), t


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"value": "a", "layers": "2..5"}, "no layer 5 of a"),
        ({"difference": ["a", "b"], "layers": 5}, "no layer 5 of a"),
        ({"value": "gap", "layers": "1.."}, "no layer 3 of gap"),
        ({"difference": ["gap", {"value": "a", "layers": "3..4"}]}, "no layer in common"),
        ({"value": "a", "when": {"step": "a", "more_than": 9}}, "no layer fulfils `when`"),
        ({"value": "fig8/cnn"}, "fig8/curves.csv is not there"),
        ({"first": "flat", "reaches": -5}, "a level has no first layer"),
        ({"value": "nothing/a"}, "nothing/curves.csv is not there"),
        ({"value": "fig8/lamp_tied_l1"}, "fig8/curves.csv is not there"),
        ({"column": "value", "table": "mine/none.csv"}, "mine/none.csv is not there"),
        ({"column": "value", "table": "mine/cells.csv", "where": {"name": "z"}}, "no row with name='z'"),
        ({"column": "value", "table": "mine/cells.csv", "where": {"name": "y"}}, "value is empty in line 4"),
    ],
)
def test_what_is_not_recorded(raw, words, data):
    with pytest.raises(NotRecordedError, match=words):
        series(data, **raw)


@pytest.mark.parametrize(
    ("limits", "value", "margin", "holds"),
    [
        ({"at_least": 2}, 2, 0, True),
        ({"more_than": 2}, 2, 0, False),
        ({"at_most": 2}, 2.5, -0.5, False),
        ({"more_than": 0, "at_most": 1}, 1, 0, True),
        ({"more_than": 0, "at_most": 1}, 0, 0, False),
        ({"between": [-0.3, 0.3]}, -41.7 + 42.0, 0, True),  # 0.3 but for rounding
        ({"about": "25 ± 2"}, 26, 1, True),
        ({"about": "4402 ± 10 %"}, 3806, -155.8, False),
        ({"about": "-4 +- 25%"}, -4.5, 0.5, True),
        ({"at_least": 2}, Range(1, 9), -1, False),
        ({"at_least": 2}, Range(21, math.inf), 19, True),
        ({"at_most": 30}, Range(21, math.inf), -math.inf, False),
        ({"at_least": 2}, math.nan, -math.inf, False),
    ],
)
def test_limits(limits, value, margin, holds):
    (check,) = parse({"value": "a", **limits}, "here")
    value = value if isinstance(value, Range) else Range.of(value)
    assert check.limits.margin(value) == pytest.approx(margin)
    assert check.limits.hold(value) is holds


def test_the_worst_layer_decides(data):
    (check,) = parse({"difference": ["a", "b"], "at_most": 1}, "here")
    outcome = check.run(data)
    assert (outcome.at, outcome.value.low, outcome.margin, outcome.holds) == (4, 1.5, -0.5, False)


def test_for_repeats_a_check_for_every_combination():
    checks = parse(
        {"for": {"x": ["a", "b"], "t": [1, 2]}, "difference": ["{x}", "lamp_{x}"], "layers": 3, "about": "{t} ± 0"},
        "here",
    )
    assert [next(iter(check.measure.curves())) for check in checks] == ["a", "a", "b", "b"]
    assert [check.limits for check in checks] == [Limits(1, 1), Limits(2, 2)] * 2


GOOD = {"value": "a", "layers": 1, "at_least": 0}
MISTAKES = {
    "no mapping": ("holds", ["group of keys", "'holds'"]),
    "nothing": ([], ["at least one check"]),
    "verb": ({"vlaue": "a", "at_least": 0}, ["needs one verb", "'vlaue'", "did you mean value?"]),
    "no verb": ({"at_least": 0}, ["needs one verb", "value, step"]),
    "two verbs": ({**GOOD, "step": "a"}, ["needs one verb", "value or step"]),
    "key": ({**GOOD, "lyers": 2}, ["value has no key 'lyers'", "did you mean layers?"]),
    "key of another verb": ({**GOOD, "reaches": 2}, ["value has no key 'reaches'"]),
    "no limit": ({"value": "a"}, ["needs a limit", "at_least"]),
    "limit as text": ({**GOOD, "at_least": "much"}, ["at_least must be a number", "'much'"]),
    "between one number": ({"value": "a", "between": [1]}, ["between must be [low, high]", "[1]"]),
    "between the wrong way": ({"value": "a", "between": [2, 1]}, ["the limits allow no number: 2 to 1"]),
    "about without a width": ({"value": "a", "about": 25}, ["about must be like 25 ± 2", "25"]),
    "layers": ({**GOOD, "layers": "ten"}, ["layers must be like 10, 2..20", "'ten'"]),
    "layer zero": ({**GOOD, "layers": 0}, ["layers must be", "got 0"]),
    "layers the wrong way": ({**GOOD, "layers": "9..2"}, ["layers must be", "'9..2'"]),
    "take": ({**GOOD, "take": "avg"}, ["take must be every, max", "'avg'"]),
    "one curve of two": ({"difference": ["a"], "at_least": 0}, ["difference takes a list of two curves", "['a']"]),
    "three curves of two": ({"gap": ["a", "b", "c"], "at_least": 0}, ["gap takes a list of two"]),
    "list for one": ({"value": ["a", "b"], "at_least": 0}, ["value takes one curve"]),
    "curve as number": ({"value": 3, "at_least": 0}, ["names of curves", "got 3"]),
    "first without a level": ({"first": "a", "at_most": 3}, ["first needs one level in dB, either reaches or exceeds, got neither"]),
    "column without a table": ({"column": "x", "at_most": 3}, ["table must be EXPERIMENT/NAME.csv", "null"]),
    "table elsewhere": ({"column": "x", "table": "../../x.csv", "at_most": 3}, ["table must be", "../../x.csv"]),
    "where": ({"column": "x", "table": "a/b.csv", "where": "c", "at_most": 3}, ["where must map columns"]),
    "when": ({**GOOD, "when": "late"}, ["when must be a measure with limits", "'late'"]),
    "for": ({**GOOD, "for": ["a"]}, ["for must map names to lists"]),
    "for lists": ({**GOOD, "for": {"s": [["a"]]}}, ["for must map names to lists of words"]),
    "for nothing": ({**GOOD, "for": {"s": ["a"]}}, ["for.s", "{s}"]),
    "in a nested measure": ({"ratio": [{"first": "a"}, "b"], "at_least": 0}, ["here, ratio", "reaches or exceeds"]),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(name):
    raw, fragments = MISTAKES[name]
    with pytest.raises(UserError) as error:
        parse(raw, "here")
    line = str(error.value)
    assert line.startswith("here")
    assert "\n" not in line
    for fragment in fragments:
        assert fragment in line


WORDS = st.sampled_from([*VERBS, *LIMITS, "layers", "take", "when", "for", "table", "where", "reaches", "exceeds"])
LEAVES = st.one_of(
    st.sampled_from(["a", "b", "other/a", "mine/cells.csv", "value", "2..3", "last", "max", "1 ± 2", "{s}", "", "..", "±"]),
    st.none(), st.booleans(), st.integers(-2, 5), st.floats(), st.text(max_size=3),
)  # fmt: skip
CHECKS = st.recursive(LEAVES, lambda x: st.lists(x, max_size=3) | st.dictionaries(WORDS, x, max_size=4), max_leaves=8)


@given(st.dictionaries(WORDS, CHECKS, min_size=1, max_size=4))
def test_whatever_a_criterion_holds_it_is_run_or_refused_in_one_line(data, raw):
    said = "run"
    try:
        for check in parse(raw, "here"):
            check.run(data)
    except (UserError, NotRecordedError) as error:
        said = str(error)
    assert said
    assert said.isprintable()


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"value": "aa"}, r"mine has no curve 'aa' \(did you mean a\?\)"),
        ({"value": "cnn"}, r"mine has no curve 'cnn': a, b, c, flat, gap, thin or lost"),
        ({"value": "fig8/lamp_tied_l2"}, r"fig8 has no curve 'lamp_tied_l2' \(did you mean lamp_tied_l1\?\)"),
        ({"column": "valeu", "table": "mine/cells.csv"}, r"no column 'valeu' \(did you mean value\?\)"),
        ({"column": "value", "table": "mine/cells.csv", "where": {"nmae": 1}}, r"no column 'nmae'"),
        ({"column": "name", "table": "mine/cells.csv"}, r"line 2, column name: must be a number, got 'x'"),
    ],
)
def test_names_that_nothing_has(raw, words, data):
    with pytest.raises(UserError, match=words):
        series(data, **raw)
