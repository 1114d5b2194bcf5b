"""`onsager verify`: one line per claim, from recorded tables alone. No JAX, in a second or two."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onsager_cli.claims.checks import FAILS, HOLDS, UNDECIDED
from onsager_cli.claims.claim import FILE, NOT_RUN, Broken, Verdict, judge, load, select, warn_of
from onsager_cli.claims.recorded import Record
from onsager_cli.errors import UserError
from onsager_cli.store.files import entries, exists, is_folder
from onsager_cli.text import columns, hung, markdown_table, printable, render

FOLDER = Path("experiments")
VOCABULARY = Path(__file__).with_name("vocabulary.md")
_HEADER = ("claim", "verdict", "measured", "margin", "paper", "statement")


def verify(folder: Path, names: Sequence[str] = (), called: str = "folder") -> list[Verdict]:
    """The verdicts on the tables in `folder`.

    The claims are those of its own claims files, and the published ones for the other experiments. Where names are
    given, a malformed claims file of another experiment is a warning. Raises UserError for a missing folder, which
    `called` names, a malformed claims file, an unknown name, and a damaged table.
    """
    if not is_folder(folder):
        where = " here: run it in a checkout, or name a record" if folder == FOLDER else ""
        raise UserError(f"{called}: there is no folder {str(folder)!r}{where}")
    record, broken = Record(folder), Broken()
    claims = load(dict.fromkeys([folder, FOLDER]), broken if names else None)
    chosen = select(claims, names, broken)
    warn_of(broken)
    return [judge(claim, record) for claim in chosen]


def of_record(folder: Path, called: str = "folder") -> list[Verdict]:
    """As `verify`, but of the experiments in `folder` alone, and [] where nobody claims anything."""
    places = [place for root in dict.fromkeys([folder, FOLDER]) for place in entries(root)]
    if is_folder(folder) and not any(exists(place / FILE) for place in places):
        return []
    own = {place.name for place in entries(folder)}
    return [verdict for verdict in verify(folder, called=called) if verdict.claim.experiment in own]


def undeclared(verdict: Verdict) -> bool:
    """Whether the claim fails and is not declared a known failure."""
    return verdict.word == FAILS and verdict.claim.known_failure is None


def counts(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """How many claims hold, fail, and are not run, and how many of the failures are declared known."""
    number = {word: sum(verdict.word == word for verdict in verdicts) for word in (HOLDS, FAILS, UNDECIDED, NOT_RUN)}
    return {**number, "known failures": number[FAILS] - sum(map(undeclared, verdicts))}


def summary(verdicts: Sequence[Verdict]) -> str:
    """ "52 claims: 29 hold, 4 fail (2 known), 2 undecided, 17 not run"."""
    number = counts(verdicts)
    known = f" ({number['known failures']} known)" if number["known failures"] else ""
    return (
        f"{len(verdicts)} claim{'s' * (len(verdicts) != 1)}: {number[HOLDS]} hold, {number[FAILS]} fail{known}, "
        f"{number[UNDECIDED]} undecided, {number[NOT_RUN]} not run"
    )


def as_text(verdicts: Sequence[Verdict], width: int | None = None) -> str:
    """Aligned columns, one line per claim, folded to `width`; below, what is missing and what is known."""
    table = [_HEADER, *map(_cells, verdicts)]
    notes: dict[str, list[str]] = {}
    for verdict in verdicts:
        if verdict.note:
            notes.setdefault(verdict.note, []).append(verdict.claim.id)
    below = [f"{', '.join(ids)}: {note}" for note, ids in notes.items()]
    folded = [line for note in below for line in hung(printable(note), "", width)]
    return "\n".join(
        [columns(table, width=width), "", *folded, *([""] * bool(below)), *hung(summary(verdicts), "", width)]
    )


def as_markdown(verdicts: Sequence[Verdict]) -> str:
    """A page in Markdown: how to read the verdicts, and a table of them with their notes."""
    body = []
    for verdict in verdicts:
        name, word, measured, margin, paper, statement = _cells(verdict)
        note = f" ({verdict.note})" if verdict.note else ""
        body.append((name, verdict.claim.source, statement, paper, measured, margin, f"**{word}**{note}"))
    header = ("claim", "source", "statement", "paper", "measured", "margin", "verdict")
    table = markdown_table(header, body, right=("margin",))
    return render("claims.md.j2", summary=summary(verdicts), table=table)


def as_json(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Counts and every verdict, as plain JSON."""
    return {"summary": counts(verdicts), "claims": [verdict.as_json() for verdict in verdicts]}


def _cells(verdict: Verdict) -> tuple[str, ...]:
    claim = verdict.claim
    known = ", known" if verdict.word == FAILS and not undeclared(verdict) else ""
    return claim.id, f"{verdict.word}{known}", verdict.measured, verdict.margin, claim.paper, claim.statement
