"""Names of curves: stable, and safe as names of files."""

import math
import re
from collections.abc import Collection, Sequence

from onsager_cli.config.settings import LASSO, NO_SHRINKAGE, FastTraining, NoTraining, Problem, Settings
from onsager_cli.errors import UserError
from onsager_cli.text import did_you_mean, one_of, show

UNTRAINED_NAMES = {"lamp": "amp", "lista": "ista", "lvamp": "vamp"}
MATCHED = "matched_vamp"
DRAWN = "drawn"  # only=drawn: the curves of an experiment that its figure draws


def slug_of(settings: Settings) -> str:
    """The stable name of a curve: lamp_tied_bg, lista_untied, amp_l1, ista, oracle."""
    network, label = settings.network, settings.shrinkage.label
    if network.kind in NO_SHRINKAGE:
        return safe(network.name, "network.name")
    untrained = isinstance(settings.training, NoTraining)
    name = UNTRAINED_NAMES.get(network.name, network.name) if untrained else network.name
    if name == "vamp" and _is_matched(settings):
        return MATCHED
    parts = [name]
    if not untrained and network.tied is not None:
        parts.append("tied" if network.tied else "untied")
    if network.kind not in ("lista", *LASSO):
        parts.append(label)
    if network.onsager is False:
        parts.append("no_onsager")
    if isinstance(settings.training, FastTraining) and settings.training.joint:
        parts.append("joint")
    if settings.problem.known_operator is False:
        parts.append("estimated")
    return safe("_".join(parts), "network.name")


def _is_matched(settings: Settings) -> bool:
    """Whether VAMP is told the truth: the law of x, its parameters, A and the noise variance."""
    problem, shrinkage, network = settings.problem, settings.shrinkage, settings.network
    if not isinstance(problem, Problem) or problem.gamma is None:
        return False
    if shrinkage.family != "bg" or network.noise_start != "known":
        return False
    if network.init != "svd" or problem.known_operator is False:
        return False
    truth = (1.0, math.log((1 - problem.gamma) / problem.gamma))
    return all(math.isclose(a, b, rel_tol=1e-9) for a, b in zip(shrinkage.theta, truth, strict=True))


def safe(name: str, what: str) -> str:
    """`name` if it can be a file name anywhere; UserError otherwise, so that no config leaves the output folder."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}", name):
        raise UserError(f"{what} may hold letters, digits, - and _ only, at most 80, got {show(name)}")
    return name


def chosen(listed: Collection[str], only: Sequence[str] | None, hidden: Collection[str]) -> list[str]:
    """The curves of an experiment that `only` leaves, in their order; `hidden` are those that the figure does not draw.

    Raises UserError for a curve that there is not, and if none is left.
    """
    if only is None:
        return list(listed)
    if DRAWN in only and len(only) > 1:
        raise UserError(
            f"only={DRAWN} stands alone, for every curve that the figure draws, got {show(list(only))}"
        )
    drawn = [slug for slug in listed if slug not in hidden]
    if not only or (list(only) == [DRAWN] and not drawn):
        raise UserError(f"only={DRAWN if only else '[]'} leaves no curve of the experiment")
    if list(only) == [DRAWN]:
        return drawn
    for slug in only:
        if slug not in listed:
            known = [*map(str, listed), DRAWN]
            raise UserError(f"only: no curve '{slug}'{did_you_mean(slug, known)}: known are {one_of(known)}")
    return [slug for slug in listed if slug in only]
