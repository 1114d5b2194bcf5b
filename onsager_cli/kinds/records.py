"""One record for each kind of network, problem, shrinkage family, training and figure: what the program knows of it.

A record stands at the head of the file that implements its kind, and is free of JAX. `registry` finds it there, or
through an entry point of an installed package: built-in kinds and those of packages take the same road. `of` names the
implementation in the file of the record.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

NUMERICS = 6  # raised with every change that moves a trained number of all networks: stored curves are trained anew
FREE = float("-inf")
POSITIVE = 1e-3  # what training keeps a positive scale above, so that it can be divided by

BLACK, GREY, ORANGE, SKY, GREEN = "#000000", "#6e6e6e", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE, YELLOW = "#0072B2", "#D55E00", "#CC79A7", "#B8A800"

Count = Callable[[Any, int, int], int]
"""(settings of a network, M, N) → a number. The settings are of the class that its kind declares."""


Line = str | tuple[int, tuple[float, ...]]
"""A line style of Matplotlib: its name, or where it begins and the lengths of dashes and gaps."""


@dataclass(frozen=True)
class Look:
    """How a curve looks: colour, marker, line, sizes in points, text of the legend.

    An `open_marker` is a ring, a `half` marker half full.
    """

    color: str
    marker: str = "o"
    line: Line = "-"
    width: float = 1.0
    size: float = 3.6
    open_marker: bool = False
    half: bool = False
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What all records have: `keys` maps config keys to their fields (`checks`); the registry fills in `module`."""

    name: str = field(kw_only=False)
    of: str = ""
    keys: Mapping[str, object] = field(default_factory=dict, hash=False, compare=False)
    module: str = ""


@dataclass(frozen=True, kw_only=True)
class NetworkKind(Kind):
    """A network or an algorithm; `of` is its class, a Network, or the function of a bound.

    Config keys that are fields of the class reach it; `fixed` has values for others.

    Names and looks:
        untrained: the name without training ("" for its own); None if it is nothing without training.
        shrinkage_in_name: whether the shrinkage family is part of a curve's name.
        marks: key → value → word that a curve's name gets where the key has this value.
        family: the kind whose name it has in tables of costs and whose looks it shares.
        looks: name of the network → shrinkage family ("" for any) → Look.

    What it takes and does:
        shrinkages: the families that it takes; none named: every family in units of σ.
        uses_shrinkage: whether the family that a config names makes a difference.
        learnable: what `network.learn` may name.
        trains: whether there is anything to learn.
        searched: names of the few shared numbers that a search finds, without gradients; it takes no other training.
        matrices: whether what it learns are matrices, which Muon can turn.
        twin: whether an untied network is bootstrapped from a tied one (Algorithm 3).
        bound: one estimate, without layers; `of` maps (problem, x, y) to x̂. `told`: it is told the support of x.
        whitens: whether whitened rows of A help its linear stage: a product with Aᴴ, not LMMSE, which weighs rows itself.
        lasso: it solves the LASSO with a λ for each sample, so that it leaves no network.
        layered: without training its layers differ, so there are as many as are asked for.
        fit: a function (net, problem, y, depth, precision) that finds the parameters from the measurements.
        diverges: single realizations may diverge; tables count them.
        advice: what it assumes without training and what to try instead, for a curve that ends worse than x̂ = 0.
        untrained_ignores: keys that make no difference without training.
        knows: (settings of a network) → what it is told beside A and what its shrinkage is told; "" for nothing.
        evolution: the recursion of state evolution that describes it: "amp", "vamp" or none.

    Cost, where M and N are the size of A:
        entries: (settings, M, N) → entries of the matrices of a layer that learn.
        once_entries: those of `entries` that are used once in the network, not in each layer.
        fixed_entries: as `entries`, of matrices that do not learn.
        uses: (settings, M, N) → how often a layer multiplies each of them per sample; a kernel at every position.
        formula: (settings, θ per layer, T, M, N) → (multiply-adds, parameters) of Table I; None if the paper has none.
        form: its form in Table I.
    """

    untrained: str | None = ""
    shrinkage_in_name: bool = True
    marks: Mapping[str, Mapping[object, str]] = field(default_factory=dict, hash=False, compare=False)
    family: str = ""
    looks: Mapping[str, Mapping[str, Look]] = field(default_factory=dict, hash=False, compare=False)
    shrinkages: tuple[str, ...] = ()
    uses_shrinkage: bool = True
    learnable: tuple[str, ...] = ()
    fixed: Mapping[str, object] = field(default_factory=dict, hash=False, compare=False)
    trains: bool = True
    searched: tuple[str, ...] = ()
    matrices: bool = True
    twin: bool = True
    bound: bool = False
    told: bool = False
    whitens: bool = True
    lasso: bool = False
    layered: bool = False
    fit: str = ""
    diverges: bool = False
    advice: str = ""
    untrained_ignores: tuple[str, ...] = ()
    knows: Callable[[Any], str] = field(default=lambda settings: "", compare=False)
    evolution: str = ""
    numerics: int = NUMERICS
    entries: Count = field(default=lambda settings, M, N: N * N + N * M, compare=False)
    once_entries: Count = field(default=lambda settings, M, N: 0, compare=False)
    fixed_entries: Count = field(default=lambda settings, M, N: 0, compare=False)
    uses: Count = field(default=lambda settings, M, N: 1, compare=False)
    formula: Callable[[Any, int, int, int, int], tuple[int, int]] | None = field(default=None, compare=False)
    form: str = ""


