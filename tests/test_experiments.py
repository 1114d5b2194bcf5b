"""Every experiment file runs once, from its overrides to its drawing, at toy size."""

from itertools import product

import pytest
import yaml
from conftest import slow, toy_overrides

from onsager_cli import run
from onsager_cli.config.catalog import config_files, package_conf
from onsager_cli.config.load import load_experiment
from onsager_cli.figures import qq
from onsager_cli.figures.kinds import kind_of
from onsager_cli.store.tables import read_table

pytestmark = pytest.mark.usefixtures("quick_compile")

# Of experiments whose curves take long to compile, or which others train on another problem, a few curves.
SHORT = {
    "fig15": ("lamp_tied_bg", "lvamp_untied_pwgrid", "amp_tuned_l1", "em_vamp", "lmmse", "oracle"),
    "fig16": ("lista_tied", "lamp_untied_pwlin", "cnn"),
    "fig15c": ("lamp_tied_bg", "lvamp_untied_pwlin", "oracle"),
    "fig16c": ("lista_tied_complex", "amp_bg_complex", "lamp_tied_pwlin"),
    "rivals_noiseless": ("lista_cpss_tied", "alista_cpss", "aglista", "em_vamp", "oracle"),
    "rivals_kappa15": ("lvamp_tied_bg", "alista", "hyperlista", "oracle"),
    "rivals_n2000": ("lamp_tied_bg", "aglista", "hyperlista", "oracle"),
    "problems": (
        "ternary-vamp",
        "ternary-discrete",
        "fourier-vamp",
        "fourier-lamp",
        "fourier-lvamp",
        "block-vamp",
        "block-lamp",
        "block-lvamp",
    ),
}


def is_meant(word, effective):
    """Whether a command that trains a part of an experiment accepts the word: schedules of other networks are refused."""
    key = word.partition("=")[0]
    return key.count(".") < 2 or key in effective


def own_schedules(asked):
    """Few steps for schedules that `toy_overrides` does not know: training=paper, and those in a network's own file."""
    paper = any(curve.settings.training.kind == "paper" for part in asked.parts for curve in part.curves)
    short = ["training.max_steps=20", "training.refinements=0"] if paper else []
    shared = yaml.safe_load((package_conf() / "training" / "fast.yaml").read_text())
    kinds = {key.split(".")[1] for key in asked.effective if key.count(".") == 2} - set(shared)
    return short + [f"training.{kind}.{key}" for kind in sorted(kinds) for key in ("steps=[20]", "batch=16")]


EXPERIMENTS = list(config_files("experiment"))


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """One store for all of them, as one user's: curves that figures share are trained once."""
    return tmp_path_factory.mktemp("outputs")


@pytest.mark.filterwarnings("ignore:.*leaves out:onsager_cli.errors.Notice")  # a toy is outside of a figure's limits
@pytest.mark.filterwarnings("ignore:the selection set has .* too few:onsager_cli.errors.Notice")  # of fig15
@pytest.mark.parametrize("name", slow(*(name for name in EXPERIMENTS if name != "whole_paper"), but=("quick",)))
def test_runs_and_draws(name, output, monkeypatch):
    monkeypatch.setattr(qq, "LEVEL_DB", -1.0)  # what three layers of a toy network reach
    words = [f"+experiment={name}"]
    if name in SHORT:
        words.append(f"only=[{','.join(SHORT[name])}]")
    asked = load_experiment(words)
    problem = asked.parts[0].curves[0].settings.problem.kind
    toys = [word for word in toy_overrides(problem=problem) if not SHORT.get(name) or is_meant(word, asked.effective)]
    toys += own_schedules(asked)
    overrides = [*words, f"output={output}", "plot.formats=[svg]", *toys]
    for experiment in load_experiment(overrides).parts:
        kind, events = kind_of(experiment), []
        assert run.train(experiment, events.append) == []
        files, missing = run.plot(experiment)
        assert missing == []
        if kind.draws:
            assert files[-1].suffix == ".svg"
            assert files[-1].stat().st_size > 10_000
        if not kind.trains:
            assert [file.suffix for file in files] == [".csv"]
            assert events == []
            continue
        check_table(experiment, read_table(files[0]))
        again = []
        run.train(experiment, again.append)
        assert {event["event"] for event in again} == {"figure", "curve_done"}


def check_table(experiment, rows):
    """Every layer of every curve has its point, better than nothing at all: x̂ = 0 has 0 dB. AMP may diverge."""
    assert {row["curve"] for row in rows} == {curve.slug for curve in experiment.curves}
    for curve in experiment.curves:
        points = [row for row in rows if (row["curve"], row["seed"]) == (curve.slug, curve.settings.seed)]
        depth, training = curve.settings.network.depth, curve.settings.training
        layers = [None] if depth is None else list(range(1, depth + 1))
        if getattr(training, "joint", False):
            layers = [depth]
        assert [row["layer"] for row in points] == layers
        assert all(row["nmse_db"] < 3 or training.kind == "none" for row in points)


@pytest.mark.parametrize("name", slow(*EXPERIMENTS, but=("fig8",)))
def test_the_tied_network_that_an_untied_one_takes_over_is_that_of_the_figure(name):
    """Algorithm 3 compares with the tied curve that is drawn, and does not train one more."""
    curves = {curve.slug: curve for curve in load_experiment([f"+experiment={name}"]).curves}
    for slug, curve in curves.items():
        twin = curve.twin
        drawn = curves.get(slug.replace("untied", "tied"))
        if twin is not None and drawn is not None:
            assert twin.identity == drawn.identity


@pytest.mark.parametrize(("name", "other"), slow(("fig15c", "fig15"), ("fig16c", "fig16")))
def test_what_two_figures_call_alike_is_one_training(name, other):
    """The real embedding beside the complex arrays is that of the figure without them."""
    one, two = ({curve.slug: curve for curve in load_experiment([f"+experiment={n}"]).curves} for n in (name, other))
    shared = set(one) & set(two)
    assert len(shared) >= 7
    for slug in shared:
        assert one[slug].identity == two[slug].identity, slug


@pytest.mark.parametrize(
    ("tied", "depths"), slow(*product(("true", "false"), ((4, 15), (15, 4))), but=[("true", (4, 15))])
)
def test_curves_that_differ_in_depth_alone_are_one_training_to_the_deepest(tied, depths):
    lines = [f"network=lamp network.tied={tied} shrinkage=bg network.depth={depth}" for depth in depths]
    asked = load_experiment([f"+curves={{a: '{lines[0]}', b: '{lines[1]}'}}"]).curves
    found = [(curve.settings.network.tied, curve.settings.network.depth) for curve in run.in_order(asked)]
    assert found == [(True, 15), (False, 15)][: 1 + (tied == "false")]
