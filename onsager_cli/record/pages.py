"""The published record: experiments/NAME/{curves.csv, NAME.svg, NAME.png, README.md} and the gallery.

Everything here is generated from tables and from what the store noted while training.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from onsager_cli.claims import claim as claims
from onsager_cli.claims import verify
from onsager_cli.claims.recorded import Record
from onsager_cli.errors import UserError
from onsager_cli.figures.kinds import Tables, csv_bytes, implementation_of, kind_of
from onsager_cli.record import provenance
from onsager_cli.record.published import Comparison, comparisons
from onsager_cli.store.files import atomic_write, writing
from onsager_cli.store.seeds import averaged, realizations
from onsager_cli.store.tables import markdown, read_table, table_bytes, trainings

Row = Mapping[str, Any]

_MEANING = {"nmse_db": "NMSE (dB)", "nmse_mean_ratio_db": "NMSE (dB, mean of ratios)"}
_SOMETIMES = ("seeds", "state_evolution")  # tables that a figure has if asked
RISE_DB = 0.1  # a last layer so far above the best one is worth a remark
_LAYERS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30)


def missing(curves: Iterable[Any], rows: Iterable[Row]) -> list[str]:
    """What the table lacks of the curves asked for, one phrase each: "lamp_tied_bg: layers 5-15"."""
    have: dict[tuple[str, int], set[int | None]] = {}
    for row in rows:
        have.setdefault((row["curve"], row["seed"]), set()).add(row["layer"])
    lacking, first = [], {}
    for curve in curves:
        seed = curve.settings.seed
        name = curve.slug if seed == first.setdefault(curve.slug, seed) else f"{curve.slug} (seed {seed})"
        layers = have.get((curve.slug, seed), set())
        depth = curve.settings.network.depth
        if not layers or (depth is None and None not in layers):
            lacking.append(name)
        elif curve.settings.training.kind == "none":
            continue  # made whole or not at all; it may have settled early, and its table need not hold every layer
        elif getattr(curve.settings.training, "joint", False):
            if depth not in layers:
                lacking.append(f"{name}: layer {depth}")
        elif depth is not None and (gaps := [t for t in range(1, depth + 1) if t not in layers]):
            span = f"layer {gaps[0]}" if len(gaps) == 1 else f"layers {gaps[0]}-{gaps[-1]}"
            lacking.append(f"{name}: {span}")
    return lacking


def record(
    experiment: Any,
    rows: Sequence[Row],
    made: provenance.Notes,
    folder: Path,
    tables: Tables | None = None,
) -> list[Path]:
    """Write the record of one experiment into `folder` (experiments/NAME); the paths written.

    Args:
        experiment: config.Experiment; `curves`, `figure` and `overrides` are read.
        rows: the table, every curve that is stored, hidden ones too.
        made: what the store noted of each curve.
        folder: created if missing.
        tables: what its kind of figure shows beside the curves, name → rows.

    Raises UserError if there is no row at all or a file cannot be written.
    """
    tables = tables or {}
    if not rows and not tables:
        raise UserError(f"{experiment.figure.name}: nothing to record, none of its curves has a point yet")
    paths = write_tables(folder, rows, tables)
    paths += draw(experiment, rows, tables, folder, ("svg", "png"))
    atomic_write(folder / "README.md", readme(experiment, rows, made, tables).encode())
    return [*paths, folder / "README.md"]


def write_tables(folder: Path, rows: Sequence[Row], tables: Tables) -> list[Path]:
    """Write curves.csv and a file for each of the tables that has rows; the paths written.

    Other tables that were written for this figure before are of something else now, and go.
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


def draw(
    experiment: Any, rows: Sequence[Row], tables: Tables, folder: Path, formats: Sequence[str]
) -> list[Path]:
    """Draw the figure of any kind; the paths written."""
    if not kind_of(experiment).draws:
        return []
    return implementation_of(experiment).draw(experiment.figure, rows, tables, folder, formats)


def readme(
    experiment: Any,
    rows: Sequence[Row],
    made: provenance.Notes,
    tables: Tables | None = None,
) -> str:
    """The README.md of a record. The first paragraph is its caption, which the gallery repeats."""
    figure, kind = experiment.figure, kind_of(experiment)
    parts = [f"# {heading(figure.name, figure.title)}"]
    if kind.draws:
        parts.append(f"![{_plain(figure.caption)}]({figure.name}.svg)")
    parts.append(_caption(figure, rows) if kind.over_layers else figure.caption.strip())
    page = implementation_of(experiment).page(tables or {})
    if not kind.trains:
        return "\n\n".join([*parts, page, "## How it was made", provenance.commands(experiment)]) + "\n"
    lacking = missing(experiment.curves, rows)
    if lacking:
        parts.append("**Incomplete.** Not trained yet: " + "; ".join(f"`{item}`" for item in lacking) + ".")
    parts.append(page)
    parts += [f"## {_MEANING[figure.metric]} by layer", _nmse_table(rows, figure.metric), _remarks(rows)]
    compared = [_comparison(found) for found in comparisons(rows)]
    if compared:
        parts += ["## Against other people's numbers", *compared]
    parts += ["## How it was made", provenance.told(experiment, made)]
    parts += ["## What it took", _cost_table(rows)]
    return "\n\n".join(part for part in parts if part) + "\n"


