"""Conditions other than those of a training: the overrides after `--on`, applied to the problem of a trained network."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onsager_cli.config.overrides import override, overrides_of, parse
from onsager_cli.errors import UserError
from onsager_cli.kinds.problems import GIVEN, ProblemSettings
from onsager_cli.kinds.settings import Settings, without_key
from onsager_cli.kinds.signals import FileSignal, SignalSettings
from onsager_cli.text import show

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

NEW_MATRIX = (
    "seed", "problem.matrix", "problem.matrix_name", "problem.ensemble", "problem.kappa", "problem.correlation",
    "problem.columns", "problem.file", "problem.instance",
)  # fmt: skip
"""Keys that bring another matrix; under others, the samples come from the network's own."""
ALLOWED = ("problem", "signal", "seed")
RECORDED = "data"  # the problem of recorded pairs


@dataclass(frozen=True)
class Condition:
    """A condition as it was typed, and the settings of a network there: its problem and seed are the condition's.

    With `same_matrix`, samples come from the matrix of the network, which the caller has.
    """

    words: tuple[str, ...]
    settings: Settings
    same_matrix: bool

    @property
    def label(self) -> str:
        """The condition in words; "as trained" for none."""
        return " ".join(self.words) or "as trained"


def conditions(settings: Settings, words: Sequence[str]) -> list[Condition]:
    """The product of all alternatives in `words`, such as `problem.snr_db=0,10,20`, the last one varying fastest.

    Raises UserError for a mistake in them, and for keys that are not about the problem.
    """
    from onsager_cli.config.sweeping import jobs_of

    parsed = parse(words, sweep=True)
    for item in parsed:
        if item.key_or_group.partition(".")[0] not in ALLOWED:
            raise UserError(f"--on takes keys of the problem, of the signal, and seed, got {show(item.input_line)}")
    return [elsewhere(settings, job) for job in jobs_of(parsed)]


def elsewhere(settings: Settings, words: Sequence[str]) -> Condition:
    """The settings of a network under these overrides. Raises UserError for a mistake in them."""
    from onsager_cli.config.load import load_experiment

    asked = {item.key_or_group: item for item in parse(words)}
    same = not any(key in asked for key in (*NEW_MATRIX, "problem"))
    if not words:
        return Condition((), settings, settings.problem.matrix is not None or not _draws(settings))
    if "problem.file" in asked and "problem" not in asked:
        words = [f"problem={RECORDED}", *words]
        asked = {item.key_or_group: item for item in parse(words)}
    if settings.problem.file is not None and not {"problem", "problem.file"} & set(asked):
        raise UserError(
            f"--on must give other pairs (problem.file=…) or another problem (problem=…) to a network of recorded pairs, got "
            f"{' '.join(words)}"
        )
    base = _as_words(settings, asked, same)
    (curve,) = load_experiment(["network=oracle", *base, *words]).curves
    problem = _with_contents(curve.settings.problem, settings.problem, asked)
    there = dataclasses.replace(settings, problem=problem, seed=curve.settings.seed)
    return Condition(tuple(words), there, same)


def _draws(settings: Settings) -> bool:
    """Whether the config draws the matrix again."""
    return getattr(settings.problem, "ensemble", None) != GIVEN


def _with_contents(found: ProblemSettings, trained: ProblemSettings, asked: "dict[str, Override]") -> ProblemSettings:
    """The problem of a condition. Files that the condition does not name must have the content of the training."""
    if "problem" in asked:
        return found
    here, there = found.signal, trained.signal
    if isinstance(here, FileSignal) and isinstance(there, FileSignal) and not {"signal", "signal.file"} & set(asked):
        found = dataclasses.replace(found, signal=dataclasses.replace(here, content=there.content))
    if found.matrix is not None and "problem.matrix" not in asked:
        found = dataclasses.replace(found, content=trained.content)
    return found


def _keys_of(part: ProblemSettings | SignalSettings) -> dict[str, object]:
    """Key → value of a part of the settings, without the fields that no key sets."""
    return {key: value for key, value in dataclasses.asdict(part).items() if key not in without_key(type(part))}


def _as_words(settings: Settings, asked: "dict[str, Override]", same: bool) -> list[str]:
    """The overrides that make the problem of settings, without those that `asked` replaces."""
    if "problem" in asked:  # another problem has keys of its own
        return [] if "seed" in asked else [override("seed", settings.seed)]
    keys = _keys_of(settings.problem)
    del keys["kind"], keys["name"]
    if "instance" in keys:  # the published test set is of the published conditions
        keys["instance"] = "seeded"
    if "ensemble" in keys:  # pilots have none
        if same:
            keys |= dict.fromkeys(("matrix", "matrix_name", "kappa", "correlation", "columns"), None)
            keys["ensemble"] = GIVEN
        if "problem.matrix" in asked:
            keys |= dict.fromkeys(("ensemble", "kappa", "correlation"), None)
        if "problem.ensemble" in asked:
            keys |= dict.fromkeys(("kappa", "matrix", "matrix_name"), None)
    if "problem.noise_variance" not in asked and "problem.snr_db" in asked:
        keys |= {"noise_variance": None} if "noise_variance" in keys else {}
    if keys.get("ensemble") == "gaussian" or ("problem.kappa" in asked and keys.get("ensemble") == GIVEN):
        keys["ensemble"] = None
    words = [f"problem={settings.problem.name}", *overrides_of("problem", keys)]
    signal = settings.problem.signal
    if signal is not None and "signal" not in asked:
        of_signal = _keys_of(signal)
        words += [f"signal={of_signal.pop('kind')}", *overrides_of("signal", of_signal)]
    words += [override("seed", settings.seed)]
    return [word for word in words if word.partition("=")[0] not in asked]