@dataclass(frozen=True, kw_only=True)
class ProblemKind(Kind):
    """A kind of problem; `of` is a function of the values of its keys and a seed that returns a Problem.

    settings: the class of its settings. A kind on `Linear` gets A, too, and leaves drawing it to the program.
    numerics_of_hard: the version of the numerics of networks that are trained on hard samples of it.
    schedule: the option of training for its networks, unless the command names one.
    """

    settings: type | None = None
    numerics_of_hard: int = NUMERICS
    schedule: str = ""


@dataclass(frozen=True, kw_only=True)
class SignalKind(Kind):
    """A law of the coefficients of x; `of` is a function (settings, γ, whether x is complex) → Signal.

    settings: the class of its settings. certain: γ = 1 is allowed. counted: γ is counted in samples, so
    `problem.gamma` is null. real: there is no complex form. separable: the real part of a complex coefficient has a law
    of the same kind.
    """

    settings: type | None = None
    certain: bool = True
    counted: bool = False
    real: bool = False
    separable: bool = False


@dataclass(frozen=True, kw_only=True)
class ShrinkageKind(Kind):
    """A shrinkage family; `of` is η(r, σ, θ) → (x̂, ⟨η'⟩).

    parameters, lower: names of the parameters of θ, and their lowest values when they learn: FREE, 0 or POSITIVE.
    repeated, repeated_lower: those that follow once for each component; `counts` are the fewest and most components.
    start: θ of the paper's problem, Bernoulli-Gaussian signals with γ = 0.1, mean 0 and variance 1.
    begins: how `theta: auto` finds θ for another signal. "fit": least squares to the posterior mean. "prior": (φ, log
        odds of zero) of the signal, else as "fit". "start": `start` for all problems. "scale": `start` times the
        standard deviation of active coefficients. "mixture", "letters": components that stand for the signal.
    minimax: `theta: minimax` is allowed, which is (1, the minimax threshold for γ).
    of_signal: `of` makes η from the signal of the problem.
    units, repeated_units: the power of x's unit in each parameter; empty: 0. repeated_shifts: the same for logarithms.
    ordered: the first two parameters are abscissae θ1 <= θ2.
    slopes: indices of all parameters in units of η / r, if the others are in units of r / σ.
    absolute: its parameters are in units of x, not of σ. Only networks that name it take it.
    posterior: in the file of `of`, a function (r, σ, θ) → Belief of the prior that η belongs to; "": η has no prior.
        If `of_signal`, it is made from the signal as η is.
    slug, label: its names in curves and in legends.
    """

    parameters: tuple[str, ...]
    lower: tuple[float, ...]
    repeated: tuple[str, ...] = ()
    repeated_lower: tuple[float, ...] = ()
    counts: tuple[int, int] = (0, 0)
    start: tuple[float, ...] = ()
    begins: str = "fit"
    minimax: bool = False
    of_signal: bool = False
    units: tuple[float, ...] = ()
    repeated_units: tuple[float, ...] = ()
    repeated_shifts: tuple[float, ...] = ()
    ordered: bool = False
    slopes: tuple[int, ...] = ()
    absolute: bool = False
    posterior: str = ""
    slug: str = ""
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class TrainingKind(Kind):
    """A kind of training; `of` is a function (training, depth, tied, new leaves) that returns its stages.

    settings: the class of its settings. by_network: its config has a group of keys for each kind of network.
    maker: what trains a network in its folder, where that is not stages of gradient descent. searches: it finds the few
        numbers of networks that say so, without gradients, and takes no other networks.
    """

    settings: type
    by_network: bool = False
    maker: str = ""
    searches: bool = False


@dataclass(frozen=True, kw_only=True)
class FigureKind(Kind):
    """A kind of figure beside curves over layers; its file has `tables`, `page` and, if it draws, `draw`.

    trains, draws: whether its curves are trained, and whether there is a drawing.
    over_layers: whether the drawing has the curves over layers, too.
    matrices: whether it takes curves on several matrices (`seeds`), of which it shows the mean.
    refuses: settings of a curve → what is wrong with it in this figure, or None.
    """

    trains: bool = True
    draws: bool = True
    over_layers: bool = False
    matrices: bool = False
    refuses: Callable[[Any], str | None] = field(default=lambda settings: None, compare=False)


def without_real_layers(settings: Any) -> str | None:
    """Why a figure that looks into layers refuses these settings; None if it takes them."""
    if settings.network.depth is None:
        return f"needs layers, and network.kind={settings.network.kind} has none"
    return "needs real numbers: write problem.embedding=real" if settings.problem.embedding == "complex" else None


def without_sigma(settings: Any) -> str | None:
    """Why a figure that compares σ with the error of the shrinkage's input refuses these settings; None if it takes them."""
    if not settings.network.record.evolution:
        return f"needs σ, and network.kind={settings.network.kind} has none"
    return without_real_layers(settings)


def without_evolution(settings: Any) -> str | None:
    """Why a figure that compares with state evolution refuses these settings; None if it takes them."""
    problem, network = settings.problem, settings.network
    evolution = network.record.evolution
    drawn = problem.matrix is None and (evolution == "vamp" or getattr(problem, "kappa", None) is None)
    plain = problem.exact_operator and getattr(network, "onsager", True) and not isinstance(problem.snr_db, tuple)
    if evolution and drawn and plain and settings.shrinkage.family == problem.matched_shrinkage == "bg":
        return None
    return (
        "needs state evolution, which exists for AMP, VAMP, LAMP and LVAMP with shrinkage=bg, Bernoulli-Gaussian signals, "
        "a drawn A and one SNR"
    )
