"""Detection of active users: rates by counting, areas by scikit-learn, estimates by the program that evaluates."""

import csv
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import slow, toy_overrides
from sklearn.metrics import roc_auc_score

from onsager_cli import run
from onsager_cli.config.load import load_experiment
from onsager_cli.errors import Notice, UserError
from onsager_cli.figures import detection
from onsager_cli.figures.curves import save
from onsager_cli.networks.layers import estimate, squared_errors
from onsager_cli.problems import build
from onsager_cli.store.tables import read_csv, read_table
from onsager_cli.training.networks_on_disk import network_of

pytestmark = pytest.mark.usefixtures("quick_compile")


@pytest.fixture(scope="module")
def decided():
    """Scores with many ties at zero, as a soft threshold gives, and who is active."""
    rng = np.random.default_rng(0)
    active = rng.uniform(size=(40, 500)) < 0.1
    return np.maximum(rng.normal(size=active.shape) + 2 * active - 0.5, 0), active


def test_area(decided):
    scores, active = decided
    assert detection.auc(scores, active) == pytest.approx(roc_auc_score(active.ravel(), scores.ravel()), rel=1e-12)
    assert detection.auc(active * 1.0, active) == 1
    assert detection.auc(np.zeros(active.shape), active) == 0.5


def test_every_point_of_the_curve_is_a_threshold(decided):
    scores, active = decided
    points = detection.roc(scores, active)
    reachable = {(np.mean(scores[~active] > t), np.mean(scores[active] <= t)) for t in [-1, *np.unique(scores)]}
    for point in points:
        distances = [abs(a - point["false_alarm"]) + abs(m - point["miss"]) for a, m in reachable]
        assert min(distances) < 1e-12
    alarms = [point["false_alarm"] for point in points]
    assert alarms == sorted(alarms)
    assert alarms[-1] == 1
    # Between the positive scores, it comes near every rate asked for.
    for rate in (1e-3, 1e-2, 0.1):
        assert any(rate / 1.3 <= alarm <= rate * 1.01 for alarm in alarms)


def test_a_threshold_gives_the_rates_of_its_point(decided):
    """So that users can take one from roc.csv and decide by it."""
    scores, active = decided
    points = detection.roc(scores, active, 0.003)
    for point in points:
        said = scores > point["threshold"]
        assert np.mean(said[~active]) == pytest.approx(point["false_alarm"], abs=1e-15)
        assert np.mean(~said[active]) == pytest.approx(point["miss"], abs=1e-15)
    thresholds = [point["threshold"] for point in points]
    assert thresholds == sorted(thresholds, reverse=True)
    assert thresholds[-1] == -np.inf
    # The rate that was asked for is a point of its own: 54 of the 18,000 inactive ones.
    assert min(abs(point["false_alarm"] * np.sum(~active) - 0.003 * np.sum(~active)) for point in points) < 1


@pytest.mark.parametrize("rate", [1e-3, 0.01, 0.2])
def test_the_threshold_of_a_rate(rate):
    scores = np.random.default_rng(2).exponential(size=200_000)
    # A quantile of so many has a relative error of its tail of 1 / sqrt(n rate), at most 7 %.
    assert np.exp(-detection.threshold_of(scores, rate)) == pytest.approx(rate, rel=0.2)


def test_a_rate_that_the_selection_set_cannot_tell():
    with pytest.warns(
        Notice, match=re.escape("the selection set has 1,000 inactive users, too few for a false-alarm rate of 1e-05")
    ):
        detection.warn_of_few(1000, 1e-5)
    detection.warn_of_few(1000, 1e-3)


def test_the_key():
    """The caption follows it; what is no rate is refused."""
    assert "rate of 0.001 on" in load_experiment(["+experiment=fig15"]).figure.caption
    asked = load_experiment(["+experiment=fig15", "figure.false_alarms=0.05"]).figure
    assert asked.false_alarms == 0.05
    assert "rate of 0.05 on the selection set" in asked.caption
    for value in ("0", "1", "-0.1", "nan", "null", "often", "[0.1]", "true"):
        with pytest.raises(UserError, match=r"^figure\.false_alarms must be "):
            load_experiment(["+experiment=fig15", f"figure.false_alarms={value}"])


def test_pages_of_older_tables_say_the_rate_of_then():
    row = {
        "curve": "a",
        "layer": 1,
        **dict.fromkeys(("auc", "false_alarm", "miss", "support_error", "exact_support"), 0.5),
    }
    assert "a false-alarm rate of 0.001 on" in detection.page({"detection": [row]})
    assert "a false-alarm rate of 0.05 on" in detection.page({"detection": [{**row, detection.ASKED: 0.05}]})


def test_tables_without_thresholds_are_drawn(tmp_path):
    """Those of a record from before."""
    folder = Path(__file__).parents[1] / "experiments" / "fig15"
    new = ("threshold", detection.ASKED)
    old = {
        name: [{key: row[key] for key in row if key not in new} for row in read_numbers(folder / f"{name}.csv")]
        for name in ("roc", "detection")
    }
    figure = load_experiment(["+experiment=fig15"]).figure
    (path,) = save(detection.draw(figure, read_table(folder / "curves.csv"), old), tmp_path, "old", ["png"])
    assert path.stat().st_size > 10_000


