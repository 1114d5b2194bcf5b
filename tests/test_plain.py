"""Configs composed without Hydra are those that Hydra composes."""

import copy
import zlib
from itertools import product

import pytest
from omegaconf import OmegaConf

from onsager_cli import run
from onsager_cli.config import catalog, compose, experiment, plain
from onsager_cli.config import overrides as grammar
from onsager_cli.config.load import load_experiment

EXPERIMENTS = list(catalog.config_files("experiment"))


def by_hydra(lines: list[str]) -> dict:
    """The config as Hydra composes it."""
    with compose.composer() as composer:
        own, experiment, _ = composer._composed(grammar.parse(lines))
        found = OmegaConf.to_container(own, resolve=True)
        assert isinstance(found, dict)
        return {**found, "@experiment": experiment}


def without_hydra(lines: list[str]) -> dict | None:
    """The config as `plain` composes it; None where that is left to Hydra."""
    with compose.composer() as composer:
        found = composer._ordinary_of(grammar.parse(lines))
        return None if found is None else {**found[0], "@experiment": found[1]}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment(name):
    assert without_hydra([f"+experiment={name}"]) == by_hydra([f"+experiment={name}"])


@pytest.mark.slow
def test_every_network_with_and_without_what_it_overrides():
    for network in catalog.config_files("network"):
        for more in ([], ["shrinkage=pwlin"], ["training=paper"], ["+experiment=fig12", "problem=gaussian"]):
            lines = [f"network={network}", *more]
            assert without_hydra(lines) == by_hydra(lines), lines


@pytest.mark.slow
def test_choices_of_two_options():
    """One pair in eight, spread over all groups: Hydra takes a tenth of a second for each."""
    groups = [group for group in catalog.GROUPS if group != "experiment"]
    for first, second in product(groups, groups):
        if first < second:
            for one, other in product(catalog.config_files(first), catalog.config_files(second)):
                lines = [f"{first}={one}", f"{second}={other}"]
                if zlib.crc32(" ".join(lines).encode()) % 8:
                    continue
                assert without_hydra(lines) == by_hydra(lines), lines


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_needs_no_hydra(name, monkeypatch):
    def refuse(lines):
        raise AssertionError(f"Hydra composes {lines}")

    monkeypatch.setattr(compose, "_compose", refuse)
    monkeypatch.setattr(compose, "_of_package", refuse)
    assert load_experiment([f"+experiment={name}", "output=elsewhere"]).parts


HEAD = "# @package _global_\n"
OWN = {
    "an interpolation": f"{HEAD}problem:\n  N: ${{problem.M}}\ncurves:\n  a: network=lamp\n",
    "another experiment below": f"{HEAD}defaults:\n  - fig10\n  - _self_\nfigure:\n  name: own\n",
    "a group by another way": f"{HEAD}defaults:\n  - override /problem: kappa15\n  - /training@training: paper\n",
    "the same group twice": f"{HEAD}defaults:\n  - override /problem: kappa15\n  - override /problem: kappa100\n",
    "an override without its slash": f"{HEAD}defaults:\n  - override problem: kappa15\n",
    "an experiment overridden": f"{HEAD}defaults:\n  - override /experiment: fig10\n",
    "blanks": f"{HEAD}defaults:\n  - 'override   /problem': kappa15\n",
    "a list over a mapping": f"{HEAD}figure: [1]\n",
    "a mapping over a list": f"{HEAD}plot:\n  formats: {{a: 1}}\n",
    "a second header": f"{HEAD}# @package problem\nproblem:\n  N: 3\n",
    "something before the header": f"# @foo x\n{HEAD}problem:\n  N: 3\n",
    "a header with more": "# @package _global_ x\nproblem:\n  N: 3\n",
}


@pytest.mark.parametrize("text", OWN.values(), ids=list(OWN))
def test_what_is_not_ordinary_is_left_to_hydra(text, tmp_path, monkeypatch):
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "own.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert without_hydra(["+experiment=own"]) is None


