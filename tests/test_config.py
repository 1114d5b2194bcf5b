"""From overrides to settings: composition, who wins, what identifies a curve, the user's own conf."""

import json
from importlib.metadata import EntryPoint
from itertools import cycle, product
from pathlib import Path

import numpy as np
import pytest
from conftest import slow

from onsager_cli.config import catalog
from onsager_cli.config.compose import composer
from onsager_cli.config.load import load_experiment
from onsager_cli.config.names import slug_of
from onsager_cli.config.overrides import parse
from onsager_cli.errors import UserError
from onsager_cli.kinds import registry
from onsager_cli.kinds.problems import Linear
from onsager_cli.kinds.records import NetworkKind, TrainingKind
from onsager_cli.kinds.registry import names
from onsager_cli.kinds.trainings import NoTraining, PaperTraining

FIGURES = ("fig8", "fig9", "fig10", "fig11")
PROBLEMS, NETWORKS = (catalog.config_files(group) for group in ("problem", "network"))
PROBLEMS = [name for name in PROBLEMS if name != "data"]  # which needs a file


def only_curve(*overrides: str):
    (curve,) = load_experiment(overrides).curves
    return curve


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Every test runs in an empty working directory, where no ./conf is found unless the test writes one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: str, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


class TestOneCurve:
    def test_defaults(self):
        experiment = load_experiment([])
        (curve,) = experiment.curves
        assert (experiment.single, curve.slug, experiment.name) == (True, "lamp_tied_pwlin", "lamp_tied_pwlin-gaussian")
        assert curve.settings.problem.shape == (250, 500)

    @pytest.mark.parametrize(
        ("overrides", "slug"),
        [
            ("network=lamp network.tied=false shrinkage=pwlin", "lamp_untied_pwlin"),
            ("network=lista training=none", "ista"),
            ("network=amp", "amp_l1"),
            ("network=lamp shrinkage=bg training=none", "amp_bg"),
            *slow(
                ("network=lamp shrinkage=soft", "lamp_tied_l1"),
                ("network=lamp network.onsager=false", "lamp_tied_pwlin_no_onsager"),
                ("network=lista", "lista_tied"),
                ("network=lista network.tied=false", "lista_untied"),
                ("network=amp shrinkage=bg", "amp_bg"),
                ("network=vamp", "matched_vamp"),
                ("network=vamp training=fast network.learn=[theta]", "vamp_tied_bg"),
                ("network=oracle", "oracle"),
            ),
        ],
    )
    def test_slug(self, overrides, slug):
        assert only_curve(*overrides.split()).slug == slug

    def test_amp_uses_the_minimax_threshold_and_a_named_shrinkage_its_own_start(self):
        assert only_curve("network=amp").settings.shrinkage.theta == (1.0, 1.1402)
        assert only_curve("network=amp", "shrinkage=pwlin").settings.shrinkage == only_curve().settings.shrinkage

    def test_the_order_of_overrides_does_not_matter(self):
        words = ["problem=kappa15", "network=lamp", "shrinkage=exp", "network.depth=4", "training=paper"]
        assert only_curve(*words) == only_curve(*reversed(words))

    # Each network on one problem after the other; the product is slow.
    @pytest.mark.parametrize(
        ("network", "problem"), slow(*product(NETWORKS, PROBLEMS), but=[*zip(NETWORKS, cycle(PROBLEMS))])
    )
    def test_every_network_on_every_problem(self, problem, network):
        settings = only_curve(f"problem={problem}", f"network={network}").settings
        assert (settings.problem.name, settings.network.name) == (problem, network)

    @pytest.mark.parametrize(
        "name", slow(*sorted(set(catalog.config_files("shrinkage")) - {"threshold"}), but=("bg_massive_mimo", "pwlin"))
    )
    def test_every_shrinkage_in_lamp(self, name):
        problem = "massive_mimo" if name == "bg_massive_mimo" else "gaussian"  # the one with a row per group
        signal = ["signal=block"] if name == "block" else []
        shrinkage = only_curve(f"shrinkage={name}", f"problem={problem}", *signal).settings.shrinkage
        if shrinkage.rows:  # else θ is found with arrays
            assert np.shape(shrinkage.theta)[-1] == len(shrinkage.record.parameters)

    @pytest.mark.parametrize("name", slow(*catalog.config_files("training"), but=("paper",)))
    def test_every_schedule(self, name):
        assert only_curve(f"training={name}").settings.training.kind in names(TrainingKind)


