"""Damage to every kind of stored file, in every region; then each command that reads it.

Whatever was damaged, a command says so, or ends with what it gives without the damage. Outcomes:

    said       a line on stderr, a state in the listing, or exit code 2, that an undamaged run does not have
    harmless   all that it gives is the same, and the file is whole again or decides nothing
    unread     all that it gives is the same, and the damage is still there
    open       something else, from a recorded file that version control guards
    failed     something else without a word, an exit code 1, a traceback, no end
"""

import io
import itertools
import os
import random
import re
import shutil
import signal
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from onsager_cli.cli import main as command

from . import judge, toys
from .damage import Damage, damages
from .fuzz import timers
from .processes import Command, Fault
from .stages import UndisturbedError
from .tally import Plan, Tally

SECONDS = 90.0  # of CPU that a command may take; it may have to train all anew
WAITS = 300.0  # seconds after which it counts as waiting for ever
NOTES = ("config.yaml", "made.json", "iterations.json", "log.jsonl", "identity.json")
DAMAGED = ("lamp_tied_bg", "lamp_untied_bg", "amp_l1")  # curves whose files are damaged; others take their places
OPEN = ("recorded curves.csv", "recorded README.md", "recorded claims.yaml")

VERBS = {
    "list": ["list", "runs"], "plot": ["plot", *toys.MINE], "train": ["train", *toys.MINE], "clean": ["clean", "--yes"],
    "record": ["record", *toys.MINE], "verify": ["verify"], "report": ["report", "--output", "pages/page.html"], "load": ["load"],
}  # fmt: skip
GIVES = {
    "train": ["outputs"],
    "clean": ["outputs"],
    "plot": ["outputs/figures"],
    "record": ["experiments"],
    "report": ["pages"],
}
LOADED = [
    [*toys.MINE, "only=[lamp_tied_bg]", "network.depth=1"], [*toys.MINE, "only=[lamp_tied_bg]"],
    [*toys.MINE, "only=[lamp_untied_bg]"],
]  # fmt: skip


STATES = re.compile("damaged|never started|not reused|removed|version")  # what a listing says of a damaged curve


class Result(NamedTuple):
    """What a command gives: exit code, stdout without sizes and dates, stderr without times, results on disk."""

    code: int
    out: str
    err: str
    files: toys.Snapshot


class Case(NamedTuple):
    """Damage to a file of a store ("whole" or "stopped"), and the commands that read it."""

    store: str
    name: str
    damage: Damage
    verbs: list[str]


class Hangs(BaseException):
    """A command does not end."""


def main(plan: Plan, tally: Tally) -> None:
    cwd = plan.folder / "cwd"
    stores = {"whole": plan.folder / "whole", "stopped": plan.folder / "stopped"}
    make_whole(stores["whole"], plan.folder)
    make_stopped(stores["stopped"], plan.folder)
    for number in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(number, _hangs)
    os.environ["ONSAGER_DEBUG"] = ""
    cases = [case for case in every_case(stores, plan.seed) if plan.chosen(kind_of(case.name))]
    baselines: dict[tuple[str, str], Result] = {}
    for number, rng in plan.cases(tally):
        case = cases[number % len(cases)]
        for verb in case.verbs if plan.tries > len(cases) else [rng.choice(case.verbs)]:
            if (case.store, verb) not in baselines:
                toys.copy(stores[case.store], cwd)
                baselines[case.store, verb] = run(verb, cwd)
            toys.copy(stores[case.store], cwd)
            case.damage.apply(file := cwd / case.name)
            damaged = _kept(file)
            result = run(verb, cwd)
            judged(number, case, verb, damaged == _kept(file), result, baselines[case.store, verb], tally)
    tally.notes.append(f"{len(cases)} different damages to {len({(case.store, case.name) for case in cases})} files")


def _hangs(*_: object) -> None:
    raise Hangs


def make_whole(folder: Path, scratch: Path) -> None:
    """A store with everything trained, drawn and recorded."""
    if folder.is_dir():
        return
    toys.experiment(folder)
    toys.claims(folder)
    for words in (VERBS["train"], VERBS["record"]):
        ended = Command(words, folder, scratch / "said", folder, often=False).wait()
        if ended.code:
            raise UndisturbedError(f"{words}: {ended.err}")
    untied = next((folder / "outputs" / "curves").glob("*lamp_untied_bg-*"))
    shutil.copy(untied / "depth_01.npz", untied / "diverged.npz")


