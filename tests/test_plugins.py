"""A shrinkage family, a network and a problem of an installed package, as CONTRIBUTING.md describes them."""

from pathlib import Path

import pytest
from conftest import toy_overrides

from onsager_cli import run
from onsager_cli.config.load import load_experiment
from onsager_cli.errors import UserError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compile")]

PACKAGE = """
from dataclasses import replace

import jax
import jax.numpy as jnp

from onsager_cli.networks.lista import Lista
from onsager_cli.problems import bernoulli_gaussian
from onsager_cli import shrinkage
from onsager_cli.shrinkage.family import Family, average

MINE = Family("mine", shrinkage.build("soft").eta, ("beta", "alpha"), (float("-inf"), 0.0), slopes=(0,))


def network(settings, family, theta):
    return Lista(shrinkage.build("threshold"), (settings.options["level"],), True)


def draw(problem, key, batch):
    of_x, of_w = jax.random.split(key)
    M, N = problem.A.shape
    x = jax.random.laplace(of_x, (N, batch)) * 0.1
    return x, problem.A @ x + jnp.sqrt(problem.noise_variance) * jax.random.normal(of_w, (M, batch))


def problem(settings, seed):
    A = bernoulli_gaussian.gaussian_matrix(seed, settings.options["rows"], 40, None)
    base = bernoulli_gaussian.build(A=A, gamma=0.1, snr_db=20, seed=seed, selection_samples=1, test_samples=1)
    law = replace(base, draw=draw, mean_power=None)
    keys = jax.random.split(jax.random.key(seed))
    return replace(law, selection=law.sample(keys[0], 100), test=law.sample(keys[1], 50))
"""
ENTRIES = """
[onsager.shrinkages]
mine = a_package_of_mine:MINE
[onsager.networks]
mine = a_package_of_mine:network
[onsager.problems]
mine = a_package_of_mine:problem
"""
FILES = {
    "conf/shrinkage/mine.yaml": "family: mine\ntheta: [1, 1]\n",
    "conf/network/mine.yaml": "kind: mine\nname: mine\ndepth: 3\nlevel: 0.01\n",
    "conf/problem/mine.yaml": "kind: mine\nname: mine\nrows: 20\n",
}


@pytest.fixture(autouse=True)
def installed(tmp_path, monkeypatch):
    """The package, as pip would install it, and the YAML files in the folder one works in."""
    site = tmp_path / "site"
    for path, text in {
        site / "a_package_of_mine.py": PACKAGE,
        site / "a_package_of_mine-1.dist-info" / "METADATA": "Name: a_package_of_mine\nVersion: 1\n",
        site / "a_package_of_mine-1.dist-info" / "entry_points.txt": ENTRIES,
        **{tmp_path / name: text for name, text in FILES.items()},
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(tmp_path)


def nmse_db(*overrides: str, toy: bool = True) -> list[float]:
    size = [text for text in toy_overrides() if toy or not text.startswith(("problem", "training"))]
    words = {text.partition("=")[0]: text for text in (*size, *overrides)}
    asked = load_experiment(list(words.values()))
    assert run.train(asked, lambda _: None) == []
    assert Path("outputs/curves").is_dir()
    return [row["nmse_db"] for row in run.rows_of(asked)]


def test_a_shrinkage_family():
    mine = nmse_db("network=lamp", "shrinkage=mine")
    assert mine == nmse_db("network=lamp", "shrinkage=soft")
    with pytest.raises(UserError, match=r"shrinkage\.family must be .* or mine, got 'mien' \(did you mean mine"):
        load_experiment(["network=lamp", "shrinkage=mine", "shrinkage.family=mien"])


PAPER = (
    "training=paper", "training.batch=16", "training.max_steps=20", "training.refinements=1", "training.patience=1",
)  # fmt: skip


def test_a_network():
    small = [text for text in toy_overrides() if text.startswith("problem.")]
    mine = nmse_db("network=mine", *PAPER, *small, toy=False)
    assert len(mine) == 3
    assert mine == nmse_db("network=lista", "shrinkage.theta=[0.01]", *PAPER, *small, toy=False)


def test_a_problem():
    found = nmse_db(
        "problem=mine",
        "network=lamp",
        "shrinkage=soft",
        "training.lamp.steps=[30]",
        "training.lamp.batch=50",
        toy=False,
    )
    assert len(found) == 3
    assert found[-1] < found[0] < 0
