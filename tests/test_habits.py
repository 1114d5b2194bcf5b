"""Habits of other programs, slips of the shell and of editors: what to type instead, and paths as they are typed."""

import shlex

import pytest
from test_mistakes import empty_folder, said  # noqa: F401

from onsager_cli.cli.main import main
from onsager_cli.config.load import load_experiment
from onsager_cli.config.overrides import parse
from onsager_cli.config.spelling import readable
from onsager_cli.errors import UserError
from onsager_cli.text import expanded

TOY = ("network=amp", "network.depth=2", "problem.N=40", "problem.M=20")

# A command line (as typed after `onsager`), and what its one line has to say.
WORDS = {
    "train fig10": ["'fig10'", "did you mean +experiment=fig10?"],
    "plot kappa15": ["did you mean problem=kappa15?"],
    "train +experiment fig10": ["write +experiment=fig10, without a blank"],
    "train experiment/fig10": ["did you mean +experiment=fig10?"],
    "train figure10": ["did you mean +experiment=fig10?"],
    "train network.depth = 3": ["write network.depth=VALUE, without blanks around the equals sign"],
    "train 'network.depth = 3'": ["no blanks around the equals sign: write network.depth=3"],
    "train =3": ["the key is missing"],
    "train seed=[1": ["the bracket '[' is not closed"],
    "train problem.gamma=0,1": ["did you mean problem.gamma=0.1, with a decimal point?"],
    "sweep problem.gamma=0,1": ["problem.gamma", "did you mean problem.gamma=0.1, with a decimal point?"],
    "train +experiment=quick only=oracle,lista_tied": ["for a list write only=[oracle,lista_tied]"],
    "train seeds=0,1": ["for a list write seeds=[0,1]"],
    "train 'problem.M=20\r'": ["carriage return", "Windows line ending", "Unix line endings"],
    "train problem.N=40\u00a0": ["U+00A0", "no-break space", "leave it out"],
    "train \u201cnetwork.depth=3\u201d": ["U+201C", "plain quotes"],
    "train \u2014cfg job": ["U+2014", "em dash", "hyphen"],
    "train seed=ü": ["cannot read the override 'seed=ü'", "'seed=\"ü\"'"],
    "train 'seed=${oc.env:NOT_SET_HERE}'": ["the environment variable NOT_SET_HERE is not set"],
    "train +experiment=quick.yaml": ["write +experiment=quick, without .yaml"],
    "train +experiment=./quick": ["write +experiment=quick, without a folder"],
    "train +experiment=conf/experiment/quick.yaml": ["write +experiment=quick, without .yaml"],
    "train shrinkage=l1": ["did you mean soft?"],
    "train network=lamp_tied_bg": ["did you mean lamp?"],
    "train +experiment=fig10 shrinkage=pwlin": ["replace +experiment by problem=gaussian problem.instance=authors2017"],
    'train "+curves={a: \'network=\\"amp\'}"': ["a quote is not closed"],
}

# Options and keys of Hydra.
HYDRA = {
    "train --multirun seed=0,1": ["--multirun", "onsager sweep"],
    "train -m seed=0,1": ["'-m'", "onsager sweep"],
    "train -cn fig10": ["'-cn'", "+experiment=NAME"],
    "train --config-name=fig10": ["+experiment=fig10"],
    "train --config-dir x": ["--config-dir", "conf/ of the working directory"],
    "train --resume": ["--resume", "the same command resumes"],
    "train --dry-run": ["--cfg job", "onsager plot"],
    "train --seed 3": ["write seed=3, without dashes"],
    "train --network.depth=3": ["write network.depth=3, without dashes"],
    "train --cfg": ["--cfg needs a value"],
    "verify --json --markdown": ["--json and --markdown exclude each other"],
    "clean --yes=3": ["--yes takes no value, got '3'"],
    "train hydra.run.dir=results": ["hydra.run.dir=results", "output=FOLDER"],
    "train ++hydra.run.dir=results": ["output=FOLDER"],
    "train hydra.verbose=true": ["ONSAGER_DEBUG=1"],
    "train hydra.job.chdir=true": ["hydra.job.chdir=true", "stays in the working directory"],
    "sweep seed=0,1 hydra.job.chdir=true": ["hydra.job.chdir=true", "stays in the working directory"],
    "sweep seed=0,1 hydra.run.dir=x": ["output=FOLDER"],
    "train hydra/job_logging=default": ["2> FILE"],
    "train hydra.launcher.n_jobs=2": ["has an effect only in `onsager sweep`"],
    "train +hydra.nothing=1": ["+hydra.nothing=1", "hydra.searchpath"],
    "sweep seed=0,1 +hydra.nothing=1": ["+hydra.nothing=1", "hydra.launcher"],
}


@pytest.mark.parametrize("command", [*WORDS, *HYDRA])
def test_the_message_has_the_words_that_work(command, capsys):
    line = said(capsys, command)
    for fragment in (WORDS | HYDRA)[command]:
        assert fragment in line