def make_stopped(folder: Path, scratch: Path) -> None:
    """A store whose training was killed inside a stage of an untied network: resume.npz and both checkpoints are there."""
    if folder.is_dir():
        return
    attempt, words = scratch / "attempt", [*VERBS["train"], "only=[lamp_untied_bg]"]
    toys.copy(_experiment(scratch / "begin"), attempt)
    operations = Command(words, attempt, scratch / "said", attempt).wait().operations
    resumed = [n for n, what in enumerate(operations) if what == "replace resume.npz"]
    saved = [n for n, what in enumerate(operations) if what == "replace checkpoint_1.npz" and n > resumed[-1]]
    toys.copy(scratch / "begin", attempt)
    Command(words, attempt, scratch / "said", attempt, Fault("kill", saved[2] + 2)).wait()
    if {"resume.npz", "checkpoint_0.npz", "checkpoint_1.npz"} <= {path.name for path in attempt.rglob("*.npz")}:
        shutil.move(attempt, folder)
        return
    raise UndisturbedError("no kill leaves resume.npz and two checkpoints")


def _experiment(folder: Path) -> Path:
    toys.experiment(folder)
    return folder


def every_case(stores: dict[str, Path], seed: int) -> list[Case]:
    """All damage to all kinds of files, the kinds in turn.

    The seed draws the order within a kind, and which bit of a region.
    """
    by_kind: dict[str, list[Case]] = {}
    rng = random.Random(seed)
    for store, folder in stores.items():
        files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock"]
        for path in files:
            name = str(path.relative_to(folder))
            if verbs := readers(store, name):
                others = [other for other in files if other.suffix == path.suffix and other != path]
                found = [Case(store, name, damage, verbs) for damage in damages(path, others, rng)]
                by_kind.setdefault(kind_of(name), []).extend(found)
    for cases in by_kind.values():
        rng.shuffle(cases)
    return [case for turn in itertools.zip_longest(*by_kind.values()) for case in turn if case is not None]


def readers(store: str, name: str) -> list[str]:
    """The commands that may read a file."""
    if name.startswith("outputs/curves") and not any(curve in name for curve in DAMAGED):
        return []
    if store == "stopped":
        states = name.endswith(("resume.npz", "checkpoint_0.npz", "checkpoint_1.npz", "points.csv", "made.json"))
        return ["train", "train", "list", "clean"] if states else []
    if name.startswith("outputs/curves"):
        if name.endswith(".npz"):
            return ["train", "load", "clean", "list"]
        return ["list", "plot", "record", "train", "clean", "load"]
    if name.startswith("outputs/figures"):
        return ["plot", "train"] if name.endswith("curves.csv") else []
    if name.startswith("experiments") and name.endswith(("curves.csv", "README.md", "claims.yaml")):
        return ["verify", "report", "record"]
    return []


def kind_of(name: str) -> str:
    """The row of a file in the table."""
    file = Path(name).name
    if name.startswith("outputs/curves"):
        return "depth_NN.npz" if file.startswith("depth_") else re.sub(r"_\d\.", "_N.", file)
    return f"{'figure' if name.startswith('outputs') else 'recorded'} {file}"


def run(verb: str, cwd: Path) -> Result:
    """A command in this process, with everything that it gives."""
    streams, here = (sys.stdout, sys.stderr), Path.cwd()
    out, err = io.StringIO(), io.StringIO()
    try:
        sys.stdout, sys.stderr = out, err
        os.chdir(cwd)
        timers(SECONDS, WAITS)
        code = loaded(out, err) if verb == "load" else command.main(VERBS[verb])
    except Hangs:
        code = judge.HANGS
    finally:
        timers(0, 0)
        sys.stdout, sys.stderr = streams
        os.chdir(here)
    return Result(code, _timeless(out.getvalue(), verb), _timeless(err.getvalue(), verb), results(cwd, verb))


