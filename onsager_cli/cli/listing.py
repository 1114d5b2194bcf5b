"""`onsager list runs`: the stored curves, those that fit, in any order, and the keys in which they differ."""

import fnmatch
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from onsager_cli.cli.runs import (
    curve_folders,
    file_stats,
    group_of,
    identity_at,
    output_folder,
    reason_to_remove,
    state_of,
    wanted_depth,
)
from onsager_cli.errors import UserError
from onsager_cli.store.curves import CurveFolder
from onsager_cli.store.files import Json, entries, exists
from onsager_cli.store.notes import canonical, flat, plain
from onsager_cli.store.tables import Row, csv_bytes, grouped
from onsager_cli.text import cell, columns, did_you_mean, natural, one_of, printable, show, size_decimal, terminal_width

HEADER = ("curve", "layers", "NMSE (dB)", "seed", "size", "date", "state")
LONGEST_DIFFERENCE = 60  # characters
NO_DIFFERENCE = ("numerics", "seed")  # keys with a column of their own, or a state
STATES = ("complete", "stopped", "damaged")
OF_RUN = ("curve", "state")  # what words choose by, beside the keys of the config
NAMES = ("name", "kind", "family")  # the keys of a group that its option may be known by


@dataclass(frozen=True)
class Run:
    """One stored curve: its identity, the config that was asked for, its points, and how far its training is."""

    path: Path
    identity: Json
    config: Json
    points: tuple[Row, ...]
    wanted: int | None  # layers that the last command asked for
    state: str  # one of STATES
    detail: str  # the same in more words
    changed: float  # seconds since 1970
    size: int  # bytes
    settings: Json = field(repr=False)  # dotted key → value

    @property
    def depth(self) -> int | None:
        """The layers of the deepest network; None for a level or where there is none."""
        return self.points[-1]["layer"] if self.points else None

    @property
    def nmse_db(self) -> float | None:
        """The NMSE of the deepest network, dB."""
        return self.points[-1]["nmse_db"] if self.points else None

    @property
    def seconds(self) -> float | None:
        """What its training took."""
        return self.points[-1]["seconds"] if self.points else None

    @property
    def date(self) -> str:
        """When a file of it changed last, in local time."""
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(self.changed))

    @property
    def alike(self) -> str:
        """The name that it shares with curves of the same network on the same problem."""
        return self.path.name.rpartition("-")[0]


ORDERS: dict[str, Callable[[Run], object]] = {
    "nmse": lambda run: run.nmse_db, "layers": lambda run: run.depth, "seed": lambda run: run.identity.get("seed"),
    "size": lambda run: run.size, "date": lambda run: run.changed, "seconds": lambda run: run.seconds,
    "curve": lambda run: run.path.name, "state": lambda run: run.state,
}  # fmt: skip


def chosen(words: Sequence[str], sort: str | None = None, reverse: bool = False) -> tuple[list[Run], Path]:
    """The runs that the words leave, in the order asked for, and the output folder.

    Args:
        words: output=FOLDER, and key=value for a key of the config, `curve` or `state`; key=a,b names alternatives.
        sort: one of ORDERS, or a key of the config; None: by name. What has no value comes last.
        reverse: the largest first.

    Raises UserError for a word that names no key, for a value that no run has, and for an order that there is not.
    """
    if bare := [word for word in words if "=" not in word]:
        raise UserError(f"list runs takes output=FOLDER and KEY=VALUE, got {show(bare[0])}")
    places = [word for word in words if word.partition("=")[0] == "output"]
    output = output_folder(places, "list runs")
    runs = [_run(path) for path in curve_folders(output)]
    for word in (word for word in words if word not in places):
        runs = _fitting(runs, word) if runs else runs
    if sort is None:
        return runs[::-1] if reverse else runs, output
    order = ORDERS.get(sort)
    if order is None:
        known = _keys(runs)
        if runs and sort not in known:
            near = did_you_mean(sort, [*ORDERS, *known])
            raise UserError(f"--sort must be {one_of(ORDERS)}, or a key of the config, got {show(sort)}{near}")
        order = lambda run: run.settings.get(sort)  # noqa: E731
    valued = [run for run in runs if order(run) is not None]
    rest = [run for run in runs if order(run) is None]
    return [*sorted(valued, key=lambda run: _rank(order(run)), reverse=reverse), *rest], output