THREE = {
    "lista_tied": "network=lista",
    "lista_untied": "network=lista network.tied=false",
    "lista": "network=lista network.depth=3",
}


class TestExperiments:
    @pytest.mark.parametrize("name", slow(*FIGURES, but=("fig8",)))
    def test_every_curve_is_what_its_name_says(self, name):
        for curve in load_experiment([f"+experiment={name}"]).curves:
            assert slug_of(curve.settings) == curve.slug

    @pytest.mark.parametrize("name", slow(*FIGURES, but=("fig8", "fig9")))
    def test_figures_use_the_published_instances(self, name):
        problems = {curve.settings.problem for curve in load_experiment([f"+experiment={name}"]).curves}
        assert {problem.instance for problem in problems} == {"authors2017"}
        kappa = None if name in ("fig8", "fig10") else 15.0
        assert [isinstance(problem, Linear) and problem.kappa for problem in problems] == [kappa]

    @pytest.mark.slow
    def test_depths_of_fig8(self):
        depths = {curve.slug: curve.settings.network.depth for curve in load_experiment(["+experiment=fig8"]).curves}
        assert depths.pop("amp_l1") == 30
        assert set(depths.values()) == {20}
        assert len(depths) == 4

    @pytest.mark.slow
    def test_figures_of_one_problem_share_their_curves(self):
        by_slug = [
            {curve.slug: curve.identity for curve in load_experiment([f"+experiment={name}"]).curves}
            for name in ("fig8", "fig10")
        ]
        shared = by_slug[0].keys() & by_slug[1].keys()
        assert shared == {"lista_tied", "lamp_tied_l1"}
        for slug in shared:
            assert by_slug[0][slug] == by_slug[1][slug]

    def test_panels_are_experiments_with_the_same_overrides(self):
        both = load_experiment(["+experiment=fig1", "seed=3", "only=[ista]"])
        assert both.curves == ()
        assert [part.name for part in both.parts] == ["fig1a", "fig1b"]
        alone = load_experiment(["+experiment=fig1b", "seed=3", "only=[ista]"])
        assert both.parts[1] == alone
        assert alone.parts == (alone,)

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("panels: [fig1a]\ncurves: {a: network=amp}", "leave curves out"),
            *slow(
                ("panels: [fig1]", "panels must be experiments with curves"),
                ("panels: [figg1a]", "did you mean fig1a"),
                ("panels: 3", "panels must be a list of words"),
            ),
        ],
    )
    def test_mistakes_in_panels(self, text, says):
        write("conf/experiment/mine.yaml", f"# @package _global_\n{text}\n")
        with pytest.raises(UserError, match=says):
            load_experiment(["+experiment=mine"])

    @pytest.mark.slow
    def test_the_command_line_wins_where_a_curve_has_the_key(self):
        curves = load_experiment(["+experiment=quick", "network.depth=3", "seed=7"]).curves
        assert {curve.settings.network.depth for curve in curves} == {3, None}
        assert {curve.settings.seed for curve in curves} == {7}

    def test_nobody_trains_amp_or_the_oracle(self):
        curves = load_experiment(["+experiment=quick", "training=paper", "training.batch=7"]).curves
        for curve in curves:
            trained = isinstance(curve.settings.training, PaperTraining)
            assert trained is (curve.slug not in ("amp_l1", "oracle"))
            assert isinstance(curve.settings.training, PaperTraining | NoTraining)

    @pytest.mark.slow
    def test_the_command_line_wins_over_the_schedule_of_a_curve(self):
        write(
            "conf/experiment/mine.yaml",
            "# @package _global_\ncurves:\n  a: network=lamp training=paper training.batch=9\n"
            "  b: network=lamp training=none\n",
        )
        for command, kind, batch in ([], "paper", 9), (["training=fast", "training.lamp.batch=7"], "fast", 7):
            a, b = (curve.identity["training"] for curve in load_experiment(["+experiment=mine", *command]).curves)
            assert (a["kind"], a.get("descent", a)["batch"]) == (kind, batch)
            assert b == {"kind": "none"}

    def test_only(self):
        curves = load_experiment(["+experiment=fig10", "only=[oracle,lista_tied]"]).curves
        assert [curve.slug for curve in curves] == ["lista_tied", "oracle"]

    @pytest.mark.slow
    def test_only_what_the_figure_draws(self):
        experiment = load_experiment(["+experiment=fig10", "only=drawn"])
        slugs = {curve.slug for curve in experiment.curves}
        assert "lamp_untied_bg" in slugs
        assert slugs.isdisjoint({"lamp_untied_exp", "lamp_untied_spline"})
        assert experiment.partial
        # One word is a list of one: lista_tied is no part of it.
        curves = ", ".join(f"{name}: '{text}'" for name, text in THREE.items())
        three = [f"+curves={{{curves}}}", "only=drawn"]
        some = load_experiment([*three, "figure.hidden=lista_untied"])
        assert [curve.slug for curve in some.curves] == ["lista_tied", "lista"]
        for hidden, message in (("5", "figure.hidden"), (f"[{','.join(THREE)}]", "only=drawn leaves no curve")):
            with pytest.raises(UserError, match=message):
                load_experiment([*three, f"figure.hidden={hidden}"])

    @pytest.mark.slow
    def test_curves_that_are_hidden_are_drawn_if_they_alone_are_chosen(self):
        hidden = "lamp_untied_exp"
        for only, drawn in ((f"[{hidden}]", True), (f"[{hidden},oracle]", False)):
            figure = load_experiment(["+experiment=fig10", f"only={only}"]).figure
            assert (hidden not in figure.hidden) == drawn

    @pytest.mark.slow
    def test_hidden_curves_are_trained(self):
        experiment = load_experiment(["+experiment=fig10"])
        assert set(experiment.figure.hidden) < {curve.slug for curve in experiment.curves}

    def test_without_a_plus(self):
        assert load_experiment(["experiment=fig8"]).name == "fig8"

    @pytest.mark.slow
    def test_a_curve_added_on_the_command_line(self):
        curves = load_experiment(["+experiment=quick", "+curves.mine='network=lamp shrinkage=exp'"]).curves
        assert curves[-1].slug == "mine"
        assert curves[-1].settings.shrinkage.family == "exp"


