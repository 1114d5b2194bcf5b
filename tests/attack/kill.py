"""Kills: at a file operation, in half a write or at any time; again and again, then to the end; the same bits.

Most kills hit forks that train tiny figures and save at every step. Some hit `sweep`, `plot`, `record`, `report` and
`clean`, sweeps on a process pool, and real processes while they start.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from onsager_cli.cli import listing
from onsager_cli.errors import UserError
from onsager_cli.store.locks import holder

from . import judge, toys
from .processes import HANGS, LONGEST, XLA, Ended, Fault, of_session
from .stages import Stage, others, trainings
from .tally import Plan, Tally

SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "int": signal.SIGINT}
MOST = 10  # kills of one command before it may come through
LOST = 1.0  # seconds that a command may run after a signal and still end with 0
STARTING = (["list"], ["plot", "+experiment=quick"], ["--version"], ["list", "runs"])


def main(plan: Plan, tally: Tally) -> None:
    stages = [(stage, 1) for stage in trainings(plan.folder)] + [(stage, 1.5) for stage in others(plan.folder)]
    turns = [(stage, share) for stage, share in stages if plan.chosen(stage.name)]
    turns += [(name, share) for name, share in (("start", 1), ("joblib sweep", 0.5)) if plan.chosen(name)]
    finished = 0
    for case, rng in plan.cases(tally):
        turn = rng.choices([turn for turn, _ in turns], [share for _, share in turns])[0]
        if turn == "start":
            starting(case, rng, tally)
        elif isinstance(turn, Stage):
            finished += until_through(case, rng, turn, tally)
        elif find_spec("joblib"):
            pool(case, rng, plan.folder / "pool", tally)
    tally.notes = [f"{finished} commands came through and were compared with an undisturbed run, bit for bit"]


def until_through(case: int, rng: random.Random, stage: Stage, tally: Tally) -> int:
    """Kill one command again and again, then let it come through; returns 1 if it was compared and is the same."""
    assert stage.expected
    stage.fresh()
    kind, told = stage.name, []
    for _ in range(rng.randint(1, MOST)):
        act, blow, ended, late = one_kill(rng, stage)
        told.append(blow)
        if found := wrong(stage, act, ended, late):
            tally.fail(f"{kind}: {act}", case, found, "\n".join(told[-5:]))
        elif not ended.begun:
            continue
        elif ended.fired or ended.code:
            tally.count(kind, act)
        else:
            break
    ended = stage.run(often=False)
    found = [end] if (end := judge.wrong_end(ended, "kill")) else stage.wrong()
    if found:
        tally.fail(kind, case, "; ".join(found[:4]), "\n".join(told[-8:]))
    return int(not found)


def one_kill(rng: random.Random, stage: Stage) -> tuple[str, str, Ended, float]:
    """Run the command with one blow: (what kind, in words, how it ended, seconds that it lived after a signal)."""
    act = rng.choices(("kill", "torn", "term", "int"), (5, 2, 2, 2))[0]
    if act == "torn" or rng.random() < 0.75:
        fault = Fault(act, stage.moment(rng))
        ended = stage.run(fault)
        return act, str(fault), ended, 0.0
    seconds = rng.uniform(0.02, 2.5 if stage.trains else 0.6)
    command = stage.start()
    while time.monotonic() < command.started + seconds and not command.ended():
        time.sleep(0.002)
    command.kill(SIGNALS[act])
    sent = time.monotonic()
    ended = command.wait()
    return act, f"{act} after {seconds:.2f} s", ended, time.monotonic() - sent


def wrong(stage: Stage, act: str, ended: Ended, late: float) -> str | None:
    """What is wrong with a blow and what it left; None if nothing is."""
    if found := judge.wrong_end(ended, act):
        return found
    if ended.code == 0 and (ended.fired or late > LOST):
        return f"{act} is lost: exit code 0"
    return None if stage.name == "clean" else state_of(stage.cwd / "outputs")  # clean finds damage there


def state_of(output: Path) -> str | None:
    """What is wrong with a store in the middle of things: the listing says damage, or a dead process holds a lock."""
    try:
        text = listing.as_text(*listing.chosen([f"output={output}"]))
    except UserError as error:
        return f"list runs: {error}"
    if "damaged" in text:
        return f"list runs: {next(line for line in text.splitlines() if 'damaged' in line)}"
    held = [path.name for path in (output / "curves").glob("*/") if holder(path)]
    return f"{held[0]} is locked by nobody" if held else None


def starting(case: int, rng: random.Random, tally: Tally) -> None:
    """A signal to a real process while it starts: the right exit code, and nothing of onsager in a traceback."""
    act, words, seconds = rng.choice(("term", "int")), rng.choice(STARTING), rng.uniform(0.02, 0.7)
    with subprocess.Popen(
        [sys.executable, "-m", "onsager_cli", *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    ) as process:  # fmt: skip
        time.sleep(seconds)
        process.send_signal(SIGNALS[act])
        _, err = process.communicate(timeout=60)
    example = f"{act} to `onsager {' '.join(words)}` after {seconds:.3f} s\n{err[-600:]}"
    # Before the first line of onsager runs, Python's own handlers decide.
    mine = "onsager_cli" in err.replace("-m onsager_cli", "")
    if "Traceback" in err and mine:
        tally.fail(f"start: {act}", case, f"traceback: {judge.last_line(err)}", example)
    elif process.returncode not in (0, -SIGNALS[act], *judge.CODES[act]) and (mine or "Traceback" not in err):
        # plot without results ends with 2 where the signal came too late
        if process.returncode == 2 and "nothing is trained yet" in err:
            tally.count("start", "too late")
        else:
            tally.fail(f"start: {act}", case, f"exit code {process.returncode}: {judge.last_line(err)}", example)
    else:
        tally.count("start", act if process.returncode else "too late")


def pool(case: int, rng: random.Random, folder: Path, tally: Tally) -> None:
    """A kill of a sweep on a process pool, alone or with its workers; then the sweep again, the same bits."""
    words = ["sweep", *toys.FIGURES["lamp"], "seed=0,1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    reference, killed = folder / "reference", folder / "killed"
    if not reference.is_dir():
        reference.mkdir(parents=True)
        process = Pool(words, reference)
        assert process.wait() == 0, process.err
    shutil.rmtree(killed, ignore_errors=True)
    killed.mkdir()
    act, together, seconds = rng.choice(list(SIGNALS)), rng.random() < 0.5, rng.uniform(1.0, 9.0)
    first = Pool(words, killed)
    first.signal_after(seconds, SIGNALS[act], together)
    code = first.wait()
    whom = "with its workers" if together else "alone"
    example = f"{act} {whom} after {seconds:.1f} s: exit code {code}\n{first.err[-400:]}"
    again = Pool(words, killed)  # beside workers that may still run
    found = [f"then exit code {again.err[-300:]}"] if again.wait() else []
    if state := state_of(killed / "outputs"):
        found.append(state)
    stay = bool(first.orphans())  # joblib's workers wait 300 s for work when the process that began them is killed
    first.end()
    again.end()
    without = [toys.snapshot(place, but=lambda name: "sweeps" in name) for place in (killed, reference)]
    found += toys.differences(*without)
    if code not in (0, *judge.CODES[act]) or "Traceback" in first.err:
        tally.fail(f"joblib sweep: {act}", case, f"exit code {code}: {judge.last_line(first.err)}", example)
    elif found:
        tally.fail(f"joblib sweep: {act}", case, "; ".join(found[:3]), example)
    else:
        tally.count("joblib sweep", f"{act}, workers stay" if stay else act if code else "too late")


class Pool:
    """A real process of the checkout's onsager, in a session of its own that its workers share."""

    def __init__(self, words: list[str], cwd: Path):
        self.file = cwd.with_suffix(".err")  # a pipe would stay open as long as a worker runs
        with self.file.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "onsager_cli", *words], cwd=cwd, stdout=subprocess.DEVNULL, stderr=err,
                start_new_session=True, env={**os.environ, **XLA, "PYTHONPATH": os.getcwd()},
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )  # fmt: skip

    @property
    def err(self) -> str:
        return self.file.read_text(errors="replace")

    def signal_after(self, seconds: float, number: int, together: bool) -> None:
        """Send a signal if it still runs then, to it alone or to its workers, too."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        if self.process.returncode is None:
            (os.killpg if together else os.kill)(self.process.pid, number)

    def wait(self) -> int:
        """Its exit code; HANGS if it does not end."""
        try:
            return self.process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            self.end()
            return HANGS

    def orphans(self) -> list[int]:
        """The processes of its session that still run."""
        return of_session(self.process.pid)

    def end(self) -> None:
        """Kill what is left of it."""
        for number in self.orphans():
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        self.process.wait()