def as_text(runs: Sequence[Run], output: Path) -> str:
    """One line per run, with a column that says in which settings they differ."""
    if not runs:
        fitting = "that fits " if curve_folders(output) else ""
        return printable(f"nothing {fitting}is stored in {output}")
    rows = [HEADER, *map(_cells, runs)]
    differing = ["differs in", *(_words(own) for own in differences(runs))]
    if any(differing[1:]):
        rows = [(*row[:-1], words, row[-1]) for row, words in zip(rows, differing, strict=True)]
    return columns(rows, right=range(1, 5), width=terminal_width())


def as_json(runs: Sequence[Run]) -> str:
    """A list with one object per run: its state, its config, the NMSE of each layer."""
    objects = [
        {
            "curve": run.path.name, "path": str(run.path), "state": run.state, "detail": run.detail,
            "seed": run.identity.get("seed"), "layers": run.depth, "wanted_layers": run.wanted,
            "nmse_db": run.nmse_db, "seconds": run.seconds,
            "points": [
                {name: row.get(name) for name in ("layer", "nmse_db", "nmse_db_se", "steps", "seconds", "parameters")}
                for row in run.points
            ],
            "bytes": run.size, "date": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(run.changed)),
            "differs": own, "config": run.config, "identity": run.identity,
        }
        for run, own in zip(runs, differences(runs), strict=True)
    ]  # fmt: skip
    return json.dumps(_finite(objects), indent=2, ensure_ascii=False, allow_nan=False)


def as_csv(runs: Sequence[Run]) -> str:
    """A table with a row per run: its state, what differs, the NMSE of the deepest network."""
    differing = differences(runs)
    keys = list(dict.fromkeys(key for own in differing for key in own))
    rows = [
        {
            "curve": run.path.name, "state": run.state, "seed": run.identity.get("seed"),
            **{key: _value(own[key]) if key in own else None for key in keys},
            "layers": run.depth, "nmse_db": run.nmse_db, "seconds": run.seconds, "bytes": run.size, "date": run.date,
        }
        for run, own in zip(runs, differing, strict=True)
    ]  # fmt: skip
    names = ("curve", "state", "seed", *keys, "layers", "nmse_db", "seconds", "bytes", "date")
    return csv_bytes(rows, names).decode()


def differences(runs: Sequence[Run]) -> list[Json]:
    """For each run, the keys with their values in which it may differ from others.

    Among runs of one name, every key that decides numbers; among all runs on one kind of problem, the keys of the problem.
    """
    settings = {run.path: flat(plain(run.identity)) for run in runs}
    found: dict[Path, Json] = {run.path: {} for run in runs}
    by_kind = grouped((str(settings[run.path].get("problem.kind")), run.path) for run in runs)
    by_name = grouped((run.alike, run.path) for run in runs)
    for paths, begin in [*((of, "problem.") for of in by_kind.values()), *((of, "") for of in by_name.values())]:
        for key in _differing([settings[path] for path in paths]):
            for path in paths if key.startswith(begin) else ():
                if (value := settings[path].get(key)) is not None:
                    found[path][key] = value
    return [found[run.path] for run in runs]


def _differing(settings: Sequence[Mapping[str, object]]) -> list[str]:
    """The keys whose values differ."""
    keys = dict.fromkeys(key for own in settings for key in own if key not in NO_DIFFERENCE)
    return [key for key in keys if len({str(own.get(key)) for own in settings}) > 1]


def _words(own: Mapping[str, object]) -> str:
    """`snr_db=20, descent.steps=[60]`: keys as short as they are different."""
    last = [key.rpartition(".")[2] for key in own]
    names = [
        word if last.count(word) == 1 else ".".join(key.split(".")[-2:]) for key, word in zip(own, last, strict=True)
    ]
    text = ", ".join(f"{name}={show(value, 20)}" for name, value in zip(names, own.values(), strict=True))
    text = text.replace("'", "")
    return text if len(text) <= LONGEST_DIFFERENCE else text[: LONGEST_DIFFERENCE - 1] + "…"


