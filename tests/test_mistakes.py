"""Every mistake of a user: one line on stderr that names it, exit code 2, no traceback, nothing on stdout."""

import errno
import os
import shlex
from pathlib import Path

import pytest
from conftest import slow

from onsager_cli.cli.main import main
from onsager_cli.store import files

# Command line (as typed after `onsager`) and what the line has to name. Here one mistake of each kind.
MISTAKES = {
    "verb": ("trian", ["trian", "did you mean train?"]),
    "option": ("train --depth 3", ["--depth", "write depth=3, without dashes"]),
    "folder of verify": ("verify --folder nowhere", ["--folder", "'nowhere'"]),
    "no equals sign": ("train depth", ["'depth'", "key=value"]),
    "broken list": ("train shrinkage.theta=[1,2", ["shrinkage.theta=[1,2"]),
    "key": ("train network.dpeth=3", ["network.dpeth", "did you mean network.depth?"]),
    "key of another network": ("train network=lista network.onsager=false", ["network.onsager"]),
    "removed key": ("train ~network.depth", ["network.depth is missing"]),
    "key twice": ("train seed=1 seed=2", ["seed is set twice", "seed=2"]),
    "group": ("train netwrok=lamp", ["netwrok", "did you mean network?"]),
    "option of a group": ("train problem=gausian", ["gausian", "did you mean gaussian?", "kappa15"]),
    "plus on a group": ("train +problem=kappa15", ["write problem=kappa15"]),
    "experiment": ("train +experiment=figure10", ["figure10", "did you mean fig10?"]),
    "depth zero": ("train network.depth=0", ["network.depth", "at least 1", "got 0"]),
    "depth as text": ("train network.depth=deep", ["network.depth", "whole number", "'deep'"]),
    "tied as text": ("train network.tied=maybe", ["network.tied", "true or false", "'maybe'"]),
    "kappa below one": ("train problem=kappa15 problem.kappa=0.5", ["problem.kappa", "at least 1", "got 0.5"]),
    "gamma negative": ("train problem.gamma=-0.1", ["problem.gamma", "above 0 and at most 1", "got -0.1"]),
    "kappa beyond float32": ("train problem.kappa=1e300", ["problem.kappa", "at most 1000000", "got 1e+300"]),
    "theta beyond float32": (
        "train shrinkage=bg shrinkage.theta=[1e300,0]",
        ["shrinkage.theta", "at most 1e+18 at position 1"],
    ),
    "rate that no network survives": ("train training.lamp.rates=[1e9]", ["training.lamp.rates", "at most 100"]),
    "snr as text": ("train problem.snr_db=high", ["problem.snr_db", "number", "'high'"]),
    "tall matrix with kappa": ("train problem=kappa15 problem.M=600", ["problem.M", "problem.N=500", "got 600"]),
    "matrix that is not there": ("train problem.matrix=a.npy", ["problem.matrix", "a.npy"]),
    "name of a matrix without its file": ("train problem.matrix_name=P", ["problem.matrix_name=P", "problem.matrix=…"]),
    "kind": ("train network.kind=transformer", ["network.kind", "lamp, lista", "'transformer'"]),
    "cells": ("train problem=massive_mimo problem.cells=8", ["problem.cells", "at most 7", "got 8"]),
    "lamp with a plain threshold": ("train shrinkage=threshold", ["lamp", "shrinkage=soft"]),
    "schedule of another network": (
        "plot network=lista training.lamp.steps=[1]",
        ["training.lamp.steps=[1]", "the curves use training.lista"],
    ),
    "batch": ("train training.lamp.batch=0", ["training.lamp.batch", "got 0"]),
    "alternatives without sweep": ("train problem=gaussian,kappa15", ["problem=gaussian,kappa15", "onsager sweep"]),
    "one job of a sweep": ("sweep problem=gaussian,kapa15", ["kapa15", "did you mean kappa15?"]),
    "curve": ("train +experiment=fig10 only=[lamp_tied_gb]", ["lamp_tied_gb", "did you mean lamp_tied_bg?"]),
    "shrinkage of a whole figure": ("train +experiment=fig10 shrinkage=bg", ["shrinkage=bg", "only="]),
    "problem name that leaves the folder": ("train network=amp problem.name=../../x", ["../../x"]),
    "part of a record": ("record +experiment=quick only=[lista_tied]", ["only=", "whole"]),
    "parameters of groups that are not there": (
        "train shrinkage=bg shrinkage.theta=[[1,2.2]]",
        ["shrinkage.theta", "one row"],
    ),
    "kind by itself": ("train network.kind=lista", ["network.kind=lista", "write network=lista"]),
    "null for a number": ("train network.depth=null", ["network.depth", "from 1 to 10000", "got null"]),
    "untrained figure": ("train +experiment=quick training=none", ["lista_tied", "training=none", "only="]),
    "drawn and another": ("train +experiment=fig10 only=[drawn,oracle]", ["only=drawn takes no other names", "oracle"]),
    "one name for two panels": ("train +experiment=fig1 figure.name=x", ["figure.name", "'x'", "panel"]),
    "detection where everybody is active": (
        "train network=amp problem=massive_mimo figure.kind=detection",
        ["amp_l1", "figure.kind=detection", "problem.activity=1"],
    ),
    "verify outside a checkout": ("verify", ["--folder", "'experiments'", "run it in a checkout"]),
    "output below a file": ("train output=/dev/null/results", ["/dev/null/results", "/dev/null is not a folder"]),
}

