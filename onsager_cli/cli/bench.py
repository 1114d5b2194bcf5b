"""`onsager bench`: the time of a training step on this machine, compared with the time of its matrix products alone.

    roofline fraction = matrix FLOPs of the step / (rate of this machine's matrix products × time of the step)

The same run measures the rate on the shapes of the network's own products, each as often as in the step: N x M and
M x N for LAMP, mostly N x N for LISTA. A step draws a new batch, runs forward and backward through all layers with all
parameters learning, and updates them with the optimizer of `training=fast`.
"""

import contextlib
import json
import statistics
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from onsager_cli.cli.options import Parser
from onsager_cli.errors import UserError
from onsager_cli.record import published
from onsager_cli.store.tables import Row
from onsager_cli.text import columns, one_of, show, terminal_width

if TYPE_CHECKING:
    from jax import Array

    from onsager_cli.config.experiment import Curve

N = TypeVar("N", int, float)

NETWORKS = {
    "lamp-bg": ["network=lamp", "shrinkage=bg"],
    "lamp-soft": ["network=lamp", "shrinkage=soft"],
    "lista": ["network=lista"],
    "lvamp-bg": ["network=lvamp", "shrinkage=bg"],
}
# NMSE (dB) of the published code on the 2017 i.i.d. instance, layers 1 to 6.
PUBLISHED = {"lista": published.LISTA.values, "lamp-bg": published.LAMP.values}
# Defaults of the options that only the timing has, and of those that only --quality has.
TIMING = {"depth": [2, 5, 10, 20], "batch": [1000], "seconds": 5.0}
QUALITY = {"seed": 0}

FEW_SAMPLES = ["problem.selection_samples=1", "problem.test_samples=1"]  # a measurement draws its own
REPEATS = 20  # how often one compiled program repeats the products of a layer


@dataclass(frozen=True)
class Timing:
    """One row of the table; times are medians."""

    network: str
    depth: int
    batch: int
    ms_per_step: float
    gemm_gflops: float
    roofline_fraction: float
    compile_s: float


def matrix_flops(network: str, M: int, N: int, depth: int, batch: int) -> int:
    """FLOPs of the matrix products of one step (2 per multiply-add), data generation included. A has no gradient."""
    rectangle, square = 2 * M * N * batch, 2 * N * N * batch
    if network == "lista":
        return 3 * rectangle + 3 * (depth - 1) * square
    if network == "lvamp-bg":  # of V in each layer; of U once, with its gradient
        return rectangle * (6 * depth - 2) + 2 * 2 * M * M * batch
    return rectangle * (1 + (2 * depth - 1) + (3 * depth - 2))


def median_seconds(run: Callable[[], object], seconds: float, least: int = 3) -> float:
    """Median time of `run`, after one warm-up call. Calls it for `seconds`, at least `least` times."""
    import jax

    jax.block_until_ready(run())
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < least:
        start = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def gemm_gflops(network: str, M: int, N: int, depth: int, batch: int) -> float:
    """Rate of this machine's float32 matrix products, on the shapes of a network's products, each as often.

    A layer of LAMP has two products with matrices of B's shape, both transposed in the backward pass, and the gradient
    of B. LISTA has one product with B, one with A (to draw data) and the gradient of B; each layer after the first adds
    one product with S, one with its transpose, and the gradient of S.
    """
    if network == "lista":
        seconds = product_seconds(M, N, batch, 1)
        if depth > 1:
            seconds += (depth - 1) * product_seconds(N, N, batch, 1)
        return matrix_flops(network, M, N, depth, batch) / seconds / 1e9
    return 5 * 2 * M * N * batch / product_seconds(M, N, batch, 2) / 1e9


def product_seconds(M: int, N: int, batch: int, pairs: int) -> float:
    """Seconds for the 2 · `pairs` + 1 products of `product_loop`.

    A compiled loop computes each product from the previous one. Thus the time to start a program does not count; on a
    GPU a start takes longer than a product.
    """
    loop, B, v = product_loop(M, N, batch, pairs)
    return median_seconds(lambda: loop(B, v), 1.0) / REPEATS


