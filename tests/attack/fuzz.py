"""Random command lines, in this process: exit code 0 or 2 (1 for verify alone), one clean line, soon, nothing left behind.

Nothing is trained: `train` and the jobs of `sweep` stop when their experiment is made, `bench` before it measures.
"""

import contextlib
import faulthandler
import io
import os
import re
import resource
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from onsager_cli.cli import main as command

from . import judge, toys
from .lines import Lines, Words
from .tally import Plan, Tally

SECONDS = 12.0  # of CPU that a command line may take; a sweep composes a large figure twice, in three
WAITS = 60.0  # seconds after which it counts as waiting for ever
LONGEST_LINE = 1000  # characters that anybody reads
MEMORY = 6 * 2**30
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
WARNING = "onsager: warning: "
JOB = re.compile(r"job \d+(/\d+)?( failed)?: |\d+ jobs failed; ")


class TooSlow(BaseException):
    """A command line took too long. `raised` says so even if something catches the exception."""

    raised = False


def main(plan: Plan, tally: Tally) -> None:
    home = plan.folder / "home"
    cwd = home / "deep" / "cwd"
    prepare(cwd)
    os.chdir(cwd)
    os.environ["HOME"] = str(home)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    faulthandler.dump_traceback_later(1e6 if plan.seconds > 1e6 else plan.seconds + 300, exit=True)
    for number in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(number, _too_slow)
    slowest = (0.0, "")
    lines = Lines()
    with nothing_trained():
        for case, rng in plan.cases(tally):
            words = lines.line(rng)
            outcome, found, seconds = judged(words, home)
            slowest = max(slowest, (seconds, shlex.join(words)[:200]))
            if found is None:
                tally.count(words[0] if words and words[0] in lines.options else "no verb", outcome)
            else:
                least = smaller(words, found, home)
                name = words[0] if words and words[0] in lines.options else "no verb"
                tally.fail(name, case, found, f"onsager {shown(least)}"[:3000])
    faulthandler.cancel_dump_traceback_later()
    tally.notes.append(f"slowest: {slowest[0]:.1f} s of CPU, onsager {slowest[1]}")


def _too_slow(*_: object) -> None:
    TooSlow.raised = True
    raise TooSlow


def prepare(cwd: Path) -> None:
    """A working folder with an experiment of its own and a small record."""
    shutil.rmtree(cwd.parent.parent, ignore_errors=True)
    toys.experiment(cwd)
    toys.claims(cwd)
    header = "curve,network,shrinkage,tied,layer,nmse_db,nmse_db_se,nmse_mean_ratio_db,problem,instance,seed,steps,seconds,parameters"
    rows = (
        "amp_l1,lamp,soft,true,3,-5,0.1,-5,gaussian,seeded,0,0,1,0",
        "oracle,oracle,,,,-40,0.1,-40,gaussian,seeded,0,0,1,0",
    )
    (cwd / "experiments" / "mine" / "curves.csv").write_text("\n".join((header, *rows, "")))


@contextlib.contextmanager
def nothing_trained() -> Iterator[None]:
    """Within the block, commands stop where computing would begin."""
    from onsager_cli import run
    from onsager_cli.cli import bench, sweep, train
    from onsager_cli.config.load import load_experiment
    from onsager_cli.figures.kinds import kind_of

    def measured(options):
        for name in options.network:
            load_experiment([*bench.NETWORKS[name], *options.override])
        row = {"network": "lamp-bg", "depth": 2}
        return {"quality": [row], "steps": [row], "samples_per_second": 1.0, "data_ms_per_step": 1.0}

    kept = (train.train, sweep.launch, bench.measured, run.plot, run.record)

    def quick(function):
        return lambda experiment, *more: function(experiment, *more) if kind_of(experiment).trains else ([], [])

    train.train, sweep.launch = lambda experiment, live=None: None, lambda jobs, launcher: {}
    bench.measured, run.plot, run.record = measured, quick(run.plot), quick(run.record)
    try:
        yield
    finally:
        train.train, sweep.launch, bench.measured, run.plot, run.record = kept


def judged(words: Words, home: Path) -> tuple[str, str | None, float]:
    """(exit code in words, what is wrong or None, seconds) of one command line."""
    before = below(home)
    started = time.process_time()
    code, out, err = ran(words)
    seconds = time.process_time() - started
    left = sorted(below(home) - before)
    found = wrong(words, code, out, err) or wrong_files(words, code, left)
    for path in left:
        _remove(home / path)
    if code is None:
        return "too slow", f"takes more than {SECONDS:.0f} s of CPU, or waits", seconds
    return f"exit code {code}", found, seconds


