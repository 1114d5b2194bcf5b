"""The end of a sweep: one table and one drawing over what was swept, from what the store holds.

outputs/figures/sweep-snr_db-1f0c2ab9/
    sweep.csv       a row per run: what was swept, the NMSE of the deepest layer, its seconds
    curves.csv      every point of every run; `curve` names the line of the drawing
    sweep-….png     NMSE over the swept number, or all curves over layers
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from onsager_cli.config.experiment import Curve, Experiment
from onsager_cli.errors import UserError
from onsager_cli.figures.kinds import kind_of
from onsager_cli.store.curves import Store
from onsager_cli.store.files import atomic_write, remove_leftovers
from onsager_cli.store.notes import canonical
from onsager_cli.store.seeds import averaged
from onsager_cli.store.tables import Row, csv_bytes, grouped, table_bytes
from onsager_cli.text import cell, columns

LONGEST_NAME = 60  # characters of the name of the drawing
MOST_LINES = 40  # of the table that people see
SEED = "seed"
LOOKS_ONLY = ("plot", "figure", "output", "jobs", "panels")  # groups and keys that change no run
PLAIN = {"True": "true", "False": "false", "None": "null"}  # what Hydra makes of words in a list of alternatives


@dataclass(frozen=True)
class Job:
    """One job of a sweep: its experiment, and its values of the keys that were swept."""

    experiment: Experiment
    overrides: tuple[str, ...]

    @cached_property
    def values(self) -> dict[str, str]:
        """Key → value of each override."""
        split = (text.lstrip("+").partition("=") for text in self.overrides)
        return {key: PLAIN.get(value, value.strip("'\"")) for key, _, value in split}


@dataclass(frozen=True)
class Line:
    """The last point of a curve in a job, and all of them: `own` are the values of the swept keys, `part` its panel."""

    own: Mapping[str, str]
    curve: Curve
    part: str
    points: Sequence[Row]


class Sweep:
    """The jobs of a sweep and what they found so far."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = list(jobs)
        keys = dict.fromkeys(key for job in self.jobs for key in job.values)
        differing = [key for key in keys if len({job.values.get(key) for job in self.jobs}) > 1]
        self.swept = [key for key in differing if key.split(".")[0] not in LOOKS_ONLY]

    @property
    def first(self) -> Experiment:
        """The experiment whose output folder and look the sweep has."""
        return self.jobs[0].experiment

    @cached_property
    def axis(self) -> str | None:
        """The one key with numbers that was swept, apart from the seed; None if there are none or several."""
        keys = [
            key
            for key in self.swept
            if key != SEED and all(_number(job.values.get(key)) is not None for job in self.jobs)
        ]
        return keys[0] if len(keys) == 1 else None

    @cached_property
    def name(self) -> str:
        """That of the figure, if the command gives one; else sweep-KEYS-HASH, the same for the same command."""
        named = {job.values.get("figure.name") for job in self.jobs}
        if len(named) == 1 and (given := named.pop()):
            return f"sweep-{given}"
        words = sorted(sorted(t for t in job.overrides if _key(t).split(".")[0] not in LOOKS_ONLY) for job in self.jobs)
        digest = hashlib.sha256(canonical({"": words}).encode()).hexdigest()[:8]
        keys = "+".join(key.rpartition(".")[2] for key in self.swept)
        name = f"sweep-{keys}-{digest}"
        fits = len(name) <= LONGEST_NAME and all(c.isalnum() or c in "_+-" for c in name)
        return name if fits and name.isascii() else f"sweep-{digest}"

    @cached_property
    def lines(self) -> list[Line]:
        """Every curve of every job, each once, with its stored points."""
        found = []
        for job in self.jobs:
            parts = [part for part in job.experiment.parts if kind_of(part).trains]
            own = {key: job.values.get(key, "") for key in self.swept}
            for part in parts:
                name = _without_suffix(part, job.experiment) if len(parts) > 1 else ""
                found += [Line(own, curve, name, _points(curve)) for curve in part.curves]
        return found

    def table(self) -> list[Row]:
        """A row per run: swept keys, curve, layer, NMSE (dB) and its standard error, steps and seconds."""
        metric = self.first.figure.metric
        several = len({(line.part, line.curve.slug) for line in self.lines}) > 1
        seeds = SEED not in self.swept and len({line.curve.settings.seed for line in self.lines}) > 1
        rows = []
        for line in self.lines:
            last = line.points[-1] if line.points else {}
            row: Row = dict(line.own)
            row |= {"panel": line.part} if line.part else {}
            row |= {"curve": line.curve.slug} if several else {}
            row |= {SEED: line.curve.settings.seed} if seeds else {}
            shown = dict.fromkeys(("layer", "nmse_db", "nmse_db_se", metric, "steps", "seconds"))
            rows.append({**row, **{name: last.get(name) for name in shown}})
        return rows

    def drawn(self) -> tuple[list[Row], dict[str, dict[str, str]]]:
        """The rows of the drawing, `curve` being the line of each, and line → swept key → value; "" is the panel."""
        others = [key for key in self.swept if key != self.axis]
        rows, swept = [], {}
        for line in self.lines:
            if line.curve.slug in self.first.figure.hidden:
                continue
            text = ", ".join(f"{key.rpartition('.')[2]}={line.own[key]}" for key in others)
            name = " ".join(filter(None, (line.part, line.curve.slug, text)))
            swept[name] = {**({"": line.part} if line.part else {}), **{key: line.own[key] for key in others}}
            if self.axis is None:
                rows += [{**row, "curve": name} for row in line.points]
            elif line.points:
                rows.append({**line.points[-1], "curve": name, "x": _number(line.own[self.axis])})
        return (rows if self.axis is None else _over_seeds(rows)), swept


