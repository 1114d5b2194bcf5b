"""Training plans: which stages, in which order. A plan is data; fit.py runs any stage of any plan.

A plan for T layers begins with the plan for T-1 layers, so a deeper network goes on where a shallower one ended;
but a joint one, which is there to show why, has a single stage.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from onsager_cli.kinds.records import TrainingKind
from onsager_cli.kinds.trainings import FastTraining, NoTraining, PaperTraining
from onsager_cli.kinds.trainings import TrainingSettings as Training


@dataclass(frozen=True)
class Stage:
    """One run of the optimizer over a fixed set of leaves.

    `begin` says what happens to the parameters before the first step: `grow` starts the new layer from the one
    before it, `bootstrap` takes over the tied network of the same depth if that is better on the selection set
    (Algorithm 3), `keep` leaves them. With `bootstrap_after` the two are compared once the stage is over. A stage ends
    after `steps`, or, if `patience` is not None, once that many checks in a row (one every `check_every` steps) have
    brought no better NMSE. The best weights are kept.
    """

    name: str
    depth: int  # layers of the network
    new_only: bool  # only the leaves of the last layer learn, the rest is frozen
    begin: str
    rate: float  # of the matrices
    theta_rate: float
    spectral_rate: float
    noise_rate: float
    row_rate: float
    steps: int
    check_every: int
    optimizer: str = "adam"  # of the matrices
    emphasis: float = 1.0  # of hard samples among those drawn
    cosine: bool = False
    warmup: int = 0  # steps
    patience: int | None = None
    bootstrap_after: bool = False
    closes: bool = False  # the last stage of its depth: its network is the point at this layer

    @property
    def work(self) -> float:
        """The cost that the ETA uses, in layers times steps; drawing data and the optimizer count as two layers."""
        return float((self.depth + 2) * self.steps)

    def rates(self, first: int, count: int) -> np.ndarray:
        """Learning rates of steps `first` to `first + count - 1`: matrices, θ, spectra, σ_w², rows, shape (count, 5).

        Adam begins with steps of full length in every coordinate, for it has seen one gradient, which is noise for the
        most part. With `warmup` they rise linearly to the rate, over at most half of the stage.
        """
        steps = np.arange(first, first + count)
        shape = (
            0.5 * (1 + np.cos(np.pi * np.minimum(steps / self.steps, 1))) if self.cosine else np.ones(count)
        )
        if self.warmup:
            shape = shape * np.minimum((steps + 1) / min(self.warmup, max(self.steps // 2, 1)), 1)
        rates = (self.rate, self.theta_rate, self.spectral_rate, self.noise_rate, self.row_rate)
        return np.outer(shape, rates).astype(np.float32)


def plan(training: Training, depth: int, tied: bool, new_leaves: str) -> list[Stage]:
    """The stages for a network of `depth` layers; `new_leaves` names what a new layer learns, such as "θ"."""
    if isinstance(training, NoTraining):
        return []
    if isinstance(training, PaperTraining):
        return [stage for t in range(1, depth + 1) for stage in _paper(training, t, tied, new_leaves)]
    stages = [stage for t in range(1, depth + 1) for stage in _fast(training, t, tied, new_leaves)]
    if training.joint:
        steps = sum(stage.steps for stage in stages)
        # From scratch, so at the rates and by the optimizer of a first layer.
        return [
            replace(stages[0], name=f"layers 1-{depth}: all at once", depth=depth, begin="keep", steps=steps)
        ]
    return stages


def _layers(t: int) -> str:
    return "layer 1: all" if t == 1 else f"layers 1-{t}: all"


def _paper(training: PaperTraining, t: int, tied: bool, new_leaves: str) -> Iterator[Stage]:
    """Algorithm 2 (tied) and 3 (untied): the new layer alone, then all, each with its refinements."""
    phases = [(f"layer {t}: {new_leaves}", True, training.rate_new)] if t > 1 else []
    phases += [(_layers(t), False, training.rate_new if t == 1 else training.rate_all)]
    for name, new_only, rate in phases:
        for refinement in range(training.refinements + 1):
            first = refinement == 0
            begin = "keep" if not first else "grow" if new_only or t == 1 else "keep" if tied else "bootstrap"
            yield Stage(
                name=name if first else f"{name}, refinement {refinement}",
                depth=t,
                new_only=new_only,
                begin=begin,
                rate=rate * training.refinement_factor**refinement,
                theta_rate=rate * training.refinement_factor**refinement,
                spectral_rate=rate * training.refinement_factor**refinement,
                noise_rate=rate * training.refinement_factor**refinement,
                row_rate=rate * training.refinement_factor**refinement,
                steps=training.max_steps,
                check_every=training.check_every,
                patience=round(training.patience * training.patience_growth**refinement),
                closes=not new_only and refinement == training.refinements,
            )


def _fast(training: FastTraining, t: int, tied: bool, new_leaves: str) -> Iterator[Stage]:
    """One cosine decay over all leaves for each depth; an untied network learns its new layer first."""
    descent = training.descent

    def at(values: tuple) -> Any:
        return values[min(t, len(values)) - 1]

    steps, rate, theta_rate = at(descent.steps), at(descent.rates), at(descent.theta_rates)
    spectral_rate = theta_rate / 3 if descent.spectral_rates is None else at(descent.spectral_rates)
    noise_rate = spectral_rate if descent.noise_rates is None else at(descent.noise_rates)
    row_rate = rate if descent.row_rates is None else at(descent.row_rates)
    emphasis = at(descent.emphasis)
    optimizer = at(descent.optimizers)
    after = descent.bootstrap == "after" and not tied and t > 1
    alone = not tied and t > 1 and training.steps_new > 0
    at_once = "grow" if tied or after else "grow or bootstrap"
    begin = ("keep" if after else "bootstrap") if alone else at_once
    whole = Stage(
        name=_layers(t),
        depth=t,
        new_only=False,
        begin=begin,
        rate=rate,
        theta_rate=theta_rate,
        spectral_rate=spectral_rate,
        noise_rate=noise_rate,
        row_rate=row_rate,
        steps=steps,
        check_every=training.check_every,
        optimizer=optimizer,
        emphasis=emphasis,
        cosine=True,
        warmup=training.warmup,
        bootstrap_after=after,
        closes=True,
    )
    if alone:
        name = f"layer {t}: {new_leaves}"
        yield replace(
            whole,
            name=name,
            new_only=True,
            begin="grow",
            steps=training.steps_new,
            bootstrap_after=False,
            closes=False,
        )
    yield whole


NONE = TrainingKind("none", of="none", settings=NoTraining)
FAST = TrainingKind("fast", of="fast", settings=FastTraining, by_network=True)
PAPER = TrainingKind("paper", of="paper", settings=PaperTraining)
