"""Writes that fail: an error at every file operation in turn, once or from there on; small, read-only and limited disks.

Afterwards the same command must end with the same bits. Real file systems need root; without it they are left out.
"""

import contextlib
import errno
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from . import judge
from .processes import Ended, Fault
from .stages import Stage, others, trainings
from .tally import Plan, Tally

ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
SAYS = {
    errno.ENOSPC: "the disk is full", errno.EDQUOT: "quota", errno.EROFS: "read-only", errno.EIO: "Input/output error",
}  # fmt: skip
MOST = 40  # faults of one command until it must be through
REAL = ("small", "read-only", "largest file")


def main(plan: Plan, tally: Tally) -> None:
    stages = [stage for stage in [*trainings(plan.folder), *others(plan.folder)] if plan.chosen(stage.name)]
    training, verbs = [[stage for stage in stages if stage.trains is trains] for trains in (True, False)]
    can_mount = mounts(plan.folder / "probe")
    if not can_mount:
        tally.notes = ["no file system can be mounted here: none was full or read-only for real"]
    every = every_operation(verbs)
    for case, rng in plan.cases(tally):
        what = rng.choices(("training", "verb", "real"), (3 * bool(training), 6 * bool(verbs), 1))[0]
        if what == "training":
            in_a_row(case, rng, rng.choice(training), tally)
        elif what == "verb":
            once(case, *next(every), tally)
        else:
            on_a_real_disk(case, rng, rng.choice([*training, *verbs]), can_mount, tally)
    tally.notes += [f"{stage.name}: {len(stage.operations)} file operations" for stage in verbs if stage.operations]


def every_operation(stages: list[Stage]) -> Iterator[tuple[Stage, Fault]]:
    """Every file operation of every command, with every error, again and again."""
    while True:
        at = 0
        while at < max(len(stage.operations) for stage in stages if stage.expected):
            at += 1
            for stage in stages:
                for number in ERRORS:
                    for lasting in (False, True):
                        if at <= len(stage.operations):
                            yield stage, Fault("error", at, number, lasting)


def once(case: int, stage: Stage, fault: Fault, tally: Tally) -> None:
    """One error in a command of its own, then the command again."""
    assert stage.expected
    stage.fresh()
    ended = stage.run(fault)
    if judged(case, stage, [str(fault)], ended, fault, tally):
        through(case, stage, [str(fault)], tally)


def in_a_row(case: int, rng: random.Random, stage: Stage, tally: Tally) -> None:
    """Errors in a training, one start after the other, until a start meets none."""
    assert stage.expected
    stage.fresh()
    told: list[str] = []
    for _ in range(MOST):
        fault = Fault("error", stage.moment(rng), rng.choice(ERRORS), rng.random() < 0.5)
        ended = stage.run(fault)
        told.append(str(fault))
        if not ended.fired:
            break
        if not judged(case, stage, told[-5:], ended, fault, tally):
            return
    through(case, stage, told[-5:], tally)


def judged(case: int, stage: Stage, told: list[str], ended: Ended, fault: Fault, tally: Tally) -> bool:
    """Count how a command with a fault ended; returns whether that was right."""
    found = judge.wrong_end(ended, "error")
    reasons = [line for line in ended.err.splitlines() if line.startswith("onsager: ")]
    if found is None and ended.code == 2 and not any(SAYS[fault.number] in line for line in reasons):
        found = f"exit code 2 without the reason: {judge.last_line(ended.err)}"
    if found is None and ended.code == 0 and (different := stage.wrong()):
        found = f"exit code 0, but {'; '.join(different[:3])}"
    kind = f"{stage.name}: {errno.errorcode[fault.number]}"
    if found:
        tally.fail(kind, case, found, "\n".join(told))
    elif ended.fired:
        tally.count(kind, "one line" if ended.code else "did not matter")
    return found is None


def through(case: int, stage: Stage, told: list[str], tally: Tally) -> None:
    """The same command on a good disk."""
    ended = stage.run()
    found = [wrong] if (wrong := judge.wrong_end(ended, "kill")) else stage.wrong()
    if found:
        tally.fail(f"{stage.name}: afterwards", case, "; ".join(found[:4]), "\n".join(told))


def mounts(folder: Path) -> bool:
    """Whether file systems can be mounted here."""
    folder.mkdir(parents=True, exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "none", folder], capture_output=True).returncode:
        return False
    subprocess.run(["umount", folder], check=True)
    return True


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """A tmpfs in place of a folder, within the block."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "none", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def on_a_real_disk(case: int, rng: random.Random, stage: Stage, can_mount: bool, tally: Tally) -> None:
    """A tmpfs that is nearly full, or read-only, or a limit on the size of files; then more room, the same bits."""
    assert stage.expected
    how = rng.choice(REAL) if can_mount else "largest file"
    kept = stage.home / "begin"
    if how == "largest file":
        stage.fresh()
        largest = int(10 ** rng.uniform(3.4, 4.7))
        ended = stage.run(largest=largest)
        if right_end(case, how, f"{stage.name}, files of at most {largest} bytes", ended, "File too large", tally):
            through(case, stage, [f"files of at most {largest} bytes"], tally)
        return
    used = subprocess.run(["du", "-sk", kept], capture_output=True, text=True, check=True).stdout
    size = int(used.split()[0]) + 16 + 4 * rng.randrange(60)
    shutil.rmtree(stage.cwd, ignore_errors=True)
    with mounted(stage.cwd, f"size={size}k"):
        if subprocess.run(["cp", "-a", f"{kept}/.", stage.cwd], capture_output=True).returncode:
            return  # too small for what the command finds
        example = f"{stage.name} in {size} kB"
        if how == "read-only":
            subprocess.run(["mount", "-o", "remount,ro", stage.cwd], check=True)
        ended = stage.run()
        says = "read-only" if how == "read-only" else "full"
        right = right_end(case, how, example, ended, says, tally)
        subprocess.run(["mount", "-o", "remount,rw,size=50m", stage.cwd], check=True)
        if right:
            through(case, stage, [example], tally)


def right_end(case: int, how: str, example: str, ended: Ended, says: str, tally: Tally) -> bool:
    """Count how a command on such a disk ended; returns whether that was right."""
    found, last = judge.wrong_end(ended, "error"), judge.last_line(ended.err)
    if found is None and ended.code == 2 and says not in ended.err and "left, and the curves need" not in last:
        found = f"exit code 2 without {says!r}: {last}"
    if found:
        tally.fail(how, case, found, example)
    else:
        tally.count(how, "one line" if ended.code else "did not matter")
    return found is None
