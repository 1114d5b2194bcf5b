"""The paper's statements, or your own, as data: `claims.yaml` files, and the verdict on each statement.

`vocabulary.md`, which `onsager verify --vocabulary` prints, describes the files and says when a claim holds.
"""

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from onsager_cli.claims.checks import ENOUGH, FAILS, HOLDS, SURE, UNDECIDED, Check, Outcome
from onsager_cli.claims.criteria import checked, group, parse
from onsager_cli.claims.measures import Data
from onsager_cli.claims.recorded import NotRecordedError, Realization, Record, common
from onsager_cli.config.catalog import figures_first
from onsager_cli.errors import Notice, UserError
from onsager_cli.store.files import entries, exists
from onsager_cli.store.tables import FRESH, NMSE
from onsager_cli.store.yaml_files import read_yaml
from onsager_cli.text import did_you_mean, one_of, printable, show

FILE = "claims.yaml"
NOT_RUN = "not run"
_REQUIRED = ("id", "statement", "source", "paper", "criterion")
_KEYS = (*_REQUIRED, "metric", "known_failure", "remark")


@dataclass(frozen=True)
class Claim:
    """One statement of a claims file; `experiment` is the folder it lies in."""

    id: str
    experiment: str
    statement: str
    source: str
    paper: str
    checks: tuple[Check, ...] = field(hash=False)
    metric: str = "nmse_db"
    known_failure: str | None = None
    remark: str | None = None

    def curves(self) -> list[tuple[str, str]]:
        """(experiment, slug) of every curve that its checks read."""
        names = (name.rpartition("/") for check in self.checks for name in check.measure.curves())
        return list(dict.fromkeys((experiment or self.experiment, slug) for experiment, _, slug in names))

    def experiments(self) -> set[str]:
        """The experiments that hold the claim or a table that its checks read."""
        tables = (table.split("/")[0] for check in self.checks for table in check.measure.tables())
        return {self.experiment, *tables, *(experiment for experiment, _ in self.curves())}


@dataclass(frozen=True)
class Verdict:
    """What the record says about a claim: an outcome per check (None: not run), and what is missing."""

    claim: Claim
    outcomes: tuple[Outcome | None, ...]
    missing: tuple[str, ...]
    seeds: Mapping[Realization, "Verdict"] = field(default_factory=dict, hash=False)
    fresh: "Verdict | None" = field(default=None, hash=False)  # on the fresh samples, where all of it is recorded

    @property
    def run(self) -> list[Outcome]:
        """The outcomes of the checks whose numbers are recorded."""
        return [outcome for outcome in self.outcomes if outcome is not None]

    @property
    def word(self) -> str:
        """`fails` if a check does, else `not run`, `undecided` if a check is, or `holds`.

        The fresh samples decide what the test set leaves undecided. If the two verdicts differ otherwise, it is `undecided`.
        """
        word = self._of_test_samples
        if self.fresh is None or self.fresh.word == word:
            return word
        return self.fresh.word if word == UNDECIDED else UNDECIDED

    @property
    def _of_test_samples(self) -> str:
        """The word without the fresh samples."""
        words = [outcome.word for outcome in self.run]
        if None in self.outcomes:
            return FAILS if FAILS in words else NOT_RUN
        return next((word for word in (FAILS, UNDECIDED) if word in words), HOLDS)

    @property
    def decisive(self) -> Outcome | None:
        """The outcome with the lowest score: the margin in standard errors."""
        return min(self.run, key=lambda outcome: (outcome.score, outcome.margin), default=None)

    @property
    def measured(self) -> str:
        """The measured numbers in words: all if they are few, otherwise the decisive one."""
        found, decisive = self.run, self.decisive
        if decisive is None or 1 < len(found) <= 3:
            return ", ".join(map(number, found))
        word = "worst" if decisive.word == FAILS else "closest"
        return described(decisive) + (f", {word} of {len(found)}" if len(found) > 1 else "")

    @property
    def margin(self) -> str:
        """How far inside (negative: outside) its limit the decisive number is."""
        return f"{self.decisive.margin:+.3g}".replace("inf", "∞") if self.decisive else ""

    @property
    def note(self) -> str:
        """What is missing, why the claim fails, or on how many matrices it holds; empty if there is nothing to add."""
        parts = []
        if self.word == NOT_RUN:
            more = f" and {len(self.missing) - 3} more" if len(self.missing) > 3 else ""
            parts.append("; ".join(self.missing[:3]) + more)
        elif self.word == UNDECIDED:
            few = self.decisive is not None and self.decisive.matrices < ENOUGH
            where = "on the first matrix" if few else "in the mean over matrices"
            parts.append(
                f"within {SURE:g} standard errors of its limit {where}"
                if self._of_test_samples == UNDECIDED
                else "test and fresh samples differ"
            )
            parts += [self.claim.known_failure] if self.claim.known_failure else []
        elif self.claim.known_failure and self.word == FAILS:
            parts.append(f"known failure: {self.claim.known_failure}")
        elif self.claim.known_failure:
            parts.append("is a known failure, but holds: remove known_failure")
        if self.word != self._of_test_samples == UNDECIDED:
            parts.append("the fresh samples decide")
        if self.fresh is not None:
            parts.append(f"on fresh samples {self.fresh.word}: {self.fresh.measured}")
        if len(self.seeds) > 1:
            whole = [verdict for verdict in self.seeds.values() if None not in verdict.outcomes]
            within = sum(all(outcome.holds for outcome in verdict.run) for verdict in whole)
            measured = "; ".join(verdict.measured for verdict in whole)
            parts.append(f"within its limits on {within} of {len(whole)} matrices: {measured}")
        parts += [self.claim.remark] if self.claim.remark and self.word != NOT_RUN else []
        return "; ".join(parts)

    def as_json(self) -> dict[str, object]:
        """Everything, as plain JSON; infinite and undefined numbers as null."""
        claim, decisive = self.claim, self.decisive
        return {
            "id": claim.id, "experiment": claim.experiment, "statement": claim.statement, "source": claim.source,
            "paper": claim.paper, "metric": claim.metric, **self._summary(), "unit": decisive and decisive.unit,
            "known_failure": claim.known_failure, "remark": claim.remark, "missing": list(self.missing),
            "checks": [
                {"criterion": dict(check.source), **(_outcome(outcome) if outcome else {"holds": None})}
                for check, outcome in zip(claim.checks, self.outcomes, strict=True)
            ],
            "seeds": [
                {"instance": instance, "seed": seed, **verdict._summary()}
                for (instance, seed), verdict in self.seeds.items()
            ],
            "fresh": self.fresh and self.fresh._summary(),
        }  # fmt: skip

    def _summary(self) -> dict[str, object]:
        margin = _finite(self.decisive.margin) if self.decisive else None
        return {"verdict": self.word, "measured": self.measured, "margin": margin}


