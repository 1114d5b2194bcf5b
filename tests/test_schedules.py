"""Which schedule of `training=fast` a curve is trained by, and which keys of it have an effect."""

import pytest
from conftest import slow

from onsager_cli.config.load import load_experiment
from onsager_cli.config.overrides import parse
from onsager_cli.config.schedules import check_command
from onsager_cli.errors import UserError


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
