"""What is shipped: the wheel trains on its own, and the files that describe the project agree with each other."""

import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import yaml

import onsager_cli
from onsager_cli.config import catalog

ROOT = Path(onsager_cli.__file__).parents[1]

pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="not a checkout")


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_command_exists(project):
    module, _, name = project["project"]["scripts"]["onsager"].partition(":")
    assert callable(getattr(import_module(module), name))


def test_the_distribution_has_a_name_of_its_own(project):
    """On the package index, `onsager` is somebody else's."""
    assert project["project"]["name"] == "onsager-cli"


def test_the_extras_and_the_groups_are_the_same(project):
    groups, extras = project["dependency-groups"], project["project"]["optional-dependencies"]
    assert extras["test"] == groups["test"]
    assert extras["docs"] == groups["docs"]
    assert {"include-group": "test"} in groups["dev"]


def test_jax_has_no_upper_bound(project):
    (jax,) = [item for item in project["project"]["dependencies"] if item.startswith("jax")]
    assert "<" not in jax


def test_the_citation_names_this_version_and_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == onsager_cli.__version__
    (paper,) = citation["references"]
    assert paper["doi"] == "10.1109/TSP.2017.2708040"


@pytest.mark.slow
def test_the_citation_is_valid():
    cffconvert = pytest.importorskip("cffconvert")
    cffconvert.Citation((ROOT / "CITATION.cff").read_text()).validate()


def test_the_tests_run_here_as_the_readme_says():
    readme = (ROOT / "README.md").read_text()
    commands = [line for line in (ROOT / ".ci/run").read_text().splitlines() if line.startswith(("pip", "pytest"))]
    assert len(commands) == 2
    for command in commands:
        assert command.replace(" -q", "") in readme


@pytest.mark.parametrize("group", catalog.GROUPS)
def test_every_option_has_a_title(group):
    for path in catalog.config_files(group).values():
        assert catalog.title(path), path


def run(*command: str | Path, cwd: Path) -> str:
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    result = subprocess.run(list(map(str, command)), cwd=cwd, env=clean, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of this checkout, built as pip builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, ROOT, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.slow
def test_the_wheel_carries_the_config_tree(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    conf = catalog.package_conf()
    for path in conf.rglob("*.yaml"):
        assert f"onsager_cli/conf/{path.relative_to(conf).as_posix()}" in names
    texts = ("figures/paper.mplstyle", "record/report.css", "claims/vocabulary.md")
    templates = ("record", "gallery", "claims", "params")
    texts += ("record/templates/report.html.j2", *(f"record/templates/{name}.md.j2" for name in templates))
    texts += (
        "export/templates/file.py.j2",
        "export/templates/python/networks/lamp.j2",
        "export/templates/README.md.j2",
    )
    assert {f"onsager_cli/{path}" for path in texts} <= names
    for path in (ROOT / "experiments").glob("*/weights/*.npz"):
        assert f"onsager_cli/weights/{path.parts[-3]}/{path.name}" in names
    assert not [name for name in names if name.startswith(("tests", "outputs", "experiments"))]


@pytest.mark.slow
def test_the_wheel_trains_in_an_empty_environment_and_folder(wheel, tmp_path):
    """The environment borrows the dependencies of this one, and nothing of the checkout."""
    environment, folder = tmp_path / "environment", tmp_path / "empty"
    folder.mkdir()
    run(sys.executable, "-m", "venv", environment, cwd=tmp_path)
    python = environment / "bin" / "python"
    run(python, "-m", "pip", "install", "--no-deps", wheel, cwd=tmp_path)
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    # Of the folders named here Python runs no .pth file, so an editable install of the checkout stays out.
    Path(site, "borrowed.pth").write_text("\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}))
    where = run(python, "-c", "import onsager_cli; print(onsager_cli.__file__)", cwd=folder)
    assert where.startswith(site)
    onsager = environment / "bin" / "onsager"
    assert "fig10" in run(onsager, "list", cwd=folder)
    np.save(folder / "y.npy", 0.45 * np.random.default_rng(0).normal(size=(250, 3)))
    run(onsager, "apply", "fig10/lamp_tied_bg", "y.npy", cwd=folder)
    assert np.load(folder / "y-x_hat.npy").shape == (500, 3)
    size = ["problem.N=40", "problem.M=20", "problem.selection_samples=20", "problem.test_samples=20"]
    shown = run(
        onsager, "train", *size, "network.depth=1", "training.lamp.batch=8", "training.lamp.steps=[10]", cwd=folder
    )
    assert {Path(line).suffix for line in shown.split()} == {".csv", ".pdf", ".svg", ".png"}
    assert all((folder / line).is_file() for line in shown.split())