Broken = dict[str, UserError]
"""Experiment → what is wrong with its claims file."""


def load(folders: Iterable[Path], broken: Broken | None = None) -> list[Claim]:
    """The claims of FOLDER/*/claims.yaml, in the order of the figures; of two files for one experiment the first counts.

    A file that is malformed, or has an id of another file, goes to `broken` and is left out. Raises UserError for it
    if `broken` is None, and if there is no claims file at all.
    """
    folders = list(folders)
    paths = [path for folder in folders for one in entries(folder) if exists(path := one / FILE)]
    files = {path.parent.name: path for path in reversed(paths)}
    claims: dict[str, Claim] = {}
    for experiment in sorted(files, key=figures_first):
        try:
            claims |= _new(files[experiment], {name: files[claim.experiment] for name, claim in claims.items()})
        except UserError as error:
            if broken is None:
                raise
            broken[experiment] = error
    if not claims and not broken:
        raise UserError(f"no claims: there is no {one_of(str(folder / '*' / FILE) for folder in folders)}")
    return list(claims.values())


def _new(path: Path, known: Mapping[str, Path]) -> dict[str, Claim]:
    """The claims of a file by id. Raises UserError for an id that is `known` from this file or another."""
    claims: dict[str, Claim] = {}
    for claim in _read(path):
        if claim.id in known or claim.id in claims:
            raise UserError(f"{path}: claim {claim.id} is in {known.get(claim.id, path)} already")
        claims[claim.id] = claim
    return claims


def warn_of(broken: Broken) -> None:
    """A Notice for each claims file that is left out."""
    for error in broken.values():
        warnings.warn(f"{error}; onsager skips the claims of this file", Notice, stacklevel=2)


def select(claims: Sequence[Claim], names: Iterable[str], broken: Broken | None = None) -> list[Claim]:
    """The claims with these ids, and those that lie in or read these experiments; all if there are no names.

    Raises UserError for a name that no claim and no experiment has, and for a `broken` file that is asked for or may
    have the name.
    """
    wanted, broken = set(names), broken or {}
    experiments = {name for claim in claims for name in claim.experiments()}
    for name in sorted(wanted):
        if name in broken:
            raise broken[name]
        known = [*(claim.id for claim in claims), *sorted(experiments, key=figures_first)]
        if name not in known:
            for error in broken.values():
                raise error
            near = did_you_mean(name, known) or f": experiments are {one_of(sorted(experiments, key=figures_first))}"
            raise UserError(f"no claim and no experiment '{name}'{near}")
    return [claim for claim in claims if not wanted or claim.id in wanted or wanted & claim.experiments()]