def heading(name: str, title: str) -> str:
    """ "fig10", "i.i.d. A" → "Fig. 10: i.i.d. A"; other names leave the title alone."""
    number = re.fullmatch(r"fig(\d+)([a-z]?)", name)
    return f"Fig. {number[1]}{number[2]}: {title}" if number else title


def write_index(root: Path) -> Path:
    """Write ROOT/README.md, the gallery of every record under `root`, and CLAIMS.md, if there are claims; its path."""
    entries = []
    trained: dict[tuple, float] = {}
    folders = (path.parent for path in root.glob("*/README.md"))
    for folder in sorted(
        folders, key=lambda path: [int(s) if s.isdecimal() else s for s in _split(path.name)]
    ):
        page = folder / "README.md"
        text = page.read_text(encoding="utf-8") if page.is_file() else ""
        blocks = [block for block in text.split("\n\n") if block.strip()]
        title = blocks[0].removeprefix("# ") if blocks and blocks[0].startswith("# ") else folder.name
        caption = next((block for block in blocks[1:] if not block.startswith(("!", "#", "|"))), "")
        link = f"{folder.name}/README.md"
        picture = f"{folder.name}/{folder.name}.svg"
        tables = sorted(path.name for path in folder.glob("*.csv"))
        shown = [f"## [{title}]({link})", caption]
        if (root / picture).is_file():
            shown.insert(1, f"[![{_plain(title)}]({picture})]({link})")
        rows = read_table(folder / "curves.csv") if "curves.csv" in tables else []
        here = trainings(rows)
        for key, seconds in here.items():
            trained[key] = max(seconds, trained.get(key, 0.0))
        machine = re.search(r"^\| machine \| (.+) \|$", text, re.MULTILINE)
        where = f" on {machine[1]}" if machine else ""
        made = f"{len({row['curve'] for row in rows})} curves" if rows else ""
        if here:
            made += f", {len(here)} trained network{'s' * (len(here) > 1)} in {duration(sum(here.values()))}"
        made += f"{where}. " if made else ""
        shown.append(made + ", ".join(f"[{name}]({folder.name}/{name})" for name in tables))
        entries.append("\n\n".join(shown))
    intro = (
        "# The record\n\n"
        "Every figure as this program computed it: the table, the drawing, how it was made and how long it "
        "took. Generated by `onsager record`; the numbers are never edited by hand."
    )
    if any(root.glob(f"*/{claims.FILE}")):
        tables = Record(root)
        verdicts = [claims.judge(claim, tables) for claim in claims.load([root])]
        atomic_write(root / "CLAIMS.md", (verify.as_markdown(verdicts) + "\n").encode())
        intro += f"\n\n[Every claim judged](CLAIMS.md): {verify.summary(verdicts)}."
    if trained:
        intro += (
            f"\n\nTrained networks, each counted once: {len(trained)}, in {duration(sum(trained.values()))}."
        )
    atomic_write(root / "README.md", ("\n\n".join([intro, *entries]) + "\n").encode())
    return root / "README.md"