def read_numbers(path):
    """The rows of a table, numbers as numbers."""
    header, lines = read_csv(path)
    return [{name: cell(text) for name, text in zip(header, fields, strict=True)} for _, fields in lines]


def cell(text):
    try:
        return float(text)
    except ValueError:
        return text


def test_operating_point():
    active = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 0]], bool)
    scores = np.array([[3, 0, 0], [1, 3, 0], [0, 0, 0], [0, 3, 0]], float)
    found = detection.operating_point(scores, active, 2.0)
    assert found["miss"] == pytest.approx(1 / 3)
    assert found["false_alarm"] == pytest.approx(1 / 9)
    assert found["support_error"] == pytest.approx(2 / 3)
    assert found["exact_support"] == pytest.approx(1 / 3)


def test_a_user_has_two_coordinates_in_the_real_embedding():
    x = np.random.default_rng(1).normal(size=(5, 3, 2)) @ [1, 1j]
    np.testing.assert_allclose(detection.of_users(x, 1), np.abs(x))
    np.testing.assert_allclose(detection.of_users(np.concatenate([x.real, x.imag]), 2), np.abs(x))


@pytest.mark.parametrize("embedding", ["real", *slow("complex")])
@pytest.mark.slow
def test_estimate_is_what_the_evaluation_measures(embedding):
    (curve,) = load_experiment([
        "problem=random_access", "network=lamp", "shrinkage=bg", f"problem.embedding={embedding}", "problem.users=20",
        "problem.pilots=12", "problem.activity=0.1", "problem.selection_samples=4", "problem.test_samples=30",
    ]).curves  # fmt: skip
    problem, net = build(curve.settings.problem, 0), network_of(curve.settings)
    x, y = problem.test
    params = net.start(problem, 3)
    x_hat = jax.jit(lambda p, y: estimate(net, problem, p, y, 3))(params, y)
    with jax.default_matmul_precision("highest"):
        expected = squared_errors(net, problem, params, x, y, 3)[-1]
    np.testing.assert_allclose(np.sum(np.abs(x_hat - x) ** 2, axis=0), expected, rtol=1e-4)


def drawn(name: str, only: str, tmp_path, *words: str):
    """Tables of an experiment's kind for some of its curves, trained, drawn and read back."""
    toy = [*toy_overrides(problem="cellular"), f"+experiment={name}", f"only=[{only}]", f"output={tmp_path}"]
    kept = [item for item in toy if not item.startswith("training.")]
    experiment = load_experiment([*kept, "plot.formats=[svg]", *words])
    assert run.train(experiment, lambda _: None) == []
    files, missing = run.plot(experiment)
    assert missing == []
    assert [file.suffix for file in files] == [".csv"] * (len(files) - 1) + [".svg"]
    return {file.stem: list(csv.DictReader(file.read_text().splitlines())) for file in files[:-1]}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:figure.false_alarms=0.001")  # of a toy
def test_fig15_tells_who_is_active(tmp_path):
    tables = drawn("fig15", "em_vamp,lmmse,oracle", tmp_path)
    assert set(tables) == {"curves", "detection", "roc"}
    linear, vamp = (next(row for row in tables["detection"] if row["curve"] == c) for c in ("lmmse", "em_vamp"))
    assert 0.5 < float(linear["auc"]) < float(vamp["auc"]) <= 1
    assert len(tables["detection"]) == 2, "the oracle is told"
    assert {row["asked_false_alarm"] for row in tables["detection"]} == {"0.001"}
    rarely = {row["curve"]: row for row in tables["detection"]}
    often = {
        row["curve"]: row
        for row in drawn("fig15", "em_vamp,lmmse,oracle", tmp_path, "figure.false_alarms=0.2")["detection"]
    }
    for name, row in often.items():
        assert row["asked_false_alarm"] == "0.2"
        assert float(row["threshold"]) < float(rarely[name]["threshold"])
        assert float(row["false_alarm"]) > float(rarely[name]["false_alarm"])
        assert float(row["miss"]) <= float(rarely[name]["miss"])
        assert row["auc"] == rarely[name]["auc"]
    assert [float(row["threshold"]) for row in tables["roc"]][-1] == float("-inf")


@pytest.mark.parametrize(("name", "tables"), slow(("fig15", {"curves"}), ("fig15c", {"curves"})))
def test_where_there_is_nothing_to_add_the_nmse_is_drawn(name, tables, tmp_path):
    """The oracle is told who is active, and what it costs is not counted: its panel is empty."""
    assert set(drawn(name, "oracle", tmp_path)) == tables


@pytest.mark.slow
def test_fig15c_counts_multiply_adds(tmp_path):
    """AMP of T layers takes (2T - 1) M N complex ones: B y in the first layer, A x̂ and B v in each of the others."""
    tables = drawn("fig15c", "amp_bg_complex,em_vamp", tmp_path)
    costs = {(row["curve"], int(row["layer"])): int(row["multiply_adds"]) for row in tables["costs"]}
    assert [costs["amp_bg_complex", t] for t in (1, 2, 3)] == [4 * (2 * t - 1) * 100 for t in (1, 2, 3)]
    # Uᵀy once; Vᵀr̃ and V (...) in each layer, and Σ d ‖v‖²; 20 x 20 where the complex A is 10 x 10.
    assert costs["em_vamp", 3] - costs["em_vamp", 2] == 2 * 400 + 20
