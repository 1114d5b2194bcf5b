"""Two to four processes at once on figures that share curves, some killed: no deadlock, nothing left, the same bits."""

import random
import time
from collections.abc import Iterable
from pathlib import Path

from . import judge, toys
from .kill import SIGNALS, state_of
from .processes import Command, stop_all
from .stages import UndisturbedError
from .tally import Plan, Tally

DEEP = ["network.depth=3"]
COMMANDS = {
    "all": [],
    "lamp": ["only=[lamp_tied_bg,lamp_untied_bg]"],
    "untied": ["only=[lamp_untied_bg,amp_l1]"],
    "deep": ["only=[lamp_tied_bg,lamp_untied_bg]", *DEEP],
    "l1": ["only=[lamp_tied_l1,amp_l1]"],
    "deep l1": ["only=[lamp_tied_l1,oracle]", *DEEP],
    "deep amp": ["only=[amp_l1]", "network.depth=5"],
}
"""Name → overrides beside those of the experiment. They share curves, to different depths."""
TOGETHER = 240.0  # seconds in which all must be through


def main(plan: Plan, tally: Tally) -> None:
    references: dict[frozenset[str], toys.Snapshot] = {}
    begin, cwd = plan.folder / "begin", plan.folder / "cwd"
    toys.experiment(begin)
    for case, rng in plan.cases(tally):
        names = [rng.choice(list(filter(plan.chosen, COMMANDS))) for _ in range(rng.randint(2, 4))]
        toys.copy(begin, cwd)
        key = frozenset(names)
        if key not in references:
            references[key] = one_after_the_other(key, begin, plan.folder)
        trial(case, rng, names, references[key], cwd, tally)


def words(name: str) -> list[str]:
    """The command of a name, without schedules that none of its curves has: these are refused."""
    has = " ".join(COMMANDS[name]) or "lamp_untied"
    known = [word for word in toys.MINE if "lamp_untied" in has or "training.lamp_untied" not in word]
    known = known if "lamp" in has else known[:1]
    return ["train", *known, f"figure.name={name.replace(' ', '_')}", *COMMANDS[name]]


def one_after_the_other(names: Iterable[str], begin: Path, folder: Path) -> toys.Snapshot:
    """What these commands leave if nobody disturbs them; the deeper ones come first."""
    cwd = folder / "reference"
    toys.copy(begin, cwd)
    for name in sorted(names, key=lambda name: ("deep" not in name, name)):
        ended = Command(words(name), cwd, folder / "said", cwd, often=False).wait()
        if ended.code:
            raise UndisturbedError(f"{name}: {ended.err}")
    return toys.snapshot(cwd, but=ignored)


def ignored(name: str) -> bool:
    """config.yaml says what the last command asked for, iterations.json how far it let AMP go."""
    return name.endswith("config.yaml")


def trial(case: int, rng: random.Random, names: list[str], expected: toys.Snapshot, cwd: Path, tally: Tally) -> None:
    """Some processes at once, killed ones started again, all of them through in the end."""
    kind, told, killed = f"{len(names)} processes", [f"figures {', '.join(names)}"], 0
    commands: list[Command] = []
    running: dict[int, tuple[str, Command, float | None]] = {}
    try:
        for number, name in enumerate(names):
            time.sleep(rng.choice((0, rng.uniform(0, 0.5), rng.uniform(0, 2))))
            running[number] = _start(rng, number, name, cwd, commands)
        end = time.monotonic() + TOGETHER
        while running and time.monotonic() < end:
            time.sleep(0.01)
            for number, (name, command, kill_at) in list(running.items()):
                if kill_at is not None and time.monotonic() > kill_at and not command.ended():
                    act = rng.choice(list(SIGNALS))
                    command.kill(SIGNALS[act])
                    told.append(f"process {number + 1} ({name}): {act}")
                    killed += 1
                    running[number] = (name, command, None)
                if not command.ended():
                    continue
                ended = command.wait()
                if found := judge.wrong_end(ended, {143: "term", 130: "int"}.get(ended.code, "kill")):
                    tally.fail(kind, case, found, "\n".join(told))
                    return
                if ended.code == 0:
                    del running[number]
                else:
                    running[number] = _start(rng, number, name, cwd, commands, at_most=0.3)
        if running:
            left = ", ".join(name for name, *_ in running.values())
            tally.fail(kind, case, f"not through after {TOGETHER:.0f} s: {left}", "\n".join(told))
            return
    finally:
        stop_all(commands)
    found = [*toys.differences(toys.snapshot(cwd, but=ignored), expected), *toys.remains(cwd)]
    if state := state_of(cwd / "outputs"):
        found.append(state)
    if found:
        tally.fail(kind, case, "; ".join(found[:4]), "\n".join(told))
    else:
        tally.count(kind, f"{killed} killed" if killed < 4 else "more killed")


def _start(
    rng: random.Random, number: int, name: str, cwd: Path, commands: list[Command], at_most: float = 0.5
) -> tuple[str, Command, float | None]:
    """Start one of the processes; with chance `at_most` it is to be killed."""
    command = Command(words(name), cwd, cwd.parent / f"said{number}", cwd, often=rng.random() < 0.5)
    commands.append(command)
    return name, command, time.monotonic() + rng.uniform(0.1, 5) if rng.random() < at_most else None
