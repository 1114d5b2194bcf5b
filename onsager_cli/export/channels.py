"""A JAX function without complex numbers, loops of functions and derivatives: for runtimes that have none of these.

A complex array becomes two real ones, its real and its imaginary part. Every operation of the traced function is
evaluated by a rule on such pairs; real operations stay as they are.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend import core

LINEAR = (
    "neg", "transpose", "reshape", "broadcast_in_dim", "squeeze", "slice", "dynamic_slice", "concatenate", "reduce_sum",
    "copy", "copy_p", "gather", "rev", "expand_dims", "stack", "take", "moveaxis", "add", "sub", "add_any",
)  # fmt: skip
LOOPS = ("scan", "while", "cond")
# jax2onnx has operations of its own for functions of jax.numpy, "jax.numpy.multiply"; most have the names of JAX's.
SYNONYMS = {
    "multiply": "mul", "subtract": "sub", "divide": "div", "true_divide": "div", "matmul": "dot_general",
    "where": "select_n", "conjugate": "conj", "sum": "reduce_sum", "broadcast_to": "broadcast_in_dim",
}  # fmt: skip


class Pair(NamedTuple):
    """A complex array as its real and imaginary part."""

    re: Array
    im: Array


Value = Array | Pair


class UnknownOperationError(Exception):
    """An operation for which there is no rule; the message is its name."""


def real_function(function: Callable[[Array], Array], y: Array, is_complex: bool) -> Array:
    """`function` of y by real operations alone.

    If `is_complex`, y is (2, M, L): the real and the imaginary part of the measurements, and the result (2, N, L).
    Raises UnknownOperationError for an operation that has no rule.
    """
    given = Pair(y[0], y[1]) if is_complex else y
    like = jax.ShapeDtypeStruct(y.shape[1:] if is_complex else y.shape, jnp.complex64 if is_complex else y.dtype)
    traced = jax.make_jaxpr(function)(like)
    (result,) = _evaluate(traced.jaxpr, traced.consts, [given])
    return jnp.stack(tuple(map(jnp.asarray, result))) if isinstance(result, Pair) else result


def _evaluate(jaxpr: core.Jaxpr, constants: Sequence[Array], arguments: Sequence[Value]) -> list[Value]:
    known: dict[core.Var, Value] = {}

    def value(atom: core.Var | core.Literal) -> Value:
        return _split(atom.val) if isinstance(atom, core.Literal) else known[atom]

    known |= zip(jaxpr.constvars, map(_split, constants), strict=True)
    known |= zip(jaxpr.invars, arguments, strict=True)
    for equation in jaxpr.eqns:
        results = _apply(equation, [value(atom) for atom in equation.invars])
        known |= zip(equation.outvars, results, strict=True)
    return [value(atom) for atom in jaxpr.outvars]


def _split(constant: Array) -> Value:
    """A constant as it is, or as a pair."""
    if not np.iscomplexobj(constant):
        return constant
    array = np.asarray(constant)
    return Pair(jnp.asarray(np.real(array)), jnp.asarray(np.imag(array)))


def _apply(equation: core.JaxprEqn, values: Sequence[Value]) -> list[Value]:
    """The results of one operation."""
    name, parameters = equation.primitive.name, dict(equation.params)
    if name in LOOPS:
        raise UnknownOperationError(name)
    inner = parameters.get("call_jaxpr", parameters.get("jaxpr"))
    if inner is not None:
        return _evaluate(inner.jaxpr, inner.consts, values)
    if name in REWRITTEN:
        return [REWRITTEN[name](values, parameters)]
    if name == "complex":
        return [Pair(*map(jnp.asarray, values))]  # type: ignore[arg-type]
    if not any(isinstance(one, Pair) for one in values) and not _is_complex(equation.outvars[0]):
        results = equation.primitive.bind(*values, **parameters)
        return list(results) if equation.primitive.multiple_results else [results]
    plain = name.removeprefix("jax.numpy.")
    rule = RULES.get(SYNONYMS.get(plain, plain))
    if rule is None:
        raise UnknownOperationError(name)

    def bind(*parts: Array) -> Array:
        return equation.primitive.bind(*parts, **{**parameters, **_real_parameters(parameters)})

    return [rule(bind, values)]


def _padded(values: Sequence[Value], parameters: dict) -> Array:
    """Padding as concatenation: jax2onnx does not pad along an axis of any length."""
    array, filling = map(jnp.asarray, values)
    for axis, (low, high, interior) in enumerate(parameters["padding_config"]):
        if min(low, high) < 0 or interior:
            raise UnknownOperationError("pad")
        ends = [
            jnp.broadcast_to(filling, (*array.shape[:axis], size, *array.shape[axis + 1 :])) for size in (low, high)
        ]
        if low or high:
            array = jnp.concatenate([ends[0], array, ends[1]], axis)
    return array


def _is_complex(variable: core.Var) -> bool:
    return jnp.issubdtype(variable.aval.dtype, jnp.complexfloating)  # type: ignore[attr-defined]


def _real_parameters(parameters: dict) -> dict:
    """Parameters that name a complex type, with the real type of its parts."""
    return {
        key: np.dtype(np.zeros(0, value).real.dtype)
        for key, value in parameters.items()
        if key in ("new_dtype", "preferred_element_type") and value is not None
    }


def _pair(value: Value) -> Pair:
    return value if isinstance(value, Pair) else Pair(value, jnp.zeros_like(value))


def _linear(bind: Callable[..., Array], values: Sequence[Value]) -> Value:
    """The operation on real and imaginary parts alike; indices, which are integers, go to both."""
    pairs = [
        Pair(value, value) if not isinstance(value, Pair) and jnp.issubdtype(value.dtype, jnp.integer) else _pair(value)
        for value in values
    ]
    return Pair(bind(*(pair.re for pair in pairs)), bind(*(pair.im for pair in pairs)))


def _product(bind: Callable[..., Array], values: Sequence[Value]) -> Value:
    """A product that is linear in both factors."""
    a, b = values
    if not isinstance(a, Pair):
        return Pair(bind(a, _pair(b).re), bind(a, _pair(b).im))
    if not isinstance(b, Pair):
        return Pair(bind(a.re, b), bind(a.im, b))
    return Pair(bind(a.re, b.re) - bind(a.im, b.im), bind(a.re, b.im) + bind(a.im, b.re))


def _quotient(bind: Callable[..., Array], values: Sequence[Value]) -> Value:
    a, b = values
    if not isinstance(b, Pair):
        return Pair(bind(_pair(a).re, b), bind(_pair(a).im, b))
    (c, d), size = b, jnp.square(b.re) + jnp.square(b.im)
    a = _pair(a)
    return Pair((a.re * c + a.im * d) / size, (a.im * c - a.re * d) / size)


def _chosen(bind: Callable[..., Array], values: Sequence[Value]) -> Value:
    condition, *cases = values
    pairs = list(map(_pair, cases))
    return Pair(bind(condition, *(pair.re for pair in pairs)), bind(condition, *(pair.im for pair in pairs)))


def _real(_: Callable[..., Array], values: Sequence[Value]) -> Value:
    return _pair(values[0]).re


def _imaginary(_: Callable[..., Array], values: Sequence[Value]) -> Value:
    return _pair(values[0]).im


def _conjugate(_: Callable[..., Array], values: Sequence[Value]) -> Value:
    pair = _pair(values[0])
    return Pair(pair.re, -pair.im)


def _square(_: Callable[..., Array], values: Sequence[Value]) -> Value:
    return _product(jnp.multiply, (values[0], values[0]))


REWRITTEN: dict[str, Callable[[Sequence[Value], dict], Value]] = {"pad": _padded}
RULES: dict[str, Callable[[Callable[..., Array], Sequence[Value]], Value]] = {
    **dict.fromkeys(LINEAR, _linear),
    "mul": _product,
    "dot_general": _product,
    "div": _quotient,
    "select_n": _chosen,
    "real": _real,
    "imag": _imaginary,
    "conj": _conjugate,
    "convert_element_type": _linear,
    "square": _square,
}
