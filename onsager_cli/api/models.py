"""The trained network that a command means by MODEL."""

from collections.abc import Sequence

from onsager_cli.api.training import Trained, load


def model(words: Sequence[str], depth: int | None = None) -> Trained:
    """The trained network that overrides name; `depth` takes the network of that many layers.

    Raises UserError as `load` does.
    """
    if depth is None:
        return load(*words)
    return load(*(word for word in words if not word.startswith("network.depth=")), f"network.depth={depth}")
