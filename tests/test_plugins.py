"""A network, a shrinkage family, a problem and a signal of one's own: one Python file and one YAML file each.

They are tried as kinds of an installed package, and dropped into a copy of this one.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kinds_of_my_own as mine
import numpy as np
import pytest
from conftest import slow, toy_overrides

import onsager_cli
from onsager_cli import run
from onsager_cli.config.load import load_experiment
from onsager_cli.errors import UserError
from onsager_cli.figures.looks import style_of
from onsager_cli.kinds.records import NetworkKind
from onsager_cli.kinds.registry import find
from onsager_cli.run import figure
from onsager_cli.training.networks_on_disk import network_of
from onsager_cli.training.resources import needs

pytestmark = pytest.mark.usefixtures("quick_compile")

FILES = {
    "networks/coupled": (mine.NETWORK, "network/coupled", mine.NETWORK_YAML),
    "shrinkage/garrote": (mine.SHRINKAGE, "shrinkage/garrote", mine.SHRINKAGE_YAML),
    "problems/laplace": (mine.PROBLEM, "problem/laplace", mine.PROBLEM_YAML),
    "problems/signals/two_levels": (mine.SIGNAL, "signal/two_levels", mine.SIGNAL_YAML),
}
ENTRIES = """
[onsager.networks]
coupled = a_package_of_mine.coupled:KIND
[onsager.shrinkages]
garrote = a_package_of_mine.garrote:KIND
[onsager.problems]
laplace = a_package_of_mine.laplace:KIND
[onsager.signals]
two_levels = a_package_of_mine.two_levels:KIND
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The package, as pip would install it, and the YAML files in the folder one works in."""
    site = tmp_path / "site"
    write(site / "a_package_of_mine" / "__init__.py", "")
    write(site / "a_package_of_mine-1.dist-info" / "METADATA", "Name: a_package_of_mine\nVersion: 1\n")
    write(site / "a_package_of_mine-1.dist-info" / "entry_points.txt", ENTRIES)
    for module, (code, option, yaml) in FILES.items():
        write(site / "a_package_of_mine" / f"{Path(module).name}.py", code)
        write(tmp_path / "conf" / f"{option}.yaml", yaml)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(tmp_path)
    yield
    for name in [name for name in sys.modules if name.startswith("a_package_of_mine")]:
        del sys.modules[name]


SMALL = [text for text in toy_overrides() if text.startswith(("problem.N", "problem.M", "problem.s", "problem.t"))]


def trained(*overrides: str) -> list[float]:
    """The NMSE at each layer, dB."""
    experiment = load_experiment([*overrides, "network.depth=3"])
    assert run.train(experiment, lambda _: None) == []
    return [row["nmse_db"] for row in run.rows_of(experiment)]


@pytest.mark.usefixtures("installed")
class TestNetwork:
    @pytest.mark.slow
    def test_it_trains_by_its_own_schedule_and_the_default_one(self):
        (curve,) = load_experiment(["network=coupled"]).curves
        assert curve.slug == "coupled_tied"
        schedule = vars(curve.settings.training)["descent"]
        assert (schedule.steps, schedule.rates, schedule.batch) == ((60, 40, 40), (5e-4,), 500)
        levels = trained("network=coupled", *SMALL, "training.coupled.batch=64")
        untrained = trained("network=coupled", "training=none", *SMALL)
        assert all(np.diff(levels) < 0)
        assert levels[-1] < untrained[-1] - 0.5

    @pytest.mark.slow
    def test_without_a_schedule_of_its_own_the_default_one_trains_it(self):
        text = mine.NETWORK_YAML.partition("\ntraining:")[0]
        write(Path("conf/network/coupled.yaml"), text + "\n")
        small = ["training.default.steps=[30]", "training.default.batch=32"]
        assert trained("network=coupled", *SMALL, *small)[-1] < -1
        with pytest.raises(UserError, match=r"unknown key 'training.coupled.steps'"):
            load_experiment(["network=coupled", "training.coupled.steps=[3]"])

    @pytest.mark.parametrize(
        ("overrides", "says"),
        [
            (["network.dpeth=3"], "unknown key 'network.dpeth' .did you mean network.depth"),
            *slow(
                (["network.depth=0"], "network.depth must be at least 1, got 0"),
                (["network.tied=maybe"], "network.tied must be true or false"),
                (["shrinkage=bg"], "network=coupled takes shrinkage=threshold only"),
                (["network.kind=coupeld"], "network.kind must be .*coupled"),
                (["training.coupled.stpes=[3]"], "unknown key 'training.coupled.stpes'"),
            ),
        ],
    )
    def test_its_keys_are_checked(self, overrides, says):
        with pytest.raises(UserError, match=says) as caught:
            load_experiment(["network=coupled", *overrides])
        assert "\n" not in str(caught.value)

    def test_its_record_is_read_without_its_module(self):
        assert find(NetworkKind, "coupled").learnable == ()
        load_experiment(["network=coupled"])
        assert "a_package_of_mine.coupled" not in sys.modules

    def test_looks_forecast_and_cost_come_from_the_record(self):
        (curve,) = load_experiment(["network=coupled", "network.tied=false"]).curves
        look = style_of({"curve": "coupled_untied", "network": "coupled", "shrinkage": "threshold", "tied": False})
        assert (look.label, look.color) == ("LISTA-CP, untied", "#882255")
        asked = needs(curve.slug, curve.settings, 1e6)
        lista = needs(
            "lista", load_experiment(["network=lista", "network.depth=3", "network.tied=false"]).curves[0].settings, 1e6
        )
        assert asked is not None
        assert lista is not None
        assert asked.disk == pytest.approx(lista.disk / 3)  # N M entries instead of N² + N M, where N = 2 M
        table = load_experiment(["network=coupled", "figure.kind=complexity", *SMALL, "network.depth=3"])
        _, tables, _ = figure._seen(table)
        (row,) = tables["table1"]
        assert row["multiply_adds_formula"] == 2 * 3 * 40 * 20
        assert row["multiply_adds"] == pytest.approx(row["multiply_adds_formula"], rel=0.2)  # without A x̂ of layer 1


@pytest.mark.usefixtures("installed")
class TestShrinkage:
    def test_legends_have_its_label(self):
        row = {"curve": "lamp_tied_garrote", "network": "lamp", "shrinkage": "garrote", "tied": True}
        assert style_of(row).label == "LAMP-NNG, tied"

    @pytest.mark.slow
    def test_it_learns(self):
        few = ["training.lamp.steps=[40]", "training.lamp.batch=64"]
        levels = trained("network=lamp", "shrinkage=garrote", *SMALL, *few)
        assert levels[-1] < levels[0] - 3

    @pytest.mark.slow
    def test_start_and_name_are_checked(self):
        with pytest.raises(UserError, match=r"shrinkage.theta must be at least 0 at position 1 for garrote"):
            load_experiment(["shrinkage=garrote", "shrinkage.theta=[-1]"])
        with pytest.raises(UserError, match=r"shrinkage.family must be .*garrote.*did you mean garrote"):
            load_experiment(["shrinkage=garrote", "shrinkage.family=garote"])


@pytest.mark.usefixtures("installed")
class TestProblem:
    @pytest.mark.slow
    def test_it_trains(self):
        few = ["training.lamp.steps=[40]", "training.lamp.batch=64"]
        levels = trained("problem=laplace", "network=lamp", "shrinkage=soft", *few)
        assert levels[-1] < levels[0] < 0

    def test_nothing_is_matched_to_a_prior_that_nobody_knows(self):
        """VAMP with BG shrinkage is not matched VAMP for Laplacian signals, whatever θ is."""
        (curve,) = load_experiment(["problem=laplace", "network=vamp", "shrinkage=bg"]).curves
        assert curve.slug == "vamp_bg"

    def test_published_instances_are_of_other_signals(self):
        size = ["problem.N=500", "problem.M=250", "problem.snr_db=40", "problem.test_samples=1000"]
        with pytest.raises(UserError, match=r"problem.instance=authors2017 has Bernoulli-Gaussian signals"):
            load_experiment(["problem=laplace", "problem.instance=authors2017", *size])

    def test_its_keys_are_checked(self):
        with pytest.raises(UserError, match=r"problem.scale must be greater than 0, got 0"):
            load_experiment(["problem=laplace", "problem.scale=0"])


@pytest.mark.usefixtures("installed")
class TestSignal:
    def test_it_is_drawn_and_matched(self):
        """VAMP takes the posterior mean of the law, and the letters of a discrete shrinkage are its values."""
        (vamp,) = load_experiment(["signal=two_levels", "network=vamp", *SMALL]).curves
        assert (vamp.slug, vamp.settings.shrinkage.family) == ("matched_vamp", "matched")
        x = np.asarray(run.problem_of(vamp).test.x)
        unit = np.sqrt(5)  # active coefficients have power 1 as networks see them
        np.testing.assert_allclose(np.unique(np.round(x * unit, 4)), [-3, -1, 0, 1, 3])
        (lamp,) = load_experiment(["signal=two_levels", "network=lamp", "shrinkage=discrete", *SMALL]).curves
        letters = np.reshape(network_of(lamp.settings).theta[1:], (-1, 3))
        np.testing.assert_allclose(np.sort(letters[:, 1] * unit), [-3, -1, 0, 1, 3], atol=1e-3)

    @pytest.mark.slow
    def test_a_network_converges_on_it(self):
        levels = trained("signal=two_levels", "network=vamp", *SMALL)
        assert levels[-1] < levels[0] < -3

    def test_its_keys_are_checked(self):
        with pytest.raises(UserError, match=r"signal.high must be greater than 0, got 0"):
            load_experiment(["signal=two_levels", "signal.high=0"])


@pytest.mark.slow
def test_a_file_and_a_yaml_are_all_that_a_built_in_kind_takes(tmp_path):
    """Each pair of files dropped into a copy of the package is a kind like the others."""
    package = Path(onsager_cli.__file__).parent
    shutil.copytree(package, tmp_path / "onsager_cli", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(package.parent / "conf", tmp_path / "conf")
    for module, (code, option, yaml) in FILES.items():
        write(tmp_path / "onsager_cli" / f"{module}.py", code)
        write(tmp_path / "conf" / f"{option}.yaml", yaml)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    few = [
        "training.coupled.steps=[20]",
        "training.coupled.batch=32",
        "training.lamp.steps=[20]",
        "training.lamp.batch=32",
    ]
    for command in (
        ["problem=laplace", "network=coupled", "network.depth=2", *few[:2]],
        ["problem=laplace", "network=lamp", "shrinkage=garrote", "network.depth=2", *few[2:]],
    ):
        words = [sys.executable, "-m", "onsager_cli", "train", *command, "plot.formats=[svg]"]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    listed = subprocess.run(
        [sys.executable, "-m", "onsager_cli", "list"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    titles = (
        "LISTA-CP, LISTA whose two matrices are coupled",
        "Non-negative garrote",
        "Laplacian signals",
        "Two levels",
    )
    for title in titles:
        assert title in listed


def test_a_declaration_may_use_names_of_its_own_file(tmp_path, monkeypatch):
    """Then the file is imported; what comes out is the same."""
    code = mine.NETWORK.replace('depth": integer(1, 1000)', 'depth": integer(1, LIMIT)').replace(
        "KIND = ", "LIMIT = 7\nKIND = ", 1
    )
    site = tmp_path / "site"
    write(site / "a_file_of_mine.py", code)
    write(site / "a_file_of_mine-1.dist-info" / "METADATA", "Name: a_file_of_mine\nVersion: 1\n")
    write(
        site / "a_file_of_mine-1.dist-info" / "entry_points.txt", "[onsager.networks]\ncoupled = a_file_of_mine:KIND\n"
    )
    write(tmp_path / "conf" / "network" / "coupled.yaml", mine.NETWORK_YAML)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"network.depth must be at most 7, got 8"):
        load_experiment(["network=coupled", "network.depth=8"])
    assert "a_file_of_mine" in sys.modules


HEAD = "from onsager_cli.kinds import NetworkKind\n"


@pytest.mark.parametrize(
    ("code", "value", "says"),
    [
        ("KIND = 3\n", "a_module_of_mine:KIND", "is not a NetworkKind"),
        ("", "a_module_that_is_not_there:KIND", "there is no module a_module_that_is_not_there"),
        ("", "garbage garbage", "cannot be loaded"),
        ("", "a_module_of_mine:KIND", "has no attribute 'KIND'"),
        ("", "a_module_of_mine", "cannot be loaded"),
        ("KIND = (\n", "a_module_of_mine:KIND", "SyntaxError"),
        ("raise SystemExit(3)\n", "a_module_of_mine:KIND", "SystemExit: 3"),
        (HEAD + 'KIND = NetworkKind("three", kees={})\n', "a_module_of_mine:KIND", "kees"),
        (HEAD + 'KIND = NetworkKind("three", keys=["tied"])\n', "a_module_of_mine:KIND", "with a mapping of keys"),
        (HEAD + 'KIND = NetworkKind("four")\n', "a_module_of_mine:KIND", "a kind named 'four'"),
    ],
)
def test_an_entry_point_that_is_no_record(tmp_path, monkeypatch, code, value, says):
    monkeypatch.delitem(sys.modules, "a_module_of_mine", raising=False)
    site = tmp_path / "site"
    write(site / "a_module_of_mine.py", code)
    write(site / "a_module_of_mine-1.dist-info" / "METADATA", "Name: a_module_of_mine\nVersion: 1\n")
    write(site / "a_module_of_mine-1.dist-info" / "entry_points.txt", f"[onsager.networks]\nthree = {value}\n")
    write(tmp_path / "conf" / "network" / "three.yaml", "kind: three\nname: three\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=says) as caught:
        load_experiment(["network=three"])
    assert "\n" not in str(caught.value)
    assert f"the entry point three = {value} of onsager.networks" in str(caught.value)


def test_a_file_s_own_names_come_before_the_vocabulary(tmp_path, monkeypatch):
    code = "from onsager_cli.kinds import NetworkKind, integer\n\nnumber = 5\n"
    kind = 'KIND = NetworkKind("shadow", keys={"depth": integer(1, number)})\n'
    write(tmp_path / "a_shadow_of_mine.py", code + kind)
    write(tmp_path / "a_shadow_of_mine-1.dist-info" / "METADATA", "Name: a_shadow_of_mine\nVersion: 1\n")
    write(
        tmp_path / "a_shadow_of_mine-1.dist-info" / "entry_points.txt",
        "[onsager.networks]\nshadow = a_shadow_of_mine:KIND\n",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    field: Any = find(NetworkKind, "shadow").keys["depth"]
    with pytest.raises(ValueError, match="at most 5"):
        field.metadata["check"](6)


def test_the_documentation_shows_these_files():
    page = Path(onsager_cli.__file__).parents[1] / "docs" / "own.md"
    if not page.is_file():
        pytest.skip("not a checkout")
    text = page.read_text()
    for code in (mine.NETWORK, mine.NETWORK_YAML, mine.SHRINKAGE, mine.PROBLEM, mine.SIGNAL, mine.SIGNAL_YAML):
        assert code in text
