"""`onsager bench`: what its table says, at toy size. How fast anything is, no test asks."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import slow

from onsager_cli.cli import bench
from onsager_cli.cli.main import dispatch
from onsager_cli.errors import UserError
from onsager_cli.training import engine
from onsager_cli.training.engine import engine_of

pytestmark = pytest.mark.usefixtures("quick_compile")

M, N, L = 10, 20, 6
TOY = ["--seconds", "0.01", "--batch", str(L), "--override", f"problem.N={N}", f"problem.M={M}"]


@pytest.mark.slow
def test_the_table_as_json(capsys):
    assert dispatch(["bench", "--network", "lamp-bg", "--depth", "1", "3", "--json", *TOY]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [(row["network"], row["depth"], row["batch"]) for row in report["steps"]] == [
        ("lamp-bg", 1, L),
        ("lamp-bg", 3, L),
    ]
    for row in report["steps"]:
        flops = bench.matrix_flops("lamp-bg", M, N, row["depth"], L)
        took = flops / (row["gemm_gflops"] * 1e9) / (row["ms_per_step"] / 1e3)
        assert row["roofline_fraction"] == pytest.approx(took)
        assert row["compile_s"] > 0
    assert report["data_ms_per_step"] == pytest.approx(1e3 * L / report["samples_per_second"])
    assert report["versions"]["jax"] == jax.__version__


def products(jaxpr) -> int:
    """FLOPs of the matrix products of a traced program, 2 per multiply-add."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            ((contracted, _), _), (left, _) = equation.params["dimension_numbers"], equation.invars
            depth = math.prod(left.aval.shape[axis] for axis in contracted)
            total += 2 * depth * math.prod(equation.outvars[0].aval.shape)
    return total


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("network", ["lamp-soft", "lista"])
def test_the_products_of_a_step_are_those_of_autodiff(network, depth):
    """Of the networks as eqs (12) and (20) write them, layer after layer, with y drawn from x."""
    x, A = jnp.ones((N, L)), jnp.ones((M, N))

    def lamp(learned):
        y = v = A @ x
        x_hat = jnp.zeros((N, L))
        for t in range(depth):
            x_hat = jnp.tanh(x_hat + learned["B"] @ v)
            v = y - A @ x_hat + v / 2 if t + 1 < depth else v
        return jnp.sum(jnp.square(x_hat - x))

    def lista(learned):
        By = learned["B"] @ (A @ x)
        x_hat = jnp.tanh(By)
        for _ in range(depth - 1):
            x_hat = jnp.tanh(By + learned["S"] @ x_hat)
        return jnp.sum(jnp.square(x_hat - x))

    learned = {"B": jnp.ones((N, M)), "S": jnp.ones((N, N))}
    loss = lista if network == "lista" else lamp
    assert bench.matrix_flops(network, M, N, depth, L) == products(jax.make_jaxpr(jax.value_and_grad(loss))(learned))


@pytest.mark.slow
@pytest.mark.parametrize("network", ["lista", *slow("lamp-bg")])
def test_an_untied_network_takes_the_batch_that_is_asked_for(network, monkeypatch):
    made = []
    monkeypatch.setattr(engine, "engine_of", lambda *asked: made.append(engine_of(*asked)) or made[-1])
    monkeypatch.setattr(bench, "gemm_gflops", lambda *_: 1.0)
    overrides = [*bench.NETWORKS[network], f"problem.N={N}", f"problem.M={M}", "network.tied=false"]
    (row,) = bench.step_timing(network, overrides, [1], L, 0.01)
    assert [one.batch for one in made] == [row.batch] == [L]
    flops = bench.matrix_flops(network, M, N, 1, L)
    assert row.roofline_fraction == pytest.approx(flops / 1e9 / (row.ms_per_step / 1e3))


@pytest.mark.parametrize(("network", "depth"), [("lamp-bg", 3), ("lista", 1), ("lista", 4)])
def test_the_rate_is_that_of_the_networks_own_products(network, depth, monkeypatch):
    """Where products of N x N matrices take twice as long as others of as many FLOPs."""

    def seconds(rows, columns, batch, pairs):
        return (2 * pairs + 1) * 2 * rows * columns * batch / 1e9 * (2 if rows == columns else 1)

    monkeypatch.setattr(bench, "product_seconds", seconds)
    flops = bench.matrix_flops(network, M, N, depth, L)
    square = 3 * (depth - 1) * 2 * N * N * L if network == "lista" else 0
    assert bench.gemm_gflops(network, M, N, depth, L) == pytest.approx(flops / (flops + square))


@pytest.mark.parametrize(("rows", "pairs"), [(M, 2), (M, 1), (N, 1)])
def test_the_products_that_are_timed_are_those_of_a_layer(rows, pairs):
    loop, B, v = bench.product_loop(rows, N, L, pairs)
    assert B.shape == (N, rows)
    (program,) = jax.make_jaxpr(loop)(B, v).eqns  # jit
    (repeat,) = program.params["jaxpr"].jaxpr.eqns
    assert repeat.params["length"] == bench.REPEATS
    assert products(repeat.params["jaxpr"].jaxpr) == (2 * pairs + 1) * 2 * rows * N * L


@pytest.mark.slow
def test_none_of_the_products_that_are_timed_can_be_left_out():
    loop, B, v = bench.product_loop(M, N, L, 2)
    after, first = loop(B, v), B @ v
    moved = 1e-3 * (B @ B.T @ first) @ (B.T @ B @ B.T @ first).T
    # The first repetition moves B by a thousandth, the others by a thousandth of that.
    np.testing.assert_allclose(after - B, moved, atol=1e-2 * float(jnp.abs(moved).max()))
    assert 0 < bench.gemm_gflops("lista", M, N, 2, L) < math.inf


@pytest.mark.parametrize(
    "asked",
    [
        ["--depth", "0"],
        ["--network", "lampp"],
        ["--batch", "x"],
        ["--batch", "1.5"],
        ["--depth", "10001"],
        *(["--seconds", value] for value in ("0", "-1", "nan", "inf", "1e9", "x", "9" * 5000)),
        *(["--seed", value, "--quality"] for value in ("-1", "4294967296", "0.5")),
        ["--quality", "--network", "lamp-soft"],
        ["--batch", "3", "--quality"],
        ["--seconds", "1", "--quality"],
        ["--override", "training=thorough", "problem.N=400", "--quality"],
        ["--seed", "1"],
    ],
)
def test_mistakes(asked):
    with pytest.raises(UserError, match=f"^bench: .*{asked[0]}"):
        dispatch(["bench", *asked])


@pytest.mark.slow
def test_quality_is_that_of_the_schedule_asked_for(capsys):
    """Of networks that were hardly trained, beside the published numbers."""
    asked = ["training.lamp.steps=[3]", "training.lamp.batch=10"]
    assert dispatch(["bench", "--quality", "--network", "lamp-bg", "--override", *asked, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["quality"]
    assert [row["published_db"] for row in rows] == list(bench.PUBLISHED["lamp-bg"])
    assert [row["steps"] for row in rows] == [3, 6, 9, 12, 15, 18]
    assert not any(row["reached"] for row in rows)


@pytest.mark.slow
def test_complex_arrays_are_refused_before_anything_is_measured():
    with pytest.raises(UserError, match=r"problem\.embedding: must be real"):
        bench.step_timing(
            "lamp-bg", [*bench.NETWORKS["lamp-bg"], "problem=random_access", "problem.embedding=complex"], [1], 2, 0.0
        )
