"""README and docs/: links lead somewhere, commands are commands, examples run, formulas are those of the networks."""

import doctest
import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import onsager_cli
from onsager_cli.cli.verbs import VERBS, parser
from onsager_cli.config import comments
from onsager_cli.config.load import load_experiment
from onsager_cli.figures.looks import style_of
from onsager_cli.store.tables import read_table

ROOT = Path(onsager_cli.__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
README = ROOT / "README.md"
TEXTS = [README, *PAGES]

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="not a checkout")
if not DOCS.is_dir():
    PAGES = TEXTS = []


def name(path: Path) -> str:
    return path.name


def generated():
    spec = importlib.util.spec_from_file_location("generated", DOCS / "_ext" / "generated.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks(text: str) -> list[tuple[str, str]]:
    """(language, text) of the code blocks of a page."""
    return re.findall(r"^```(.*)\n((?:(?!^```)[\s\S])*?)^```$", text, re.MULTILINE)


def commands(path: Path) -> list[str]:
    """The lines of code blocks that run onsager, without what explains them in a second column."""
    lines = [line for _, code in blocks(path.read_text(encoding="utf-8")) for line in code.splitlines()]
    found = (re.split(r"\s{2,}", line)[0] for line in lines if re.match(r"onsager [a-z]", line))
    return [line.partition(" > ")[0] for line in found]


COMMANDS = sorted({command for path in TEXTS for command in commands(path)})


def test_every_page_is_in_the_contents():
    listed = re.findall(r"```\{toctree\}\n(?::.*\n)*((?:\w+\n)+)", (DOCS / "index.md").read_text())
    names = " ".join(listed).split()
    assert sorted(names) == sorted(path.stem for path in PAGES if path.stem != "index")
    assert len(names) <= 17, "16 pages and the notebook"


def test_the_readme_is_one_page():
    assert 300 <= len(README.read_text(encoding="utf-8").split()) <= 700


@pytest.mark.parametrize("path", TEXTS, ids=name)
def test_links_lead_to_files(path):
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"(?:\]\(|src=\")([^)\s\"#]+)", "".join(re.split(r"```[\s\S]*?```", text))):
        assert target.startswith("http") or (path.parent / target).exists(), target


