"""Train and load networks."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from onsager_cli.api.checks import in_float32, texts
from onsager_cli.api.inputs import NetworkSpec, SparseProblem, curve_of, override
from onsager_cli.api.trained import Trained
from onsager_cli.config.experiment import Curve
from onsager_cli.config.load import load_experiment
from onsager_cli.errors import UserError
from onsager_cli.store.curves import CurveFolder, MemoryFolder
from onsager_cli.text import show

if TYPE_CHECKING:
    from onsager_cli.problems import Problem

Callback = Callable[[dict[str, object]], None]
"""Receives the events of a training."""


def ignore(event: dict[str, object]) -> None:
    """The callback of those who watch nothing."""
    del event


@in_float32
def train(
    network: NetworkSpec | str,
    problem: SparseProblem | str = "gaussian",
    schedule: str | None = None,
    *overrides: str,
    folder: str | Path | None = None,
    callback: Callback | None = None,
) -> Trained:
    """Train a network layer by layer and return it. Without `folder`, nothing is written or read.

    Args:
        network: made by `network`, or the name of an option.
        problem: made by `problem`, or the name of an option.
        schedule: an option of `onsager list schedules`; None: that of the network, which is fast if it learns.
        overrides: more of the config, such as "training.lamp.steps=[100]".
        folder: the store of the command line (`outputs`). A curve that it holds is not trained again.
        callback: receives the events (see the module's table).

    The networks are bit for bit those of `onsager train`. Raises UserError for a mistake, DivergedError if training gives up.

    Example:
        >>> from onsager_cli import network, problem, train
        >>> small = problem("gaussian", N=40, M=20, selection_samples=100, test_samples=50)
        >>> steps = "training.lamp.steps=[20]"
        >>> events = []
        >>> lamp = train(network("lamp", "bg", depth=2), small, "fast", steps, callback=events.append)
        >>> [event["layer"] for event in events if event["event"] == "point"]
        [1, 2]
        >>> x, y = small.test
        >>> lamp(y).shape
        (40, 50)
    """
    from onsager_cli import run

    if not isinstance(network, NetworkSpec | str):
        raise UserError(f"network must be made by `network` or be an option's name, got {show(network)}")
    if not isinstance(problem, SparseProblem | str):
        raise UserError(f"problem must be made by `problem` or be an option's name, got {show(problem)}")
    if callback is not None and not callable(callback):
        raise UserError(f"callback must be a function of an event, got {show(callback)}")
    asked = NetworkSpec((f"network={network}",)) if isinstance(network, str) else network
    about = SparseProblem((f"problem={problem}",)) if isinstance(problem, str) else problem
    chosen = texts([] if schedule is None else [schedule], "schedule", "'fast'")
    words = [*about.overrides, *asked.overrides, *(f"training={name}" for name in chosen), *texts(overrides)]
    if folder is not None:
        if about.matrix is not None:
            raise UserError("a stored curve is found by its matrix file: write problem(matrix='A.npy') instead of A=…")
        if not isinstance(folder, str | Path):
            raise UserError(f"folder must be a path, got {show(folder)}")
        words.append(override("output", folder))
    curve = curve_of(words)
    if not curve.settings.trained:
        raise UserError(f"{curve.slug} does not learn: `experiment` draws it, and `recover` needs no training")
    report = callback or ignore
    if folder is not None:
        run.train(load_experiment(words), report)
        return _of_folder(curve, curve.folder, run.problem_of(curve))
    arrays = about.arrays if about.has(curve) else run.in_users_units(curve, about.matrix)
    kept: dict[str, MemoryFolder] = {}
    for one in run.in_order([curve]):
        place = kept[one.key] = MemoryFolder(one.identity)
        maker = run.maker_of(one, report, place=lambda asked: kept[asked.key])
        run.make(one, maker, problem=run.seen_by(one.settings, arrays))
    return _of_folder(curve, place, run.seen_by(curve.settings, arrays))


@in_float32
def load(*words: str, depth: int | None = None, folder: str | Path | None = None) -> Trained:
    """A trained network: by the overrides of the command that trained it, or by one word.

    Args:
        words: overrides, of which `network.depth=T` takes the network of T layers; or the folder of a curve, one of
            its .npz files, a packed network, or a released name such as "fig10/lamp_tied_bg".
        depth: the network of so many layers, where the store has it.
        folder: where packed networks lie; else `outputs/weights`, `outputs`, `experiments` and ONSAGER_WEIGHTS.

    Raises UserError for a mistake in the overrides, where they name more than one curve, and for a network that is not
    stored, damaged, or of another version.

    Example:
        >>> from onsager_cli import UserError, load
        >>> try:
        ...     lamp = load("+experiment=fig10", "only=[lamp_tied_bg]", "output=nowhere")
        ... except UserError as error:
        ...     print(error)
        lamp_tied_bg: no network of 15 layers is stored in nowhere: run onsager train
    """
    from onsager_cli.api.models import is_overrides, model
    from onsager_cli.run import problem_of
    from onsager_cli.training.networks_on_disk import depth_name

    if not is_overrides(texts(words)):
        return model(*words, depth=depth, folder=folder)
    curve = curve_of(words)
    curve = curve if depth is None else curve.to_depth(depth)
    settings = curve.settings
    if not settings.training.trains:
        raise UserError(f"{curve.slug} is not trained: there is no network to load")
    if depth_name(settings.depth) not in curve.folder.saved():
        raise UserError(
            f"{curve.slug}: no network of {settings.depth} layers is stored in {curve.output}: run onsager train"
        )
    return _of_folder(curve, curve.folder, problem_of(curve))


def _of_folder(curve: Curve, folder: CurveFolder, problem: "Problem") -> Trained:
    """The network that the folder of a curve has, for the depth of the curve."""
    from onsager_cli.training.networks_on_disk import stored_network

    settings = curve.settings
    net, params = stored_network(settings, folder, settings.depth)
    return Trained(settings, net, params, problem, settings.depth, folder.points(), curve.slug)