@cache
def product_loop(M: int, N: int, batch: int, pairs: int) -> "tuple[Callable[[Array, Array], Array], Array, Array]":
    """A compiled function of B (N, M) and v (M, batch), with values for both.

    It computes REPEATS times `pairs` products with B, `pairs` with its transpose, and an outer product.
    """
    import jax

    def loop(B: "Array", v: "Array") -> "Array":
        def layer(_: int, near_B: "Array") -> "Array":
            right = left = v
            for _ in range(pairs):
                left = near_B @ right
                right = near_B.T @ left
            return B + 1e-3 * (left @ right.T)  # the norm stays near that of B

        with jax.default_matmul_precision("highest"):
            return jax.lax.fori_loop(0, REPEATS, layer, B)

    def matrix(number: int, rows: int, columns: int) -> "Array":
        """A random matrix with norm near 1."""
        return jax.random.normal(jax.random.key(number), (rows, columns)) / (rows**0.5 + columns**0.5)

    return jax.jit(loop), matrix(0, N, M), matrix(1, M, batch)


def curve_of(overrides: Sequence[str], depth: int, batch: int) -> "Curve":
    """The one curve that the overrides describe, with this depth and batch."""
    from onsager_cli.config.load import load_experiment

    asked = [*overrides, *FEW_SAMPLES, f"network.depth={depth}"]
    # An untied network has its own schedule and also depends on the schedule of the tied network.
    keys = [key for key in sorted(load_experiment(asked).effective) if key.endswith(".batch")]
    batches = [f"{key}={batch}" for key in keys or ["training.batch"]]
    (curve,) = load_experiment([*asked, *batches]).curves
    return curve


def step_timing(name: str, overrides: Sequence[str], depths: Sequence[int], batch: int, seconds: float) -> list[Timing]:
    """Time the compiled step of one network at several depths; all depths share one executable.

    Raises UserError for complex arrays.
    """
    import jax
    import numpy as np

    from onsager_cli.networks.base import RATES
    from onsager_cli.problems.base import with_singular_vectors
    from onsager_cli.run import problem_of
    from onsager_cli.training.engine import engine_of
    from onsager_cli.training.networks_on_disk import network_of

    chunk, curve = 5, curve_of(overrides, max(depths), batch)
    settings = curve.settings
    problem, net = with_singular_vectors(problem_of(curve)), network_of(settings)
    if jax.numpy.iscomplexobj(problem.A):
        raise UserError("problem.embedding: must be real, because bench counts real multiply-adds")
    engine = engine_of(net, settings, chunk)
    params = net.start(problem, max(depths))
    masks = jax.tree.map(jax.numpy.asarray, net.learnable(params, 0, max(depths) - 1, shared=True))
    rates = {name: np.full(chunk, 1e-6, np.float32) for name in RATES}
    key = jax.random.key(0)
    carry = [params, *engine.begin(problem, params)]
    M, N = problem.A.shape

    def run(depth: int) -> "Array":
        *carry[:], losses = engine.steps(problem, *carry, masks, depth, 0, key, 0, rates, 1.1, chunk)
        return losses

    start = time.perf_counter()
    jax.block_until_ready(run(1))
    compile_s = time.perf_counter() - start
    rows = []
    for depth in depths:
        rate = gemm_gflops(name, M, N, depth, engine.batch)
        step = median_seconds(lambda depth=depth: run(depth), seconds) / chunk
        fraction = matrix_flops(name, M, N, depth, engine.batch) / (rate * 1e9) / step
        rows.append(Timing(name, depth, engine.batch, 1e3 * step, rate, fraction, compile_s))
    return rows


def samples_per_second(batch: int, seconds: float, overrides: Sequence[str] = ()) -> float:
    """New training samples per second, drawn in a compiled loop as in training."""
    import jax
    import jax.numpy as jnp

    from onsager_cli.config.load import load_experiment
    from onsager_cli.run import problem_of

    problem = problem_of(load_experiment([*FEW_SAMPLES, *overrides]).curves[0])

    @jax.jit
    def draw(problem, key):
        def body(total, number):
            x, y = problem.sample(jax.random.fold_in(key, number), batch)
            return total + jnp.sum(x) + jnp.sum(y), None

        return jax.lax.scan(body, jnp.float32(0), jnp.arange(10))[0]

    return 10 * batch / median_seconds(lambda: draw(problem, jax.random.key(0)), seconds)


def quality(name: str, seed: int, overrides: Sequence[str] = ()) -> list[Row]:
    """Train six layers in a new folder and compare each layer with its published NMSE; one row per layer.

    The schedule is `training=fast`, unless `overrides` choose another.
    """
    import tempfile

    from onsager_cli import run
    from onsager_cli.config.load import load_experiment

    with tempfile.TemporaryDirectory() as folder:
        own = ["network.depth=6", "problem.instance=authors2017", f"seed={seed}", f"output={folder}"]
        experiment = load_experiment([*NETWORKS[name], *overrides, *own])
        run.train(experiment, lambda _: None)
        points = run.rows_of(experiment)
    return [
        {
            "network": name, "layer": row["layer"], "nmse_db": row["nmse_db"], "published_db": level,
            "reached": row["nmse_db"] <= level, "steps": row["steps"], "seconds": row["seconds"],
        }
        for row, level in zip(points, PUBLISHED[name], strict=True)
    ]  # fmt: skip


