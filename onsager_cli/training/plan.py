"""Training plans: which stages, in which order. A plan is data; `loop.fit` runs any stage of any plan.

A plan for T layers begins with the plan for T-1 layers, so that training of a deeper network resumes where that of a
shallower one ended. A joint plan has a single stage instead.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from onsager_cli.kinds.records import TrainingKind
from onsager_cli.kinds.registry import find, implementation
from onsager_cli.kinds.trainings import FastTraining, NoTraining, PaperTraining, TrainingSettings
from onsager_cli.networks.base import RATES

NONE = TrainingKind("none", of="none", settings=NoTraining)
FAST = TrainingKind("fast", of="fast", settings=FastTraining, by_network=True)
PAPER = TrainingKind("paper", of="paper", settings=PaperTraining)

Value = TypeVar("Value")
AGAIN = 1 / 3  # of the rates of a network that ended above the one with a layer less
PATIENCES = 4  # LAMP-l1 with N = 100 and 3 layers took 3.5 in the mean of its stages


@dataclass(frozen=True)
class Stage:
    """One run of the optimizer over a fixed set of leaves.

    `begin` names what happens to the parameters before the first step:

        keep       nothing
        grow       the new layer starts from the layer before it
        bootstrap  the tied network of the same depth takes over if it is better on the selection set (Algorithm 3)

    With `bootstrap_after`, this comparison takes place after the stage. A stage ends after `steps`. With `patience`, it
    also ends once so many checks in a row (one every `check_every` steps) have found no NMSE that is better by `min_gain`.
    With `again`, a network that ends above the one with a layer less learns for as many steps again, from its best
    weights. The stage returns its best weights.
    """

    name: str
    depth: int  # layers of the network
    new_only: bool  # only the leaves of the last layer learn, the others are frozen
    begin: str
    rates: Mapping[str, float]  # learning rates by name, one for each of RATES
    steps: int
    check_every: int
    optimizer: str = "adam"  # of the matrices
    emphasis: float = 1.0  # of hard samples among those drawn
    cosine: bool = False
    warmup: int = 0  # steps
    patience: int | None = None
    min_gain: float = 0.0  # dB by which a check must be better to count for the patience
    bootstrap_after: bool = False
    again: float = (
        0.0  # fraction of the rates in a second pass, for a network that ends above the one with a layer less; 0: none
    )
    closes: bool = False  # the last stage of its depth: its network is the point at this layer

    @property
    def work(self) -> float:
        """The cost for the ETA, in layers times steps; drawing data and the optimizer count as two layers."""
        return float((self.depth + 2) * self.expected)

    @property
    def expected(self) -> int:
        """Steps that are likely: one that patience ends takes some PATIENCES of it, not the steps of its guard."""
        if self.patience is None:
            return self.steps
        return min(self.steps, PATIENCES * self.patience * self.check_every)

    def rates_at(self, first: int, count: int) -> dict[str, np.ndarray]:
        """Learning rates of steps `first` to `first + count - 1` by name, (count,) each, float32.

        The first steps of Adam have full length in every coordinate, and follow a single gradient, which is mostly noise.
        With `warmup`, the rates rise linearly, over at most half of the stage.
        """
        steps = np.arange(first, first + count)
        shape = 0.5 * (1 + np.cos(np.pi * np.minimum(steps / self.steps, 1))) if self.cosine else np.ones(count)
        if self.warmup:
            shape = shape * np.minimum((steps + 1) / min(self.warmup, max(self.steps // 2, 1)), 1)
        return {name: (shape * rate).astype(np.float32) for name, rate in self.rates.items()}


def none(training: object, depth: int, tied: bool, new_leaves: str) -> list[Stage]:
    """No stages: the network stays untrained."""
    del training, depth, tied, new_leaves
    return []


def paper(training: PaperTraining, depth: int, tied: bool, new_leaves: str) -> list[Stage]:
    """Algorithm 2 (tied) or 3 (untied) for `depth` layers: each new layer alone, then all, each with its refinements."""
    return [stage for t in range(1, depth + 1) for stage in _paper_layer(training, t, tied, new_leaves)]


def fast(training: FastTraining, depth: int, tied: bool, new_leaves: str) -> list[Stage]:
    """One cosine decay over all leaves for each of `depth` layers; an untied network learns its new layer first.

    With `few_first`, each depth first learns without the entries of its matrices. Those learn afterwards, and their
    weights are kept where the selection set gains.
    With `joint`, all layers learn at once from scratch, at the rates and with the optimizer of a first layer.
    """
    if training.joint:
        training = replace(training, few_first=False)
    stages = [stage for t in range(1, depth + 1) for stage in _fast_layer(training, t, tied, new_leaves)]
    if training.joint:
        steps = sum(stage.steps for stage in stages)
        name = f"layers 1-{depth}: all at once"
        return [replace(stages[0], name=name, depth=depth, begin="keep", steps=steps, again=0.0)]
    return stages


def plan(training: TrainingSettings, depth: int, tied: bool, new_leaves: str) -> list[Stage]:
    """The stages for a network of `depth` layers; `new_leaves` names what a new layer learns, such as "θ"."""
    return implementation(find(TrainingKind, training.kind))(training, depth, tied, new_leaves)


def _layers(t: int) -> str:
    return "layer 1" if t == 1 else f"layers 1-{t}"


def _all_layers(t: int) -> str:
    return f"{_layers(t)}: all"


def _paper_layer(training: PaperTraining, t: int, tied: bool, new_leaves: str) -> Iterator[Stage]:
    phases = [(f"layer {t}: {new_leaves}", True, training.rate_new)] if t > 1 else []
    phases += [(_all_layers(t), False, training.rate_new if t == 1 else training.rate_all)]
    for name, new_only, rate in phases:
        for refinement in range(training.refinements + 1):
            first = refinement == 0
            begin = "keep" if not first else "grow" if new_only or t == 1 else "keep" if tied else "bootstrap"
            yield Stage(
                name=name if first else f"{name}, refinement {refinement}",
                depth=t,
                new_only=new_only,
                begin=begin,
                rates=dict.fromkeys(RATES, rate * training.refinement_factor**refinement),
                steps=training.max_steps,
                check_every=training.check_every,
                patience=round(training.patience * training.patience_growth**refinement),
                min_gain=training.min_gain or 0.0,
                closes=not new_only and refinement == training.refinements,
            )


def _fast_layer(training: FastTraining, t: int, tied: bool, new_leaves: str) -> Iterator[Stage]:
    descent = training.descent

    def at(values: Sequence[Value]) -> Value:
        return values[min(t, len(values)) - 1]

    rates = {"matrices": at(descent.rates), "theta": at(descent.theta_rates)}
    rates["spectrum"] = rates["theta"] / 3 if descent.spectral_rates is None else at(descent.spectral_rates)
    rates["noise"] = rates["spectrum"] if descent.noise_rates is None else at(descent.noise_rates)
    rates["rows"] = rates["matrices"] if descent.row_rates is None else at(descent.row_rates)
    after = descent.bootstrap == "after" and not tied and t > 1
    alone = not tied and t > 1 and training.steps_new > 0
    at_once = "grow" if tied or after else "grow or bootstrap"
    whole = Stage(
        name=_all_layers(t),
        depth=t,
        new_only=False,
        begin=("keep" if after else "bootstrap") if alone else at_once,
        rates=rates,
        steps=at(descent.steps),
        check_every=training.check_every,
        optimizer=at(descent.optimizers),
        emphasis=at(descent.emphasis),
        cosine=True,
        warmup=training.warmup,
        bootstrap_after=after,
        again=AGAIN if t > 1 else 0.0,
        closes=True,
    )
    if alone:
        yield replace(
            whole, name=f"layer {t}: {new_leaves}", new_only=True, begin="grow", steps=training.steps_new,
            bootstrap_after=False, again=0.0, closes=False,
        )  # fmt: skip
    if training.few_first:
        few = {**rates, "matrices": 0.0}
        yield replace(
            whole, name=f"{_layers(t)}: few parameters", rates=few, bootstrap_after=False, again=0.0, closes=False
        )
        whole = replace(whole, begin="keep")
    yield whole
