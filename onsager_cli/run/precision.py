"""Judge what is stored of a curve more precisely: the test set resampled, and fresh samples beside it.

Training, selection and test samples stay what they are. Fresh samples come from a key of their own, the same for all
curves on a problem. The store keeps the result with the curve (`precision.npz`).
"""

from collections.abc import Callable, Iterator
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from onsager_cli.config.experiment import Curve
from onsager_cli.store.curves import Json
from onsager_cli.store.environment import one_blas_thread
from onsager_cli.store.notes import checksum
from onsager_cli.theory.resampling import Resampled

if TYPE_CHECKING:
    from onsager_cli.problems import Problem

NAME = "precision"
EDITION = 2  # raise it with every change to what is found
FRESH_KEY = 9  # beside those of matrix, selection and test set
DEEPEST = 50  # layers, up to which fresh samples are drawn
SETS = ("test", "fresh")

Evaluate = Callable[["Problem"], tuple[np.ndarray, np.ndarray]]
"""A problem → ‖x̂_t - x‖² of every sample of its test set after every layer, (layers, L), and ‖x‖², (L,)."""


def precise(curve: Curve, fresh: int, problem_of: "Callable[[], Problem]") -> int | None:
    """Judge all stored layers of a curve on `fresh` samples beside the test set, unless that is stored already.

    `problem_of` builds the problem as the network sees it. Returns the number of fresh samples that were drawn, or None if
    nothing was to do. Raises UserError for a stored network that is damaged.
    """
    points = curve.folder.points()
    layers = [row["layer"] for row in points]
    meta: Json = {"edition": EDITION, "asked": fresh, "points": checksum(points)}
    known = _stored(curve)
    if not layers or (known is not None and known[1]["points"] == meta["points"] and known[1]["asked"] >= fresh):
        return None
    arrays: dict[str, np.ndarray] = {}
    with one_blas_thread():
        problem = problem_of()
        errors_of = _errors(curve, problem, layers)
        # A test set that has grown is not the problem's.
        whole = all(row["test_samples"] == problem.test.x.shape[1] for row in points)
        sets = {"test": iter((problem,) if whole else ()), "fresh": _fresh(curve, problem, fresh, layers)}
        drawn = dict.fromkeys(sets, 0)
        for name, parts in sets.items():
            sums = Resampled(curve.settings.problem.together)
            for part in parts:
                sums.add(*errors_of(part))
                drawn[name] += part.test.x.shape[1]
            if sums.parts:
                arrays |= {f"{name}_{key}": value for key, value in sums.statistics().items()}
    meta |= {"layers": [layer or 0 for layer in layers], "fresh": drawn["fresh"]}
    curve.folder.save(NAME, arrays, meta)
    return drawn["fresh"]


def _stored(curve: Curve) -> tuple[dict[str, np.ndarray], Json] | None:
    """What `precise` has stored, if it is of this edition."""
    loaded = curve.folder.load(NAME) if NAME in curve.folder.saved() else None
    return None if loaded is None or loaded[1].get("edition") != EDITION else loaded


def found(curve: Curve) -> dict[int | None, Json]:
    """Layer → what `precise` found there: `fresh_samples` and "test_nmse_db_replicates" and the like; {} if nothing."""
    if (loaded := _stored(curve)) is None:
        return {}
    arrays, meta = loaded
    return {
        layer or None: {"fresh_samples": meta["fresh"], **{name: array[i] for name, array in arrays.items()}}
        for i, layer in enumerate(meta["layers"])
    }


