"""Which schedule of `training=fast` a curve is trained by, and which keys of it have an effect."""

from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import yaml
from conftest import slow

from onsager_cli.config.catalog import package_conf
from onsager_cli.config.load import load_experiment
from onsager_cli.config.overrides import parse
from onsager_cli.config.schedules import check_command
from onsager_cli.errors import UserError
from onsager_cli.kinds import registry
from onsager_cli.kinds.checks import build
from onsager_cli.kinds.trainings import FastTraining, Schedule


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("overrides", "schedules"),
    [
        ("", {"lamp"}),
        ("network.tied=false", {"lamp", "lamp_untied"}),
        ("network=lvamp", {"lvamp"}),
        ("network=lvamp network.tied=false", {"lvamp", "lvamp_untied"}),
        ("network=lvamp network.init=random", {"lvamp_random"}),
        ("network=lvamp network.init=random network.tied=false", {"lvamp_random", "lvamp_random_untied"}),
        ("network=amp", set()),
        ("network=amp training=fast shrinkage=bg", {"lamp_theta"}),
        ("network=lamp network.learn=[theta] network.tied=false", {"lamp_theta"}),
        ("network=lvamp network.init=random network.learn=[theta]", {"lvamp_random"}),
        ("network=oracle training=fast", set()),
        ("training=paper", set()),
        ("+experiment=fig8", {"lista", "lista_untied", "lamp", "lamp_untied"}),
        ("+experiment=fig8 only=[lista_tied,amp_l1]", {"lista"}),
    ],
)
def test_the_schedules_of_a_command(overrides, schedules):
    keys = load_experiment(overrides.split()).effective
    assert {key for key in keys if key.endswith(".steps")} == {f"training.{name}.steps" for name in schedules}
    assert {key for key in keys if key.endswith(".emphasis")} == {f"training.{name}.emphasis" for name in schedules}


@pytest.mark.parametrize(
    "overrides",
    [
        ["+experiment=fig8", "training.lista.steps=[1]"],  # LAMP and AMP do without it
        ["network.tied=false", "training.lamp.steps=[1]"],  # of the tied network it is compared with
        ["training.lamp={steps: [1], batch: 2}"],
        ["problem=massive_mimo", "training.lamp.emphasis=[1]"],
        ["training.joint=true"],
        ["+experiment=fig8", "training=thorough"],
    ],
)
def test_what_has_an_effect_is_let_through(overrides):
    check_command(parse(overrides), [load_experiment(overrides)])


@pytest.mark.parametrize(
    "overrides", slow("+experiment=fig8", "+experiment=fig15", "network=lamp", but=("+experiment=fig8",))
)
def test_a_misspelt_key_of_a_schedule_is_unknown_wherever_it_stands(overrides):
    def load() -> None:
        asked = [*overrides.split(), "training.lamp.stepz=[3]"]
        check_command(parse(asked), [load_experiment(asked)])

    with pytest.raises(UserError, match=r"unknown key .training\.lamp\.stepz. \(did you mean"):
        load()


class TestOfAnInstalledNetwork:
    @pytest.fixture(autouse=True)
    def installed(self, tmp_path, monkeypatch):
        record = 'KIND = NetworkKind("scheduled", of="Mine", keys={"depth": integer(1, 9)}, learnable=("theta",))'
        (tmp_path / "a_package_with_a_schedule.py").write_text(f"{record}\n")
        monkeypatch.syspath_prepend(tmp_path)
        entry = EntryPoint("scheduled", "a_package_with_a_schedule:KIND", "onsager.networks")

        def entry_points(group, name="scheduled"):
            return [entry] if (group, name) == ("onsager.networks", "scheduled") else []

        monkeypatch.setattr(registry, "entry_points", entry_points)

    @staticmethod
    def schedule(text: str, *overrides: str) -> tuple[Schedule, frozenset[str]]:
        """What the network learns by, with this text as its file, and the keys of schedules that have an effect."""
        Path("conf/network").mkdir(parents=True)
        Path("conf/network/scheduled.yaml").write_text(text)
        asked = ["network=scheduled", *overrides]
        experiment = load_experiment(asked)
        check_command(parse(asked), [experiment])
        training = experiment.curves[0].settings.training
        assert isinstance(training, FastTraining)
        return training.descent, experiment.effective

    @pytest.fixture
    def default(self) -> Schedule:
        config = yaml.safe_load((package_conf() / "training" / "fast.yaml").read_text())
        return build(Schedule, config["default"], "training.default")

    def test_is_the_default_one(self, default):
        text = "kind: scheduled\nname: scheduled\ndepth: 2\n"
        found, keys = self.schedule(text, "training.default.batch=9")
        assert found == replace(default, batch=9)
        assert {key.rpartition(".")[0] for key in keys} == {"training.default"}

    def test_is_the_default_one_where_its_own_file_says_nothing(self, default):
        text = (
            "# @package _global_\nnetwork: {kind: scheduled, name: scheduled, depth: 2}\n"
            "training:\n  scheduled:\n    steps: [7]\n"
        )
        found, keys = self.schedule(text, "training.scheduled.batch=9")
        assert found == replace(default, steps=(7,), batch=9)
        assert {key.rpartition(".")[0] for key in keys} == {"training.scheduled"}