def duration(seconds: float) -> str:
    """4.2 → "4.2 s", 200 → "3 min 20 s", 3725 → "1 h 2 min"."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _caption(figure: Any, rows: Sequence[Row]) -> str:
    samples = sorted({row["test_samples"] for row in rows if row.get("test_samples")})
    over = f" of {' or '.join(map(str, samples))} samples" if samples else ""
    errors = [row[f"{figure.metric}_se"] for row in rows if row.get(f"{figure.metric}_se") is not None]
    others = [seed for _, seed in realizations(rows)[1:]]
    largest = f"{max(errors):.2f} dB" if errors else ""
    error = f" Shaded: one standard error over the test samples, at most {largest}." if errors else ""
    if others:
        error = (
            f" Curves are means over {len(others) + 1} matrices (the first, and those of the seeds "
            f"{', '.join(map(str, others))}), shaded one standard error of these"
            f"{f'; that over the test samples is at most {largest}' if errors else ''}."
        )
    hidden = sorted({row["curve"] for row in rows} & set(figure.hidden or ()))
    not_drawn = f" Recorded but not drawn: {', '.join(f'`{slug}`' for slug in hidden)}." if hidden else ""
    meaning = (
        "mean of the samples' ratios" if figure.metric == "nmse_mean_ratio_db" else "ratio of summed squares"
    )
    depth = (
        "; each point of a trained curve is a network of that depth after its own training"
        if any(row["steps"] for row in rows)
        else ""
    )
    return f"{figure.caption.strip()} NMSE is the {meaning} over the test set{over}{depth}.{error}{not_drawn}"


def _nmse_table(rows: Sequence[Row], metric: str) -> str:
    deepest = max((row["layer"] for row in rows if row["layer"] is not None), default=0)
    layers = [layer for layer in _LAYERS if layer < deepest] + ([deepest] if deepest else [])
    body = []
    for slug, points in _by_curve(averaged(rows)).items():
        by_layer = {row["layer"]: row[metric] for row in points}
        level = by_layer.get(None)
        body.append([f"`{slug}`", *(_db(by_layer.get(layer, level)) for layer in layers or [None])])
    return markdown(["curve", *(str(layer) for layer in layers or ["level"])], body)


def _remarks(rows: Sequence[Row]) -> str:
    """What a reader of the table may miss: realizations that did not converge, rescued trainings, layers that do harm."""
    lines = []
    for name, points in _by_curve(rows, by_seed=True).items():
        last = points[-1]
        if last.get("nonconverged") is not None:
            median = "" if last["nmse_median_db"] is None else f"; median {_db(last['nmse_median_db'])} dB"
            many = last["nonconverged"]
            count = f"{many} realizations not converged" if many else "all realizations converged"
            lines.append(f"- {name}, layer {last['layer']}: {count}{median}.")
        if last.get("clipped") is not None:
            lines.append(f"- {name}: {last['clipped'] or 'no'} divergences clipped.")
        rescued = [str(row["layer"]) for row in points if row.get("rescued")]
        if rescued:
            lines.append(f"- {name}: training was rescued on the way to layers {', '.join(rescued)}.")
        best = min(points, key=lambda row: row["nmse_db"])
        if last.get("steps") and last["nmse_db"] > best["nmse_db"] + RISE_DB:
            lines.append(
                f"- {name}: {_db(best['nmse_db'])} dB at layer {best['layer']}, {_db(last['nmse_db'])} dB at the last: "
                "its training is not enough for so many layers."
            )
    return "\n".join(lines)


def _comparison(comparison: Comparison) -> str:
    worst = max(range(len(comparison.layers)), key=lambda i: abs(comparison.differences[i]))
    layer = comparison.layers[worst]
    where = "" if layer is None else f" (layer {layer})"
    text = markdown(
        ["layer", *("level" if t is None else str(t) for t in comparison.layers)],
        [
            ["here", *(_db(value, 3) for value in comparison.here)],
            ["there", *(_db(value, 3) for value in comparison.there)],
            ["difference", *(f"{value:+.3f}" for value in comparison.differences)],
        ],
    )
    return (
        f"`{comparison.curve}` against: {comparison.source}. "
        f"Largest difference {comparison.differences[worst]:+.2f} dB{where}; "
        f"negative: lower NMSE here.\n\n{text}"
    )


def _cost_table(rows: Sequence[Row]) -> str:
    costs = _costs(rows)
    body = [
        [
            f"`{slug}`",
            _count(cost["layers"]),
            _count(cost["steps"]),
            _seconds(cost["seconds"]),
            _count(cost["parameters"]),
        ]
        for slug, cost in costs.items()
    ]
    steps, seconds = (sum(cost[key] or 0 for cost in costs.values()) for key in ("steps", "seconds"))
    body.append(["**together**", "", _count(steps), f"{_seconds(seconds)} ({duration(seconds)})", ""])
    table = markdown(["curve", "layers", "steps", "seconds", "parameters"], body)
    count = len(realizations(rows))
    return f"Steps and seconds are sums over {count} matrices.\n\n{table}" if count > 1 else table


def _costs(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """slug → layers, steps, seconds, parameters of the whole curve.

    Steps and seconds in a table count from the start of the curve's training: the largest is the whole.
    """
    costs: dict[str, dict[str, Any]] = {}
    for points in _by_curve(rows, by_seed=True).values():
        slug = points[0]["curve"]
        whole = {
            key: max((row[key] for row in points if row[key] is not None), default=None)
            for key in ("steps", "seconds", "parameters")
        }
        if slug in costs:  # on a further matrix
            for key in ("steps", "seconds"):
                whole[key] = (whole[key] or 0) + (costs[slug][key] or 0)
        costs[slug] = {"layers": max(row["layer"] or 0 for row in points) or None, **whole}
    return costs


def _by_curve(rows: Sequence[Row], by_seed: bool = False) -> dict[str, list[Row]]:
    """`slug` → rows by layer, the level (no layer) first; curves in order of appearance.

    With `by_seed`, the name in Markdown → rows of one matrix: "`lamp_tied_bg`", "`lamp_tied_bg` (seed 1)".
    """
    curves: dict[str, list[Row]] = {}
    first = realizations(rows)[:1]
    for row in rows:
        name = row["curve"]
        if by_seed:
            name = f"`{name}`" if realizations([row]) == first else f"`{name}` (seed {row['seed']})"
        curves.setdefault(name, []).append(row)
    return {slug: sorted(points, key=lambda row: row["layer"] or 0) for slug, points in curves.items()}


def _split(name: str) -> list[str]:
    return re.split(r"(\d+)", name)


def _db(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}"


def _plain(text: str) -> str:
    return " ".join(text.replace("[", "(").replace("]", ")").split())