# The others, which are slow only because they are many.
MORE = {
    "option of plot": ("plot --cfg job", ["--cfg"]),
    "cfg": ("train --cfg everything", ["--cfg must be job, hydra or all", "everything"]),
    "section of list": ("list experiment", ["experiment", "did you mean experiments?"]),
    "shell": ("completion powershell", ["bash, zsh or fish", "powershell"]),
    "record without experiment": ("record network=lamp", ["+experiment"]),
    "option of verify": ("verify --csv", ["verify", "--csv"]),
    "output of report": ("report --output", ["report", "--output"]),
    "key without its group": ("train depth=3", ["unknown key 'depth'", "did you mean network.depth?"]),
    "key that is nothing": ("train network.colour=3", ["network.colour", "network has damping, depth, free, kind"]),
    "key of another schedule": ("train training=fast training.patience=3", ["training.patience"]),
    "added key": ("train +network.dpeth=3", ["network.dpeth", "did you mean depth?"]),
    "added top-level key": ("train +sed=3", ["unknown key 'sed'", "did you mean seed?"]),
    "removed group": ("train ~problem", ["problem cannot be removed"]),
    "shrinkage": ("train shrinkage=spine", ["spine", "did you mean spline?"]),
    "experiment without a plus": ("plot experiment=fgi10", ["fgi10", "did you mean fig10?"]),
    "key of one job": ("sweep network=lamp,lista network.learn=[theta]", ["in the job of network=lista", "needs ++"]),
    "launcher": ("sweep hydra/launcher=jobslib seed=1,2", ["unknown launcher 'jobslib'", "did you mean joblib?"]),
    "kind of figure": (
        "plot +experiment=quick figure.kind=bars",
        ["figure.kind", "complexity, costs, curves, decoupling, detection, params, problems, qq or sizes", "'bars'"],
    ),
    "parameters of LAMP": ("train network=lamp figure.kind=params", ["lamp_tied_pwlin", "figure.kind=params"]),
    "cost of the oracle": ("train network=oracle figure.kind=complexity", ["oracle", "figure.kind=complexity"]),
    "EM-VAMP for another prior": ("train network=em_vamp shrinkage=pwlin", ["em_vamp", "shrinkage=bg"]),
    "EM-VAMP trained": ("train network=em_vamp training=fast", ["em_vamp", "training=none"]),
    "QQ plot of the oracle": ("train network=oracle figure.kind=qq", ["oracle", "figure.kind=qq", "layers"]),
    "QQ plot of the CNN": ("train network=cnn figure.kind=qq", ["network.kind=cnn", "figure.kind=qq"]),
    "QQ plot of complex numbers": (
        "train problem=random_access problem.embedding=complex figure.kind=qq",
        ["figure.kind=qq", "problem.embedding=real"],
    ),
    "kind of a schedule by itself": ("train training.kind=paper", ["write training=paper"]),
    "kind by itself in a curve": ("train \"+curves={a: 'network.kind=lista'}\"", ["curve a", "write network=lista"]),
    "untrained figure by the kind": (
        "train +experiment=quick training.kind=none",
        ["lista_tied", "training=none does not apply"],
    ),
    "panels without experiment": ("train panels=[fig1a]", ["panels", "'fig1a'", "+experiment"]),
    "matched VAMP that is told another A": (
        "train +experiment=fig13 problem.known_operator=false",
        ["curve matched_vamp", "not matched", "~curves.matched_vamp"],
    ),
    "option with the name of a value": ("train +experiment=null", ["experiment takes one option", "'null'"]),
    "group with a slip": ("train experimnt=fig10", ["experimnt", "did you mean experiment?"]),
    "depth as fraction": ("train network.depth=2.5", ["network.depth", "whole number", "got 2.5"]),
    "gamma one": ("train problem.gamma=1", ["problem.gamma", "between 0 and 1", "got 1"]),
    "snr not finite": ("train problem.snr_db=nan", ["problem.snr_db", "finite", "nan"]),
    "theta beyond float32, negative": ("train shrinkage=bg shrinkage.theta=[1,-1e19]", ["at most 1e+18 at position 2"]),
    "one rate of theta": ("train training.lamp.theta_rates=[0.1,101]", ["training.lamp.theta_rates", "at most 100"]),
    "rate of what may be null": ("train training.lamp.noise_rates=[1e9]", ["training.lamp.noise_rates", "at most 100"]),
    "rate of knees": ("train training.knee_rate=1e9", ["training.knee_rate", "at most 100"]),
    "emphasis on everything": ("train training.lamp.emphasis=[1e9]", ["training.lamp.emphasis", "at most 10000"]),
    "emphasis on nothing": ("train training.lamp.emphasis=[1e-9]", ["training.lamp.emphasis", "at least 0.01"]),
    "no samples": ("train problem.test_samples=0", ["problem.test_samples", "at least 1", "got 0"]),
    "instance": ("train problem.instance=authors", ["authors2017", "'authors'"]),
    "published instance, other size": (
        "train problem.instance=authors2017 problem.N=100 problem.M=50",
        ["problem.N", "500", "authors2017", "got 100"],
    ),
    "published instance, other kappa": ("train +experiment=fig9 problem.kappa=7", ["problem.kappa", "got 7"]),
    "matrix of unknown kind": ("train problem.matrix=a.pkl", ["problem.matrix", ".npy", "a.pkl"]),
    "family": ("train shrinkage.family=soft_threshold", ["shrinkage.family", "'soft_threshold'"]),
    "channel": ("train problem=random_access problem.channel.fading=rice", ["problem.channel.fading", "rician"]),
    "key of the channel": ("train problem=random_access problem.channel.path=3", ["problem.channel.path", "paths?"]),
    "key of the other problem": ("train problem=random_access problem.N=40", ["problem.N"]),
    "embedding": ("train problem=random_access problem.embedding=complx", ["problem.embedding", "complex?"]),
    "theta of two groups where there is one": (
        "train problem=random_access shrinkage=bg_massive_mimo",
        ["shrinkage.theta must be one row for network=lamp on problem=random_access"],
    ),
    "theta of two groups for all": (
        "train problem=massive_mimo shrinkage=bg_massive_mimo network.theta_per=all",
        ["shrinkage.theta must be one row for network=lamp"],
    ),
    "muon on complex arrays": (
        "train problem=random_access problem.embedding=complex training.lamp.optimizer=muon",
        ["training.lamp.optimizer must be adam"],
    ),
    "muon on complex arrays, layer 1": (
        "train problem=random_access problem.embedding=complex training.lamp.optimizer=[muon,adam]",
        ["training.lamp.optimizer must be adam"],
    ),
    "muon on complex arrays, of the tied twin": (
        "plot problem=random_access problem.embedding=complex network.tied=false training.lamp.optimizer=muon",
        ["training.lamp.optimizer must be adam"],
    ),
    "muon on kernels": (
        "plot problem=random_access network=cnn training.cnn.optimizer=[adam,muon]",
        ["training.cnn.optimizer must be adam, got 'muon'"],
    ),
    "schedule of another start": (
        "plot network=lvamp network.init=random training.lvamp.steps=[16000]",
        ["training.lvamp.steps=[16000]", "the curves use training.lvamp_random"],
    ),
    "schedule of an untied network": (
        "plot network=lamp 'training.lamp_untied={batch: 3}'",
        ["training.lamp_untied={batch: 3}", "the curves use training.lamp"],
    ),
    "schedule where nothing is trained": (
        "plot +experiment=fig1 training.lamp.steps=[1]",
        ["training.lamp.steps=[1]", "no curve uses a schedule"],
    ),
    "emphasis of samples that have none": (
        "plot +experiment=fig16 training.lista.emphasis=[1,1.2]",
        ["training.lista.emphasis=[1,1.2]", "must be 1"],
    ),
    "launcher without sweep": ("plot hydra/launcher=joblib", ["hydra/launcher=joblib", "onsager sweep"]),
    "key of a launcher without sweep": (
        "record +experiment=quick hydra.launcher.n_jobs=2",
        ["hydra.launcher.n_jobs=2", "onsager sweep"],
    ),
    "sweeper without sweep": ("train hydra/sweeper=basic --cfg hydra", ["hydra/sweeper=basic", "onsager sweep"]),
    "optimizer of a layer": ("train training.lamp.optimizer=[muon,sgd]", ["training.lamp.optimizer", "adam or muon"]),
    "no optimizer": ("train training.lamp.optimizer=[]", ["training.lamp.optimizer", "adam or muon"]),
    "what lamp can learn": ("train network.learn=[A]", ["network.learn", "B or theta", "'A'"]),
    "too few parameters": ("train shrinkage=pwlin shrinkage.theta=[1,2]", ["shrinkage.theta", "5 numbers"]),
    "parameter out of range": (
        "train shrinkage=bg shrinkage.theta=[-1,2]",
        ["shrinkage.theta", "greater than 0", "bg"],
    ),
    "a scale that training would move": (
        "train shrinkage=bg shrinkage.theta=[1e-4,2]",
        ["shrinkage.theta must be at least 0.001 at position 1 for bg that learns, got 0.0001"],
    ),
    "knots in wrong order": (
        "train shrinkage=pwlin shrinkage.theta=[4,2,0.1,1.5,0.95]",
        ["shrinkage.theta", "rising order"],
    ),
    "parameters as text": ("train shrinkage=bg shrinkage.theta=[a,b]", ["shrinkage.theta", "2 numbers"]),
    "lista with another shrinkage": ("train network=lista shrinkage=bg", ["network=lista", "threshold", "bg"]),
    "search by gradients": ("train network=lamp training=search", ["training=search", "hyperlista", "network=lamp"]),
    "gradients of a search": ("train network=hyperlista training=fast", ["hyperlista", "write training=search"]),
    "weight": ("train network.weight=inverse", ["network.weight", "analytic", "'inverse'"]),
    "matrix of alista": ("train network=alista network.learn=[B]", ["network.learn", "gamma or theta", "'B'"]),
    "rate": ("train training=paper training.rate_new=0", ["training.rate_new", "greater than 0", "got 0"]),
    "seed": ("train seed=-1", ["seed", "got -1"]),
    "what a curve is": (
        "train +experiment=ablations network.onsager=true",
        ["lamp_tied_bg_no_onsager", "network.onsager=true is not allowed"],
    ),
    "problem of a curve": ("train +experiment=params problem=kappa15", ["problem=kappa15", "problem=gaussian"]),
    "untrained network": ("train network=cnn training=none", ["network=cnn", "training=none"]),
    "bench of what nobody published": (
        "bench --quality --network lista lamp-soft",
        ["--quality", "lista or lamp-bg", "got lamp-soft"],
    ),
    "timing of bench --quality": ("bench --quality --depth 3", ["--depth has no effect with --quality"]),
    "seed of bench": ("bench --seed 3", ["--seed has an effect only with --quality"]),
    "help of no verb": ("help trian", ["trian", "did you mean train?"]),
    "costs of ista": ("train network=ista figure.kind=costs", ["ista", "figure.kind=costs"]),
    "seeds without the first": ("train seed=3 seeds=[0,1]", ["seeds", "seed=3", "[0, 1]"]),
    "precision": ("train precision=hihgest", ["precision", "did you mean highest?"]),
    "format": ("plot plot.formats=[pdf,jpg]", ["plot.formats", "pdf, svg or png", "jpg"]),
    "one combination of a sweep": ("sweep network=lamp,lista shrinkage=bg", ["network=lista", "threshold"]),
    "only nothing": ("train +experiment=fig10 only=[]", ["only=[]"]),
    "only without experiment": ("train only=[oracle]", ["+experiment"]),
    "name that leaves the folder": ("plot +experiment=quick figure.name=../../x", ["figure.name", "../../x"]),
    "curve name that leaves the folder": ("train '+curves={../x: network=lamp}'", ["../x"]),
    "network name that leaves the folder": ("train network.name=/etc/x", ["network.name", "/etc/x"]),
    "runs of what": ("list runs everything", ["list runs takes output=FOLDER", "everything"]),
    "clean what": ("clean everything", ["clean takes output=FOLDER", "everything"]),
    "label of no curve": ("plot +experiment=quick '+figure.labels={lista_tid: L}'", ["figure.labels", "lista_tied"]),
    "label that is no text": ("plot +experiment=quick '+figure.labels={lista_tied: 3}'", ["figure.labels", "text"]),
    "limits in wrong order": ("plot +experiment=quick figure.ylim=[0,-40]", ["figure.ylim", "rising"]),
    "no format": ("plot plot.formats=[]", ["plot.formats must list at least one word of pdf, svg or png"]),
    "inset in wrong order": (
        "plot +experiment=quick figure.inset=[3,1,0,-10]",
        ["figure.inset", "each pair in rising"],
    ),
    "limits without end": ("plot +experiment=quick figure.ylim=[-1e308,1e308]", ["figure.ylim must be within ±1e+06"]),
    "matrix with a name that no file can have": (
        f"train problem.matrix={'x' * 300}.npy",
        ["problem.matrix: 'xxx", "cannot be read: File name too long"],
    ),
    "interpolation": ("train 'output=${nowhere}'", ["nowhere"]),
    "interpolation of Hydra": (
        "train 'training.lamp.steps=${hydra:job.name}'",
        ["an interpolation cannot be resolved: HydraConfig was not set", "training.lamp.steps"],
    ),
    "interpolation of a number": (
        "train 'training.lamp.steps=${oc.decode:1}'",
        ["an interpolation cannot be resolved: `oc.decode`"],
    ),
    "curves at a time in a sweep on a pool": (
        "sweep seed=1,2 jobs=2 hydra/launcher=joblib",
        ["jobs=2 has no effect with a launcher", "leave it out"],
    ),
    "empty output": ("train output=''", ["output", "text"]),
    "output of a sweep": (
        "sweep seed=1,2 output=/dev/null/results",
        ["/dev/null/results", "/dev/null is not a folder"],
    ),
}


