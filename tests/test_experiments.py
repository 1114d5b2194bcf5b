"""Every experiment file runs once, from its overrides to its drawing, at toy size."""

import pytest
from conftest import toy_overrides

from onsager_cli import run
from onsager_cli.catalog import config_files
from onsager_cli.config import load_experiment
from onsager_cli.results import read_table
from onsager_cli.run import identity, tied_twin

pytestmark = pytest.mark.usefixtures("quick_compile")

# The many curves of these are of the kinds that fig15 has; they take a minute.
SLOW = ("fig16", "fig15c", "fig16c")
EXPERIMENTS = [
    pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name
    for name in config_files("experiment")
]


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """One store for all of them, as one user's: curves that figures share are trained once."""
    return tmp_path_factory.mktemp("outputs")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_runs_and_draws(name, output):
    kinds = {curve.settings.problem.kind for curve in load_experiment([f"+experiment={name}"]).curves}
    kind = kinds.pop() if kinds else "bernoulli_gaussian"
    overrides = [
        f"+experiment={name}",
        f"output={output}",
        "plot.formats=[svg]",
        *toy_overrides(problem=kind),
    ]
    experiment = load_experiment(overrides)
    events = []
    assert run.train(experiment, events.append) == []

    files, missing = run.plot(experiment)
    assert missing == []
    table, drawing = files
    assert drawing.suffix == ".svg"
    assert drawing.stat().st_size > 10_000
    rows = read_table(table)
    assert {row["curve"] for row in rows} == {curve.slug for curve in experiment.curves}
    for curve in experiment.curves:
        points = [row for row in rows if row["curve"] == curve.slug]
        depth = curve.settings.network.depth
        assert [row["layer"] for row in points] == ([None] if depth is None else list(range(1, depth + 1)))
        # A network better than nothing at all: x̂ = 0 has 0 dB. AMP may diverge.
        assert all(row["nmse_db"] < 3 or curve.settings.training.kind == "none" for row in points)

    again = []
    run.train(experiment, again.append)
    assert {event["event"] for event in again} == {"figure", "curve_done"}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_tied_network_that_an_untied_one_takes_over_is_that_of_the_figure(name):
    """Algorithm 3 compares with the tied curve that is drawn, and does not train one more."""
    curves = {curve.slug: curve for curve in load_experiment([f"+experiment={name}"]).curves}
    for slug, curve in curves.items():
        twin = tied_twin(curve)
        drawn = curves.get(slug.replace("untied", "tied"))
        if twin is not None and drawn is not None:
            assert identity(twin) == identity(drawn)
