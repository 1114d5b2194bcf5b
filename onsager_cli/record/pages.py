"""The published record of an experiment: experiments/NAME/{curves.csv, NAME.svg, NAME.png, README.md}.

All of it is generated from tables and from what the store noted while training; the words are in `templates`.
"""

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from onsager_cli.config.experiment import Curve, Experiment
from onsager_cli.errors import Notice, UserError
from onsager_cli.figures.kinds import Rows, Tables, implementation_of, kind_of
from onsager_cli.record import provenance
from onsager_cli.record.published import Comparison, comparisons
from onsager_cli.store.files import atomic_write, check_ours, check_replaceable, is_file, keep, read_bytes, writing
from onsager_cli.store.seeds import averaged, realizations
from onsager_cli.store.tables import Row, by_curve, csv_bytes, grouped, is_table, table_bytes
from onsager_cli.text import duration, markdown_table, render

_SOMETIMES = ("seeds", "state_evolution", "replicates")  # tables that only some figures have
FORMATS = ("svg", "png")  # of the drawing of a record
RISE_DB = 0.1  # the page remarks on a last layer that is worse than the best one by more
_LAYERS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30)


def missing(curves: Iterable[Curve], rows: Iterable[Row]) -> list[str]:
    """Name what the table lacks of the curves, one phrase each: "lamp_tied_bg: layers 5-15"."""
    have = grouped(((row["curve"], row["seed"]), row["layer"]) for row in rows)
    lacking, first = [], {}
    for curve in curves:
        training, depth, seed = curve.settings.training, curve.settings.network.depth, curve.settings.seed
        name = curve.slug if seed == first.setdefault(curve.slug, seed) else f"{curve.slug} (seed {seed})"
        layers = set(have.get((curve.slug, seed), ()))
        if not layers or (depth is None and None not in layers):
            lacking.append(name)
        elif depth is not None and training.kind != "none":  # an untrained curve is stored whole, its table thinned out
            wanted = [depth] if getattr(training, "joint", False) else range(1, depth + 1)
            if gaps := [t for t in wanted if t not in layers]:
                span = f"layer {gaps[0]}" if len(gaps) == 1 else f"layers {gaps[0]}-{gaps[-1]}"
                lacking.append(f"{name}: {span}")
    return lacking


def check_place(folder: Path, name: str, replace: Callable[[Path], bool] = keep) -> None:
    """Raises UserError if a page, a table or a drawing of somebody else's is where the record of `name` belongs.

    `replace` is asked before, as in `check_ours`. A drawing does not say who made it; the page or the table beside it
    does.
    """
    page, table = folder / "README.md", folder / "curves.csv"
    check_ours(page, is_page, replace)
    check_ours(table, is_table, replace)
    begun = check_replaceable(page) or check_replaceable(table)
    for drawing in (folder / f"{name}.svg", folder / f"{name}.png"):
        check_ours(drawing, lambda _: begun, replace)


def is_page(head: bytes) -> bool:
    """Whether a file that begins with these bytes is the page of a record."""
    return b"\n## How it was made\n" in head and b"\nonsager record" in head


def record(
    experiment: Experiment, rows: Rows, made: provenance.Notes, folder: Path, tables: Tables | None = None
) -> list[Path]:
    """Write the record of one experiment into `folder` (experiments/NAME); the paths written.

    Args:
        experiment: its `curves`, `figure` and `overrides` are read.
        rows: the table of every stored curve, those that the figure hides included.
        made: what the store noted of each curve.
        folder: created if missing.
        tables: what the kind of figure shows beside the curves, name → rows.

    Raises UserError if there is no row at all or a file cannot be written.
    """
    tables = tables or {}
    if not rows and not tables:
        raise UserError(f"{experiment.figure.name}: nothing to record: no curve has a point yet")
    _warn_of_another(folder / "README.md", provenance.command(experiment))
    paths = write_tables(folder, rows, tables)
    paths += draw(experiment, rows, tables, folder, FORMATS)
    atomic_write(folder / "README.md", readme(experiment, rows, made, tables).encode())
    return [*paths, folder / "README.md"]


