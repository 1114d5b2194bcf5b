"""`onsager verify`: what it prints, its exit codes, its haste, and mistakes in claims files."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import synthetic
import yaml

from onsager_cli.claims.claim import judge, load
from onsager_cli.claims.criteria import LIMITS, TAKES, VERBS
from onsager_cli.claims.recorded import Record
from onsager_cli.claims.verify import as_markdown
from onsager_cli.cli.completion import candidates
from onsager_cli.cli.main import main
from onsager_cli.errors import Notice
from onsager_cli.record.gallery import write_index
from onsager_cli.store.tables import write_table

ROOT = Path(__file__).parents[1]
CLAIM = {
    "id": "mine",
    "statement": "A falls",
    "source": "nowhere",
    "paper": "-3 dB",
    "criterion": {"value": "a", "layers": 2, "at_most": -3},
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ONSAGER_DEBUG", raising=False)
    return tmp_path


def own(*claims: object, value: float | None = -4.0, folder: str = "experiments") -> None:
    """An experiment of one's own: its claims, and a table with `value` at layer 2."""
    Path(folder, "mine").mkdir(parents=True, exist_ok=True)
    Path(folder, "mine", "claims.yaml").write_text(yaml.safe_dump(list(claims)))
    write_table(
        Path(folder, "mine", "curves.csv"),
        [{"curve": "a", "layer": t, "nmse_db": value} for t in ((1, 2) if value is not None else ())],
    )


@pytest.mark.parametrize(
    ("value", "reason", "verdict", "code", "note"),
    [
        (-4.0, None, "holds", 0, None),
        (-2.0, None, "fails", 1, None),
        (-2.0, "the limit is higher", "fails, known", 0, "mine: known failure: the limit is higher"),
        (-4.0, "the limit is higher", "holds", 0, "mine: is a known failure, but holds: remove"),
        (None, None, "not run", 0, "mine: mine: a is not recorded"),
    ],
)
def test_verdicts_and_exit_codes(value, reason, verdict, code, note, capsys):
    own({**CLAIM, **({"known_failure": reason} if reason else {})}, value=value)
    Path("conf/experiment").mkdir(parents=True)
    Path("conf/experiment/mine.yaml").write_text("curves:\n  a: network=lamp\n")
    assert main(["verify"]) == code
    header, line, *rest = capsys.readouterr().out.splitlines()
    assert header.split() == ["claim", "verdict", "measured", "margin", "paper", "statement"]
    measured = [f"{value:.2f} dB at 2", f"{-3 - value:+.3g}"] if value is not None else []
    cells = [cell.strip() for cell in line.split("  ") if cell.strip()]
    assert cells == ["mine", verdict, *measured, "-3 dB", "A falls"]
    assert bool(note) == (len(rest) > 2)
    assert note is None or rest[1].startswith(note)


