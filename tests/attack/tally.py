"""What a campaign counts: tries by kind and outcome, and the failures, alike ones together."""

import random
import re
import shlex
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from onsager_cli.text import columns

TELL = 30.0  # seconds between words about how far a campaign is


@dataclass
class Tally:
    """Counts of one campaign. An outcome is a word such as "same bits"; failures are counted under "failed"."""

    plan: "Plan"
    counts: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    failures: defaultdict[str, list[tuple[int, str, str]]] = field(default_factory=lambda: defaultdict(list))
    notes: list[str] = field(default_factory=list)
    _started: float = field(default_factory=time.monotonic)

    def count(self, kind: str, outcome: str, number: int = 1) -> None:
        self.counts[kind][outcome] += number

    def fail(self, kind: str, case: int, what: str, example: str = "") -> None:
        """A failure of this kind in this case: `what` went wrong, and the `example` that shows it."""
        self.count(kind, "failed")
        alike = re.sub(r"[0-9a-f]{8,}|\d+|'[^']*'", "·", what)[:80]
        found = self.failures[f"{kind}: {alike}"]
        if not found:
            print(f"{self.plan.campaign}, case {case}: {kind}: {what}\n{example}", file=sys.stderr, flush=True)
        found.append((case, what, example))

    @property
    def tries(self) -> int:
        return sum(counter.total() for counter in self.counts.values())

    @property
    def failed(self) -> int:
        return sum(counter["failed"] for counter in self.counts.values())

    def text(self) -> str:
        """The table of counts, the notes, and one example of every kind of failure, the shortest one."""
        outcomes = list(dict.fromkeys(outcome for counter in self.counts.values() for outcome in counter))
        outcomes = [*(outcome for outcome in outcomes if outcome != "failed"), "failed"]
        rows = [["", "tries", *outcomes]]
        for kind, counter in self.counts.items():
            rows.append([kind, str(counter.total()), *(str(counter[outcome] or "") for outcome in outcomes)])
        together = [sum(counter[outcome] for counter in self.counts.values()) for outcome in outcomes]
        rows.append(["together", str(self.tries), *map(str, together)])
        lines = [columns(rows, right=range(1, len(rows[0])))]
        lines += ["", *self.notes] if self.notes else []
        for alike, examples in sorted(self.failures.items(), key=lambda item: -len(item[1])):
            case, what, example = min(examples, key=lambda found: (len(found[2]), found[0]))
            lines += [
                "",
                f"{len(examples)} x {alike}",
                f"    {what}",
                *(f"    {line}" for line in example.splitlines()),
            ]
            lines.append(f"    again: {self.plan.again(case)}")
        seconds = time.monotonic() - self._started
        lines += ["", f"{self.plan.campaign}: {self.tries} tries, {self.failed} failures, {seconds:.0f} s"]
        return "\n".join(lines)


@dataclass
class Plan:
    """How much of a campaign is run, and where."""

    campaign: str
    tries: int
    seconds: float
    seed: int
    first: int
    folder: Path
    only: frozenset[str] = frozenset()  # names of commands or files; empty: all

    def chosen(self, name: str) -> bool:
        """Whether a command or a file takes part."""
        return not self.only or name in self.only

    def again(self, case: int) -> str:
        """The command that begins with this case."""
        only = f" --only {shlex.quote(','.join(sorted(self.only)))}" if self.only else ""
        return f"python -m tests.attack {self.campaign} --seed {self.seed} --first {case} --tries 1{only}"

    def numbers(self, case: int) -> random.Random:
        """The random numbers of one case, the same in every run."""
        return random.Random(f"{self.campaign} {self.seed} {case}")

    def cases(self, tally: Tally) -> Iterator[tuple[int, random.Random]]:
        """Cases until there are enough tries, or no time is left."""
        case, end, told = self.first, time.monotonic() + self.seconds, time.monotonic()
        while tally.tries < self.tries and time.monotonic() < end:
            yield case, self.numbers(case)
            case += 1
            if time.monotonic() > told + TELL:
                told = time.monotonic()
                print(f"{self.campaign}: {tally.tries} of {self.tries}, {tally.failed} failures", file=sys.stderr)