class TestIdentity:
    def test_is_plain_json(self):
        identity = only_curve("shrinkage=pwlin").identity
        assert json.loads(json.dumps(identity)) == identity

    @pytest.mark.parametrize("same", ["network.depth=3", *slow("output=elsewhere", "plot.formats=[png]")])
    def test_leaves_out_what_does_not_decide_the_numbers(self, same):
        assert only_curve(same).identity == only_curve().identity

    @pytest.mark.parametrize(
        "other",
        [
            "seed=1", "problem.snr_db=30", "network.tied=false", "shrinkage.theta=[1,2,0,1,1]", "training.lamp.batch=10",
            *slow("precision=high", "problem=kappa15", "problem.test_samples=10", "network.onsager=false",
                  "shrinkage=exp", "training=paper"),
        ],
    )  # fmt: skip
    def test_holds_what_decides_the_numbers(self, other):
        assert only_curve(other).identity != only_curve().identity

    def test_no_warmup_is_what_was_meant_before_there_was_one(self):
        """Without a warm-up, curves are those from before there was one; with it they are others."""
        cold, warm = (dict(only_curve(f"training.warmup={steps}").identity["training"]) for steps in (0, 15))
        assert warm.pop("warmup") == 15
        assert cold == warm

    def test_names_do_not_count(self):
        assert only_curve("network=amp", "shrinkage=pwlin").identity == only_curve("training=none").identity

    def test_an_oracle_has_no_shrinkage(self):
        assert only_curve("network=oracle", "shrinkage=exp").identity == only_curve("network=oracle").identity

    def test_a_matrix_counts_by_its_content(self):
        for name, text in (("a.csv", "1,2\n"), ("b.csv", "1,2\n"), ("c.csv", "1,3\n")):
            write(name, text)
        a, b, c = (only_curve(f"problem.matrix={name}").identity for name in ("a.csv", "b.csv", "c.csv"))
        assert a == b != c