def said(capsys: pytest.CaptureFixture[str], command: str) -> str:
    """Runs a command that has to fail as a mistake and returns its one line on stderr."""
    code = main(shlex.split(command))
    out, err = capsys.readouterr()
    assert code == 2, err
    assert out == ""
    assert err.startswith("onsager: ")
    assert err.endswith("\n")
    assert len(err.splitlines()) == 1, err
    assert len(err) <= 1001
    return err


@pytest.mark.parametrize("word", [f"{'x' * 5000}", f"{'x' * 5000}=1", f"+experiment={'x' * 5000}"])
def test_an_endless_word_is_shortened(word, capsys):
    for verb in ("", "train "):
        said(capsys, f"{verb}{word}")


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ONSAGER_DEBUG", raising=False)


@pytest.mark.parametrize("name", [*MISTAKES, *slow(*MORE)])
def test_mistake(name, capsys):
    command, fragments = (MISTAKES | MORE)[name]
    line = said(capsys, command)
    for fragment in fragments:
        assert fragment in line
    assert os.listdir() == [], "a mistake leaves nothing behind"


def test_own_option_with_the_name_of_a_built_in_one(capsys):
    Path("conf/problem").mkdir(parents=True)
    Path("conf/problem/gaussian.yaml").write_text("N: 3\n")
    assert "conf/problem/gaussian.yaml" in said(capsys, "train")


