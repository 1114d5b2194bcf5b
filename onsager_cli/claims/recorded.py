"""Numbers out of recorded tables: curves by name, and cells of any other table. No JAX and no NumPy here.

A folder of experiments (`experiments/`, or `outputs/figures/`) holds NAME/curves.csv and, for some, other tables
(fig5/summary.csv). A number that is not recorded yet raises `NotRecordedError`. A curve that neither the table nor the
config of the experiment has is a mistake, and raises UserError.
"""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from onsager_cli.config import catalog
from onsager_cli.errors import UserError
from onsager_cli.store.files import read_bytes
from onsager_cli.store.tables import Row, read_csv, read_table
from onsager_cli.text import did_you_mean, one_of, show

# A matrix and the draw of everything else: (instance, seed).
Realization = tuple[str, int]
# Layer (None: a level, the same at every layer) or line of a table → value.
Values = dict[Any, float]

PUBLISHED = "authors2017"


class NotRecordedError(Exception):
    """A number that a claim needs is not recorded; the message says which."""


class Record:
    """The tables under one folder, each read once, when a claim first asks for it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._curves: dict[str, dict[str, dict[Realization, list[Row]]]] = {}
        self._tables: dict[str, tuple[list[str], list[tuple[int, dict[str, str]]]]] = {}
        self._configured: dict[str, list[str]] = {}

    def curve(self, experiment: str, slug: str, metric: str, realization: Realization | None = None) -> Values:
        """Layer → `metric` of one curve; {None: value} for a level. `realization`: None for the first one.

        Raises NotRecordedError if it is not recorded, UserError if no such curve exists (see `known`).
        """
        by_realization = self._curve(experiment, slug)
        first = next(iter(by_realization))
        rows = by_realization.get(realization or first)
        if rows is None:
            raise NotRecordedError(f"{experiment}: {slug} has no seed {realization}")
        values = {row["layer"]: row[metric] for row in rows if row[metric] is not None}
        if not values:
            raise NotRecordedError(f"{experiment}: {slug} has no {metric}")
        return values

    def realizations(self, experiment: str, slug: str) -> list[Realization]:
        """The realizations of a curve: the published matrix first, then by seed. Raises as `curve` does."""
        return list(self._curve(experiment, slug))

    def known(self, experiment: str) -> list[str]:
        """The curves of an experiment: those of its table and those that its config file lists."""
        recorded = self._table_of_curves(experiment)
        return list(dict.fromkeys([*recorded, *self._of_config(experiment)]))

    def column(self, table: str, column: str, where: Mapping[str, Any]) -> Values:
        """The numbers in `column` of the rows of FOLDER/`table` that fit `where` (column → value or values), by "line 7".

        Raises NotRecordedError if the table, a row or a number is not there, UserError for a column that it lacks.
        """
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
        values = {}
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
        found = self._table_of_curves(experiment).get(slug)
        if found:
            return found
        path, known = self.folder / experiment / "curves.csv", self.known(experiment)
        near = did_you_mean(slug, known)
        # Before anything is recorded, the config of the curve may not be written yet.
        if known and slug not in known and (near or path.is_file()):
            raise UserError(f"{experiment} has no curve '{slug}'{near}: {one_of(known)}")
        if not path.is_file():
            raise NotRecordedError(f"{path} is not there")
        raise NotRecordedError(f"{experiment}: {slug} is not recorded")

    def _table_of_curves(self, experiment: str) -> dict[str, dict[Realization, list[Row]]]:
        """Slug → realization → rows."""
        if experiment not in self._curves:
            path = self.folder / experiment / "curves.csv"
            grouped: dict[str, dict[Realization, list[Row]]] = {}
            for row in read_table(path) if path.is_file() else []:
                key = (row["instance"] or "", row["seed"] or 0)
                grouped.setdefault(row["curve"], {}).setdefault(key, []).append(row)
            self._curves[experiment] = {
                slug: dict(sorted(of.items(), key=lambda item: (item[0][0] != PUBLISHED, item[0][1])))
                for slug, of in grouped.items()
            }
        return self._curves[experiment]

    def _of_config(self, experiment: str) -> list[str]:
        """The curves that conf/experiment/NAME.yaml lists, or one that it builds on; [] if there is no such file."""
        if experiment not in self._configured:
            path = catalog.config_files("experiment").get(experiment)
            config = load_yaml(path) if path else {}
            config = config if isinstance(config, Mapping) else {}
            found = list(config["curves"]) if isinstance(config.get("curves"), Mapping) else []
            self._configured[experiment] = found
            for base in config.get("defaults") or ():
                if isinstance(base, str):
                    found += self._of_config(base.rpartition("/")[2])
        return self._configured[experiment]

    def _table(self, name: str) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
        """Header and (line, row) of any CSV table."""
        if name not in self._tables:
            path = self.folder / name
            if not path.is_file():
                raise NotRecordedError(f"{path} is not there")
            header, lines = read_csv(path)
            rows = [(line, dict(zip(header, fields, strict=True))) for line, fields in lines]
            self._tables[name] = header, rows
        return self._tables[name]


def load_yaml(path: Path) -> Any:
    """The content of a YAML file. Raises UserError, with the file and the line, if it is not YAML."""
    try:
        return yaml.load(read_bytes(path, 2**24), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{place}: {getattr(error, 'problem', None) or error}") from None


def _equal(text: str, wanted: Any) -> bool:
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