class TestOwnConf:
    def test_is_searched(self):
        write("conf/problem/small.yaml", "# title: Mine\ndefaults: [gaussian]\nname: small\nN: 50\nM: 25\n")
        write(
            "conf/experiment/mine.yaml",
            "# @package _global_\n# title: My figure\ndefaults:\n  - override /problem: small\n"
            "curves:\n  short: network=lamp network.depth=2\n  lista: network=lista network.depth=1\n",
        )
        experiment = load_experiment(["+experiment=mine"])
        assert [curve.slug for curve in experiment.curves] == ["short", "lista"]
        assert {curve.settings.problem.shape[1] for curve in experiment.curves} == {50}
        assert experiment.figure.name == "mine"
        assert "My figure" in catalog.listing(["experiments"])

    def test_in_a_folder_with_an_awkward_name(self, tmp_path, monkeypatch):
        folder = tmp_path / "it's, a=folder {x} ä"
        folder.mkdir()
        monkeypatch.chdir(folder)
        write("conf/problem/small.yaml", "defaults: [gaussian]\nN: 50\nM: 25\n")
        assert only_curve("problem=small").settings.problem.shape == (25, 50)

    def test_values_may_refer_to_each_other(self):
        write("conf/problem/small.yaml", "defaults: [gaussian]\nN: 60\nM: ${problem.N}\n")
        assert only_curve("problem=small", "problem.N=70").settings.problem.shape == (70, 70)

    def test_a_config_yaml_of_another_program_changes_nothing(self):
        write("conf/config.yaml", "model: resnet\n")
        assert only_curve().slug == "lamp_tied_pwlin"


def test_values_are_set_as_hydra_sets_them():
    """Values are set on a copy to save compositions; Hydra, composing the same from the start, is the oracle."""
    values = ["network.depth=3", "seed=4", "shrinkage.theta=[3,1]", "output='a b'", "plot.formats=[png]", "only=null"]
    hydra_own = [f"++{item}" for item in values]
    with composer() as compose:
        groups = parse(["problem=kappa15", "network=lamp"])
        assert compose([*groups, *parse(values)]) == compose([*groups, *parse(hydra_own)])


def test_what_is_composed_once_is_left_alone_and_own_files_are_read_again():
    before = only_curve("network=lamp")
    assert only_curve("network=lamp", "network.depth=3", "training.lamp.steps=[7]") != before
    assert only_curve("network=lamp") == before
    for N in (60, 50):
        write("conf/problem/small.yaml", f"defaults: [gaussian]\nname: small\nN: {N}\nM: 25\n")
        assert vars(only_curve("problem=small").settings.problem)["N"] == N


def test_a_plugin_brings_its_own_keys(tmp_path, monkeypatch):
    """By its record alone: nothing of the package is imported."""
    keys = '{"depth": integer(1, 100), "gates": integer(1, 9)}'
    record = f'KIND = NetworkKind("gated", of="Gated", keys={keys}, learnable=("theta",))'
    write("a_package_of_gates.py", f"import nowhere_to_import_from\n\n{record}\n")
    monkeypatch.syspath_prepend(tmp_path)
    entry = EntryPoint("gated", "a_package_of_gates:KIND", "onsager.networks")

    def entry_points(group, name="gated"):
        return [entry] if (group, name) == ("onsager.networks", "gated") else []

    monkeypatch.setattr(registry, "entry_points", entry_points)
    write("conf/network/gated.yaml", "kind: gated\nname: gated\ndepth: 4\ngates: 3\n")
    curve = only_curve("network=gated", "training=paper")
    assert vars(curve.settings.network) == {"kind": "gated", "name": "gated", "start": None, "depth": 4, "gates": 3}
    assert curve.identity["network"] == {"kind": "gated", "gates": 3}
    assert only_curve("network=gated", "network.gates=4").identity["network"]["gates"] == 4
    with pytest.raises(UserError, match=r"^network\.gates must be at most 9, got 10$"):
        load_experiment(["network=gated", "network.gates=10"])
    write("conf/network/gated.yaml", "kind: gated\nname: gated\ndepth: 4\ngates: 3\ngate: 3\n")
    with pytest.raises(UserError, match=r"^unknown key 'network\.gate' \(did you mean gates\?\)$"):
        load_experiment(["network=gated"])
    assert names(NetworkKind).count("gated") == 1
