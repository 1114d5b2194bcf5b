"""The networks of a curve as its folder keeps them: plain arrays with dotted names, a file for each depth."""

from collections.abc import Collection, Mapping
from typing import NoReturn

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from onsager_cli.errors import UserError
from onsager_cli.kinds.settings import Settings
from onsager_cli.networks import build as build_network
from onsager_cli.networks.base import Network, Parameters
from onsager_cli.problems.base import Frame, Problem, Samples
from onsager_cli.store import models
from onsager_cli.store.arrays import check_shapes
from onsager_cli.store.curves import CurveFolder

THETA = ".theta"  # how the parameters of the shrinkage of a layer end
NETWORK = "network"  # the file of the deepest one, with the matrix


def depth_name(depth: int) -> str:
    """Name of the file that holds the trained network of this depth."""
    return f"depth_{depth:02d}"


def network_of(settings: Settings, stored: Collection[str] = ()) -> Network:
    """The network that the settings describe. If θ is among the `stored` parameters, its signal is not read from a file."""
    starts = not any(name.endswith(THETA) for name in stored)
    return build_network(settings.network, settings.shrinkage, settings.problem, settings.seed, starts)


def stored_network(settings: Settings, folder: CurveFolder, depth: int) -> tuple[Network, Parameters]:
    """The trained network of `depth` layers. Raises UserError if the folder does not have it whole."""
    loaded = folder.load(depth_name(depth))
    if loaded is None:
        raise UserError(
            f"{folder.path}: the network of depth {depth} is damaged or missing: onsager clean removes damaged files, and "
            "onsager train trains it again"
        )
    net = network_of(settings, loaded[0])
    return net, unflatten(net, loaded[0])


def begun(net: Network, params: Parameters, word: str) -> tuple[Parameters, int]:
    """`params` with the layers of the network that `network.start` names, and how many it has.

    Raises UserError for a network with other leaves or shapes.
    """
    found = models.find(word, models.places())
    layers = min(found.depth, net.depth_of(params))
    expected = {name: array.shape for name, array in flatten(net, params, layers).items()}
    given = {name: array for name, array in found.parameters.items() if name in expected or not _is_later(name, layers)}
    check_shapes(given, expected, f"network.start={word}")
    return net.fill(params, unflatten(net, given)), layers


def _is_later(name: str, layers: int) -> bool:
    """Whether a dotted name is of a layer beyond so many."""
    first, _, rest = name.partition(".")
    return first == "layers" and int(rest.partition(".")[0]) >= layers


def save_deepest(folder: CurveFolder, problem: Problem, slug: str) -> None:
    """Writes network.npz: the deepest network that the folder has whole, with the matrix, (M, N), and the frame."""
    depths = sorted(int(name.removeprefix("depth_")) for name in folder.saved() if name.startswith("depth_"))
    for depth in reversed(depths):
        if (loaded := folder.load(depth_name(depth))) is not None:
            save_network(folder, loaded[0], problem, depth, slug)
            return


def problem_arrays(problem: Problem) -> dict[str, np.ndarray]:
    """A (M, N), the frame and the power of y of a problem, by the names that files have for them."""
    about = {"problem.A": np.asarray(problem.A), models.Y_POWER: _mean_power((problem.original or problem).selection.y)}
    if (frame := problem.frame) is not None:
        about |= {"problem.rows": np.asarray(frame.rows), "problem.unit": np.asarray(frame.unit)}
        about |= {} if frame.columns is None else {"problem.columns": np.asarray(frame.columns)}
    return about


def _mean_power(y: ArrayLike) -> np.ndarray:
    """The mean of |y_m|², in single precision."""
    return np.array(np.mean(np.abs(np.asarray(y)).astype(np.float64) ** 2), np.float32)


def save_network(
    folder: CurveFolder, arrays: Mapping[str, np.ndarray], problem: Problem, depth: int, slug: str
) -> None:
    """Writes network.npz of a network of `depth` layers, with the problem's A (M, N) and the frame in which it is seen."""
    folder.save(NETWORK, {**arrays, **problem_arrays(problem)}, {"depth": depth, "curve": slug})


def seen_problem(arrays: Mapping[str, np.ndarray]) -> Problem | None:
    """The problem as a stored network sees it: A (M, N) and the frame alone, without samples; None if A is not stored."""
    if "problem.A" not in arrays:
        return None
    A = jnp.asarray(arrays["problem.A"])
    frame = None
    if "problem.rows" in arrays:
        columns = arrays.get("problem.columns")
        frame = Frame(
            jnp.asarray(arrays["problem.rows"]),
            None if columns is None else jnp.asarray(columns),
            jnp.asarray(arrays["problem.unit"]),
        )
    none = Samples(jnp.zeros((A.shape[1], 0), A.dtype), jnp.zeros((A.shape[0], 0), A.dtype))
    return Problem(A, jnp.zeros((), A.real.dtype), none, none, _no_draw, frame=frame)


def _no_draw(problem: Problem, key: object, batch: int) -> NoReturn:
    raise NotImplementedError("the problem of a stored network cannot draw samples")


def flatten(net: Network, params: Parameters, depth: int) -> dict[str, np.ndarray]:
    """Parameters as they are stored: `B`, `layers.3.theta`, ... of the first `depth` layers."""
    arrays = {}
    for name, leaf in params.items():
        if name in net.layered:
            arrays |= {f"layers.{t}.{name}": np.asarray(row) for t, row in enumerate(np.asarray(leaf)[:depth])}
        else:
            arrays[name] = np.asarray(leaf)
    return arrays


def unflatten(net: Network, arrays: Mapping[str, np.ndarray]) -> Parameters:
    """The inverse of `flatten`: leaves stacked over as many layers as there are."""
    params: Parameters = {name: jnp.asarray(a) for name, a in arrays.items() if "." not in name}
    for name in net.layered:
        rows = []
        while f"layers.{len(rows)}.{name}" in arrays:
            rows.append(arrays[f"layers.{len(rows)}.{name}"])
        params[name] = jnp.asarray(np.stack(rows))
    return params