def _fresh(curve: Curve, problem: "Problem", count: int, layers: list[int | None]) -> "Iterator[Problem]":
    """The problem with other test sets of about its size, at least `count` samples; none of more than DEEPEST layers.

    Recorded pairs, and signals from a file, have none that training has not seen.
    """
    signal = curve.settings.problem.signal
    counted = signal is not None and signal.record.counted
    if not count or counted or problem.training_set(1) is not None or (layers[-1] or 1) > DEEPEST:
        return
    together, size = curve.settings.problem.together, problem.test.x.shape[1]
    import jax

    draw = jax.jit(lambda problem, key, size: problem.with_fresh_test(key, size), static_argnums=2)
    size = max(together, size - size % together)
    key = jax.random.fold_in(jax.random.key(curve.settings.seed), FRESH_KEY)
    for part in range(-(-count // size)):
        yield draw(problem, jax.random.fold_in(key, part), size)


def _errors(curve: Curve, problem: "Problem", layers: list[int | None]) -> Evaluate:
    """The errors of the stored layers of a curve, whatever it is, on the test set of a problem."""
    from onsager_cli.theory import iterate
    from onsager_cli.training.curve import algorithm_of, errors_of_bound, how_to_iterate

    settings = curve.settings
    if settings.network.record.bound:
        return lambda part: errors_of_bound(settings.network.record, part)(part.test)
    if settings.training.trains:
        return _of_networks(curve, problem, layers)
    net, how = algorithm_of(settings, curve.folder), how_to_iterate(settings)
    positions = [(layer or 1) - 1 for layer in layers]

    def of_algorithm(part: "Problem") -> tuple[np.ndarray, np.ndarray]:
        errors, powers = iterate.run(net, part, positions[-1] + 1, settings.precision, **how)
        if missing := max(0, positions[-1] + 1 - len(errors)):  # it has settled on these samples, or overflows
            last = errors[-1:] if len(errors) > iterate.CHUNK else np.full((1, errors.shape[1]), np.nan)
            errors = np.concatenate([errors, np.repeat(last, missing, axis=0)])
        return errors[positions], powers

    return of_algorithm


def _of_networks(curve: Curve, problem: "Problem", layers: list[int | None]) -> Evaluate:
    """The errors of a trained curve: at each layer those of the network of that depth. One compiled program serves all."""
    from onsager_cli.training.engine import engine_of
    from onsager_cli.training.loop import rounded_up
    from onsager_cli.training.networks_on_disk import network_of, stored_network

    settings = curve.settings
    net = network_of(settings)
    engine = engine_of(net, settings, 1)
    depths = [layer or settings.depth for layer in layers]
    whole = net.start(problem, depths[-1] if net.tied else rounded_up(depths[-1]))
    networks = [net.fill(whole, stored_network(settings, curve.folder, depth)[1]) for depth in depths]

    def of_networks(part: "Problem") -> tuple[np.ndarray, np.ndarray]:
        found = [
            engine.errors(problem, params, *part.test, depth) for depth, params in zip(depths, networks, strict=True)
        ]
        errors = np.stack([np.asarray(of_depth)[depth - 1] for depth, (of_depth, _) in zip(depths, found, strict=True)])
        return errors, np.asarray(found[0][1])

    return of_networks


def columns(curve: Curve) -> dict[int | None, Json]:
    """Layer → the columns of the table that say what fresh samples gave; {} if there are none."""
    rows = {}
    for layer, item in found(curve).items():
        if item["fresh_samples"] and np.isfinite(item["fresh_nmse_db"]):
            rows[layer] = {
                "fresh_nmse_db": float(item["fresh_nmse_db"]), "fresh_nmse_db_se": float(item["fresh_nmse_db_se"]),
                "fresh_samples": int(item["fresh_samples"]),
            }  # fmt: skip
    return rows


def replicates(curve: Curve) -> Iterator[Json]:
    """Rows of the table `replicates`: replicates of an NMSE minus the NMSE itself, in thousandths of a dB."""
    settings, depth = curve.settings, curve.settings.network.depth or np.inf
    for (layer, item), name, metric in product(found(curve).items(), SETS, ("nmse_db", "nmse_mean_ratio_db")):
        values = item.get(f"{name}_{metric}_replicates")
        if (layer or 0) <= depth and values is not None and np.isfinite(values).all():
            yield {
                    "curve": curve.slug, "instance": settings.problem.instance, "seed": settings.seed, "layer": layer,
                    "set": name, "metric": metric, **{f"r{i}": round(1000 * float(v)) for i, v in enumerate(values)},
                }  # fmt: skip
