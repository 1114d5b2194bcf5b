"""Which keys of `training=fast` have an effect: a schedule that no curve learns by changes nothing.

`training=fast` has a group of keys for each kind of network, so that a key of another group is no unknown one.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from onsager_cli.config.experiment import Experiment
from onsager_cli.config.settings import Config, schedules_of
from onsager_cli.errors import UserError
from onsager_cli.kinds.checks import known_keys
from onsager_cli.kinds.records import TrainingKind
from onsager_cli.kinds.registry import find
from onsager_cli.kinds.settings import Settings
from onsager_cli.kinds.trainings import Schedule
from onsager_cli.text import did_you_mean, one_of

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override


def effective(settings: Settings, config: Config, own: "Sequence[Override]" = ()) -> frozenset[str]:
    """The keys of schedules that decide the curve of these settings, made from `config`: training.lamp.steps, …

    Raises UserError if one of `own`, the overrides of the curve's own line, has no effect on it.
    """
    keys = set()
    if find(TrainingKind, settings.training.kind).by_network and not settings.network.record.bound:
        used = set(known_keys(Schedule)) - (set() if settings.problem.hard_samples else {"emphasis"})
        names = schedules_of(settings.network, config["training"])
        keys = {f"training.{name}.{key}" for name in names for key in used}
    check(own, keys)
    return frozenset(keys)


def check_command(overrides: "Sequence[Override]", experiments: Iterable[Experiment]) -> None:
    """Raises UserError for a key of a schedule that the command sets and that no curve of its experiments goes by."""
    check(overrides, {key for asked in experiments for part in asked.parts for key in part.effective})


def check(overrides: "Sequence[Override]", keys: Iterable[str]) -> None:
    """Raises UserError for an override of a schedule that sets none of the effective `keys`."""
    schedules = sorted({key.rpartition(".")[0] for key in keys})
    for item in overrides:
        key = item.key_or_group
        of_schedule = key.count(".") == 2 or isinstance(item.value(), Mapping)
        if not key.startswith("training.") or not of_schedule or any(f"{own}.".startswith(f"{key}.") for own in keys):
            continue
        schedule = ".".join(key.split(".")[:2])
        if schedule not in schedules:
            here = f"the curves use {one_of(schedules)}" if schedules else "no curve uses a schedule"
            raise UserError(f"{item.input_line}: no curve uses {schedule}; {here}")
        known = [f"{schedule}.{name}" for name in known_keys(Schedule)]
        if key.count(".") == 2 and key not in known:
            raise UserError(f"unknown key '{key}'{did_you_mean(key, known)}")
        value = item.value()
        if any(number != 1 for number in (value if isinstance(value, list) else [value])):
            raise UserError(
                f"{item.input_line}: emphasis must be 1 for this problem, whose samples onsager cannot draw by their active coefficients"
            )
