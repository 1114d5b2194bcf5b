"""Completion: the words that can follow on a command line, alone and in the shells."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import slow

from onsager_cli.cli import completion
from onsager_cli.cli.main import main
from onsager_cli.cli.verbs import VERBS
from onsager_cli.config import catalog


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def words(line: str) -> list[str]:
    return completion.candidates(line)


def test_verbs():
    assert words("onsager ") == list(VERBS)
    assert words("onsager tr") == ["train"]
    assert words("onsager --v") == ["--version"]


def test_experiments():
    known = list(catalog.config_files("experiment"))
    assert words("onsager train +experiment=") == [f"+experiment={name}" for name in known]
    assert words("onsager plot experiment=fig8") == ["experiment=fig8"]


def test_options_also_after_a_comma():
    assert words("onsager sweep problem=gaussian,kappa1") == ["problem=gaussian,kappa15", "problem=gaussian,kappa100"]


def test_keys_of_the_options_on_the_line():
    assert "network.onsager=" in words("onsager train network.")
    assert "network.onsager=" not in words("onsager train network=lista network.")
    assert "training.patience=" in words("onsager train training=paper training.p")


def test_a_key_that_is_set_is_not_offered_again():
    assert "seed=" in words("onsager train ")
    assert "seed=" not in words("onsager train seed=1 ")


def test_values():
    assert words("onsager train network.tied=") == ["network.tied=true", "network.tied=false"]
    assert words("onsager train precision=hi") == ["precision=highest", "precision=high"]


def test_values_of_a_schedule_and_of_the_other_problem():
    assert words("onsager train training.lamp.optimizer=") == [
        "training.lamp.optimizer=adam",
        "training.lamp.optimizer=muon",
    ]
    assert words("onsager train training.lvamp_random.optimizer=[muon,a") == [
        "training.lvamp_random.optimizer=[muon,adam]"
    ]
    assert words("onsager train problem=random_access problem.channel.phase=u") == ["problem.channel.phase=ula"]


def test_keys_of_an_experiment_are_those_of_its_curves():
    offered = words("onsager train +experiment=fig15 ")
    assert "problem.pilots=" in offered
    assert "problem.N=" not in offered
    assert {"training.lvamp_gh.steps=", "network.width="} <= set(offered)
    weighted = words("onsager train experiment=fig1a network.")
    assert "network.weight=" in weighted
    assert len(weighted) == len(set(weighted))


def test_keys_of_an_option_are_also_those_of_its_base():
    assert {"problem.M=", "problem.kappa="} <= set(words("onsager train problem=kappa100 problem."))
    assert "training.lista.steps=" in words("onsager train training=massive_mimo training.lista.")


def test_a_defaults_list_that_is_none_and_a_circle_are_left_alone(tmp_path):
    (tmp_path / "conf" / "training").mkdir(parents=True)
    (tmp_path / "conf" / "training" / "mine.yaml").write_text("defaults: 3\nsteps_new: 4\n")
    (tmp_path / "conf" / "training" / "one.yaml").write_text("defaults: [two]\nsteps_new: 4\n")
    (tmp_path / "conf" / "training" / "two.yaml").write_text("defaults: [one]\nwarmup: 4\n")
    assert words("onsager train training=mine training.") == ["training.steps_new="]
    assert words("onsager train training=one training.") == ["training.warmup=", "training.steps_new="]
    (tmp_path / "conf" / "experiment").mkdir()
    (tmp_path / "conf" / "experiment" / "wrong.yaml").write_text("# @package _global_\ndefaults: 3\n")
    assert "seed=" in words("onsager train +experiment=wrong ")


def test_what_an_experiment_refuses_is_not_offered():
    offered = words("onsager train +experiment=fig8 ")
    assert not {"network=", "network.tied=", "shrinkage="} & set(offered)
    assert "network.depth=" in offered


def test_data_is_offered_what_decides_samples():
    offered = words("onsager data ")
    assert {"samples=", "problem=", "problem.gamma=", "seed="} <= set(offered)
    assert not {"network=", "network.depth=", "training=", "jobs="} & set(offered)
    assert words("onsager data --set ") == ["fresh", "test", "selection"]


def test_curves_of_an_experiment():
    assert words("onsager plot +experiment=fig8 only=lista") == ["only=lista_tied", "only=lista_untied"]
    assert words("onsager plot +experiment=fig8 only=[lista_tied,lista") == ["only=[lista_tied,lista_untied]"]
    assert words("onsager plot only=") == []


@pytest.mark.parametrize("verb", VERBS)
def test_options_are_those_of_the_help(verb, capsys):
    main([verb, "--help"])
    shown = re.findall(r"^  (?:-h, )?(--[a-z-]+)", capsys.readouterr().out, re.MULTILINE)
    assert words(f"onsager {verb} --") == shown
    assert shown[0] == "--help"


def test_values_of_options():
    assert words("onsager train --cfg ") == ["job", "hydra", "all"]
    assert words("onsager bench --network lamp-") == ["lamp-bg", "lamp-soft"]
    assert words("onsager report --") == ["--help", "--folder", "--output", "--title", "--force"]


def test_the_other_verbs():
    assert words("onsager list sh") == ["shrinkages"]
    assert words("onsager list runs ") == ["output="]
    assert words("onsager completion ") == list(completion.SHELLS)


def test_own_conf():
    Path("conf/experiment").mkdir(parents=True)
    Path("conf/experiment/mine.yaml").write_text("curves: {}\n")
    assert words("onsager train +experiment=min") == ["+experiment=mine"]


@pytest.mark.parametrize(
    "line", ["", "onsager", "onsager x ", "onsager train a=b=c", "onsager train 'q", "onsager bench "]
)
def test_never_fails(line):
    assert isinstance(words(line), list)


@pytest.fixture
def command(tmp_path, monkeypatch):
    """A folder with `onsager` first on the path, for the shells."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "onsager"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m onsager_cli "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
