"""The trained network that a command means by MODEL."""

from collections.abc import Sequence

from onsager_cli.api.training import Trained, load


def model(words: Sequence[str], depth: int | None = None) -> Trained:
    """The trained network that overrides name; `depth` takes the network of that many layers.

    Raises UserError as `load` does.
    """
    return load(*words, *([] if depth is None else [f"network.depth={depth}"]))
