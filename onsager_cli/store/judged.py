"""Foreign solvers that were judged on the test set of a figure: `figures/NAME/judged.csv` in the output folder. No JAX.

A row has the columns of a curve (`tables`), with these differences. A figure shows the rows of its own test sets.

| column             | what it holds                                                                       |
|--------------------|-------------------------------------------------------------------------------------|
| network            | where the function came from, as it was named: `solvers.py:solve`                   |
| steps, parameters  | 0, and nothing: onsager does not know what the function has learned                 |
| seconds            | of the function's calls on all test samples                                         |
| seconds_per_sample | the same over the number of test samples                                            |
| checksum           | SHA-256 of the file that the function came from; empty if there is none             |
| test_set           | a hash of what decides the test set, the matrix and the seed included               |
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from onsager_cli.store import locks
from onsager_cli.store.files import atomic_write, is_file
from onsager_cli.store.tables import COLUMNS, KEY, Row, read_table, table_bytes

FILE = "judged.csv"
OWN = ("seconds_per_sample", "checksum", "test_set")


def read(place: Path, test_sets: Collection[str] | None = None) -> list[Row]:
    """The rows of the figure in the folder `place`, those of these test sets; None: of all. [] if there is no table.

    Raises UserError, with the file and the line, for a damaged table.
    """
    path = place / FILE
    rows = read_table(path, key=(*KEY, "test_set")) if is_file(path) else []
    return [row for row in rows if test_sets is None or row.get("test_set") in test_sets]


def add(place: Path, rows: Sequence[Row]) -> None:
    """Add rows to the table in the folder `place`. They replace those of the same name and test set.

    Raises UserError for a damaged table, and if the file cannot be written.
    """
    replaced = {(row["curve"], row["test_set"]) for row in rows}
    with locks.turn(place):
        kept = [row for row in read(place) if (row["curve"], row.get("test_set")) not in replaced]
        whole = [{name: row.get(name) for name in (*COLUMNS, *OWN)} for row in (*kept, *rows)]
        atomic_write(place / FILE, table_bytes(whole, OWN))


def of_curves(row: Mapping[str, object]) -> Row:
    """The row without the columns that the table of a figure does not have."""
    return {name: value for name, value in row.items() if name in COLUMNS}
