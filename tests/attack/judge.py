"""What must hold of every command, whatever happened to it."""

import re

from .processes import HANGS, Ended

CRASH = re.compile(r"Traceback \(most recent|ONSAGER_DEBUG=1 shows|\b[A-Z]\w*(?:Error|Exception|Interrupt)\b")
CODES = {"kill": (-9,), "torn": (-9,), "term": (143,), "int": (130,), "error": (2,)}
STOPPED = "onsager: stopped; run the same command again to resume: onsager "


def crash(code: int, err: str) -> str | None:
    """What is wrong with a command that hung, crashed or showed a traceback; None if nothing is."""
    if code == HANGS:
        return "does not end"
    if CRASH.search(err):
        lines = [line for line in err.splitlines() if CRASH.search(line)]
        line = next((line for line in lines if "Traceback" not in line), lines[0])
        return f"exit code {code}, {' '.join(line.split())[:200]}; then {last_line(err)}"
    if code == 1:
        return f"exit code 1, {last_line(err)}"
    return None


def last_line(err: str) -> str:
    return next((line for line in reversed(err.splitlines()) if line.strip()), "nothing on stderr")[:300]


def wrong_end(ended: Ended, act: str) -> str | None:
    """What is wrong with the end of a command to which `act` happened; None if nothing is."""
    if not ended.begun or (act == "term" and ended.code == -15 and not ended.err.strip()):
        return None  # the signal came before onsager could do anything about it
    if found := crash(ended.code, ended.err):
        return found
    if "damaged" in ended.err:
        return f"finds damage: {last_line(ended.err)}"
    if ended.code not in (0, *CODES[act]):
        return f"exit code {ended.code} after {act}, {last_line(ended.err)}"
    if ended.code in (130, 143) and not last_line(ended.err).startswith(STOPPED):
        return f"exit code {ended.code}, last line {last_line(ended.err)!r}"
    if ended.code == 2 and not last_line(ended.err).startswith("onsager: "):
        return f"exit code 2, last line {last_line(ended.err)!r}"
    return None
