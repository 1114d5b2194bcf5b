"""Numbers out of recorded tables: curves by name, and cells of any other table. No JAX and no NumPy here.

A folder of experiments (`experiments/`, or `outputs/figures/`) holds NAME/curves.csv and, for some, other tables
(fig5/summary.csv). A number that is not recorded yet raises `NotRecordedError`. A curve that neither the table nor the
config of the experiment has is a mistake, and raises UserError.
"""

import math
import random
import statistics
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from onsager_cli.config import catalog
from onsager_cli.errors import UserError
from onsager_cli.store.files import is_file
from onsager_cli.store.tables import FRESH, REPLICATE_KEY, REPLICATES, Row, grouped, read_csv, read_table
from onsager_cli.store.yaml_files import read_yaml
from onsager_cli.text import did_you_mean, one_of, show

Realization = tuple[str, int]
"""A matrix and the draw of everything else: (instance, seed)."""

Place = int | str | None
"""A layer, "line 7" of a table, or None: a level, the same at every layer."""

Values = dict[Place, float]

Deviations = Mapping[Place, tuple[float, ...]]
"""Place → what resampled test samples add to the number there, once for each replicate."""

PUBLISHED = "authors2017"


class NotRecordedError(Exception):
    """A number that a claim needs is not recorded; the message says which."""


class Record:
    """The tables under one folder, each read once, when a claim first asks for it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._curves = cache(self._read_curves)
        self._table = cache(self._read_table)
        self.made: dict[tuple[object, ...], Any] = {}  # what measures make of curves, once for all claims
        self._columns: dict[tuple[str, str, str], Values] = {}
        self._configured = cache(self._read_config)
        self._replicates = cache(self._read_replicates)
        self.curve = cache(self._values)
        self.deviations = cache(self._deviations)

    def _values(self, experiment: str, slug: str, metric: str, realization: Realization | None = None) -> Values:
        """Layer → `metric` of one curve; {None: value} for a level. `realization`: None for the first one.

        Raises NotRecordedError if it is not recorded, UserError if no such curve exists (see `known`).
        """
        values = {
            row["layer"]: row[metric]
            for row in self._rows(experiment, slug, realization)
            if row.get(metric) is not None
        }
        if not values:
            raise NotRecordedError(f"{experiment}: {slug} has no {metric}")
        return values

    def _rows(self, experiment: str, slug: str, realization: Realization | None) -> list[Row]:
        by_realization = self._curve(experiment, slug)
        rows = by_realization.get(realization or next(iter(by_realization)))
        if rows is None:
            assert realization is not None  # the first one is recorded
            raise NotRecordedError(
                f"{experiment}: {slug} is not recorded for instance {realization[0]}, seed {realization[1]}"
            )
        return rows

    def _deviations(self, experiment: str, slug: str, metric: str, realization: Realization | None) -> Deviations:
        """Layer → what resampled test samples add to the NMSE (dB), for a curve of `curve`.

        Where no replicates are recorded, they are drawn by the standard error: half of the variance is common to the layers
        of a curve, and curves are independent, which is as a rule too much for a difference of two on the same samples.
        """
        rows = self._rows(experiment, slug, realization)
        kind, plain = ("fresh", metric.removeprefix(FRESH)) if metric.startswith(FRESH) else ("test", metric)
        found: dict[Place, tuple[float, ...]] = {}
        for row in rows:
            key = (slug, row.get("instance") or "", row.get("seed") or 0, row["layer"], kind, plain)
            error = row.get(f"{metric}_se") or 0.0
            of_curve, of_layer = "/".join(map(str, (experiment, *key[:3]))), str(key)
            found[row["layer"]] = self._replicates(experiment).get(key) or _drawn(error, of_curve, of_layer)
        return found

    def column_deviations(self, table: str, column: str, where: Mapping[str, object]) -> Deviations:
        """As `deviations`, for the numbers of `column`: by the table's column of their standard errors, if it has one."""
        header, _ = self._table(table)
        if f"{column}_se" not in header:
            return dict.fromkeys(self.column(table, column, where), (0.0,) * REPLICATES)
        found: dict[Place, tuple[float, ...]] = {}
        for place, error in self.column(table, f"{column}_se", where).items():
            found[place] = _drawn(error, f"{table}/{column}/{place}")
        return found

    def realizations(self, experiment: str, slug: str) -> list[Realization]:
        """The realizations of a curve: the published matrix first, then by seed. Raises as `curve` does."""
        return list(self._curve(experiment, slug))

    def known(self, experiment: str) -> list[str]:
        """The curves of an experiment: those of its table and those that its config file lists."""
        return list(dict.fromkeys([*self._curves(experiment), *self._configured(experiment)]))

    def column(self, table: str, column: str, where: Mapping[str, object]) -> Values:
        """The numbers in `column` of the rows of FOLDER/`table` that fit `where` (column → value or values), by "line 7".

        Raises NotRecordedError if the table, a row or a number is not there, UserError for a column that it lacks.
        """
        key = (table, column, repr(where))
        if key not in self._columns:
            self._columns[key] = self._read_column(table, column, where)
        return self._columns[key]

    def _read_column(self, table: str, column: str, where: Mapping[str, object]) -> Values:
        header, rows = self._table(table)
        for name in (column, *where):
            if name not in header:
                raise UserError(f"{self.folder / table}: no column '{name}'{did_you_mean(name, header)}")
        # Compare each text once: a column holds few different ones.
        texts = {
            name: {text for text in {row[name] for _, row in rows} if _equal(text, wanted)}
            for name, wanted in where.items()
        }
        fitting = [item for item in rows if all(item[1][name] in fit for name, fit in texts.items())]
        if not fitting:
            wanted = ", ".join(f"{name}={show(value)}" for name, value in where.items())
            raise NotRecordedError(f"{table}: no row with {wanted}" if where else f"{table}: no row")
        values: Values = {}
        for line, row in fitting:
            if row[column] == "":
                raise NotRecordedError(f"{table}: {column} is empty in line {line}")
            try:
                values[f"line {line}"] = float(row[column])
            except ValueError:
                where_ = f"{self.folder / table}, line {line}, column {column}"
                raise UserError(f"{where_}: must be a number, got {row[column]!r}") from None
        return values

    def _curve(self, experiment: str, slug: str) -> dict[Realization, list[Row]]:
        if found := self._curves(experiment).get(slug):
            return found
        path, known = self.folder / experiment / "curves.csv", self.known(experiment)
        near = did_you_mean(slug, known)
        # Before anything is recorded, the config of the curve may not be written yet.
        if known and slug not in known and (near or is_file(path)):
            raise UserError(f"{experiment} has no curve '{slug}'{near}: {one_of(known)}")
        if not is_file(path):
            raise NotRecordedError(f"{path} is not there")
        raise NotRecordedError(f"{experiment}: {slug} is not recorded")

    def _read_curves(self, experiment: str) -> dict[str, dict[Realization, list[Row]]]:
        """Slug → realization → rows."""
        path = self.folder / experiment / "curves.csv"
        rows = read_table(path) if is_file(path) else []
        found = {}
        for slug, points in grouped((row["curve"], row) for row in rows).items():
            by_realization = grouped(((row["instance"] or "", row["seed"] or 0), row) for row in points)
            order = sorted(by_realization, key=lambda of: (of[0] != PUBLISHED, of[1]))
            found[slug] = {of: by_realization[of] for of in order}
        return found

    def _read_replicates(self, experiment: str) -> dict[tuple[str, str, int, Place, str, str], tuple[float, ...]]:
        """(curve, instance, seed, layer, set, metric) → replicates minus the NMSE (dB); {} if there is no such table."""
        path = self.folder / experiment / "replicates.csv"
        if not is_file(path):
            return {}
        header, lines = read_csv(path)
        if header != [*REPLICATE_KEY, *(f"r{number}" for number in range(REPLICATES))]:
            raise UserError(f"{path}: its columns must be {', '.join(REPLICATE_KEY)} and r0 to r{REPLICATES - 1}")
        found = {}
        for line, (slug, instance, seed, layer, kind, metric, *values) in lines:
            try:
                key = (slug, instance, int(seed), int(layer) if layer else None, kind, metric)
                found[key] = tuple(int(value[:12]) / 1000 for value in values)
            except ValueError:
                raise UserError(f"{path}, line {line}: replicates are whole numbers, in thousandths of a dB") from None
        return found

    def _read_config(self, experiment: str) -> list[str]:
        """The curves that conf/experiment/NAME.yaml lists, or one that it builds on; [] if there is no such file."""
        files, names, found = catalog.config_files("experiment"), [experiment], []
        for name in names:  # which grow
            config = read_yaml(files[name]) if name in files else None
            if isinstance(config, Mapping):
                curves, defaults = config.get("curves"), config.get("defaults")
                found += map(str, curves) if isinstance(curves, Mapping) else []
                listed = defaults if isinstance(defaults, list) else []
                bases = [base.rpartition("/")[2] for base in listed if isinstance(base, str)]
                names += [base for base in bases if base not in names]
        return found

    def _read_table(self, name: str) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
        """Header and (line, row) of any CSV table."""
        path = self.folder / name
        if not is_file(path):
            raise NotRecordedError(f"{path} is not there")
        header, lines = read_csv(path)
        return header, [(line, dict(zip(header, fields, strict=True))) for line, fields in lines]