@pytest.mark.parametrize(
    ("group", "files"),
    [
        ("problem", {"mine": "defaults: [mine]\n"}),
        ("problem", {"mine": "defaults: [other]\n", "other": "defaults: [mine]\n"}),
        ("problem", {"mine": "defaults: [gaussian, _self_, _self_]\n"}),
        ("problem", {"mine": "defaults: [sub/base]\n", "sub/base": "defaults: [gaussian]\n"}),
        ("training", {"mine": "defaults: [fast, _self_]\nlista: ${training.lamp}\n"}),
        ("network", {"mine": "defaults:\n  - override /problem: kappa15\nkind: lamp\n"}),
        ("network", {"mine": f"{HEAD}defaults:\n  - override /network: lista\nnetwork:\n  kind: lamp\n"}),
    ],
)
def test_options_that_are_left_to_hydra(group, files, tmp_path, monkeypatch):
    for name, text in files.items():
        path = tmp_path / "conf" / group / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    assert without_hydra([f"{group}=mine"]) is None


def test_an_experiment_wins_over_a_network_where_both_override(tmp_path, monkeypatch):
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    text = "# @package _global_\ndefaults:\n  - override /training: paper\n  - override /network: amp\n"
    (tmp_path / "conf" / "experiment" / "own.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    for lines in (["+experiment=own"], ["+experiment=own", "network=oracle"], ["+experiment=own", "training=fast"]):
        assert without_hydra(lines) == by_hydra(lines), lines


def test_an_ordinary_experiment_of_the_users_own(tmp_path, monkeypatch):
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "problem").mkdir()
    path = tmp_path / "conf" / "experiment" / "own.yaml"
    text = (
        "# @package _global_\ndefaults:\n  - override /problem: mine\nproblem:\n  N: 50\ncurves:\n  a: network=lamp\n"
    )
    path.write_text("\ufeff" + text)  # as an editor of Windows saves it
    (tmp_path / "conf" / "problem" / "mine.yaml").write_text("defaults:\n  - gaussian\n  - _self_\nname: mine\nM: 30\n")
    monkeypatch.chdir(tmp_path)
    found = without_hydra(["+experiment=own"])
    assert found == by_hydra(["+experiment=own"])
    assert found is not None
    assert [found["problem"][key] for key in ("name", "N", "M")] == ["mine", 50, 30]
    path.write_text(text.replace("N: 50", "N: 60"))
    assert (again := without_hydra(["+experiment=own"])) is not None
    assert again["problem"]["N"] == 60


@pytest.mark.parametrize(
    ("key", "value"),
    [("problem.N", 3), ("figure.labels", {"a": "b"}), ("seeds", [0, 1]), ("figure", {"title": "x", "labels": {"c": "d"}})],
)  # fmt: skip
def test_values_are_set_as_omegaconf_sets_them(key, value):
    before = {"problem": {"N": 1, "M": 2}, "figure": {"title": None, "labels": {"a": "z"}}, "seeds": None}
    config, reference = copy.deepcopy(before), OmegaConf.create(before)
    assert plain.put(config, key, value)
    OmegaConf.update(reference, key, value, merge=True)
    assert config == OmegaConf.to_container(reference)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("problem.K", 3),
        ("problem.N.M", 3),
        ("problem.N", "${problem.M}"),
        ("problem", [1]),
        ("problem", 1),
        ("problem", {"L": [1]}),
        ("L", {"a": 1}),
    ],
)
def test_what_only_hydra_knows_changes_nothing(key, value):
    config = {"problem": {"N": 1, "M": 2, "L": {"a": 1}}, "L": [1]}
    before = copy.deepcopy(config)
    assert not plain.put(config, key, value)
    assert config == before


def test_no_identity_is_taken_twice(tmp_path):
    """An untied network's twin is the tied network of the figure."""
    asked = load_experiment(["+experiment=fig10", f"output={tmp_path}"])
    experiment._identity.cache_clear()
    assert not any(curve.folder.exists for curve in run.in_order(asked.curves))
    assert experiment._identity.cache_info().misses == len(asked.curves) == 11