def conclude(sweep: Sweep) -> tuple[str, list[Path]]:
    """Write the table and the drawing of a sweep; returns the table as text, and the files.

    Nothing is written if one run or none was swept, or nothing is stored. Raises UserError if a file cannot be written.
    """
    if not sweep.swept or len(sweep.jobs) < 2 or not any(line.points for line in sweep.lines):
        return "", []
    place, table = Store(sweep.first.output).figure(sweep.name), sweep.table()
    rows, swept = sweep.drawn()
    points = [{**row, "curve": _line_name(line)} for line in sweep.lines for row in line.points]
    remove_leftovers(place)
    files = {place / "sweep.csv": csv_bytes(table), place / "curves.csv": table_bytes(_each_once(points))}
    for path, data in files.items():
        atomic_write(path, data)
    return _as_text(table), [*files, *_draw(sweep, rows, swept, place)]


def _draw(sweep: Sweep, rows: list[Row], swept: Mapping[str, Mapping[str, str]], place: Path) -> list[Path]:
    """Draw what there is; the paths written."""
    if not rows:
        return []
    from onsager_cli.figures import sweep as drawing  # Matplotlib is slow to import
    from onsager_cli.figures.curves import drawing_errors, save

    figure = replace(
        sweep.first.figure, name=sweep.name, title=sweep.name, caption=sweep.name, hidden=(), inset=None, xlim=None,
        ylim=None, labels=drawing.labels(rows, swept),
    )  # fmt: skip
    with drawing_errors(sweep.name):
        made = drawing.draw(figure, rows, sweep.axis)
    return save(made, place, sweep.name, sweep.first.plot.formats)


def _as_text(table: Sequence[Row]) -> str:
    """The table for people, with short names of keys; the middle of a long one is left out."""
    names = [name for name in table[0] if name not in ("nmse_db_se", "steps")]
    lines = [[_shown(name, row) for name in names] for row in table]
    header = [_heading(name) for name in names]
    right = [
        n
        for n, name in enumerate(names)
        if all(_number(str(row[name])) is not None or row[name] is None for row in table)
    ]
    text = columns([header, *lines], right=right).split("\n")
    if len(text) > MOST_LINES + 1:
        half = MOST_LINES // 2
        text = [*text[: half + 1], f"… {len(text) - 1 - 2 * half} more in sweep.csv", *text[-half:]]
    return "\n".join(text)


def _heading(name: str) -> str:
    """The heading of a column, with its unit."""
    return {"nmse_db": "NMSE (dB)", "nmse_mean_ratio_db": "mean of ratios (dB)"}.get(name, name.rpartition(".")[2])


def _shown(name: str, row: Row) -> str:
    """A cell for people; the NMSE with its standard error."""
    value, error = row[name], row.get(f"{name}_se")
    if isinstance(value, float):
        more = "" if error is None else f" ± {error:.2f}"
        return f"{value:.2f}{more}" if name.endswith("_db") else f"{value:.1f}"
    return cell(value) or "-"


def _points(curve: Curve) -> list[Row]:
    """The stored points of a curve up to the depth asked for; none if they cannot be read."""
    depth = curve.settings.network.depth or math.inf
    try:
        return [row for row in curve.folder.points() if (row["layer"] or 0) <= depth]
    except UserError:
        return []


def _line_name(line: Line) -> str:
    """A run in curves.csv: `lamp_tied_bg snr_db=20`."""
    text = " ".join(f"{key.rpartition('.')[2]}={value}" for key, value in line.own.items())
    return " ".join(filter(None, (line.part, line.curve.slug, text)))


def _each_once(points: Sequence[Row]) -> list[Row]:
    """The rows without those that name one point twice."""
    keys = ("curve", "problem", "instance", "seed", "layer")
    return list({tuple(row[key] for key in keys): row for row in points}.values())


def _over_seeds(rows: Sequence[Row]) -> list[Row]:
    """One row per line and number: the mean over the matrices of an experiment with `seeds`."""
    return [row for of in grouped(((row["curve"], row["x"]), row) for row in rows).values() for row in averaged(of)]


def _without_suffix(part: Experiment, whole: Experiment) -> str:
    """The name of a panel without what the sweep has appended to the name of the whole figure."""
    name = part.name
    for end in (whole.name[start:] for start in range(len(whole.name)) if whole.name[start] == "-"):
        if name.endswith(end):
            return name.removesuffix(end)
    return name


def _key(text: str) -> str:
    """The key of an override."""
    return text.lstrip("+").partition("=")[0]


def _number(text: str | None) -> float | None:
    """The finite number that a text is; None if it is none."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