def _drawn(error: float, *places: str) -> tuple[float, ...]:
    """Replicates of a number that has this standard error, the same every time: their mean is 0, their spread the error.

    Each is the sum of a draw for each of the places, so that numbers with a place in common move together.
    """
    sources = [random.Random(place) for place in places]
    normal = [sum(source.gauss(0, 1) for source in sources) for _ in range(REPLICATES)]
    mean = statistics.fmean(normal)
    spread = math.sqrt(statistics.fmean((z - mean) ** 2 for z in normal))  # pstdev is exact, and ten times as slow
    return tuple(error * (z - mean) / spread for z in normal)


def _equal(text: str, wanted: object) -> bool:
    """Whether a cell holds the value, or one of the values: numbers as numbers, true and false as booleans."""
    if isinstance(wanted, Collection) and not isinstance(wanted, str | Mapping):
        return any(_equal(text, item) for item in wanted)
    if isinstance(wanted, bool):
        return text.lower() == str(wanted).lower()
    if isinstance(wanted, int | float):
        try:
            return float(text) == wanted
        except ValueError:
            return False
    return text == ("" if wanted is None else wanted)


def common(choices: Iterable[list[Realization]]) -> list[Realization]:
    """The realizations that all lists have, in the order of the first."""
    lists = list(choices)
    return [item for item in lists[0] if all(item in other for other in lists)] if lists else []
