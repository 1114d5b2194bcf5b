"""Networks as programs: the files that `export` writes compute what JAX computes, and nothing is lost on the way."""

import ast
import importlib.util
import itertools
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kinds_of_my_own as mine
import numpy as np
import pytest
from conftest import slow
from toy_export import ABOUT, COMPLEX, THETAS, distance, model, written

from onsager_cli.errors import UserError
from onsager_cli.export import formats, texts
from onsager_cli.export.model import from_test_set
from onsager_cli.kinds.records import NetworkKind, ShrinkageKind
from onsager_cli.kinds.registry import every, names

pytestmark = pytest.mark.usefixtures("quick_compile")

EXACT = 1e-9  # JAX and NumPy both in float64: only the order of sums differs
FAMILIES = [kind.name for kind in every(ShrinkageKind) if not kind.of_signal and not kind.absolute]
# Every network that takes them with every family, real and complex; the others stand below.
CASES = list(itertools.product(("lamp", "lvamp", "lvamp_gh"), FAMILIES, ((), (COMPLEX,))))
QUICK = [("lamp", "bg", ()), ("lvamp", "pwlin", (COMPLEX,)), ("lvamp_gh", "spline", ())]
OTHERS = {
    "lista": ("network=lista",),
    "lista_untied_complex": ("network=lista", "network.tied=false", COMPLEX),
    "cnn": ("network=cnn", "network.channels=[5,4]", "network.width=4"),
    "cnn_complex": ("network=cnn", "network.channels=[5,4]", "network.width=5", COMPLEX),
    "lamp_untied": ("network=lamp", "network.tied=false", "shrinkage=bg"),
    "lamp_damped": ("network=lamp", "shrinkage=bg", "network.damping=0.7"),
    "lamp_free": ("network=lamp", "shrinkage=bg", "network.free=[sigma,slope,step,onsager]"),
    "lamp_free_damped": ("network=lamp", "shrinkage=exp", "network.free=[slope]", "network.damping=0.6", COMPLEX),
    "lamp_no_onsager": ("network=lamp", "shrinkage=pwlin", "network.onsager=false"),
    "lamp_tuned": ("network=amp", "training=fast", "shrinkage=soft"),
    "lamp_coordinates": ("network=lamp", "shrinkage=bg", "network.theta_per=coordinate"),
    "lamp_mixture_coordinates": ("network=lamp", "shrinkage=mixture", "network.theta_per=coordinate", COMPLEX),
    "lamp_block": ("network=lamp", "shrinkage=block", "signal=block"),
    "lamp_block_coordinates": ("network=lamp", "shrinkage=block", "signal=block", "network.theta_per=coordinate", COMPLEX),
    "lamp_whitened": ("network=lamp", "shrinkage=bg", "problem.balance=on", "problem.ensemble=gaussian"),
    "lamp_whitened_complex": ("network=lamp", "shrinkage=soft", "problem.balance=on", "problem.ensemble=gaussian", COMPLEX),
    "lvamp_balanced": ("network=lvamp", "shrinkage=pwlin", "problem.balance=on", "problem.ensemble=gaussian"),
    "lvamp_untied": ("network=lvamp", "network.tied=false", "shrinkage=bg", COMPLEX),
    "lvamp_damped": ("network=lvamp", "shrinkage=bg", "network.damping=0.6"),
    "lvamp_learned_damping": ("network=lvamp", "shrinkage=bg", "network.damping=learned", "network.tied=false"),
    "lvamp_snr": ("network=lvamp", "shrinkage=pwlin", "problem.snr_db=[20,40]"),
    "lvamp_snr_damped": ("network=lvamp", "shrinkage=soft", "problem.snr_db=[20,40]", "network.damping=learned", COMPLEX),
    "lvamp_gh_tied": ("network=lvamp_gh", "network.tied=true", "shrinkage=bg", COMPLEX),
    "cells": ("problem=massive_mimo", "problem.users=4", "problem.pilots=8", "problem.selection_samples=64",
              "problem.test_samples=64", "network=lamp", "shrinkage=pwlin"),
}  # fmt: skip
BALANCED = ("problem.balance=on", "problem.ensemble=gaussian")
OTHERS |= {
    f"{network}_{index}": (f"network={network}", *more)
    for network, ways in {
        **dict.fromkeys(("lista_cp", "lista_cpss", "tilista", "alista_at"), ((), (COMPLEX,))),
        **dict.fromkeys(("alista", "aglista", "na_alista", "hyperlista"), ((), (COMPLEX,), BALANCED)),
        **dict.fromkeys(
            ("tista", "oamp_net", "oamp_net2"),
            (("shrinkage=bg", COMPLEX), ("shrinkage=pwlin", "problem.snr_db=[20,40]"), ("shrinkage=bg", *BALANCED)),
        ),
    }.items()
    if network in names(NetworkKind)
    for index, more in enumerate(ways)
}
SIGNALS = [
    ("bernoulli_gaussian", ()), ("rademacher", ()), ("rademacher", (COMPLEX,)), ("mixture", ()), ("mixture", (COMPLEX,)),
    ("qpsk", (COMPLEX,)), ("laplace", ()), ("laplace", ("problem.gamma=0.2",)), ("exponential", ()), ("half_normal", ()),
    ("block", ()), ("block", (COMPLEX,)), ("student_t", ()),
]  # fmt: skip


def error_of(overrides, folder: Path) -> float:
    return distance(model(*overrides), "numpy", folder)


@pytest.mark.slow
@pytest.mark.parametrize(("network", "family", "more"), slow(*CASES, but=QUICK))
def test_every_network_with_every_shrinkage(x64, tmp_path, network, family, more):
    assert error_of((f"network={network}", f"shrinkage={family}", *more), tmp_path) < EXACT