def _warn_of_another(page: Path, command: str) -> None:
    """A Notice if the page that is replaced is of another command."""
    text = read_bytes(page, 2**24).decode("utf-8", "replace") if is_file(page) else ""
    made = re.search(r"^onsager record ?(.*)$", text, re.MULTILINE)
    if made is not None and _without_fresh(made[1]) != _without_fresh(command):
        message = f"onsager replaces {page}, which `onsager record {made[1]}` made: figure.name=… keeps that page"
        warnings.warn(message, Notice, stacklevel=2)


def _without_fresh(command: str) -> str:
    """A command without the number of fresh samples, which decides nothing else."""
    return re.sub(r"\s*\bfresh=\w+", "", command).strip()


def write_tables(folder: Path, rows: Rows, tables: Tables) -> list[Path]:
    """Write curves.csv and a file for each of the tables that has rows; the paths written.

    Tables of this figure that an earlier call wrote and this one does not are removed.
    """
    files = {name: csv_bytes(table) for name, table in tables.items() if table}
    if rows:
        files = {"curves": table_bytes(rows), **files}
    for name in (*_SOMETIMES, *tables):
        stale = folder / f"{name}.csv"
        if name not in files:
            with writing(stale, "remove"):
                stale.unlink(missing_ok=True)
    for name, data in files.items():
        atomic_write(folder / f"{name}.csv", data)
    return [folder / f"{name}.csv" for name in files]


def draw(experiment: Experiment, rows: Rows, tables: Tables, folder: Path, formats: Sequence[str]) -> list[Path]:
    """Draw the figure of any kind; the paths written."""
    if not kind_of(experiment).draws:
        return []
    from onsager_cli.figures.curves import drawing_errors, save  # Matplotlib is slow to import
    from onsager_cli.figures.layout import laid_out, styled

    figure = experiment.figure
    with styled(figure), drawing_errors(figure.name):
        drawing = laid_out(implementation_of(experiment).draw(figure, rows, tables), figure)
    with styled(figure):
        return save(drawing, folder, figure.name, formats)


def readme(experiment: Experiment, rows: Rows, made: provenance.Notes, tables: Tables | None = None) -> str:
    """The README.md of a record. The first paragraph is its caption, which the gallery repeats."""
    figure, kind = experiment.figure, kind_of(experiment)
    values = {
        "figure": figure, "kind": kind, "heading": heading(figure.name, figure.title),
        "part": implementation_of(experiment).page(tables or {}), "command": provenance.command(experiment),
    }  # fmt: skip
    if kind.trains:
        errors = [row.get(f"{figure.metric}_se") for row in rows]
        descents, rivals = provenance.descents(experiment)
        fresh = [row for row in rows if row.get("fresh_samples")]
        values |= {
            "lacking": missing(experiment.curves, rows), "mean_ratio": figure.metric == "nmse_mean_ratio_db",
            "samples": sorted({row["test_samples"] for row in rows if row.get("test_samples")}),
            "trained": any(row["steps"] for row in rows),
            "fresh": sorted({f"{row['fresh_samples']:,}" for row in fresh}),
            "tested": _tested({row["curve"] for row in rows}, {row["curve"] for row in fresh}),
            "seeds": [seed for _, seed in realizations(rows)[1:]],
            "errors": [error for error in errors if error is not None],
            "hidden": sorted({row["curve"] for row in rows} & set(figure.hidden)),
            "levels": _levels(rows, figure.metric), "remarks": _remarks(rows),
            "compared": [(found, _compared(found)) for found in comparisons(rows, figure.name)],
            "settings": provenance.settings(experiment, made), "descents": descents, "rivals": rivals,
            "foreign": by_curve((tables or {}).get("judged", [])),
            "costs": _costs(rows),
        }  # fmt: skip
    return render("record.md.j2", **values) + "\n"


def heading(name: str, title: str) -> str:
    """ "fig10", "i.i.d. A" → "Fig. 10: i.i.d. A"; other names leave the title alone."""
    number = re.fullmatch(r"fig(\d+)([a-z]?)", name)
    return f"Fig. {number[1]}{number[2]}: {title}" if number else title


