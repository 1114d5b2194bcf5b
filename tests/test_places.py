"""A figure never replaces the figure of other settings: it gets another name, which says what differs."""

import json

import pytest

from onsager_cli.config.load import load_experiment
from onsager_cli.errors import Notice
from onsager_cli.record.places import NOTE, kept_apart, note

SMALL = ("problem.N=40", "problem.M=20", "network=amp", "network.depth=3")
FIGURE = ("+experiment=fig1a", "network.depth=3")


@pytest.fixture
def named(tmp_path, monkeypatch):
    """The name under which a figure is written after those of `before`."""
    monkeypatch.chdir(tmp_path)

    def name(*overrides: str, before: tuple[tuple[str, ...], ...] = ()) -> str:
        for earlier in before:
            note(kept_apart(load_experiment([*earlier])))
        return kept_apart(load_experiment([*overrides])).name

    return name


def test_the_first_one_has_the_plain_name(named):
    assert named(*SMALL) == "amp_l1-gaussian"


@pytest.mark.parametrize(
    "more", [("network.depth=5",), ("figure.title=Another title",), ("plot.formats=[png]",), ("output=./outputs",)]
)
def test_more_layers_and_another_look_replace_it(named, more):
    less = tuple(item for item in SMALL if not more[0].startswith("network.depth") or item != "network.depth=3")
    assert named(*less, *more, before=(SMALL,)) == "amp_l1-gaussian"


@pytest.mark.parametrize(
    ("change", "suffix"),
    [
        ("problem.snr_db=20", "-snr_db=20"),
        ("seed=3", "-seed=3"),
        ("problem.gamma=0.2", "-gamma=0.2"),
        ("precision=high", "-precision=high"),
    ],
)
def test_other_settings_get_a_name_that_says_what_differs(named, change, suffix):
    with pytest.warns(
        Notice,
        match=r"outputs/figures/amp_l1-gaussian has a figure with .*; onsager writes this one, with .*, to amp_l1-gaussian-",
    ):
        assert named(*SMALL, change, before=(SMALL,)) == f"amp_l1-gaussian{suffix}"


def test_another_problem_has_another_name_already(named):
    assert named(*SMALL, "problem=kappa15", before=(SMALL,)) == "amp_l1-kappa15"


@pytest.mark.filterwarnings("ignore::onsager_cli.errors.Notice")
class TestAgain:
    def test_the_same_settings_find_their_name(self, named):
        other = (*SMALL, "problem.snr_db=20")
        assert named(*other, before=(SMALL, other)) == "amp_l1-gaussian-snr_db=20"
        assert named(*SMALL, before=(other,)) == "amp_l1-gaussian"

    def test_fewer_layers_do_not_replace_more(self, named):
        assert named(*SMALL[:3], "network.depth=2", before=(SMALL,)) == "amp_l1-gaussian-depth=2"

    def test_a_part_of_a_figure_does_not_replace_the_whole(self, named):
        assert named(*FIGURE, "only=[ista]", before=(FIGURE,)) == "fig1a-ista"

    def test_the_whole_replaces_a_part(self, named):
        assert named(*FIGURE, before=((*FIGURE, "only=[ista]"),)) == "fig1a"

    def test_long_differences_become_a_number(self, named):
        other = ("problem.snr_db=20", "problem.gamma=0.2", "seed=3", "problem.test_samples=77")
        name = named(*SMALL, *other, before=(SMALL,))
        assert name.startswith("amp_l1-gaussian-")
        assert len(name.removeprefix("amp_l1-gaussian-")) == 8

    def test_another_version_of_the_numerics_replaces_it(self, named):
        experiment = load_experiment([*SMALL])
        note(experiment)
        path = experiment.place / NOTE
        stored = json.loads(path.read_text())
        assert "numerics" not in stored["curves"]["amp_l1, matrix 1"]
        assert named(*SMALL) == "amp_l1-gaussian"

    def test_a_damaged_note_is_no_note(self, named):
        experiment = load_experiment([*SMALL])
        note(experiment)
        (experiment.place / NOTE).write_text("{")
        assert named(*SMALL, "seed=3") == "amp_l1-gaussian"
