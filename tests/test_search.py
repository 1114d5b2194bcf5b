"""`training=search`: three numbers without gradients; and curves of the networks after LAMP, from overrides to tables."""

import numpy as np
import pytest
from conftest import slow
from toy_training import Watch, stored

from onsager_cli import run
from onsager_cli.config.load import load_experiment
from onsager_cli.config.names import slug_of
from onsager_cli.figures.costs import told_to
from onsager_cli.problems import build as build_problem
from onsager_cli.run.curve import maker_of
from onsager_cli.training.engine import engine_of
from onsager_cli.training.networks_on_disk import network_of
from onsager_cli.training.search import Searcher

pytestmark = pytest.mark.usefixtures("quick_compile")
TOY = (
    "problem.N=40", "problem.M=20", "problem.selection_samples=100", "problem.test_samples=50", "network.depth=3",
    "plot.formats=[svg]", "jobs=1", "attainable=false",
)  # fmt: skip
HYPER = (*TOY, "network=hyperlista", "training.samples=60", "training.evaluations=[20,12]")
QUICK = ("steps=[15]", "batch=16")


def asked(*words: str):
    return load_experiment([*words])


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    output, watch = tmp_path_factory.mktemp("searched"), Watch()
    assert run.train(asked(*HYPER, f"output={output}"), watch) == []
    return stored(output), watch


class TestSearch:
    @pytest.mark.slow
    def test_what_is_stored(self, searched):
        (content,), watch = searched[0].values(), searched[1]
        assert sorted(content["arrays"]) == ["depth_01", "depth_02", "depth_03", "network"]
        rows = content["points"]
        assert [row["layer"] for row in rows] == [1, 2, 3]
        assert [row["parameters"] for row in rows] == [3, 3, 3]
        assert rows[-1]["steps"] <= 20 + 12 + 12
        assert [event["stage"] for event in watch.of("stage")] == [
            "layer 1: search", "layers 1-2: search", "layers 1-3: search",
        ]  # fmt: skip

    @pytest.mark.slow
    def test_finds_better_numbers_than_it_starts_from(self, searched):
        """On the whole selection set, of which the search saw 60 samples, and in every depth."""
        (curve,) = asked(*HYPER).curves
        net, problem = network_of(curve.settings), build_problem(curve.settings.problem, curve.settings.seed)
        start, engine = net.start(problem, 3), engine_of(net, curve.settings, 1)
        errors, powers = engine.errors(problem, start, *problem.selection, 3)
        before = 10 * np.log10(np.sum(np.asarray(errors), axis=1) / np.sum(np.asarray(powers)))
        (content,) = searched[0].values()
        after = [row["selection_nmse_db"] for row in content["points"]]
        assert np.all(np.array(after) < before - 0.3)

    @pytest.mark.slow
    def test_the_same_again_and_after_a_stop(self, searched, tmp_path):
        """A training to one layer that goes on to three ends with the numbers of one that was never stopped."""
        shallow = [word for word in HYPER if not word.startswith("network.depth")]
        for depth in (1, 3):
            run.train(asked(*shallow, f"network.depth={depth}", f"output={tmp_path}"), lambda _: None)
        (one,), (other,) = searched[0].values(), stored(tmp_path).values()
        for name, arrays in one["arrays"].items():
            for leaf, array in arrays.items():
                np.testing.assert_array_equal(other["arrays"][name][leaf], array, err_msg=f"{name} {leaf}")

    @pytest.mark.slow
    def test_a_schedule_of_the_command_is_for_the_others(self):
        words = ("+curves={hyper: 'network=hyperlista', lamp: 'network=lamp'}", *TOY)
        hyper, lamp = asked(*words, "training=thorough").curves
        assert (hyper.settings.training.kind, lamp.settings.training.kind) == ("search", "fast")
        hyper, _ = asked(*words, "training.samples=33").curves
        assert vars(hyper.settings.training)["samples"] == 33
        assert isinstance(maker_of(hyper, lambda _: None), Searcher)


KINDS = {
    "lista_cp": "lista_cp_tied", "lista_cpss": "lista_cpss_tied", "tilista": "tilista", "alista": "alista",
    "alista_at": "alista_at", "aglista": "aglista", "na_alista": "na_alista", "hyperlista": "hyperlista",
    "tista": "tista", "oamp_net": "oamp_net", "oamp_net2": "oamp_net2",
}  # fmt: skip


class TestCurves:
    @pytest.mark.parametrize("kind", KINDS)
    def test_names(self, kind):
        (curve,) = asked(f"network={kind}").curves
        assert curve.slug == slug_of(curve.settings) == KINDS[kind]
        assert curve.settings.network.record.looks[kind][""].label

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", slow(*KINDS, but=("alista", "oamp_net2")))
    def test_train_resume_and_load(self, kind, tmp_path):
        quick = [] if kind == "hyperlista" else [f"training.{kind}.{word}" for word in QUICK]
        small = ["network.hidden=4"] if kind == "na_alista" else []
        words = (*TOY, f"network={kind}", *quick, *small, f"output={tmp_path}")
        experiment = asked(*words)
        assert run.train(experiment, lambda _: None) == []
        rows = run.rows_of(experiment)
        assert [row["layer"] for row in rows] == [1, 2, 3]
        assert rows[-1]["nmse_db"] < rows[0]["nmse_db"] < 0
        again = Watch()
        run.train(asked(*words), again)
        assert not again.of("stage")

    @pytest.mark.parametrize("kind", slow(*(kind for kind in KINDS if kind != "na_alista"), but=("alista", "tista")))
    def test_untrained(self, kind, tmp_path):
        """The first iterations help, with the numbers of the start."""
        experiment = asked(*TOY, f"network={kind}", "training=none", f"output={tmp_path}")
        assert run.train(experiment, lambda _: None) == []
        rows = run.rows_of(experiment)
        assert len(rows) == 3
        assert rows[0]["nmse_db"] < 0
        assert experiment.curves[0].slug == experiment.curves[0].settings.network.record.untrained

    @pytest.mark.parametrize("weight", ["analytic", *slow("pinv", "lmmse")])
    def test_the_weight_of_lamp_is_another_curve_and_the_transpose_is_none(self, weight):
        plain, same, other = (
            asked("network=lamp", *words).curves[0]
            for words in ([], ["network.weight=transpose"], [f"network.weight={weight}"])
        )
        assert plain.identity == same.identity != other.identity
        assert (same.slug, other.slug) == ("lamp_tied_pwlin", f"lamp_tied_pwlin_{weight}")

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            ("network=alista", "activity"),
            ("network=alista network.selection=cpss", "nothing"),
            ("network=tista", "prior, noise variance"),
            ("network=tista network.learn=[gamma,theta]", "prior, as a start, noise variance"),
            ("network=lamp shrinkage=bg", "prior, as a start"),
            ("network=lamp shrinkage=pwlin", "nothing"),
            ("network=vamp", "prior, noise variance"),
            ("network=em_vamp", "nothing"),
            ("network=hyperlista", "nothing"),
        ],
    )
    def test_what_a_network_is_told(self, words, told):
        assert told_to(asked(*words.split()).curves[0].settings) == told