@pytest.mark.parametrize(
    ("line", "replies"),
    [("onsager train +experiment=fig8", ["fig8"]), *slow(("onsager tra", ["train"]), ("onsager train seed=", []))],
)
def test_in_bash(command, line, replies):
    script = (
        f"{completion.script('bash')}\ncompopt() {{ :; }}\nCOMP_LINE='{line}'\nCOMP_POINT=${{#COMP_LINE}}\n"
        '_onsager\nfor reply in "${COMPREPLY[@]}"; do echo "$reply"; done'
    )
    out = subprocess.check_output(["bash", "-c", script], text=True)
    assert out.split() == replies


@pytest.mark.skipif(not shutil.which("fish"), reason="no fish here")
def test_in_fish(command):
    script = f"{completion.script('fish')}\ncomplete -C 'onsager train +experiment=fig8'"
    out = subprocess.check_output(["fish", "--no-config", "-c", script], text=True)
    assert out.split() == ["+experiment=fig8"]


@pytest.mark.skipif(not shutil.which("zsh"), reason="no zsh here")
def test_in_zsh(command):
    """Asks a zsh on a terminal of its own, since its completion runs nowhere else."""
    import pty
    import select

    process, terminal = pty.fork()
    if process == 0:
        os.execvpe("zsh", ["zsh", "-f"], {**os.environ, "TERM": "dumb"})
    try:
        setup = "autoload -Uz compinit && compinit -u -D; PS1=; source <(onsager completion zsh); echo re''ady\n"
        os.write(terminal, setup.encode())
        seen, asked, end = "", False, time.monotonic() + 20
        while "network.depth=" not in seen and time.monotonic() < end:
            if select.select([terminal], [], [], 0.1)[0]:
                seen += os.read(terminal, 65536).decode(errors="replace").replace("\a", "")
            if "ready" in seen and not asked:
                os.write(terminal, b"onsager train network.d\t")
                asked = True
        assert "network.depth=" in seen
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(terminal)
