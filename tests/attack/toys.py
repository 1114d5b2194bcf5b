"""Tiny figures that train in a second, what they leave on disk, and the folders in which every verb has work."""

import csv
import io
import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from onsager_cli.store.arrays import unpack
from onsager_cli.store.files import temporary_files

SIZES = "problem.N=40 problem.M=20 problem.selection_samples=50 problem.test_samples=50 plot.formats=[svg]"
CELLS = "problem=random_access problem.users=10 problem.pilots=10 problem.activity=0.2 problem.selection_samples=50 problem.test_samples=50 plot.formats=[svg]"
TRAINED = "training.check_every=10 training.steps_new=5"


def _trained(network: str, *schedules: str, sizes: str = SIZES, depth: int = 2) -> list[str]:
    steps = [f"training.{name}.{key}" for name in schedules for key in ("steps=[20]", "batch=16")]
    return f"{sizes} {network} {f'network.depth={depth}' if depth else ''} {TRAINED}".split() + steps


FIGURES = {
    "lista": _trained("network=lista", "lista"),
    "lista untied": _trained("network=lista network.tied=false", "lista", "lista_untied"),
    "lamp": _trained("network=lamp shrinkage=bg", "lamp", depth=3),
    "lamp untied": _trained("network=lamp shrinkage=pwlin network.tied=false", "lamp", "lamp_untied"),
    "lamp joint": _trained("network=lamp shrinkage=soft training.joint=true", "lamp"),
    "lamp complex": _trained("network=lamp problem.embedding=complex", "lamp", sizes=CELLS),
    "lvamp": _trained("network=lvamp", "lvamp"),
    "lvamp untied": _trained("network=lvamp network.tied=false", "lvamp", "lvamp_untied"),
    "lvamp random": _trained("network=lvamp network.init=random", "lvamp_random"),
    "lvamp gh": _trained("network=lvamp_gh", "lvamp_gh"),
    "amp": f"{SIZES} network=amp network.depth=3".split(),
    "em_vamp": f"{SIZES} network=em_vamp network.depth=3".split(),
    "oracle": f"{SIZES} network=oracle".split(),
}
"""Name → overrides of `onsager train`."""

# An experiment of five curves in ./conf: what `record` needs.
EXPERIMENT = """\
# @package _global_
# title: Five curves of a second each
problem: {instance: seeded, N: 40, M: 20, selection_samples: 50, test_samples: 50}
plot: {formats: [svg, png]}
figure: {name: mine, title: Mine, caption: Five curves.}
curves:
  lamp_tied_bg: network=lamp network.depth=2
  lamp_untied_bg: network=lamp network.tied=false network.depth=2
  lamp_tied_l1: network=lamp shrinkage=soft network.depth=2
  amp_l1: network=amp network.depth=3
  oracle: network=oracle
"""
CLAIMS = """\
- id: mine-oracle
  statement: The oracle is better than AMP
  source: nowhere
  paper: better
  criterion:
    difference: [amp_l1, oracle]
    layers: 3
    more_than: 0
"""
MINE = ["+experiment=mine", *_trained("", "lamp", "lamp_untied", sizes="", depth=0)]


def experiment(cwd: Path) -> None:
    """Make a working folder with the experiment `mine`."""
    (cwd / "conf" / "experiment").mkdir(parents=True, exist_ok=True)
    (cwd / "conf" / "experiment" / "mine.yaml").write_text(EXPERIMENT)


def claims(cwd: Path) -> None:
    """Add a claim about the record of `mine`."""
    (cwd / "experiments" / "mine").mkdir(parents=True, exist_ok=True)
    (cwd / "experiments" / "mine" / "claims.yaml").write_text(CLAIMS)


Snapshot = Mapping[str, object]
"""Path below a folder → what must be the same in every run."""


def snapshot(folder: Path, but: Callable[[str], bool] = lambda name: False) -> Snapshot:
    """What a folder holds, without times; the log and locks count by their presence alone."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if not path.is_dir() and path.name != "pace.json" and not but(name):  # how long curves took
            found[name] = content(path)
    return found


def content(path: Path) -> object:
    """What must be the same of one file. Raises DamagedFileError and others for one that is damaged."""
    if path.name in ("log.jsonl", ".lock"):
        return None
    data = path.read_bytes()
    if path.suffix == ".npz":
        arrays, meta = unpack(data, sealed=True)
        meta.pop("seconds", None)
        if path.name == "points.npz":
            return table(str(arrays["now"])), meta
        return {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in arrays.items()}, meta
    if path.suffix == ".csv":
        return table(data.decode())
    if path.suffix == ".json":
        return json.loads(data)
    if path.name == "README.md":  # the times of training in its tables
        return re.sub(r"\d+\.\d|\(.*? s\)", "·", data.decode())
    return data


def table(text: str) -> list[dict[str, str]]:
    """The rows of a CSV file, without seconds."""
    return [{key: cell for key, cell in row.items() if key != "seconds"} for row in csv.DictReader(io.StringIO(text))]


def differences(found: Snapshot, expected: Snapshot) -> list[str]:
    """What is missing, too much or different, one phrase each."""
    return [
        *(f"{name} is missing" for name in expected if name not in found),
        *(f"{name} is left over" for name in found if name not in expected),
        *(f"{name} differs" for name in found if name in expected and found[name] != expected[name]),
    ]


def remains(folder: Path) -> list[str]:
    """Temporary files and saved states that a finished command must not leave."""
    saved = [path for path in folder.rglob("*.npz") if path.stem.startswith(("checkpoint", "resume"))]
    return [str(path.relative_to(folder)) for path in (*temporary_files(folder), *saved)]


def copy(source: Path, target: Path) -> None:
    """Make `target` a copy of the folder `source`, whatever was there."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True)