def _run(path: Path) -> Run:
    """One stored curve."""
    identity = identity_at(path) or {}
    points, wanted, damage, config = [], None, None, {}
    try:
        wanted = wanted_depth(path)
        config = dict(group_of(path / "config.yaml")) if exists(path / "config.yaml") else {}
    except UserError:
        damage = "config.yaml is damaged"
    try:
        points = CurveFolder(path, identity).points()
    except UserError:
        damage = "points.csv is damaged"
    depth = points[-1]["layer"] if points else None
    ended = bool(points) and (depth is None or (wanted is not None and depth >= wanted))
    state, detail = state_of(path, ended, damage)
    files = file_stats(entries(path))
    return Run(
        path=path,
        identity=identity,
        config=config,
        points=tuple(points),
        wanted=wanted,
        state=state,
        detail=reason_to_remove(path) or detail,
        changed=max((file.st_mtime for file in files), default=0.0),
        size=sum(file.st_size for file in files),
        settings={**flat(plain(identity)), **flat(plain(config))},
    )


def _cells(run: Run) -> tuple[str, ...]:
    """One run, as the columns of HEADER."""
    short = run.depth is not None and run.wanted is not None and run.depth < run.wanted
    return (
        run.path.name,
        f"{run.depth} of {run.wanted}" if short else cell(run.depth),
        "" if run.nmse_db is None else f"{run.nmse_db:.2f}",
        str(run.identity.get("seed", "")),
        size_decimal(run.size),
        run.date,
        run.detail,
    )


def _keys(runs: Iterable[Run]) -> list[str]:
    """The keys that the runs have."""
    return list(dict.fromkeys(key for run in runs for key in run.settings))


def _fitting(runs: Sequence[Run], word: str) -> list[Run]:
    """The runs that have the value of `key=value`. Raises UserError if none has the key, or none the value."""
    key, _, text = word.partition("=")
    values = {run.path: _values_of(run, key) for run in runs}
    there = list(dict.fromkeys(_value(value) for of in values.values() for value in of))
    if key == "state" and (unknown := [one for one in text.split(",") if one not in STATES]):
        raise UserError(f"list runs: state must be {one_of(STATES)}, got {show(unknown[0])}")
    if not there:
        raise UserError(f"list runs: no stored curve has a key {show(key)}{_near(key, [*_keys(runs), *OF_RUN])}")
    asked = [text] if text.startswith(("[", '"')) else text.split(",")
    fitting = [run for run in runs if any(_fits(value, one) for value in values[run.path] for one in asked)]
    if not fitting and key != "state":
        raise UserError(f"list runs: no stored curve has {word}: the values are {_few(there)}")
    return fitting


def _near(key: str, known: Sequence[str]) -> str:
    """` (did you mean problem.snr_db?)`: the key of that name in another group, or of a name like it in the same one."""
    group, _, name = key.rpartition(".")
    names = {one.rpartition(".")[2]: one for one in known if not group or one.rpartition(".")[0] == group}
    if not (near := did_you_mean(name, names)):
        return did_you_mean(key, known)
    return near.replace(found := near[near.rindex(" ") + 1 : -2], names[found])


def _values_of(run: Run, key: str) -> list[object]:
    """The values by which a word may choose a run; a group (`network=lamp`) has the names of its option."""
    if key in OF_RUN:
        return [run.state] if key == "state" else [run.path.name, run.alike.partition("-")[2]]
    if key in run.settings:
        return [run.settings[key]]
    return [run.settings[name] for part in NAMES if (name := f"{key}.{part}") in run.settings]


def _fits(value: object, text: str) -> bool:
    """Whether a value is what a text says; texts may have * and ?."""
    if isinstance(value, str) and fnmatch.fnmatchcase(value, text):
        return True
    try:
        asked = float(text) if isinstance(value, int | float) and not isinstance(value, bool) else yaml.safe_load(text)
        return canonical({"": asked}) == canonical({"": value})
    except (yaml.YAMLError, TypeError, ValueError):
        return False


def _few(values: Sequence[str], most: int = 10) -> str:
    """Some of the values that there are."""
    ordered = sorted(values, key=_natural_or_number)
    return ", ".join(ordered[:most]) + (" …" if len(ordered) > most else "")


def _natural_or_number(text: str) -> tuple[int, object]:
    """Sort key: numbers by their value, then texts."""
    try:
        return 0, float(text)
    except ValueError:
        return 1, natural(text)


def _rank(value: object) -> tuple[int, object]:
    """Sort key of a value: numbers, then texts."""
    if isinstance(value, bool | str) or not isinstance(value, int | float):
        return 1, natural(str(value))
    return 0, float(value)


def _value(value: object) -> str:
    """A value in one cell: as a config has it."""
    return json.dumps(value) if isinstance(value, list | dict) or value is None else cell(value)


def _finite(value: object) -> object:
    """JSON, with null for what is no finite number."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
