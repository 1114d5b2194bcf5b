"""`onsager evaluate`: the NMSE of a trained network under other conditions than those of its training."""

import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from onsager_cli.cli.options import Parser
from onsager_cli.cli.runs import output_folder
from onsager_cli.errors import UserError
from onsager_cli.store.files import expanded
from onsager_cli.store.tables import Row
from onsager_cli.text import cell, columns, printable, printable_lines

FOLDER = "evaluations"  # in the output folder
HIDDEN = ("panel", "condition", "key", "value", "layer", "embedding", "tied", "shrinkage", "network")


def add_options(parser: Parser) -> None:
    """Add the options of `onsager evaluate`."""
    parser.add_argument("words", nargs="*", metavar="MODEL", help="a trained network, or the overrides that trained it")
    parser.add_argument(
        "--on", nargs="+", default=[], metavar="KEY=VALUES",
        help="conditions of the test, such as problem.snr_db=0,10,20; keys of the problem, of the signal, and seed",
    )  # fmt: skip
    parser.add_argument("--depth", type=int, metavar="T", help="the network of T layers, where it is stored")
    parser.add_argument(
        "--output", "-o", metavar="FOLDER", help=f"folder of table and figure; default: outputs/{FOLDER}/…"
    )
    parser.add_argument("--no-references", action="store_true", help="leave out matched VAMP, EM-VAMP and the oracle")


def main(options: Namespace) -> int:
    """Print the table, and write it with its figure."""
    if not options.words:
        raise UserError("evaluate takes a network: onsager evaluate MODEL --on problem.snr_db=0,20,40")
    from onsager_cli.api.models import model
    from onsager_cli.config.elsewhere import conditions
    from onsager_cli.figures.elsewhere import Method
    from onsager_cli.run.evaluation import evaluated

    trained = model(*options.words, depth=options.depth)
    asked = conditions(trained.settings, options.on)
    name, of_output = _name(trained.name, options.on), [word for word in options.words if word.startswith("output=")]
    place = output_folder(of_output, "evaluate") / FOLDER / name if options.output is None else expanded(options.output)
    method = Method(trained.name, trained.settings, trained.problem, trained.depth, trained.net, trained.params)

    def report(event: Mapping[str, object]) -> None:
        print(f"{event['condition']} ({event['index']}/{event['of']})", file=sys.stderr, flush=True)

    rows = evaluated(method, asked, not options.no_references, report)
    print(printable_lines(table(rows)))
    for path in write(rows, place):
        print(printable(str(path)))
    return 0


def _name(slug: str, words: Sequence[str]) -> str:
    """What the folder of an evaluation is called."""
    keys = [word.partition("=")[0].rpartition(".")[2] for word in words]
    return "-".join([slug, *keys]) if keys else f"{slug}-as_trained"


def table(rows: Sequence[Row]) -> str:
    """The rows as text: the conditions, then the NMSE of each method (dB) with its standard error."""
    keys = [name for name in rows[0] if (name not in HIDDEN and "." in name) or name in ("seed", "signal", "problem")]
    methods = list(dict.fromkeys(row["curve"] for row in rows))
    lines = [[*keys, *methods]]
    by_condition: dict[tuple[object, ...], dict[str, str]] = {}
    for row in rows:
        error = f" ± {row['nmse_db_se']:.2f}" if row["nmse_db_se"] is not None else ""
        by_condition.setdefault(tuple(row.get(key) for key in keys), {})[row["curve"]] = f"{row['nmse_db']:.2f}{error}"
    lines += [[*map(cell, values), *(of.get(one, "") for one in methods)] for values, of in by_condition.items()]
    return columns(lines, range(len(keys), len(keys) + len(methods))) + "\nNMSE on the test samples (dB)"


def write(rows: Sequence[Row], place: Path) -> list[Path]:
    """Write the table, and the figure where something varies; the files."""
    from onsager_cli.figures.curves import panels, save
    from onsager_cli.figures.looks import styles
    from onsager_cli.figures.mismatch import draw_panel
    from onsager_cli.store.files import atomic_write
    from onsager_cli.store.tables import csv_bytes

    files = [place / "evaluation.csv"]
    atomic_write(files[0], csv_bytes(rows))
    if len({(row["condition"], row["value"]) for row in rows}) < 2:
        return files
    looks = styles(rows)
    with panels(1, 1, 3.5, 3.0) as (drawing, (axes,)):
        draw_panel(axes, rows, looks)
        drawing.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return [*files, *save(drawing, place, "evaluation")]
