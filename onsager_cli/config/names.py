"""Names of curves: stable, and safe as names of files."""

import math
import re
from collections.abc import Collection, Iterable, Sequence

from onsager_cli.errors import UserError
from onsager_cli.kinds.settings import Settings
from onsager_cli.text import did_you_mean, one_of, show

# Keys that the name of a curve tells; in an experiment they belong to the curve, not to the command line.
NAMED_BY_SLUG = ("network", "network.kind", "network.name", "network.tied", "shrinkage", "shrinkage.family")
MATCHED = "matched_vamp"
LONGEST_SUFFIX = 40  # characters, so that the name of a figure can be the name of a folder
DRAWN = "drawn"  # only=drawn: the curves of an experiment that its figure draws


def slug_of(settings: Settings) -> str:
    """The stable name of a curve: lamp_tied_bg, lista_untied, amp_l1, ista, oracle."""
    network, record = settings.network, settings.network.record
    if not record.uses_shrinkage:
        return safe(network.name, "network.name")
    untrained = not settings.training.trains
    name = record.untrained if untrained and record.untrained and network.name == network.kind else network.name
    if untrained and name == record.untrained and _is_matched(settings):
        return MATCHED
    parts = [name]
    if not untrained and network.tied is not None:
        parts += ["tied" if network.tied else "untied"]
    if record.shrinkage_in_name:
        parts.append(settings.shrinkage.record.slug or settings.shrinkage.family)
    for key, words in record.marks.items():
        parts += [words[value]] if (value := getattr(network, key)) in words else []
    if getattr(settings.training, "joint", False):
        parts.append("joint")
    if not settings.problem.known_operator:
        parts.append("estimated")
    return safe("_".join(parts), "network.name")


def _is_matched(settings: Settings) -> bool:
    """Whether it is VAMP that is told the truth: the prior, A and the noise variance."""
    problem, shrinkage, network = settings.problem, settings.shrinkage, settings.network
    if network.record.evolution != "vamp" or network.noise_start != "known" or network.init != "svd":
        return False
    if not problem.exact_operator or shrinkage.family != problem.matched_shrinkage or problem.matched_theta is None:
        return False
    if shrinkage.by_group or not shrinkage.rows:
        return False
    pairs = zip(shrinkage.theta, problem.matched_theta, strict=True)
    return all(math.isclose(a, b, rel_tol=1e-9) for a, b in pairs)


def safe(name: str, what: str) -> str:
    """`name` if it can be a file name anywhere; UserError otherwise, so that no config leaves the output folder."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}", name):
        raise UserError(f"{what} must be at most 80 letters, digits, - and _, got {show(name)}")
    return name


def suffix(pairs: Iterable[tuple[str, object]]) -> str | None:
    """The end of a figure's name that says what differs, `-snr_db=20`, from keys and values; None if it would be long.

    A key without a name stands for the value alone.
    """
    words = (f"-{name}={value}" if (name := key.rpartition(".")[2]) else f"-{value}" for key, value in pairs)
    text = re.sub(r"[^A-Za-z0-9_+=.-]|[.](?=[.])", "_", "".join(words))
    return text if len(text) <= LONGEST_SUFFIX else None


def chosen(listed: Collection[str], only: Sequence[str] | None, hidden: Collection[str]) -> list[str]:
    """The curves of an experiment that `only` leaves, in their order; `hidden` are those that the figure does not draw.

    Raises UserError for a curve that there is not, and if none is left.
    """
    if only is None:
        return list(listed)
    if DRAWN in only and len(only) > 1:
        raise UserError(f"only={DRAWN} takes no other names, got {show(list(only))}")
    asked = [slug for slug in listed if slug not in hidden] if DRAWN in only else only
    if not asked:
        raise UserError(f"only={DRAWN if only else '[]'} leaves no curve of the experiment")
    for slug in asked:
        if slug not in listed:
            known = [*map(str, listed), DRAWN]
            raise UserError(f"only: no curve '{slug}'{did_you_mean(slug, known)}: known are {one_of(known)}")
    return [slug for slug in listed if slug in asked]
