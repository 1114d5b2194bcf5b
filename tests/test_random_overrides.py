"""Overrides at random: a command loads, or says in one line why not."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onsager_cli.config.load import load_experiment
from onsager_cli.errors import UserError


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


HEALTH = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
KEYS = [
    "problem", "network", "shrinkage", "training", "+experiment", "problem.N", "problem.M", "problem.gamma",
    "problem.kappa", "problem.instance", "network.depth", "network.tied", "shrinkage.theta", "training.lamp.batch", "seed",
    "only", "figure", "curves", "+curves.x", "plot.formats", "output", "~network.depth", "++network.kind", "+a.b",
    "hydra.searchpath", "hydra/launcher", "hydra.run.dir", "problem@x", "network.depth.deeper",
]  # fmt: skip
VALUES = [
    "gaussian", "kappa15", "lamp", "lista", "oracle", "bg", "soft", "paper", "none", "fig8", "quick", "0", "-1", "3",
    "1e400", "nan", "0.5", "null", "true", "", "[1,2]", "[lista_tied]", "{a:1}", "${seed}", "${nothing}", "a,b", "'",
    "../x", "authors2017", "???", "'network=lamp'", "range(3)", "glob(*)", "é", "\x00",
]  # fmt: skip
OVERRIDE = st.one_of(
    st.builds("{}={}".format, st.sampled_from(KEYS), st.sampled_from(VALUES)),
    st.builds("{}={}".format, st.sampled_from(KEYS), st.text(max_size=6)),
    st.text(max_size=12),
)


def complaint(overrides: list[str]) -> str | None:
    """What is wrong with the overrides, or None."""
    try:
        load_experiment(overrides)
    except UserError as error:
        return str(error)
    return None


def one_line_or_none(text: str | None) -> bool:
    return text is None or (len(text.splitlines()) == 1 and bool(text.strip()))


@settings(max_examples=60, deadline=None, suppress_health_check=HEALTH)
@given(st.lists(OVERRIDE, max_size=4))
def test_random_overrides_load_or_say_why(overrides):
    assert one_line_or_none(complaint(overrides))


@pytest.mark.slow
@settings(max_examples=1000, deadline=None, suppress_health_check=HEALTH)
@given(st.lists(OVERRIDE, max_size=4))
def test_many_random_overrides_load_or_say_why(overrides):
    assert one_line_or_none(complaint(overrides))