def judge(claim: Claim, record: Record) -> Verdict:
    """The verdict on the first matrix of each curve, and on every one that all its curves are recorded on.

    Raises UserError, with the claim's id, for a curve or column that does not exist.
    """
    first = _judge(claim, record, None)
    if first.missing or not claim.curves():
        return first
    shared = common(record.realizations(*curve) for curve in claim.curves())
    seeds = {item: _judge(claim, record, item) for item in shared} if len(shared) > 1 else {}
    if len(shared) >= ENOUGH and first.word == UNDECIDED:
        first = _judge(claim, record, None, matrices=shared)
    fresh = _judge(claim, record, None, FRESH + claim.metric, shared) if _has_fresh(claim, record) else None
    return Verdict(claim, first.outcomes, first.missing, seeds, None if fresh is None or fresh.missing else fresh)


def _has_fresh(claim: Claim, record: Record) -> bool:
    """Whether every layer of every curve of a claim has been judged on fresh samples, too."""
    if claim.metric != NMSE[0]:
        return False
    try:
        return all(
            record.curve(*curve, FRESH + claim.metric).keys() == record.curve(*curve, claim.metric).keys()
            for curve in claim.curves()
        )
    except NotRecordedError:
        return False


def _judge(
    claim: Claim,
    record: Record,
    realization: Realization | None,
    metric: str | None = None,
    matrices: Sequence[Realization] = (),
) -> Verdict:
    data = Data(record, claim.experiment, metric or claim.metric, realization, made=record.made)
    outcomes: list[Outcome | None] = []
    missing = []
    for check in claim.checks:
        try:
            outcomes.append(check.run(data, matrices))
        except NotRecordedError as error:
            outcomes.append(None)
            missing.append(str(error))
        except UserError as error:
            raise UserError(f"claim {claim.id}: {error}") from None
    return Verdict(claim, tuple(outcomes), tuple(dict.fromkeys(missing)))


def _read(path: Path) -> list[Claim]:
    raw = read_yaml(path)
    if not isinstance(raw, list):
        raise UserError(f"{path}: must be a list of claims, got {show(raw)}")
    return [_claim(item, f"{path}, claim {index}", path) for index, item in enumerate(raw, 1)]


def _claim(raw: object, where: str, path: Path) -> Claim:
    raw = checked(raw, group(), f"{where}:")
    if isinstance(raw.get("id"), str):
        where = f"{path}, claim {raw['id']}"
    texts = {}
    for key, value in raw.items():
        if key not in _KEYS:
            raise UserError(f"{where}: unknown key {show(str(key))}{did_you_mean(key, _KEYS)}")
        if key != "criterion":
            texts[key] = checked(value, _metric if key == "metric" else _text, f"{where}: {key}")
    for key in _REQUIRED:
        if key not in raw:
            raise UserError(f"{where}: the key {key} is missing")
    return Claim(experiment=path.parent.name, checks=tuple(parse(raw["criterion"], where)), **texts)


def _text(raw: object) -> str:
    text = printable(" ".join(str(raw).split())) if isinstance(raw, str | int | float) else ""
    if not text or isinstance(raw, bool):
        raise ValueError("must be text")
    return text


def _metric(raw: object) -> str:
    if raw not in NMSE:
        raise ValueError(f"must be {one_of(NMSE)}{did_you_mean(raw, NMSE)}")
    return str(raw)


def number(outcome: Outcome) -> str:
    """The measured value and, where it is uncertain, SURE standard errors: "-3.21 ± 0.12 dB", "26", "more than 20"."""
    value, unit = outcome.value, outcome.unit
    if math.isinf(value.high) and value.low > 0 and unit == "layers":
        return f"more than {value.low - 1:g}"
    digits = {"dB": ".2f", "layers": ".0f"}.get(unit, ".4g")
    text = " to ".join(dict.fromkeys(f"{end:{digits}}" for end in value))
    if 0 < outcome.error < math.inf:
        width = SURE * outcome.error
        text += f" ± {width:{digits if unit == 'dB' else '.2g'}}"
    return f"{text} dB" if unit == "dB" else text


def described(outcome: Outcome) -> str:
    """The measured value, and where it was found: "-3.21 dB at 5", "0.98 (line 7)"."""
    at = outcome.at
    place = "" if at is None else f" at {at}" if isinstance(at, int) else f" ({at})"
    return number(outcome) + place


def _outcome(outcome: Outcome) -> dict[str, object]:
    low, high, margin = map(_finite, (*outcome.value, outcome.margin))
    return {
        "verdict": outcome.word, "holds": outcome.holds, "low": low, "high": high, "at": outcome.at, "margin": margin,
        "standard_error": _finite(outcome.error), "matrices": outcome.matrices, "unit": outcome.unit,
    }  # fmt: skip


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