def test_a_file_of_another_ending_is_named(tmp_path, capsys):
    folder = tmp_path / "conf" / "experiment"
    folder.mkdir(parents=True)
    (folder / "mine.yml").write_text("# @package _global_\ncurves: {a: network=amp}\n")
    assert f"{folder} must end in .yaml" in said(capsys, "train +experiment=mine")


def test_a_byte_order_mark_is_no_text(tmp_path):
    """Windows editors begin a file with one."""
    folder = tmp_path / "conf" / "experiment"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_bytes(b"\xef\xbb\xbf# @package _global_\ncurves: {a: network=amp network.depth=2}\n")
    assert load_experiment(["+experiment=mine"]).curves[0].slug == "a"


PATHS = [
    "/data/Jürgen (1)/x=2", "A[1]#2", "{a}", "it's", 'a "quoted" one', "a,b", "2024", "true", "1e3", "[a]", "C:\\data",
    "glob(x)", "end\\", "50%", "a  b", " leading", "~", "~/results", "back\\'slash", "日本",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_a_path_is_taken_as_it_is_typed(path, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    meant = path.replace("~", str(tmp_path), 1) if path.startswith("~") else path
    assert expanded(str(parse([f"output={path}"])[0].value())) == meant.strip()


@pytest.mark.parametrize(
    ("text", "value"),
    [("figure.title=50", "50"), ("figure.title='two words'", "two words"), ('output="a,b"', "a,b"),
     ("problem.matrix=null", None), ("output=${oc.env:HOME}/x", "${oc.env:HOME}/x")],
)  # fmt: skip
def test_quotes_null_and_references_keep_their_meaning(text, value):
    (item,) = parse([text])
    assert item.value() == value


def test_in_a_sweep_commas_and_functions_name_several_values():
    assert parse(["problem.matrix=a.npy,b.npy"], sweep=True)[0].is_sweep_override()
    assert parse(["problem.matrix=a.npy,b.npy"])[0].value() == "a.npy,b.npy"
    assert readable("problem.matrix=A(1).npy", sweep=True) == "problem.matrix='A(1).npy'"


@pytest.mark.parametrize("text", ["output=a\nb", "output=a\r", "output=\x1b[31m"])
def test_a_path_has_no_control_characters(text):
    with pytest.raises(UserError, match="contains"):
        parse([text])


def test_a_number_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("SEED", "3")
    assert load_experiment([*TOY, "seed=${oc.env:SEED}"]).curves[0].settings.seed == 3


def test_a_curve_may_name_a_path_with_a_blank(tmp_path):
    folder = tmp_path / "conf" / "experiment"
    folder.mkdir(parents=True)
    line = "network=amp network.depth=2 figure.title='two words' problem.name=other"
    (folder / "mine.yaml").write_text(f'# @package _global_\ncurves:\n  a: "{line}"\n')
    assert load_experiment(["+experiment=mine"]).curves[0].settings.problem.name == "other"


def test_an_experiment_may_write_into_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "conf" / "experiment"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(
        "# @package _global_\noutput: ~/results\ncurves: {a: network=amp network.depth=2}\n"
    )
    assert load_experiment(["+experiment=mine"]).curves[0].output == tmp_path / "home" / "results"


def test_the_home_of_nobody(capsys):
    assert "there is no home folder ~nobody-of-that-name" in said(
        capsys, "train problem.matrix=~nobody-of-that-name/A.npy"
    )


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "words"), [("train", ()), ("sweep", ("seed=0,1",))])
def test_the_results_are_where_the_path_says(verb, words, tmp_path):
    samples = "problem.selection_samples=20 problem.test_samples=20 plot.formats=[png]"
    assert main([verb, *TOY, *shlex.split(samples), *words, f"output={tmp_path}/Jürgen (1)/x=2"]) == 0
    assert list((tmp_path / "Jürgen (1)" / "x=2" / "figures").iterdir())


@pytest.mark.parametrize(
    ("command", "fragment"),
    [
        ("--cfg job", "the verb comes first: onsager train --cfg"),
        ("seed=3", "the verb comes first: onsager train seed=3"),
        ("runs", "did you mean `onsager list runs`?"),
        ("networks", "did you mean `onsager list networks`?"),
        ("fig10", "did you mean `onsager train +experiment=fig10`?"),
        ("train foo=1", "unknown key 'foo': known are"),
    ],
)
def test_a_first_word_that_is_no_verb(command, fragment, capsys):
    assert fragment in said(capsys, command)


def test_a_key_of_an_experiment_that_is_nothing(tmp_path, capsys):
    folder = tmp_path / "conf" / "experiment"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("# @package _global_\n3: 4\ncurves: {a: network=amp}\n")
    assert "unknown key '3' in experiment=mine: known are" in said(capsys, "plot +experiment=mine")


@pytest.mark.parametrize(
    ("output", "fragment"),
    [("link", "link is a link to /nowhere/x, which does not exist"), ("file", "file is not a folder"),
     ("file/x", "file is not a folder")],
)  # fmt: skip
def test_what_stands_where_the_output_folder_must_be(output, fragment, tmp_path, capsys):
    (tmp_path / "link").symlink_to("/nowhere/x")
    (tmp_path / "file").write_text("")
    assert fragment in said(capsys, f"train {' '.join(TOY)} output={output}")