@pytest.mark.slow
@pytest.mark.parametrize("case", slow(*OTHERS, but=["lista_untied_complex", "cnn_complex", "lvamp_snr", "lamp_free"]))
def test_every_option_of_networks(x64, tmp_path, case):
    assert error_of(OTHERS[case], tmp_path) < EXACT


@pytest.mark.slow
@pytest.mark.parametrize(("signal", "more"), slow(*SIGNALS, but=[("rademacher", (COMPLEX,))]))
def test_every_signal_with_its_own_denoiser(x64, tmp_path, signal, more):
    # JAX cuts the continued fraction of folded signals where float64 does: the two agree as far as log(erfc) does.
    assert error_of(("network=lamp", f"signal={signal}", "shrinkage=matched", *more), tmp_path) < EXACT


def test_a_whitened_network_is_exported_with_its_frame(x64):
    made = model(*OTHERS["lamp_whitened"])
    arrays = texts.program(made, "numpy", "python", "file.py.j2", xp="np", **vars(ABOUT), arrays_name="a.npz").arrays
    assert arrays["rows"].shape == (20, 20)
    assert arrays["columns"].shape == (40, 1)


@pytest.mark.parametrize(
    ("group", "kinds"),
    [("networks", [kind.name for kind in every(NetworkKind) if kind.trains and not kind.bound]),
     ("shrinkages", [kind.name for kind in every(ShrinkageKind)])],
)  # fmt: skip
def test_whatever_trains_has_a_text(group, kinds):
    assert set(kinds) <= {path.stem for path in (texts.TEMPLATES / "python" / group).glob("*.j2")}
    assert set(THETAS) >= set(FAMILIES), "each family is tried above"


def source_of(folder: Path, *overrides: str) -> str:
    return written(model(*overrides), "numpy", folder)["toy.py"].decode()


@pytest.mark.parametrize("family", ["bg", *slow("soft", "pwlin", "exp", "spline", "mixture")])
def test_lamp_is_short_and_readable(tmp_path, family):
    source = source_of(tmp_path, "network=lamp", f"shrinkage={family}")
    assert source.count("\n") < 120
    assert all(len(line) <= 120 for line in source.splitlines())
    for equation in ("(30)", "(31a)", "(31b)", "(31c)"):
        assert equation in source
    tree = ast.parse(source)
    branches = [node for node in ast.walk(tree) if isinstance(node, ast.If)]
    assert all(isinstance(node.body[0], ast.Raise) for node in branches), "no branch but the checks of y"
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert {node.name for node in tree.body if isinstance(node, ast.FunctionDef)} <= used | {"estimate"}


def test_it_needs_numpy_alone(tmp_path):
    made = model("network=lamp", "shrinkage=bg")
    written(made, "numpy", tmp_path)
    np.save(tmp_path / "y.npy", from_test_set(made)[1])
    code = (
        "import sys; sys.path.insert(0, '.'); import numpy as np; from toy import estimate; "
        "np.save('x.npy', estimate(np.load('y.npy'))); "
        "print([m for m in ('jax', 'scipy', 'onsager_cli') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
    found = np.load(tmp_path / "x.npy")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, made.x_hat, atol=1e-5)  # rounding of float32, amplified by three layers


def loaded(folder: Path) -> Any:
    spec = importlib.util.spec_from_file_location("toy_of_a_test", folder / "toy.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_file_refuses_what_it_cannot_mean(tmp_path):
    made = model("network=lamp", "shrinkage=bg")
    written(made, "numpy", tmp_path)
    estimate, y = loaded(tmp_path).estimate, from_test_set(made)[1]
    for wrong, message in ((y.T, "must have shape"), (y[:, 0], "must have shape"), (y + 1j, "must be real")):
        with pytest.raises(ValueError, match=message):
            estimate(wrong)
    assert np.isfinite(estimate(0 * y)).all(), "zeros are no reason for NaN"
    np.testing.assert_array_equal(estimate(y.tolist()).shape, estimate(y).shape)


PAGE = Path(__file__).parents[1] / "docs" / "own.md"


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A package with the network `coupled`, whose folder `export` has no text yet."""
    site = tmp_path / "site"
    package = site / "a_package_to_export"
    for path, text in {
        package / "__init__.py": "",
        package / "coupled.py": mine.NETWORK,
        site / "a_package_to_export-1.dist-info" / "METADATA": "Name: a_package_to_export\nVersion: 1\n",
        site
        / "a_package_to_export-1.dist-info"
        / "entry_points.txt": "[onsager.networks]\ncoupled = a_package_to_export.coupled:KIND\n",
        tmp_path / "conf" / "network" / "coupled.yaml": mine.NETWORK_YAML,
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(tmp_path)
    yield package / "export" / "python" / "networks" / "coupled.j2"
    for name in [name for name in sys.modules if name.startswith("a_package_to_export")]:
        del sys.modules[name]


@pytest.mark.skipif(not PAGE.exists(), reason="not a checkout")
def test_a_package_brings_the_text_of_its_network(plugin, tmp_path):
    made = model("network=coupled")
    with pytest.raises(
        UserError, match=r"^network\.kind=coupled cannot be exported to numpy, which takes .*cnn, .*lamp, "
    ):
        formats.of("numpy").write(made, ABOUT)
    plugin.parent.mkdir(parents=True)
    (text,) = re.findall(r"```jinja\n(.*?)```", PAGE.read_text(), re.DOTALL)
    plugin.write_text(text)
    texts._environment.cache_clear()
    assert distance(made, "numpy", tmp_path) < 1e-5  # float32