def _tested(curves: set[str], fresh: set[str]) -> str:
    """The beginning of the sentence on fresh samples: "Every curve is", "Every curve except `oracle` is", "Only `x` is"."""
    others = curves - fresh
    if len(fresh) < len(others):
        return f"Only {_listed(fresh)} {'is' if len(fresh) == 1 else 'are'}"
    return f"Every curve except {_listed(others)} is" if others else "Every curve is"


def _listed(curves: set[str]) -> str:
    """Names of curves in Markdown."""
    return ", ".join(f"`{curve}`" for curve in sorted(curves))


def _levels(rows: Rows, metric: str) -> str:
    """The table of the NMSE by layer."""
    means = averaged(rows)
    deepest = max((row["layer"] for row in means if row["layer"] is not None), default=0)
    layers = [layer for layer in _LAYERS if layer < deepest] + ([deepest] if deepest else [])
    body = []
    for slug, points in by_curve(means).items():
        values = {row["layer"]: row[metric] for row in points}
        body.append([f"`{slug}`", *(_number(values.get(t, values.get(None)), ".2f") for t in layers or [None])])
    return markdown_table(["curve", *map(str, layers or ["level"])], body)


def _remarks(rows: Rows) -> list[tuple[str, Row, Row | None, list[int]]]:
    """What a reader of the table may miss, per curve and matrix.

    The name, the last point, the best point if the last one is worse than that (RISE_DB), and the layers whose stages
    were rescued. `rescued` of a row counts those of all layers up to its own.
    """
    found = []
    for name, points in _by_matrix(rows).items():
        last, best = points[-1], min(points, key=lambda row: row["nmse_db"])
        rises = last.get("steps") and last["nmse_db"] > best["nmse_db"] + RISE_DB
        counts = [0, *(row.get("rescued") or 0 for row in points)]
        rescued = [row["layer"] for row, before, now in zip(points, counts, counts[1:], strict=False) if now > before]
        found.append((name, last, best if rises else None, rescued))
    return found


def _compared(comparison: Comparison) -> str:
    """The table of one comparison."""
    lines = (
        ("here", comparison.here, ".3f"), ("there", comparison.there, ".3f"),
        ("difference", comparison.differences, "+.3f"),
    )  # fmt: skip
    body = [[name, *(_number(value, form) for value in values)] for name, values, form in lines]
    return markdown_table(["layer", *("level" if t is None else str(t) for t in comparison.layers)], body)


def _costs(rows: Rows) -> str:
    """The table of what each curve took, summed over its matrices; the last point has the cost of the curve."""
    body, ends = [], [points[-1] for points in _by_matrix(rows).values()]
    for slug, last in by_curve(ends).items():
        layers, parameters = (_range([row[key] for row in last]) for key in ("layer", "parameters"))
        body.append([f"`{slug}`", layers, f"{_total(last, 'steps'):,}", f"{_total(last, 'seconds'):,.1f}", parameters])
    seconds = _total(ends, "seconds")
    body.append(["**together**", "", f"{_total(ends, 'steps'):,}", f"{seconds:,.1f} ({duration(seconds)})", ""])
    return markdown_table(["curve", "layers", "steps", "seconds", "parameters"], body)


def _by_matrix(rows: Rows) -> dict[str, list[Row]]:
    """A curve on one matrix in Markdown → its rows by layer: "`lamp_tied_bg`", "`lamp_tied_bg` (seed 1)"."""
    first = realizations(rows)[:1]
    names = (f"`{row['curve']}`" + ("" if realizations([row]) == first else f" (seed {row['seed']})") for row in rows)
    found = grouped(zip(names, rows, strict=True))
    return {name: sorted(points, key=lambda row: row["layer"] or 0) for name, points in found.items()}


def _number(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"


def _range(values: Sequence[float | None]) -> str:
    """ "800", or "800 to 6,000" if the matrices differ; algorithms stop where they have settled."""
    found = sorted(value for value in values if value is not None)
    return " to ".join(f"{value:,.0f}" for value in dict.fromkeys(found[:1] + found[-1:]))


def _total(rows: Rows, column: str) -> float:
    return sum(row[column] or 0 for row in rows)
