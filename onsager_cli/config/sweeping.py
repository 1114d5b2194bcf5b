"""What a sweep asks for: the overrides of each job, and the launcher that runs them. Every mistake is one line."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onsager_cli.config import catalog, launchers
from onsager_cli.config.compose import composer
from onsager_cli.config.launchers import BASIC, GROUP, KINDS, Joblib, Launcher
from onsager_cli.errors import UserError
from onsager_cli.kinds.checks import build, known_keys
from onsager_cli.store.yaml_files import read_yaml
from onsager_cli.text import did_you_mean, one_of, show

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

MOST_JOBS = 10_000
_KEYS = "hydra.launcher."


def jobs_of(overrides: "Sequence[Override]") -> list[list[str]]:
    """The overrides of each job of a sweep: the product of all alternatives, the last one varying fastest.

    What concerns the launcher is left out. Raises UserError for alternatives that cannot be listed, for none, and for
    more than MOST_JOBS jobs.
    """
    own = [item for item in overrides if not _is_launcher(item)]
    count = math.prod(_count(item) for item in own)
    if count > MOST_JOBS:
        raise UserError(f"the sweep has {_digits(count)} jobs; at most {MOST_JOBS} are allowed: list fewer values")
    return list(map(list, itertools.product(*map(_alternatives, own))))


def launcher_of(overrides: "Sequence[Override]") -> Launcher | None:
    """The launcher that the overrides choose, with its keys checked; None for `basic`, which has none."""
    asked = {item.key_or_group: item for item in overrides if _is_launcher(item)}
    for item in asked.values():
        if item.is_sweep_override():
            raise UserError(f"{item.input_line}: the jobs of a sweep have one launcher, so write one value")
    chosen = asked.pop(GROUP, None)
    name, known = BASIC if chosen is None else chosen.value(), launchers.options()
    if not isinstance(name, str) or name not in known or (chosen is not None and chosen.is_delete()):
        raise UserError(f"unknown launcher {show(name)}{did_you_mean(name, known)}: known are {one_of(known)}")
    if name == BASIC:
        if asked:
            others = one_of(f"{GROUP}={other}" for other in known if other != BASIC)
            raise UserError(
                f"{next(iter(asked.values())).input_line}: the basic launcher has no keys; {others} have keys"
            )
        return None
    node = _node(known[name], overrides)
    kind = KINDS.get(str(node.get("kind")))
    if kind is None:
        begins = one_of(f"defaults: [{other}]" for other, path in known.items() if _is_ours(path))
        raise UserError(f"conf/{GROUP}/{name}.yaml: begin it with {begins}, and set the keys that differ")
    for item in asked.values():
        _set(node, item, known_keys(kind))
    made = build(kind, node, _KEYS[:-1])
    if not isinstance(made, Joblib) and made.signal_delay_s >= 60 * made.timeout_min:
        raise UserError(
            f"hydra.launcher.signal_delay_s must be less than timeout_min={made.timeout_min} "
            f"({60 * made.timeout_min} s), got {made.signal_delay_s}"
        )
    return made


def _node(path: Path, overrides: "Sequence[Override]") -> dict[str, Any]:
    """The keys of a launcher in its file. Raises UserError if the file cannot be read."""
    if _is_ours(path):
        node = read_yaml(path)
        return node if isinstance(node, dict) else {}
    with composer() as compose:
        return compose.launcher([item for item in overrides if item.key_or_group in (GROUP, "hydra.searchpath")])


def _is_ours(path: Path) -> bool:
    """Whether a file comes with this package."""
    return path.is_relative_to(catalog.package_conf())


def _set(node: dict[str, Any], item: "Override", known: Sequence[str]) -> None:
    """Set the key of a launcher that an override names. Raises UserError for a key that it does not have."""
    key, *below = item.key_or_group.removeprefix(_KEYS).split(".")
    names = [name for name in known if name != "kind"]
    if key not in names or (below and not isinstance(node[key], dict)):
        meant = launchers.ALSO.get(key)
        near = f" (did you mean {meant}?)" if meant in names else did_you_mean(key, names)
        raise UserError(f"unknown key '{item.key_or_group}'{near or f': the launcher has {one_of(names)}'}")
    if item.is_delete():
        raise UserError(f"{item.input_line}: a key of a launcher cannot be removed; null is the cluster's default")
    if below:
        node[key] = {**node[key], ".".join(below): item.value()}
    else:
        node[key] = item.value()


def _is_launcher(item: "Override") -> bool:
    """Whether an override chooses a launcher or sets one of its keys."""
    return item.key_or_group.replace("/", ".").startswith("hydra.launcher")


def _alternatives(item: "Override") -> list[str]:
    """The overrides that one word of a sweep stands for."""
    from hydra.core.override_parser.types import Glob

    key = item.get_key_element()
    if isinstance(value := item.value(), Glob):
        return [f"{key}={name}" for name in _matching(item, value)]
    if not item.is_sweep_override():
        return [item.input_line or ""]
    found = [f"{key}={value}" for value in item.sweep_string_iterator()]
    if len(set(found)) < len(found):
        twice = next(text for number, text in enumerate(found) if text in found[:number])
        raise UserError(f"{item.input_line} names {twice} more than once: two jobs would be the same")
    return found


def _count(item: "Override") -> float:
    """How many overrides one word of a sweep stands for, without listing them. Raises UserError for none."""
    from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, RangeSweep

    value = item.value()
    if isinstance(value, IntervalSweep):
        raise UserError(
            f"{item.input_line} has infinitely many values: list values, or write {item.key_or_group}=range(…)"
        )
    if isinstance(value, Glob):
        return len(_matching(item, value))
    if isinstance(value, RangeSweep):
        count = _length(value.start, value.stop, value.step, item)
    else:
        count = len(value.list) if isinstance(value, ChoiceSweep) else 1
    if not count:
        raise UserError(f"{item.input_line} lists no value")
    return count


def _length(start: Any, stop: Any, step: Any, item: "Override") -> float:
    """How many numbers a range has. Raises UserError for a step of 0 and for what is no number."""
    if not step or any(math.isnan(number) for number in (start, stop, step)):
        raise UserError(f"{item.input_line}: a range needs numbers for start and stop, and a step that is not 0")
    length = (float(stop) - float(start)) / float(step)
    return max(0, math.ceil(length)) if math.isfinite(length) else math.inf


def _matching(item: "Override", pattern: Any) -> list[str]:
    """The options of a group that a glob chooses. Raises UserError if it chooses none, or the key is no group."""
    group = item.key_or_group
    if group not in catalog.GROUPS:
        raise UserError(f"{item.input_line}: glob chooses options of {one_of(catalog.GROUPS)}; {group} takes values")
    known = catalog.config_files(group)
    if not (found := pattern.filter(list(known))):
        raise UserError(f"{item.input_line} matches no {group}: known are {one_of(known)}")
    return found


def _digits(count: float) -> str:
    """`1,000,000,000`, or words for more than can be written."""
    return f"{count:,.0f}" if count < 1e15 else "far too many"
