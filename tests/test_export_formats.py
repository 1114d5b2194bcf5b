"""The other formats, each run where its runtime is installed; what cannot go to one; and the verb `onsager export`."""

import doctest
import importlib.util
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import slow
from toy_export import ABOUT, COMPLEX, Untrained, distance, model, written

from onsager_cli import export as exports
from onsager_cli.api.training import Trained
from onsager_cli.cli import export as verb
from onsager_cli.cli.main import main
from onsager_cli.errors import Notice, UserError
from onsager_cli.export import channels, formats, matlab_text
from onsager_cli.export.model import from_test_set

pytestmark = pytest.mark.usefixtures("quick_compile")

FLOAT32 = 1e-4  # both in float32: layers amplify its rounding, and here parameters are random
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
needs_octave = pytest.mark.skipif(matlab_text.octave() is None, reason="Octave is not installed")
needs_onnx = pytest.mark.skipif(importlib.util.find_spec("jax2onnx") is None, reason="jax2onnx is not installed")

CASES = {
    "lamp": ("network=lamp", "shrinkage=bg"),
    "lamp_complex": ("network=lamp", "shrinkage=bg", COMPLEX),
    "lamp_untied": ("network=lamp", "shrinkage=spline", "network.tied=false", COMPLEX),
    "lamp_options": ("network=lamp", "shrinkage=bg", "network.free=[sigma,slope,step,onsager]", "network.damping=0.7"),
    "lamp_coordinates": ("network=lamp", "shrinkage=bg", "network.theta_per=coordinate", COMPLEX),
    "lamp_whitened": ("network=lamp", "shrinkage=exp", "problem.balance=on", "problem.ensemble=gaussian"),
    "lista": ("network=lista", COMPLEX),
    "lista_untied": ("network=lista", "network.tied=false"),
    "lvamp": ("network=lvamp", "shrinkage=pwlin", COMPLEX),
    "lvamp_untied": ("network=lvamp", "shrinkage=exp", "network.tied=false", "network.damping=learned", COMPLEX),
    "lvamp_snr": ("network=lvamp", "shrinkage=soft", "problem.snr_db=[20,40]"),
    "lvamp_gh": ("network=lvamp_gh", "shrinkage=pwgrid", COMPLEX),
    "cnn": ("network=cnn", "network.channels=[5,4]", "network.width=5"),
    "cnn_complex": ("network=cnn", "network.channels=[5,4]", "network.width=4", COMPLEX),
    "mixture": ("network=lamp", "shrinkage=mixture", COMPLEX),
    "discrete": ("network=lamp", "shrinkage=discrete", COMPLEX),
    "block": ("network=lamp", "shrinkage=block", "signal=block", COMPLEX),
    "matched": ("network=lamp", "shrinkage=matched", "signal=rademacher"),
    "folded": ("network=lamp", "shrinkage=matched", "signal=laplace"),
}
OF_MATLAB = [case for case in CASES if case.startswith(("lamp", "lista", "lvamp")) and case != "lvamp_gh"]


@needs_onnx
@pytest.mark.parametrize("case", slow(*CASES))
def test_onnx_runs_like_jax(tmp_path, case):
    made = model(*CASES[case])
    assert distance(made, "onnx", tmp_path) < FLOAT32


@needs_onnx
@pytest.mark.slow
def test_onnx_takes_any_number_of_samples(tmp_path):
    import onnxruntime

    made = model(*CASES["lamp_complex"])
    graph = written(made, "onnx", tmp_path)["toy.onnx"]
    session = onnxruntime.InferenceSession(graph)
    assert [one.name for one in session.get_inputs()] == ["y"]
    assert [one.name for one in session.get_outputs()] == ["x_hat"]
    y = from_test_set(made)[1]
    channels_of_y = np.stack([np.real(y), np.imag(y)])
    for samples in (1, 7):
        x_hat = np.asarray(session.run(None, {"y": channels_of_y[:, :, :samples]})[0])
        assert x_hat.shape == (2, 40, samples)
        np.testing.assert_allclose(x_hat[0] + 1j * x_hat[1], made.x_hat[:, :samples], atol=FLOAT32)


@pytest.mark.slow
@pytest.mark.parametrize("case", slow(*CASES, but=["lvamp"]))
def test_stablehlo_runs_like_jax(tmp_path, case):
    made = model(*CASES[case])
    assert distance(made, "stablehlo", tmp_path) < FLOAT32
    y = from_test_set(made)[1]
    assert formats.of("stablehlo").run(tmp_path, "toy", y[:, :3]).shape == (40, 3)