@pytest.mark.parametrize(
    ("launcher", "package", "extra"),
    [
        ("joblib", "joblib", "sweep"),
        *slow(("submitit_slurm", "submitit", "slurm"), ("submitit_local", "submitit", "slurm")),
    ],
)
def test_launcher_that_is_not_installed(launcher, package, extra, capsys, monkeypatch):
    monkeypatch.setattr("onsager_cli.config.launchers.find_spec", lambda name: None)
    line = said(capsys, f"sweep hydra/launcher={launcher} seed=1,2")
    assert f"needs {package}" in line
    assert f"pip install {package} (in a checkout also pip install -e '.[{extra}]')" in line


def test_plot_before_train(capsys):
    line = said(capsys, "plot +experiment=quick")
    assert "onsager train +experiment=quick" in line


TOY = (
    "problem.N=20 problem.M=10 problem.selection_samples=8 problem.test_samples=8 network=amp network.depth=2 "
    "plot.formats=[png]"
)


@pytest.mark.parametrize(
    ("number", "reason"), [(errno.ENOSPC, "disk is full"), *slow((errno.EROFS, "read-only"), (errno.EDQUOT, "quota"))]
)
def test_disk_that_takes_no_more(number, reason, capsys, monkeypatch):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "fsync", refuse)
    code = main(["train", *shlex.split(TOY)])
    last = capsys.readouterr().err.splitlines()[-1]
    assert code == 2, last
    assert last.startswith("onsager: ")
    assert reason in last
