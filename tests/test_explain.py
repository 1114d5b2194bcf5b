"""`onsager explain` and `onsager list keys`: what the comments in conf/ and the checks of the keys say."""

import os
import re
from pathlib import Path

import pytest
import yaml

from onsager_cli.cli.explain import explained, listed
from onsager_cli.cli.main import main
from onsager_cli.config import catalog
from onsager_cli.config.keys import allowed, fields_of

# Keys that belong to Hydra's launchers, whose own documentation says more.
HYDRA = "hydra.launcher."


def keys() -> dict[str, str]:
    """Key → the rest of its line in `onsager list keys`."""
    return dict(line.split(None, 1) for line in listed([]).split("\n"))


def test_every_key_has_a_meaning():
    lines = keys()
    assert {"seed", "network.depth", "problem.snr_db", "training.NETWORK.rates", "figure.width"} <= set(lines)
    without = [name for name, rest in lines.items() if not re.sub(r"^\[.*?\] ?(?!\])", "", rest)]
    assert [name for name in without if not name.startswith(HYDRA)] == []


def test_every_key_that_an_option_sets_is_listed():
    """A key without a comment anywhere would be missing from the list without a word."""
    listed_keys, of_options = set(keys()), {"kind", "name", "family", "defaults"}
    for group in ("network", "problem", "shrinkage", "signal", "training"):
        for path in catalog.config_files(group).values():
            text = Path(path).read_text(encoding="utf-8")
            read = yaml.safe_load(text)
            own = read if "@package _global_" in text else {group: read}
            for section, values in own.items():
                for key, value in values.items() if isinstance(values, dict) else ():
                    if key in of_options:
                        continue
                    if not isinstance(value, dict):
                        assert f"{section}.{key}" in listed_keys, path
                    for inner in value if isinstance(value, dict) else ():
                        middle = "NETWORK" if section == "training" else key
                        assert f"{section}.{middle}.{inner}" in listed_keys, path


def test_every_key_is_one():
    """What conf/ documents is a field of a settings class, with its check."""
    unknown = [name for name in keys() if not any(fields_of(name))]
    assert [name for name in unknown if not name.startswith((HYDRA, "shrinkage."))] == ["curves"]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("network.depth", ["a whole number from 1 to 10000"]),
        ("network.tied", ["true or false"]),
        ("problem.perturb_db", ["a number, at least -200, at most 100, or null"]),
        ("problem.matrix", ["text, or null"]),
        ("training.lamp.rates", ["a list of numbers, greater than 0, at most 100"]),
        ("training.lamp.coordinates", ["entries, spectral or spectral_plain"]),
    ],
)
def test_what_is_allowed_comes_from_the_checks(key, words):
    assert list(allowed(key)) == words


def test_a_key_has_its_meanings_with_their_defaults():
    text = explained("network.depth")
    assert text.startswith("network.depth\n  number of layers\n  default   16 in ")
    assert "  number of iterations\n  default   30 in amp\n" in text
    assert text.endswith("  allowed   a whole number from 1 to 10000")


def test_what_differs_between_kinds_names_them():
    text = explained("problem.M")
    assert "  allowed   a whole number from 1 to 1000000 (kind bernoulli_gaussian)\n" in text
    assert text.endswith("  allowed   a whole number from 1 to 1000000, or null (kind data)")
    assert "  allowed   a whole number from 1 to 86400 (kind local)\n" in explained("hydra.launcher.signal_delay_s")


def test_a_key_of_one_schedule_has_the_meaning_of_all():
    text = explained("training.lamp.rates")
    assert "learning rate of the matrices" in text
    assert "[3.0e-5] in fast" in text


@pytest.mark.parametrize(
    ("word", "first"),
    [
        ("snr_db", "problem.snr_db\n"),
        ("network.depth=8", "network.depth\n"),
        ("+plot.formats", "plot.formats\n"),
        ("plot", "plot.state_evolution  [false] "),
        ("network=lamp", "network=lamp: LAMP, learned AMP"),
        ("experiment=fig10", "+experiment=fig10: Fig. 10"),
    ],
)
def test_words_that_name_something(word, first):
    assert explained(word).startswith(first)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["explain", "network.depht"], "unknown key 'network.depht' (did you mean network.depth?)"),
        (["explain", "snr_dbb"], "(did you mean snr_db?)"),
        (["explain", "network=lampp"], "unknown network 'lampp' (did you mean lamp?)"),
        (["explain"], "needs KEY"),
        (["list", "keys", "netwrk"], "unknown group of keys 'netwrk' (did you mean network?)"),
        (["list", "networks", "keys"], "keys must be the first word: write onsager list keys"),
    ],
)
def test_mistakes(words, said, capsys):
    assert main(words) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_lines_fit_a_terminal(columns, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((columns, 24)))
    assert main(["explain", "network.depth", "training.NETWORK.coordinates"]) == 0
    assert main(["list", "keys", "training"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    assert len(lines) > 40


def test_own_options_are_explained_too(tmp_path, monkeypatch):
    (tmp_path / "conf" / "signal").mkdir(parents=True)
    (tmp_path / "conf" / "signal" / "mine.yaml").write_text("# title: Mine\nkind: student_t\ndof: 7  # mine alone\n")
    monkeypatch.chdir(tmp_path)
    assert "  mine alone\n  default   7 in mine\n" in explained("signal.dof")