@pytest.mark.parametrize("path", TEXTS, ids=name)
def test_sentences_are_short(path):
    """20 words on average: prose without code, tables, headings and lists of links."""
    text = re.sub(
        r"```[\s\S]*?```|:::.*|^---[\s\S]*?---$", "\n\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    text = re.sub(r"^(?:\||#|<|\(|:|!|\$\$).*$", "\n", text, flags=re.MULTILINE)
    text = re.sub(r"\]\(\S*?\)|[\[`*]", "", text)
    sentences = [
        one.split()
        for block in re.split(r"\n\s*\n|^- ", text, flags=re.MULTILINE)
        for one in re.split(r"(?<=[.!?:])\s", block)
    ]
    lengths = [len(words) for words in sentences if len(words) > 2]
    assert not lengths or np.mean(lengths) <= 20, np.mean(lengths)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_commands(command):
    verb, *words = shlex.split(command)[1:]
    assert verb in VERBS
    if "…" not in words:
        parser(verb).parse_args([verb, *words])


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder with the files that the pages name, among them the figure of docs/own.md."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.savez("mine.npz", A=rng.normal(size=(20, 40)))
    np.savez("pairs.npz", x=rng.normal(size=(400, 40)), y=rng.normal(size=(400, 20)))
    np.savez("set.npz", x=rng.normal(size=(400, 40)), y=rng.normal(size=(400, 20)))
    for matlab in ("A.mat", "mine.mat", "pilots.mat"):
        Path(matlab).write_bytes(b"MATLAB")
    (figure,) = (code for kind, code in blocks((DOCS / "own.md").read_text()) if "title: LAMP with three" in code)
    Path("conf/experiment").mkdir(parents=True)
    Path("conf/experiment/mine.yaml").write_text(figure)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [one for one in COMMANDS if one.split()[1] in ("train", "plot", "record", "pack") and "…" not in one]
)
def test_overrides_of_commands_are_keys(command, folder):
    verb, *words = shlex.split(command)[1:]
    options = parser(verb).parse_args([verb, *words])
    assert load_experiment(options.overrides).curves or load_experiment(options.overrides).panels


def test_config_keys_have_their_comments():
    keys = comments.in_file
    path = ROOT / "conf" / "problem" / "gaussian.yaml"
    found = {key.name: key for key in keys(path)}
    assert {key for key in yaml.safe_load(path.read_text()) if key not in found} == set()
    assert found["snr_db"].value == "40"
    assert found["snr_db"].comment.startswith("SNR E||Ax||^2 / E||w||^2 in dB")
    figure = {key.name: key for key in keys(ROOT / "conf" / "config.yaml")}["figure.kind"]
    assert figure.value == "curves"
    assert figure.comment.endswith("sizes (distance to state evolution over N)"), (
        "lines that follow belong to the comment"
    )


def test_generated_parts_name_all_verbs_options_and_columns():
    parts = generated().PARTS
    assert re.findall(r"^### onsager (\w+)$", parts["commands"](), re.MULTILINE) == list(VERBS)
    for option in ("`lamp`", "`em_vamp`", "`fig10`", "`rademacher`", "`thorough`"):
        assert option in parts["options"]()
    assert "`hydra.launcher.partition`" in parts["keys"]()
    assert "| `nmse_db` |" in parts["columns"]()
    gallery = parts["gallery"]()
    for drawing in re.findall(r"!\[.*?\]\((\S+)\)", gallery):
        assert (DOCS / drawing).is_file(), drawing
    assert "(record-fig10)=\n## Fig. 10" in gallery


@pytest.mark.slow
@pytest.mark.parametrize("path", [page for page in PAGES if ">>> " in page.read_text(encoding="utf-8")], ids=name)
def test_examples_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = doctest.testfile(str(path), module_relative=False)
    assert found.attempted > 2
    assert found.failed == 0


@pytest.mark.slow
def test_the_python_of_the_readme_runs(capsys):
    (code,) = (code for language, code in blocks(README.read_text(encoding="utf-8")) if language == "python")
    exec(compile(code, "README.md", "exec"), {})
    trained, recovered, released = capsys.readouterr().out.splitlines()
    stored, measured = map(float, trained.split())
    assert abs(stored - measured) < 0.01
    assert float(recovered) < -25
    assert released == "<Trained lamp, 15 layers, -45.56 dB>"


@pytest.mark.slow
def test_the_build_has_no_warning_and_runs_the_notebook(tmp_path):
    pytest.importorskip("sphinx", reason="pip install -e '.[docs]'")
    pytest.importorskip("myst_nb", reason="pip install -e '.[docs]'")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", DOCS, tmp_path / "html"]
    made = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert made.returncode == 0, made.stderr
    page = re.sub(r"<[^>]+>", "", (tmp_path / "html" / "notebook.html").read_text())
    assert re.search(r"-4[45]\.\d dB on 100 samples", page), "what the cell of the released network prints"
    assert "record-fig10" in (tmp_path / "html" / "gallery.html").read_text()


def test_the_table_of_later_networks_is_the_record():
    """Means over the recorded matrices, rounded to 0.1 dB."""
    text = (
        (DOCS / "choose.md")
        .read_text(encoding="utf-8")
        .partition("## Comparison with later networks")[2]
        .partition("\n## ")[0]
    )
    named = {row["curve"]: row for row in read_table(ROOT / "experiments/rivals/curves.csv") if row["layer"] == 8}
    slugs = {style_of(row).label.removesuffix(", tied").replace("$\\ell_1$", "l1"): slug for slug, row in named.items()}
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    places = re.findall(r"experiments/(\w+)/README", text.partition("\n|")[0])
    assert len(lines) == 15
    for label, *numbers in lines[2:]:
        slug = slugs[label.removesuffix(", no training")]
        for place, number in zip(places, numbers, strict=True):
            table = read_table(ROOT / "experiments" / place / "curves.csv")
            found = [row["nmse_db"] for row in table if (row["curve"], row["layer"]) == (slug, 8)]
            assert number == f"{sum(found) / len(found):.1f} dB", (label, place)
