"""`onsager bench`: what a training step costs on this machine, beside what its matrix products alone cost.

    roofline fraction = matrix FLOPs of the step / (rate of this machine's matrix products × time of the step)

The rate is measured in the same run, on the shapes of the network's own products, each as often as in the step: for
LAMP N x M and M x N, for LISTA mostly N x N. A step draws a fresh batch, runs forward and backward through all layers
with every variable learning, and updates with the optimizer of `training=fast`.
"""

import json
import statistics
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from onsager_cli.cli.options import Parser
from onsager_cli.errors import UserError
from onsager_cli.record import published
from onsager_cli.text import one_of

NETWORKS = {
    "lamp-bg": ["network=lamp", "shrinkage=bg"],
    "lamp-soft": ["network=lamp", "shrinkage=soft"],
    "lista": ["network=lista"],
}
# NMSE (dB) of the published code on the 2017 i.i.d. instance, layers 1 to 6.
PUBLISHED = {"lista": published.LISTA.values, "lamp-bg": published.LAMP.values}
# Options of the timing and that of --quality, with what is meant where they are not given.
TIMING = {"depth": [2, 5, 10, 20], "batch": [1000], "seconds": 5.0}
QUALITY = {"seed": 0}

REPEATS = 20  # of the products of one layer in one program


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
    """Matrix-product FLOPs (2 per multiply-add) of one step, data generation included; A has no gradient."""
    rectangle, square = 2 * M * N * batch, 2 * N * N * batch
    if network == "lista":
        return 3 * rectangle + 3 * (depth - 1) * square
    return rectangle * (1 + (2 * depth - 1) + (3 * depth - 2))


def median_seconds(run: Callable[[], Any], seconds: float, least: int = 3) -> float:
    """Median time of `run`, called for `seconds` and at least `least` times after one call that is not counted."""
    import jax

    jax.block_until_ready(run())
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < least:
        start = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def gemm_gflops(network: str, M: int, N: int, depth: int, batch: int) -> float:
    """Rate of this machine's float32 matrix products, of the shapes of a network's own and each as often.

    A layer of LAMP has two products with matrices of B's shape, both transposed on the way back, and the gradient of B.
    LISTA has one with B, one with A (of the data) and the gradient of B; each layer after the first, one with S, one
    with its transpose, and the gradient of S.
    """
    if network == "lista":
        seconds = product_seconds(M, N, batch, 1)
        if depth > 1:
            seconds += (depth - 1) * product_seconds(N, N, batch, 1)
        return matrix_flops(network, M, N, depth, batch) / seconds / 1e9
    return 5 * 2 * M * N * batch / product_seconds(M, N, batch, 2) / 1e9


def product_seconds(M: int, N: int, batch: int, pairs: int) -> float:
    """Seconds that the 2 · `pairs` + 1 products of `product_loop` take once.

    Each product is made of the last one, in a compiled loop, so that what it takes to start a program does not count:
    on a GPU that is longer than the product.
    """
    loop, B, v = product_loop(M, N, batch, pairs)
    return median_seconds(lambda: loop(B, v), 1.0) / REPEATS


@cache
def product_loop(M: int, N: int, batch: int, pairs: int) -> tuple[Callable[..., Any], Any, Any]:
    """A compiled function of B (N, M) and v (M, batch), and its arguments.

    REPEATS times, one after the other: `pairs` products with B and as many with its transpose, and an outer product.
    """
    import jax

    def loop(B: Any, v: Any) -> Any:
        def layer(_: int, near_B: Any) -> Any:
            right = v
            for _ in range(pairs):
                left = near_B @ right
                right = near_B.T @ left
            return B + 1e-3 * (left @ right.T)  # as large as before, whatever the rounding

        with jax.default_matmul_precision("highest"):
            return jax.lax.fori_loop(0, REPEATS, layer, B)

    def matrix(number: int, rows: int, columns: int) -> Any:
        """Of norm near 1."""
        return jax.random.normal(jax.random.key(number), (rows, columns)) / (rows**0.5 + columns**0.5)

    return jax.jit(loop), matrix(0, N, M), matrix(1, M, batch)


def step_timing(
    name: str, overrides: Sequence[str], depths: Sequence[int], batch: int, seconds: float
) -> list[Timing]:
    """Times the compiled step of one network at several depths: one executable serves them all.

    Raises UserError for complex arrays.
    """
    import jax
    import numpy as np

    from onsager_cli.config.load import load_experiment
    from onsager_cli.networks.base import RATES
    from onsager_cli.problems import build
    from onsager_cli.problems.base import with_singular_vectors
    from onsager_cli.training.curve import engine_of
    from onsager_cli.training.networks_on_disk import network_of

    chunk = 5
    asked = [
        *overrides, f"network.depth={max(depths)}", "problem.selection_samples=1", "problem.test_samples=1",
    ]  # fmt: skip
    # An untied network has a schedule of its own, and depends on that of the tied one.
    batches = [key for key in sorted(load_experiment(asked).effective) if key.endswith(".batch")]
    (curve,) = load_experiment([
        *asked, *(f"{key}={batch}" for key in batches or ["training.batch"])
    ]).curves  # fmt: skip
    settings = curve.settings
    problem, net = with_singular_vectors(build(settings.problem, settings.seed)), network_of(settings)
    if jax.numpy.iscomplexobj(problem.A):
        raise UserError("problem.embedding: bench counts real multiply-adds, it must be real here")
    engine = engine_of(settings, net, chunk)
    params = net.start(problem, max(depths))
    masks = jax.tree.map(jax.numpy.asarray, net.learnable(params, 0, max(depths) - 1, shared=True))
    rates = {name: np.full(chunk, 1e-6, np.float32) for name in RATES}
    key = jax.random.key(0)
    carry = [params, *engine.begin(problem, params)]
    M, N = problem.A.shape

    def run(depth: int) -> Any:
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
    """Fresh training samples per second, drawn in a compiled loop as training draws them."""
    import jax
    import jax.numpy as jnp

    from onsager_cli.config.load import load_experiment
    from onsager_cli.problems import build

    settings = (
        load_experiment(["problem.selection_samples=1", "problem.test_samples=1", *overrides])
        .curves[0]
        .settings
    )
    problem = build(settings.problem, settings.seed)

    @jax.jit
    def draw(problem, key):
        def body(total, number):
            x, y = problem.sample(jax.random.fold_in(key, number), batch)
            return total + jnp.sum(x) + jnp.sum(y), None

        return jax.lax.scan(body, jnp.float32(0), jnp.arange(10))[0]

    return 10 * batch / median_seconds(lambda: draw(problem, jax.random.key(0)), seconds)