@pytest.mark.slow
def test_the_record_of_this_repository_is_judged_without_heavy_imports():
    heavy = ("jax", "numpy", "scipy", "matplotlib", "hydra", "omegaconf", "jinja2", "markdown_it")
    result = subprocess.run(
        [sys.executable, "-c",
         "import sys; from onsager_cli.cli.main import main; code = main(['verify']); "
         f"print([m for m in {heavy!r} if m in sys.modules]); sys.exit(code > 1)"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "[]"
    claims = load([ROOT / "experiments"])
    assert result.stdout.splitlines()[-2].startswith(f"{len(claims)} claims: ")
    assert {line.split()[0] for line in result.stdout.splitlines()[1 : len(claims) + 1]} == {c.id for c in claims}


@pytest.mark.slow
def test_the_published_verdicts_are_those_of_the_tables():
    """After a merge of tables: onsager verify --markdown > experiments/CLAIMS.md."""
    record = Record(ROOT / "experiments")
    verdicts = [judge(claim, record) for claim in load([ROOT / "experiments"])]
    text = (ROOT / "experiments" / "CLAIMS.md").read_text()
    assert text == as_markdown(verdicts).replace(f"{ROOT}/", "") + "\n"


def test_the_gallery_of_a_record_shows_its_claims():
    own(CLAIM)
    Path("experiments/mine/README.md").write_text("# Mine\n\nA caption.\n")
    assert "[All claims and their verdicts](CLAIMS.md): 1 claim: 1 hold" in write_index(Path("experiments")).read_text()
    assert "| mine | nowhere | A falls |" in Path("experiments/CLAIMS.md").read_text()


def test_json_tells_everything(capsys):
    own({**CLAIM, "criterion": [CLAIM["criterion"], {"first": "a", "reaches": -9, "at_most": 3}]})
    assert main(["verify", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["summary"] == {"holds": 0, "fails": 1, "undecided": 0, "not run": 0, "known failures": 0}
    (claim,) = report["claims"]
    assert (claim["verdict"], claim["paper"], claim["measured"]) == ("fails", "-3 dB", "-4.00 dB, more than 2")
    first, second = claim["checks"]
    assert (first["low"], first["high"], first["at"], first["margin"]) == (-4, -4, 2, 1)
    assert (second["low"], second["high"], second["holds"]) == (3, None, False)


def test_markdown_is_a_page_with_one_table(capsys):
    own({**CLAIM, "statement": "A | B", "known_failure": "the limit is higher"}, value=-2.0)
    assert main(["verify", "--markdown"]) == 0
    title, _, summary, *rest = capsys.readouterr().out.splitlines()
    assert title == "# Claims"
    assert summary == "1 claim: 0 hold, 1 fail (1 known), 0 undecided, 0 not run."
    table = [line for line in rest if line.startswith("|")]
    assert table == rest[-3:]
    assert table[2] == (
        "| mine | nowhere | A \\| B | -3 dB | -2.00 dB at 2 | -1 | **fails, known** (known failure: the limit is higher) |"
    )


@pytest.mark.slow
def test_a_name_narrows_to_a_claim_or_to_what_reads_an_experiment(capsys):
    synthetic.write(Path("tables"))
    Path("experiments").symlink_to(ROOT / "experiments")

    def ids(*names: str) -> list[str]:
        assert main(["verify", "--folder", "tables", "--json", *names]) == 0
        return [claim["id"] for claim in json.loads(capsys.readouterr().out)["claims"]]

    assert ids("14-oracle") == ["14-oracle"]
    assert ids("fig8") == [
        "8-order", "8-layers", "8-lista35", "8-untied", "8-factor10", "9-untied", "9-relative",
    ]  # fmt: skip
    assert ids("table1", "16-shrink") == ["16-shrink", "table1"]
    assert len(ids()) == len(load([ROOT / "experiments"]))


def test_another_folder_brings_its_tables_and_may_bring_its_claims(capsys):
    own(CLAIM, value=-2.0)
    own({**CLAIM, "paper": "other"}, value=-4.0, folder="outputs/figures")
    assert main(["verify", "--folder", "outputs/figures"]) == 0
    assert "other" in capsys.readouterr().out
    Path("outputs/figures/mine/claims.yaml").unlink()
    assert main(["verify", "--folder", "outputs/figures"]) == 0
    assert "-3 dB" in capsys.readouterr().out


def test_the_vocabulary_is_told(capsys):
    assert main(["verify", "--vocabulary"]) == 0
    assert "known_failure" in (text := capsys.readouterr().out)
    assert "| `difference` |" in text
    assert set(re.findall(r"`(\w+)`", text)) >= {*VERBS, *LIMITS, *TAKES} - {"between", "about"}
    bare = [sys.executable, "-OO", "-m", "onsager_cli", "verify", "--vocabulary"]  # without docstrings
    assert subprocess.run(bare, cwd=ROOT, capture_output=True, text=True, check=True).stdout == text


def test_completion_offers_claims_and_options():
    own(CLAIM)
    assert candidates("onsager verify ") == ["mine"]
    assert "--markdown" in candidates("onsager verify --")


# Nine levels of nine aliases each.
LAUGHS = "- statement: &a0 [1]\n" + "".join(
    f"- x: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)  # fmt: skip
MERGED = "- &a0 {x: 1}\n" + "".join(f"- &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 30))
MISTAKES = {
    "no list": ("id: mine\n", ["experiments/mine/claims.yaml", "must be a list of claims"]),
    "yaml": ("- id: [\n", ["experiments/mine/claims.yaml, line 2"]),
    "unknown key": (yaml.safe_dump([{**CLAIM, "papre": "x"}]), ["claim mine", "unknown key 'papre'", "did you mean paper?"]),
    "missing key": (yaml.safe_dump([{"id": "mine"}]), ["claim mine", "statement is missing"]),
    "text": (yaml.safe_dump([{**CLAIM, "source": ["a"]}]), ["claim mine: source must be text", "['a']"]),
    "metric": (yaml.safe_dump([{**CLAIM, "metric": "nmse"}]), ["metric must be nmse_db", "'nmse'"]),
    "twice": (yaml.safe_dump([CLAIM, CLAIM]), ["claim mine is in experiments/mine/claims.yaml already"]),
    "verb": (
        yaml.safe_dump([{**CLAIM, "criterion": {"valeu": "a", "at_most": 1}}]),
        ["experiments/mine/claims.yaml, claim mine", "'valeu'", "did you mean value?"],
    ),
    "limit": (
        yaml.safe_dump([{**CLAIM, "criterion": {"value": "a", "at_leest": -3}}]),
        ["claim mine", "value has no key 'at_leest'", "did you mean at_least?", "layers", "at_most"],
    ),
    "not a number": (yaml.safe_dump([{**CLAIM, "criterion": {"value": "a", "about": "nan ± 1"}}]), ["about must be like"]),
    "too many checks": (
        yaml.safe_dump([{**CLAIM, "criterion": {"for": {k: list("abcdefghij") for k in "wxyz"}, "value": "{w}{x}{y}{z}"}}]),
        ["claim mine: for gives 10000 checks; at most 1000"],
    ),
    "no date": ("- paper: 2024-13-45\n", ["experiments/mine/claims.yaml, line 1: '2024-13-45' is not a date"]),
    "number of 5000 digits": (f"- id: a\n  paper: {'9' * 5000}\n", ["claims.yaml, line 2: '999", "is not a whole number"]),
    "no whole number": ("- paper: !!int x\n", ["claims.yaml, line 1: 'x' is not a whole number (text needs quotes)"]),
    "no number": ("- paper: !!float x\n", ["claims.yaml, line 1: 'x' is not a number"]),
    "not true": ("- paper: !!bool x\n", ["claims.yaml, line 1: 'x' is not true or false"]),
    "no timestamp": ("- paper: !!timestamp x\n", ["claims.yaml, line 1: 'x' is not a date"]),
    "nothing where a number is": ("- paper: !!int\n", ["claims.yaml, line 1: '' is not a whole number"]),
    "code": ("- !!python/object/apply:os.system [ls]\n", ["claims.yaml, line 1: could not determine a constructor"]),
    "no text": ("\0", ["claims.yaml", "unacceptable character"]),
    "laughs": (LAUGHS, ["claims.yaml: it has more than 1000000 values"]),
    "laughs by merging": (MERGED, ["claims.yaml: it has more than 1000000 values"]),
    "endless": ("- &a [*a]\n", ["claims.yaml: it has more than 1000000 values, or endless aliases"]),
    "deep": (f"{'- ' * 200}x\n", ["claims.yaml: it is nested deeper than 100 levels"]),
    "a key with a bell": ("- {'\\a': 1}\n".replace("'", '"'), ["claim 1: unknown key '\\x07'"]),
    "curve": (
        yaml.safe_dump([{**CLAIM, "criterion": {"value": "fig8/lista_teid", "at_most": 1}}]),
        ["claim mine", "fig8 has no curve 'lista_teid'", "did you mean lista_tied?"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_in_a_claims_file(name, capsys):
    text, fragments = MISTAKES[name]
    own()
    Path("experiments/mine/claims.yaml").write_text(text)
    assert main(["verify"]) == 2
    out, line = capsys.readouterr()
    assert out == ""
    assert len(line.splitlines()) == 1
    for fragment in fragments:
        assert fragment in line


@pytest.mark.parametrize(
    ("command", "fragment"),
    [
        ("verify --folder nowhere", "no folder 'nowhere'"),
        ("verify miner", "no claim and no experiment 'miner' (did you mean mine?)"),
        ("verify --json --markdown", "--json and --markdown exclude each other"),
        ("verify --jsn", "--jsn"),
    ],
)
def test_mistake_on_the_command_line(command, fragment, capsys):
    own(CLAIM)
    assert main(command.split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert fragment in line


def test_a_claims_file_that_is_a_pipe_is_not_waited_for(capsys):
    own()
    Path("experiments/mine/claims.yaml").unlink()
    os.mkfifo("experiments/mine/claims.yaml")
    assert main(["verify"]) == 2
    assert capsys.readouterr().err == "onsager: cannot read experiments/mine/claims.yaml: it is a pipe\n"


def test_a_broken_claims_file_stops_what_is_asked_of_it_alone(capsys):
    own(CLAIM, folder="elsewhere")
    Path("experiments/other").mkdir(parents=True)
    Path("experiments/other/claims.yaml").write_text("- id: [\n")
    broken = "experiments/other/claims.yaml, line 2: "
    for names, stopped in (("mine", False), ("", True), ("other", True), ("mine other", True), ("unheard", True)):
        assert main(["verify", "--folder", "elsewhere", *names.split()]) == (2 if stopped else 0)
        (line,) = capsys.readouterr().err.splitlines()
        assert broken in line
        assert line.endswith("; onsager skips the claims of this file") is not stopped


def test_a_broken_claims_file_is_left_out_of_the_gallery():
    own(CLAIM)
    Path("experiments/other").mkdir()
    Path("experiments/other/claims.yaml").write_text("- id: [\n")
    Path("experiments/third").mkdir()
    unknown = {**CLAIM, "id": "third", "criterion": {"value": "mine/aa", "at_most": 1}}
    Path("experiments/third/claims.yaml").write_text(yaml.safe_dump([unknown]))
    Path("experiments/mine/README.md").write_bytes(b"# Mine\n\n\xff\n")
    with pytest.warns(Notice) as warned:
        index = write_index(Path("experiments"))
    first, second = sorted(str(item.message) for item in warned)
    assert first.startswith("claim third: mine has no curve 'aa'")
    assert first.endswith("; the gallery leaves this claim out")
    assert "other/claims.yaml, line 2: " in second
    assert "1 claim: 1 hold" in index.read_text()


def test_a_curve_of_an_experiment_that_another_one_builds_on_is_known(capsys):
    own({**CLAIM, "criterion": {"value": "lista_tied", "layers": 2, "at_most": -3}}, value=None)
    Path("conf/experiment").mkdir(parents=True)
    Path("conf/experiment/mine.yaml").write_text("defaults: [fig8, _self_]\ncurves:\n  a: network=lamp\n")
    assert main(["verify"]) == 0
    assert "mine: lista_tied is not recorded" in capsys.readouterr().out


def test_no_claims_at_all(capsys):
    Path("experiments").mkdir()
    assert main(["verify"]) == 2
    assert "no claims: there is no experiments/*/claims.yaml" in capsys.readouterr().err
