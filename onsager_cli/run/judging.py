"""Judge foreign solvers on the frozen test sets of an experiment, beside its curves."""

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from onsager_cli.config.experiment import Curve, Experiment
from onsager_cli.config.names import safe
from onsager_cli.errors import Notice, UserError
from onsager_cli.figures.kinds import kind_of
from onsager_cli.linalg import double
from onsager_cli.run.foreign import Solver
from onsager_cli.run.problem import in_users_units
from onsager_cli.store import judged
from onsager_cli.store.notes import identity_hash
from onsager_cli.store.tables import Row
from onsager_cli.text import one_of, show

if TYPE_CHECKING:
    from onsager_cli.problems import Samples

NAME = "the name of a solver (--name)"
NOT_OF_THE_TEST = ("balance", "selection_samples")  # keys of a problem that leave its test set as it is


def judge(experiment: Experiment, solver: Solver, name: str | None = None) -> list[list[Row]]:
    """Run a solver on the test sets of an experiment, and store the NMSEs with its figures.

    A solver that returns one estimate is a level of each figure, one that returns those of iterations a curve. Where the
    curves are on several matrices (`seeds`), so is the solver. It sees the samples that the curves are tested on: those of
    `problem.test`, and further ones where the test set grows (`training.growth`). The NMSE counts the reported
    coordinates.

    Returns the rows of each test set (`store.judged`). Nothing is stored if anything fails. Raises UserError for a name
    that a curve has, curves on several problems, a figure without layers, and a function that fails.
    """
    slug = safe(solver.name if name is None else name, NAME)
    asked = [(part, _test_curves(part, slug)) for part in experiment.parts]
    found: dict[str, list[Row]] = {}
    for curve in (curve for _, curves in asked for curve in curves):
        if (key := test_set(curve)) not in found:
            found[key] = _rows(slug, solver, curve)
    for part, curves in asked:
        judged.add(part.place, [row for curve in curves for row in found[test_set(curve)]])
    return list(found.values())


def test_set(curve: Curve) -> str:
    """A hash of everything that decides the test set of a curve, and what a solver is told of it."""
    problem: Mapping[str, object] = curve.identity["problem"]
    decides = {key: value for key, value in problem.items() if key not in NOT_OF_THE_TEST}
    return identity_hash({"problem": decides, "seed": curve.settings.seed})


def rows_of(experiment: Experiment) -> list[Row]:
    """The stored rows of the solvers that were judged on the test sets of an experiment (`store.judged`).

    A solver with the name of a curve is left out, with a Notice. Raises UserError for a damaged table.
    """
    if not judged.read(experiment.place):
        return []
    slugs = {curve.slug for curve in experiment.curves}
    rows = judged.read(experiment.place, {test_set(curve) for curve in experiment.curves})
    for twin in sorted(slugs & {row["curve"] for row in rows}):
        text = f"{experiment.name}: {twin} is the name of a curve and of a solver in {judged.FILE}: judge the solver with another --name"
        warnings.warn(text, Notice, stacklevel=2)
    return [row for row in rows if row["curve"] not in slugs]


def _test_curves(part: Experiment, slug: str) -> list[Curve]:
    """A curve for each test set of a figure. Raises UserError as `judge` does."""
    kind, slugs = kind_of(part), list(dict.fromkeys(curve.slug for curve in part.curves))
    if not (kind.trains and kind.over_layers):
        raise UserError(f"judge needs a figure of NMSE over layers: {part.name} has figure.kind={kind.name}")
    if slug in slugs:
        raise UserError(f"{NAME} must be no curve of {part.name}, got {show(slug)}: its curves are {one_of(slugs)}")
    sets: dict[str, dict[str, Curve]] = {name: {} for name in slugs}
    for curve in part.curves:
        sets[curve.slug][test_set(curve)] = curve
    first, *others = sets.values()
    if any(other.keys() != first.keys() for other in others):
        alike = [name for name, of in sets.items() if of.keys() == first.keys()]
        raise UserError(
            f"the curves of {part.name} are on several problems: choose those on one by only=[{','.join(alike)}]"
        )
    return list(first.values())


def _rows(slug: str, solver: Solver, curve: Curve) -> list[Row]:
    """The rows of a solver on the test set of a curve: one, or one for each iteration that a table keeps."""
    import jax

    from onsager_cli.problems.base import check_samples
    from onsager_cli.theory.iterate import kept_iterations
    from onsager_cli.training.growth import on_enough_samples
    from onsager_cli.training.points import row_of

    settings, seconds, layered = curve.settings, 0.0, set[bool]()
    wide = jax.numpy.result_type(float) == np.float64  # as the solver's own file may have set it

    def evaluate(samples: "Samples") -> tuple[np.ndarray, np.ndarray]:
        nonlocal seconds
        x, y = map(double, samples)
        with jax.enable_x64(wide):
            answer = solver(y, A, noise_variance)
        seconds += answer.seconds
        layered.add(answer.layered)
        errors = np.stack([np.asarray(problem.squared_norm(x_hat - x), np.float64) for x_hat in answer.estimates])
        if not np.isfinite(errors).all():
            raise UserError(f"judge: {solver.origin} returned numbers whose squares overflow float32")
        return errors, np.asarray(problem.squared_norm(x), np.float64)

    with jax.enable_x64(False):
        problem = in_users_units(curve)
        check_samples(problem)
        A, noise_variance = double(problem.A), float(problem.noise_variance)
        errors, powers = on_enough_samples(settings, problem, evaluate)
    if len(layered) > 1:
        raise UserError(f"judge: {solver.origin} returned one estimate for some samples and several for others")
    layers: Sequence[int | None] = [int(t) for t in kept_iterations(errors, powers)] if True in layered else [None]
    own = {
        "network": solver.origin, "shrinkage": None, "tied": None, "checksum": solver.checksum or None,
        "test_set": test_set(curve), "seconds_per_sample": seconds / len(powers),
    }  # fmt: skip
    return [
        {**row_of(slug, settings, layer, errors[(layer or 1) - 1], powers, steps=0, seconds=seconds), **own}
        for layer in layers
    ]