def add_options(parser: Parser) -> None:
    """Add the options of `onsager bench`."""
    parser.usage = f"{parser.prog} [options]"

    def add(option: str, text: str, **settings: Any) -> None:
        parser.add_argument(option, help=text, **settings)

    names = one_of(NETWORKS)
    add("--network", f"networks to measure, of {names} (default: all)", nargs="+", choices=NETWORKS, metavar="NAME")
    add("--depth", "layers (default 2 5 10 20)", nargs="+", type=_number("--depth", int, 1, 10_000), metavar="N")
    add("--batch", "samples per step (default 1000)", nargs="+", type=_number("--batch", int, 1, 10**7), metavar="N")
    add("--seconds", "seconds per measurement (default 5)", type=_number("--seconds", float, 1e-3, 3600), metavar="S")
    add("--override", "such as problem.N=2000, training=thorough", nargs="+", metavar="KEY=VALUE")
    parser.add_argument("--quality", action="store_true", help="train six layers; compare with the published NMSE")
    add(
        "--seed",
        "seed of the training of --quality (default 0)",
        type=_number("--seed", int, 0, 2**32 - 1),
        metavar="N",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with versions and machine")


def _number(option: str, kind: type[N], low: float, high: float) -> Callable[[str], N]:
    """A reader of the option's value. It raises UserError for what is no number from `low` to `high`."""

    def read(text: str) -> N:
        with contextlib.suppress(ValueError):
            if low <= (value := kind(text)) <= high:
                return value
        words = "a whole number" if kind is int else "a number"
        raise UserError(f"bench: {option} must be {words} from {low:.10g} to {high:.10g}, got {show(text)}")

    return read


def set_defaults(options: Namespace) -> None:
    """Fill in the options that were not given. Raises UserError for options without effect and wrong values."""
    other, use = (TIMING, "has no effect with") if options.quality else (QUALITY, "has an effect only with")
    for name in other:
        if getattr(options, name) is not None:
            raise UserError(f"bench: --{name} {use} --quality")
    networks = PUBLISHED if options.quality else NETWORKS
    defaults = {"network": list(networks), "override": [], **TIMING, **QUALITY}
    vars(options).update({name: value for name, value in defaults.items() if getattr(options, name) is None})
    if unknown := [name for name in options.network if name not in networks]:
        raise UserError(f"bench: --quality needs published numbers (--network {one_of(PUBLISHED)}), got {unknown[0]}")
    if options.quality and (others := [word for word in options.override if not word.startswith("training")]):
        raise UserError(f"bench: --override {others[0]}: with --quality, only keys of the training may change")


def main(options: Namespace) -> int:
    """Measure, then print a table, or JSON with versions."""
    set_defaults(options)

    from onsager_cli.store.environment import environment

    report = measured(options)
    if options.json:
        print(json.dumps({**report, **environment()}, indent=2))
    elif options.quality:
        print(table(report["quality"]))
    else:
        print(table(report["steps"]))
        print(
            f"\ntraining data: {report['samples_per_second']:,.0f} samples per second, "
            f"{report['data_ms_per_step']:.2g} ms of a step with a batch of {max(options.batch)}"
        )
    return 0


def measured(options: Namespace) -> Row:
    """The measurements that the options ask for, as plain JSON."""
    if options.quality:
        rows = [row for name in options.network for row in quality(name, options.seed, options.override)]
        return {"quality": rows}
    rows = [
        asdict(row)
        for name in options.network
        for batch in options.batch
        for row in step_timing(name, [*NETWORKS[name], *options.override], options.depth, batch, options.seconds)
    ]
    largest = max(options.batch)
    rate = samples_per_second(largest, options.seconds, options.override)
    return {"steps": rows, "samples_per_second": rate, "data_ms_per_step": 1e3 * largest / rate}


def table(rows: Sequence[Row]) -> str:
    """Aligned columns for people."""

    def show(value: object) -> str:
        return f"{value:{'.3g' if abs(value) < 10 else '.1f'}}" if isinstance(value, float) else str(value)

    cells = [list(rows[0]), *(list(map(show, row.values())) for row in rows)]
    return columns(cells, right=range(len(rows[0])), width=terminal_width())