def loaded(out: io.StringIO, err: io.StringIO) -> int:
    """What the trained networks give, as a library has it; 2 for a UserError, 1 for anything else."""
    from onsager_cli import UserError, load

    code = 0
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for words in LOADED:
            try:
                network = load(*words)
                out.write(f"{network(np.linspace(-1, 1, 20)).tobytes().hex()} {network.nmse_db}\n")
            except UserError as error:
                err.write(f"onsager: {error}\n")
                code = 2
            except Exception as error:
                err.write(f"{type(error).__name__}: {error}\n")
                return 1
    err.write("".join(f"{item.message}\n" for item in told if issubclass(item.category, UserWarning)))
    return code


def _timeless(text: str, verb: str) -> str:
    """Text without sizes, dates and times, which differ from run to run or with the damage alone."""
    if verb == "list":
        text = re.sub(r"\d+(\.\d+)? [kM]?B +\d{4}-\d\d-\d\d \d\d:\d\d", "·", text)
        return "\n".join(" ".join(line.split()) for line in text.splitlines())
    return re.sub(r"\d+(\.\d+)? (s|ms|min|[kKMG]i?B)\b|\d+:\d\d min|\bleft\b.*", "·", text)


def results(cwd: Path, verb: str) -> toys.Snapshot:
    """What a command gives on disk. Notes decide nothing."""

    found: dict[str, object] = {}
    for path in sorted(path for root in GIVES.get(verb, ()) for path in (cwd / root).rglob("*")):
        if path.is_file() and path.name not in (*NOTES, ".lock"):
            try:
                found |= {str(path.relative_to(cwd)): toys.content(path)}
            except Exception as error:
                found[str(path.relative_to(cwd))] = f"damaged: {type(error).__name__}"
    return found


def _kept(path: Path) -> object:
    """What is at a path, to see whether it changes."""
    if path.is_symlink():
        return os.readlink(path)
    return path.read_bytes() if path.is_file() else path.exists() and path.stat().st_mode


def still_there(case: Case) -> bool:
    """Whether the damage leaves a file that can be opened."""
    return case.damage.what not in ("gone", "a link to nothing")


def judged(number: int, case: Case, verb: str, still: bool, result: Result, whole: Result, tally: Tally) -> None:
    """Count one reading of a damaged file, which is `still` as damaged as it was."""
    kind = kind_of(case.name)
    example = f"{case.store}: {case.name}: {case.damage.what}; onsager {verb}"
    if found := judge.crash(result.code, result.err):
        tally.fail(kind, number, f"{verb}: {found}", example)
        return
    said = [line for line in result.err.splitlines() if line not in whole.err.splitlines()]
    changed = [line for line in result.out.splitlines() if line not in whole.out.splitlines()]
    state = verb in ("list", "clean") and any(STATES.search(line) for line in changed)
    if verb == "train":  # lines about what is trained again, and what it reaches, are there for any run
        said = [line for line in said if re.search(r"warning|damaged|missing|not reused|onsager: ", line)]
    if result.code not in (0, 2):
        tally.fail(kind, number, f"{verb}: exit code {result.code}: {judge.last_line(result.err)}", example)
    elif result.code == 2 or said or state:
        tally.count(kind, "said")
    elif different := _different(result, whole, changed, case.name, verb, still):
        if kind in OPEN:
            tally.count(kind, "open")
        elif case.name.endswith("diverged.npz") and not still_there(case):
            tally.count(kind, "harmless")  # whoever removes it takes back that the training was given up
        else:
            tally.fail(kind, number, f"{verb} gives something else without a word: {different}", example)
    else:
        tally.count(kind, "unread" if still else "harmless")


def _different(result: Result, whole: Result, changed: list[str], name: str, verb: str, still: bool) -> str:
    """What a silent command gives that an undamaged one does not; empty if nothing."""
    found = toys.differences(result.files, whole.files)
    if verb in ("train", "clean") and still:  # the damaged file itself, which was not read
        found = [
            text for text in found if not text.startswith(name) or (verb == "train" and name.endswith("points.csv"))
        ]
    lines = [] if verb == "train" else changed
    return "; ".join([*found[:3], *(f"{line[:150]!r}" for line in lines[:2])])