@needs_torch
@pytest.mark.parametrize("case", slow(*CASES, but=["lamp", "lvamp"]))
def test_torch_runs_like_jax(tmp_path, case):
    assert distance(model(*CASES[case]), "torch", tmp_path) < FLOAT32


@pytest.mark.parametrize("case", slow(*CASES, but=["lvamp_snr"]))
def test_torch_files_are_python(tmp_path, case):
    files = written(model(*CASES[case]), "torch", tmp_path)
    source = files["toy_torch.py"].decode()
    compile(source, "toy_torch.py", "exec")
    assert "np." not in source.replace("np.load", "")


@needs_octave
@pytest.mark.parametrize("case", slow(*OF_MATLAB, but=["lvamp_untied"]))
def test_octave_runs_like_jax(tmp_path, case):
    assert distance(model(*CASES[case]), "matlab", tmp_path) < FLOAT32


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "message"),
    [
        *slow(("lvamp_gh", r"^(network\.kind=lvamp_gh|shrinkage=pwgrid) cannot be exported to matlab, which takes ")),
        ("mixture", r"^shrinkage=mixture cannot be exported to matlab, which takes bg, exp, pwlin, .* threshold$"),
        ("cnn", r"^network\.kind=cnn cannot be exported to matlab, which takes lamp, lista, lvamp$"),
    ],
)
def test_matlab_refuses_by_name(tmp_path, case, message):
    with pytest.raises(UserError, match=message):
        exports.export(model(*CASES[case]), "matlab", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_onnx_without_jax2onnx_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    with pytest.raises(UserError, match=r"^--to onnx needs jax2onnx, which is not installed: pip install jax2onnx "):
        exports.export(model(*CASES["lamp"]), "onnx", tmp_path)


def test_an_operation_without_a_rule_is_named():
    def sorts(y: jax.Array) -> jax.Array:
        return jnp.fft.fft(y, axis=0)

    with pytest.raises(channels.UnknownOperationError, match=r"^fft$"):
        channels.real_function(sorts, jnp.ones((2, 4, 3)), True)

    def repeats(y: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, 3, lambda _, a: 2 * a, y)

    with pytest.raises(channels.UnknownOperationError, match=r"^scan$"):
        channels.real_function(repeats, jnp.ones((4, 3)), False)


@pytest.mark.slow
def test_real_operations_compute_what_complex_ones_do(x64):
    rng = np.random.default_rng(0)
    A, B = (rng.normal(size=(2, 5, 4)) @ np.eye(4) for _ in range(2))
    A, B = A[0] + 1j * A[1], B[0] + 1j * B[1]

    def function(y: jax.Array) -> jax.Array:
        a, b = jnp.asarray(A) @ y, jnp.conj(jnp.asarray(B)) @ y
        c = jnp.where(jnp.abs(a.real) > 1, a / b, b * a - 2.5) / (1 + jnp.square(a.imag))
        parts = jnp.concatenate([c.real, c.imag])
        d = jnp.square(c) + jax.lax.complex(parts[:5], parts[5:]) - 1j * jnp.sum(b, axis=0, keepdims=True)
        return jnp.stack([d, -d.reshape(5, 3)]).transpose(1, 0, 2).reshape(10, 3) * (2 - 1j)

    y = rng.normal(size=(2, 4, 3))
    found = channels.real_function(function, jnp.asarray(y), True)
    expected = np.asarray(function(jnp.asarray(y[0] + 1j * y[1])))
    np.testing.assert_allclose(found[0] + 1j * found[1], expected, rtol=1e-12)


def test_the_verb_and_the_formats_agree():
    assert list(verb.FORMATS) == list(formats.NAMES)
    assert all(formats.of(name).runtime for name in formats.NAMES)


def test_a_missing_runtime_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(matlab_text, "octave", lambda: None)
    made = exports.export(model(*CASES["lamp"]), "matlab", tmp_path)
    assert (made.runtime, made.difference, made.nmse_db) == ("Octave", None, None)
    assert "did not run these files: Octave is not installed" in (tmp_path / "README.md").read_text()


def test_a_difference_that_rounding_does_not_explain_is_a_warning(tmp_path):
    made = model(*CASES["lamp"])

    class Off(Untrained):
        def __call__(self, y):
            return 1.01 * super().__call__(y)

    off = Off(made.settings, made.net, made.params, made.problem, made.depth)
    with pytest.warns(Notice, match="^lamp_tied_bg: NumPy and JAX differ by 1.*e-02, more than rounding explains"):
        exports.export(off, "numpy", tmp_path)
    right = exports.export(made, "numpy", tmp_path)
    assert right.difference is not None
    assert right.difference < FLOAT32


SMALL = ["problem.instance=seeded", "problem.N=40", "problem.M=20", "problem.selection_samples=100",
         "problem.test_samples=120", "network.depth=2", "training.lamp.steps=[20]", "training.lamp.batch=16", "jobs=1",
         "plot.formats=[png]", "shrinkage=bg"]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An output folder with LAMP-BG of two layers."""
    folder = tmp_path_factory.mktemp("trained") / "out"
    assert main(["train", *SMALL, f"output={folder}"]) == 0
    return folder


def exported(folder: Path, *more: str) -> int:
    """The exit code of `onsager export` with these words; they replace overrides of the same keys."""
    merged = {word.partition("=")[0]: word for word in (*SMALL, f"output={folder}")}
    new = {word.partition("=")[0]: word for word in more if "=" in word}
    return main(["export", *{**merged, **new}.values(), *(word for word in more if "=" not in word)])


@pytest.mark.slow
def test_the_verb_writes_and_compares(trained, capsys):
    assert exported(trained, "--to", "numpy") == 0
    out = capsys.readouterr().out
    place = trained / "exports" / "lamp_tied_bg-numpy"
    assert sorted(path.name for path in place.iterdir()) == ["README.md", "lamp_tied_bg.npz", "lamp_tied_bg.py"]
    assert "on 100 samples: " in out
    stored, by_numpy = out.split("stored")[0].split()[-2], out.split(" dB by NumPy")[0].split()[-1]
    assert float(by_numpy) == pytest.approx(float(stored), abs=0.011), "the NMSE of the network, to its last digit"
    page = (place / "README.md").read_text()
    assert "onsager export problem.instance=seeded" in page
    assert "(20, samples)" in page
    assert f"{float(stored):.2f} dB" in page
    assert exported(trained, "--to", "numpy") == 0, "its own files are replaced"


@pytest.mark.slow
def test_depth_takes_a_network_of_fewer_layers(trained, tmp_path):
    assert exported(trained, "--to", "numpy", "--depth", "1", "-o", str(tmp_path / "one")) == 0
    assert "range(1)" in (tmp_path / "one" / "lamp_tied_bg.py").read_text()
    assert "--depth=1" in (tmp_path / "one" / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lamp_tied_bg.py", "lamp_tied_bg.npz", "README.md"])
def test_files_of_others_stay(trained, tmp_path, capsys, name):
    (tmp_path / name).write_text("mine")
    assert exported(trained, "--to", "numpy", "-o", str(tmp_path)) == 2
    assert f"onsager did not write {tmp_path / name}" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"
    assert exported(trained, "--to", "numpy", "-o", str(tmp_path), "--force") == 0
    assert (tmp_path / name).read_bytes() != b"mine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "pickle"], "--to must be numpy, onnx, torch, matlab or stablehlo, got 'pickle'"),
        (["--to", "nunpy"], "did you mean numpy?"),
        ([], "name a format: --to numpy, onnx"),
        (["--to"], "--to needs a value"),
        (["--to", "numpy", "--depth", "0"], "--depth must be a whole number from 1 to 10000, got '0'"),
        (["--to", "numpy", "--depth", "x"], "--depth must be a whole number from 1 to 10000, got 'x'"),
        (["--to", "numpy", "--depth", "7"], "has no network of depth 7: stored depths are 1, 2"),
        (["--to", "numpy", "shrinkage=pwlin"], "lamp_tied_pwlin: no network is stored in"),
        (["--to", "numpy", "-o", "a_file"], "a_file is not a folder"),
    ],
)
def test_mistakes_are_one_line(trained, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    Path("a_file").write_text("")
    assert exported(trained, *words) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line


def test_an_unknown_format_of_the_function(tmp_path):
    with pytest.raises(UserError, match=r"^--to must be numpy, onnx, .*, got 'mat' \(did you mean matlab\?\)$"):
        exports.export(model(*CASES["lamp"]), "mat", tmp_path)


def test_names_are_names_of_functions():
    made = model(*CASES["lamp"])
    settings = replace(made.settings, network=replace(made.settings.network, name="3-lamp"))
    assert exports.name_of(replace(made, settings=settings)) == "network_3_lamp_tied_bg"


@pytest.mark.slow
def test_a_trained_network_exports_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (example,) = doctest.DocTestFinder(recurse=False).find(Trained.export, "export", globs={})
    assert doctest.DocTestRunner().run(example).failed == 0
    assert (tmp_path / "exported" / "lamp_tied_bg.py").is_file()


def test_nothing_of_a_failed_run_is_kept(tmp_path, monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monkeypatch.setattr(exports, "difference", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            exports.export(model(*CASES["lamp"]), "numpy", tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert ABOUT.name == "toy"
