"""From the config that a trained network keeps, as plain values, back to its settings."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from onsager_cli.errors import UserError
from onsager_cli.kinds import settings as kinds
from onsager_cli.kinds.checks import build
from onsager_cli.kinds.settings import Settings
from onsager_cli.kinds.trainings import Schedule

SCHEDULES = ("descent", "tied_descent")
GROUPS = ("problem", "network", "shrinkage", "training")


def settings_of(config: Mapping[str, Any], source: str) -> Settings:
    """The settings of which `config` is `dataclasses.asdict`, as JSON or YAML keep it: lists for tuples.

    Reads no file of the user's own. Raises UserError, which names `source`, for what is no such config or that of a
    version whose keys this version does not know.
    """
    try:
        groups = {name: dict(config[name]) for name in GROUPS}
        seed, precision = config["seed"], config["precision"]
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{source}: its config is not that of a trained network") from None
    try:
        signal = groups["problem"].pop("signal", None)
        problem = kinds.make_problem(groups["problem"], signal and kinds.make_signal(signal, stored=True), stored=True)
        network = kinds.make_network(groups["network"])
        shrinkage = kinds.make_shrinkage(groups["shrinkage"], problem, network)
        schedules = {name: groups["training"].pop(name, None) for name in SCHEDULES}
        _, training = kinds.plain_training(groups["training"])
    except UserError as error:
        raise UserError(f"{source}: {error}; perhaps another version of onsager made this network") from error
    made = {
        name: build(Schedule, item, f"training.{name}")
        for name, item in schedules.items()
        if item is not None and hasattr(training, name)
    }
    return Settings(problem, network, shrinkage, dataclasses.replace(training, **made), seed, precision)