def quality(name: str, seed: int, overrides: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Steps and seconds from nothing to the published NMSE at layers 1 to 6, in a fresh folder.

    By `training=fast`, unless `overrides` say otherwise.
    """
    import tempfile

    from onsager_cli import run
    from onsager_cli.config.load import load_experiment

    with tempfile.TemporaryDirectory() as folder:
        experiment = load_experiment([
            *NETWORKS[name], *overrides, "network.depth=6", "problem.instance=authors2017", f"seed={seed}",
            f"output={folder}",
        ])  # fmt: skip
        run.train(experiment, lambda _: None)
        points = run.rows_of(experiment)
    return [
        {
            "network": name, "layer": row["layer"], "nmse_db": row["nmse_db"], "published_db": level,
            "reached": row["nmse_db"] <= level, "steps": row["steps"], "seconds": row["seconds"],
        }
        for row, level in zip(points, PUBLISHED[name], strict=True)
    ]  # fmt: skip


def parser() -> Parser:
    """The options of `onsager bench`."""
    made = Parser("bench")
    made.add_argument("--network", nargs="+", choices=NETWORKS, help="which networks (default: all)")
    made.add_argument("--depth", nargs="+", type=int, help="layers (default 2 5 10 20)")
    made.add_argument("--batch", nargs="+", type=int, help="samples per step (default 1000)")
    made.add_argument("--seconds", type=float, help="per measurement (default 5)")
    made.add_argument(
        "--override",
        nargs="+",
        metavar="KEY=VALUE",
        help="config, such as problem.N=2000; with --quality, training=thorough",
    )
    made.add_argument(
        "--quality",
        action="store_true",
        help="instead train lista and lamp-bg, six layers, and compare with the published NMSE",
    )
    made.add_argument("--seed", type=int, help="of the training of --quality (default 0)")
    made.add_argument("--json", action="store_true", help="JSON, with versions and machine")
    return made


def options_of(argv: Sequence[str]) -> Namespace:
    """The options with what is meant where one is not given. Raises UserError, also for one without effect."""
    made = parser()
    options = made.parse_args(list(argv))
    other, use = (TIMING, "does not count with") if options.quality else (QUALITY, "counts only with")
    for name in other:
        if getattr(options, name) is not None:
            made.error(f"--{name} {use} --quality")
    networks = PUBLISHED if options.quality else NETWORKS
    for name, default in {"network": list(networks), "override": [], **TIMING, **QUALITY}.items():
        if getattr(options, name) is None:
            setattr(options, name, default)
    if unknown := [name for name in options.network if name not in networks]:
        made.error(
            f"--quality compares with published numbers, and there are some of {one_of(PUBLISHED)}, got {unknown[0]}"
        )
    if options.quality and (others := [o for o in options.override if not o.startswith("training")]):
        made.error(
            f"--override {others[0]}: with --quality only the training may differ: training=thorough, training.lamp.steps=[400]"
        )
    if min(options.depth + options.batch) < 1:
        made.error("--depth and --batch must be at least 1")
    return options


def main(argv: Sequence[str]) -> int:
    """`onsager bench [--quality] …`; prints a table, or JSON with versions."""
    options = options_of(argv)

    from onsager_cli.store.environment import environment

    largest = max(options.batch)
    if options.quality:
        rows = [row for name in options.network for row in quality(name, options.seed, options.override)]
        report: dict[str, Any] = {"quality": rows}
    else:
        rows = [
            asdict(row)
            for name in options.network
            for batch in options.batch
            for row in step_timing(
                name, [*NETWORKS[name], *options.override], options.depth, batch, options.seconds
            )
        ]
        rate = samples_per_second(largest, options.seconds, options.override)
        report = {"steps": rows, "samples_per_second": rate, "data_ms_per_step": 1e3 * largest / rate}
    if options.json:
        print(json.dumps({**report, **environment()}, indent=2))
        return 0
    print(table(rows))
    if not options.quality:
        print(
            f"\ntraining data: {report['samples_per_second']:,.0f} samples per second, "
            f"{report['data_ms_per_step']:.2g} ms of a step with a batch of {largest}"
        )
    return 0


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Aligned columns for people."""

    def show(value: Any) -> str:
        return (
            f"{value:.3g}"
            if isinstance(value, float) and abs(value) < 10
            else f"{value:.1f}"
            if isinstance(value, float)
            else str(value)
        )

    cells = [list(rows[0])] + [[show(value) for value in row.values()] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in cells
    )
