"""The commands that campaigns stop or refuse: each in a folder where it has work, with what an undisturbed run leaves."""

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from onsager_cli.store.files import TEMPORARY_SUFFIX

from . import toys
from .processes import Command, Ended, Fault


class UndisturbedError(Exception):
    """An undisturbed command failed, so that there is nothing to compare with."""


@dataclass
class Stage:
    """A command, the folder that it begins with, and the folder in which it runs.

    Args:
        name: of its row in the table.
        words: the command line.
        home: its folder below the scratch folder; `cwd` and everything it writes is in there.
        begin: makes the folder as the command finds it.
        trains: whether it trains, so that it saves states and has many file operations.
    """

    name: str
    words: list[str]
    home: Path
    begin: Callable[[Path], None]
    trains: bool = False
    operations: list[str] = field(default_factory=list, init=False)  # of an undisturbed run that saves at every step

    @property
    def cwd(self) -> Path:
        return self.home / "cwd"

    def fresh(self) -> None:
        """Make the folder as the command finds it first."""
        if not (kept := self.home / "begin").is_dir():
            self.begin(kept)
        toys.copy(kept, self.cwd)

    def start(self, fault: Fault | None = None, often: bool = True, largest: int | None = None) -> Command:
        return Command(self.words, self.cwd, self.home / "said", self.cwd, fault, often, largest)

    def run(self, fault: Fault | None = None, often: bool = True, largest: int | None = None) -> Ended:
        return self.start(fault, often, largest).wait()

    @cached_property
    def expected(self) -> toys.Snapshot:
        """What an undisturbed run leaves; also counts its file operations when it saves at every step."""
        for often in (True, False):  # the last one as a user runs it; the first one compiles
            self.fresh()
            ended = self.run(often=often)
            if ended.code:
                raise UndisturbedError(f"{self.name}: exit code {ended.code}: {ended.err}")
            self.operations = self.operations or ended.operations
        return toys.snapshot(self.cwd)

    def wrong(self) -> list[str]:
        """What is different from an undisturbed run in the folder of a finished one."""
        return [*toys.differences(toys.snapshot(self.cwd), self.expected), *toys.remains(self.cwd)]

    def moment(self, rng: random.Random) -> int:
        """A file operation, an early one more often: a command that goes on has less to do."""
        assert self.expected
        return 1 + int(len(self.operations) * rng.random() ** (1.5 if self.trains else 1))


def trainings(folder: Path) -> list[Stage]:
    """`train` for every toy figure."""
    return [
        Stage("train " + name, ["train", *words], folder / name.replace(" ", "_"), lambda path: path.mkdir(parents=True), True)
        for name, words in toys.FIGURES.items()
    ]  # fmt: skip


def others(folder: Path) -> list[Stage]:
    """`train`, `sweep`, `plot`, `record`, `report` and `clean` in a folder with an experiment of its own."""

    def made(*commands: list[str]) -> Callable[[Path], None]:
        """A function that makes a folder in which these commands ran, each from the folder that the one before left."""
        kept = folder / "made" / "-".join(["new", *(words[0] for words in commands)])

        def begin(path: Path) -> None:
            if not kept.is_dir():
                if commands:
                    made(*commands[:-1])(kept)
                    run(commands[-1], kept)
                else:
                    toys.experiment(kept)
                    toys.claims(kept)
            toys.copy(kept, path)

        return begin

    def run(words: list[str], cwd: Path) -> None:
        ended = Command(words, cwd, folder / "said", cwd, often=False).wait()
        if ended.code:
            raise UndisturbedError(f"{words}: {ended.err}")

    def littered(path: Path) -> None:
        made(train)(path)
        run(["train", "+experiment=mine", "seed=3", "only=[amp_l1]"], path)
        litter(path)

    train, record = ["train", *toys.MINE], ["record", *toys.MINE]
    sizes = toys.SIZES.split()
    return [
        Stage("train experiment", train, folder / "experiment", made(), True),
        Stage("sweep", ["sweep", *sizes, "network=amp", "network.depth=1,2", "seed=0,1"], folder / "sweep", made(), True),
        Stage("plot", ["plot", *toys.MINE], folder / "plot", made(train)),
        Stage("record", record, folder / "record", made(train)),
        Stage("report", ["report", "--output", "page.html"], folder / "report", made(train, record)),
        Stage("clean", ["clean", "--yes"], folder / "clean", littered),
    ]  # fmt: skip


def litter(path: Path) -> None:
    """Give `clean` work: damaged arrays, files of killed processes, a folder that never began, another numerics version."""
    curves = sorted((path / "outputs" / "curves").glob("*/"))
    for folder in curves[:2]:
        file = folder / "network.npz"
        if file.is_file():
            file.write_bytes(file.read_bytes()[:-100])
    for number, folder in enumerate([*curves[:3], path / "outputs" / "figures" / "mine", path / "outputs"]):
        (folder / f".points.csv.{999_999_990 + number}-00000000-0123abcd{TEMPORARY_SUFFIX}").write_bytes(b"x" * 100)
    for temporary in (path / "outputs").rglob(f"*{TEMPORARY_SUFFIX}"):
        _as_of_this_machine(temporary)
    (path / "outputs" / "curves" / "lamp_tied_bg-0123456789ab").mkdir()
    last = curves[-1]
    (last / "identity.json").write_text((last / "identity.json").read_text().replace('"seed": 0', '"seed": 7'))


def _as_of_this_machine(temporary: Path) -> None:
    """Rename a temporary file to one that a process of this machine left."""
    from onsager_cli.store.files import temporary_name

    machine = temporary_name(Path("x")).name.split("-")[1]
    shutil.move(temporary, temporary.with_name(temporary.name.replace("-00000000-", f"-{machine}-")))