def below(home: Path) -> set[str]:
    """Every file and folder of the user."""
    return {
        os.path.join(folder, name)[len(str(home)) + 1 :]
        for folder, *names in os.walk(home)
        for some in names
        for name in some
    }


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def ran(words: Words) -> tuple[int | None, str, str]:
    """(exit code, stdout, stderr) of `onsager WORDS`; no code if it took too long."""
    bytes_out, bytes_err = io.BytesIO(), io.BytesIO()
    out = io.TextIOWrapper(bytes_out, "utf-8", "strict", write_through=True)
    err = io.TextIOWrapper(bytes_err, "utf-8", "backslashreplace", write_through=True)
    streams = sys.stdin, sys.stdout, sys.stderr
    code: int | None
    try:
        sys.stdin, sys.stdout, sys.stderr = io.StringIO(""), out, err
        TooSlow.raised = False
        timers(SECONDS, WAITS)
        code = command.main(words)
    except TooSlow:
        code = None
    except SystemExit as error:
        code = 1000 if error.code is None else int(error.code) if isinstance(error.code, int) else 1001
        err.write(f"SystemExit({error.code})")
    finally:
        timers(0, 0)
        sys.stdin, sys.stdout, sys.stderr = streams
    if code in (130, 143) and not TooSlow.raised:  # a signal to this process
        raise KeyboardInterrupt
    told, complaint = (stream.getvalue().decode("utf-8", "replace") for stream in (bytes_out, bytes_err))
    return None if TooSlow.raised else code, told, complaint


def timers(cpu: float, wall: float) -> None:
    """Signals after so many seconds of CPU time and of waiting; 0: none."""
    signal.setitimer(signal.ITIMER_PROF, cpu)
    signal.setitimer(signal.ITIMER_REAL, wall)


def wrong(words: Words, code: int | None, out: str, err: str) -> str | None:
    """What is wrong with the end of a command line; None if nothing is."""
    if code is None:
        return f"takes more than {SECONDS:.0f} s of CPU, or waits"
    if code not in (0, 2) and not (code == 1 and words[:1] == ["verify"] and not err):
        return f"exit code {code}: {judge.last_line(err)}"
    typed = " ".join(words)
    if (found := judge.CRASH.search(err)) and found[0] not in typed:
        return f"names {found[0]}: {judge.last_line(err)}"
    lines = err.splitlines()
    own = [line for line in lines if not line.startswith(WARNING) and not JOB.match(line)]
    if code == 2 and not (own and own[-1].startswith("onsager: ")):
        return f"exit code 2, and stderr ends with {judge.last_line(err)!r}"
    if code == 2 and len(own) > 1:
        return f"{len(own)} lines on stderr: {own[0][:100]!r}, …"
    if code == 0 and own and not out and words[:1] == ["train"]:
        return f"exit code 0 with {own[-1][:200]!r}"
    if found := CONTROL.search(err):
        return f"writes the character {found[0]!a} to the terminal"
    if words[:1] != ["completion"] and (found := CONTROL.search(out)):
        return f"writes the character {found[0]!a} to stdout"
    if longest := next((line for line in lines if len(line) > LONGEST_LINE), None):
        return f"a line of {len(longest)} characters: {longest[:60]!r}…"
    return None


def wrong_files(words: Words, code: int | None, left: Sequence[str]) -> str | None:
    """What a command line left outside of its output; None if nothing."""
    verb = words[0] if words else ""
    if not left or code is None:
        return None
    if code == 0 and verb in ("sweep", "report", "plot", "record"):
        return next((f"leaves {path!r}" for path in left if "~" in path), None)
    if verb == "sweep" and any("sweeps" in path or path.endswith(".yaml") is False for path in left):
        return None  # its output folder is made before the jobs run
    return f"leaves {left[0]!r}, exit code {code}"


def smaller(words: Words, found: str, home: Path) -> Words:
    """The command line without the words that its failure does not need."""
    alike = _kind(found)
    end = time.monotonic() + 20

    def fails(shorter: Words) -> bool:
        again = judged(shorter, home)[1]
        return again is not None and _kind(again) == alike

    number = len(words) - 1
    while number > 0 and time.monotonic() < end:
        if fails(shorter := words[:number] + words[number + 1 :]):
            words = shorter
        number -= 1
    return words


def _kind(found: str) -> str:
    return re.sub(r"\d+|'[^']*'", "", found)[:40]


def shown(words: Words) -> str:
    """A command line as bash takes it, long words cut."""
    return " ".join(
        "$" + repr(word).replace('"', '\\"')
        if CONTROL.search(word)
        else shlex.quote(word if len(word) < 400 else word[:60] + f"…({len(word)})")
        for word in words
    )
