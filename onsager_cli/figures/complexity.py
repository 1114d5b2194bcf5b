"""Table I: parameters and multiply-adds per input, counted from the built networks, beside the paper's formulas.

| network         | multiply-adds | parameters | form           |
|-----------------|---------------|------------|----------------|
| LISTA untied    | T N²          | T N²       |                |
| LISTA tied      | T N²          | N²         |                |
| LAMP untied     | 2 T N M       | T M N      |                |
| LAMP tied       | 2 T N M       | M N        |                |
| LVAMP           | 2 T N M       | T |θ|      | svd: learns σ_w² and θ_t alone |
| LVAMP           | T N²          | T N²       | gh             |

The formulas are for M ≪ N and |θ| ≪ M². Multiply-adds are those of the matrix products in the program that maps one
y to x̂, traced and freed of what its result does not need; elementwise work and sums are not counted, and a product with
a row of ones (`fields.total`) is a sum.
"""

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from onsager_cli.config.experiment import Experiment
from onsager_cli.figures.kinds import ProblemOf, Rows, Tables
from onsager_cli.kinds.records import FigureKind
from onsager_cli.text import markdown_table, render

if TYPE_CHECKING:
    from onsager_cli.networks.base import Network, Parameters
    from onsager_cli.problems import Problem

KIND = FigureKind(
    "complexity",
    trains=False,
    draws=False,
    refuses=lambda settings: (
        f"has no formula for network.kind={settings.network.kind}" if settings.network.record.formula is None else None
    ),
)


def tables(experiment: Experiment, rows: Rows, problem_of: ProblemOf) -> Tables:
    """`table1`: one row per curve of the experiment; nothing is trained."""
    from onsager_cli.training.networks_on_disk import network_of

    del rows
    found = []
    for curve in experiment.curves:
        settings, network, T = curve.settings, curve.settings.network, curve.settings.depth
        problem, net, record = problem_of(curve), network_of(settings), network.record
        M, N = problem.A.shape
        params = net.start(problem, T)
        assert record.formula is not None  # the kind refuses others
        products, parameters = record.formula(network, settings.shrinkage.parameters, T, M, N)
        found.append({
            "curve": curve.slug, "network": record.family or network.kind, "form": record.form, "tied": network.tied,
            "N": N, "M": M, "layers": T, "parameters": net.count(params, T), "parameters_formula": parameters,
            "multiply_adds": multiply_adds(net, problem, params, T), "multiply_adds_formula": products,
        })  # fmt: skip
    return {"table1": found}


def multiply_adds(net: "Network", problem: "Problem", params: "Parameters", depth: int) -> int:
    """Count those of the matrix products between one y (M, 1) and x̂, in real numbers."""
    import jax

    from onsager_cli.networks.layers import trace

    def estimate(params, y):
        _, inputs = trace(net, problem, params, y, depth)[-1]
        return net.shrink(net.layer(params, depth - 1), inputs).x_hat

    y = jax.ShapeDtypeStruct((problem.A.shape[0], 1), problem.A.dtype)
    program = jax.make_jaxpr(estimate)(params, y).jaxpr
    return _count(program, [True], [False] * len(program.invars))


def _count(jaxpr: Any, wanted: Sequence[bool], uniform: Sequence[bool]) -> int:
    """Multiply-adds of the `dot_general`s that the wanted outputs need; `uniform` inputs are one number throughout."""
    same = {id(v) for v, is_uniform in zip(jaxpr.invars, uniform, strict=True) if is_uniform}
    for equation in jaxpr.eqns:
        if equation.primitive.name == "broadcast_in_dim" and hasattr(equation.invars[0], "val"):  # of a literal
            same.add(id(equation.outvars[0]))
    needed = {id(v) for v, want in zip(jaxpr.outvars, wanted, strict=True) if want}
    total = 0
    for equation in reversed(jaxpr.eqns):
        outputs = [id(v) in needed for v in equation.outvars]
        if not any(outputs):
            continue
        needed |= {id(v) for v in equation.invars}
        inner = equation.params.get("jaxpr")
        if equation.primitive.name == "dot_general" and id(equation.invars[0]) not in same:
            left = equation.invars[0].aval.shape
            contracted = equation.params["dimension_numbers"][0][0]
            each = 4 if equation.outvars[0].aval.dtype.kind == "c" else 1  # a complex one is four real ones
            total += each * prod(equation.outvars[0].aval.shape) * prod(left[axis] for axis in contracted)
        elif inner is not None:  # a function of its own, such as jnp.clip
            total += _count(getattr(inner, "jaxpr", inner), outputs, [id(v) in same for v in equation.invars])
    return total


def page(tables: Tables) -> str:
    """The counts with their ratios to the formulas."""
    body = []
    for row in tables["table1"]:
        cells = [f"`{row['curve']}`", row["form"], *(str(row[name]) for name in ("N", "M", "layers"))]
        for name in ("multiply_adds", "parameters"):
            cells += [f"{row[name]:,}", f"{row[name] / row[f'{name}_formula']:.3f}"]
        body.append(cells)
    header = ["network", "form", "N", "M", "T", "multiply-adds", "/ formula", "parameters", "/ formula"]
    return render("complexity.md.j2", table=markdown_table(header, body))
