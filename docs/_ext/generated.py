"""Tables of the documentation that the code itself has: `<!-- generated: NAME -->` in a page becomes one of PARTS.

The command line comes from its parsers, config keys from the comments in conf/, options from their titles, columns from
`store.tables`, the gallery from experiments/README.md. This file needs no Sphinx until `setup` is called.
"""

import argparse
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from onsager_cli.cli.options import Parser
from onsager_cli.cli.verbs import VERBS, fill
from onsager_cli.config import catalog, comments

ROOT = Path(__file__).resolve().parents[2]
MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)


def _cell(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return text.replace("|", r"\|").replace("<", "&lt;").replace("*", r"\*").replace("_", r"\_").replace("$", r"\$")


def _code(text: str) -> str:
    """Code for a cell of a Markdown table."""
    return f"`{text.replace('|', chr(92) + '|')}`" if text else ""


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]] | list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines) + "\n"


def commands() -> str:
    """A section for each verb: what it does, its arguments and options."""
    return "\n".join(_command(name) for name in VERBS)


def _command(name: str) -> str:
    parser = fill(Parser(f"onsager {name}", add_help=True), name)
    usage = " ".join(parser.format_usage().split()).removeprefix("usage: ")
    rows = [
        (_code(_names(action)), _cell(_help(action)))
        for action in parser._actions
        if action.help is not argparse.SUPPRESS and not isinstance(action, argparse._HelpAction)
    ]
    table = f"\n{_table(('argument', 'meaning'), rows)}" if rows else ""
    text = VERBS[name].description.strip("\n")
    return f"### onsager {name}\n\n```\n{usage}\n```\n\n{_prose(VERBS[name].summary, text)}{table}"


def _prose(summary: str, text: str) -> str:
    """The summary and the description, with its indented blocks as code."""
    blocks = []
    for block in re.split(r"\n\n", text):
        lines = block.splitlines()
        cut = next((i for i, line in enumerate(lines) if re.match(r"  \S|\S+:  ", line)), len(lines))
        if cut:
            blocks.append("\n".join(lines[:cut]).replace("*", r"\*").replace("$", r"\$"))
        if cut < len(lines):
            blocks.append("```\n" + "\n".join(line.removeprefix("  ") for line in lines[cut:]) + "\n```")
    return f"**{summary[0].upper()}{summary[1:]}.**\n\n" + "\n\n".join(blocks) + "\n"


def _names(action: argparse.Action) -> str:
    """`--output FILE, -o`; the metavar alone of a positional argument."""
    metavar = action.metavar or (action.dest.upper() if action.nargs != 0 else "")
    if action.choices and not action.metavar:
        metavar = "{" + ",".join(map(str, action.choices)) + "}"
    if not action.option_strings:
        return str(metavar)
    first, *others = action.option_strings
    return ", ".join([f"{first} {metavar}".strip() if action.nargs != 0 else first, *others])


def _help(action: argparse.Action) -> str:
    return (action.help or "").replace("%(default)s", str(action.default)).replace("%%", "%")


def options() -> str:
    """A table for each config group: every option with its title."""
    parts = []
    for section, group in catalog.SECTIONS.items():
        sign = "+" if group == "experiment" else ""
        rows = [(_code(name), _cell(catalog.title(path))) for name, path in catalog.config_files(group).items()]
        parts.append(f"### {section.capitalize()}: `{sign}{group}=…`\n\n{_table(('option', 'what it is'), rows)}")
    return "\n".join(parts)


def config_keys() -> str:
    """A table for each config group: every key once for each meaning, its default, and the options that have it."""
    parts = []
    for title, place, prefix in comments.GROUPS:
        rows: dict[tuple[str, str], dict[str, list[str]]] = {}
        found, files = comments.of_group(place, prefix)
        for key in found:
            if prefix == "training." and key.name.count(".") > 1 and not key.comment:
                continue  # a number of one network's schedule
            rows.setdefault((key.name, key.comment), {}).setdefault(key.value, []).append(key.option)
        table = _table(("key", "default", "meaning", "options"), list(_rows(rows, files)))
        parts.append(f"### {title}\n\n{table}")
    return "\n".join(parts)


def _rows(rows: dict[tuple[str, str], dict[str, list[str]]], files: int) -> Iterator[tuple[str, ...]]:
    for (name, comment), values in rows.items():
        options_of = list(dict.fromkeys(option for found in values.values() for option in found))
        shown = list(values)[:3] + (["…"] if len(values) > 3 else [])
        where = "" if len(options_of) == files else ", ".join(options_of[:4]) + (", …" if len(options_of) > 4 else "")
        short = [value if len(value) < 40 else f"{value[:37]}…" for value in shown]
        yield _code(name), ", ".join(map(_code, short)), _cell(comment), _cell(where)


def columns() -> str:
    """A table of the columns of curves.csv."""
    from onsager_cli.store import tables

    unknown = set(COLUMNS) ^ {*tables.COLUMNS, *tables.OPTIONAL}
    if unknown:
        raise ValueError(f"columns of curves.csv that the documentation lacks, or has too many: {sorted(unknown)}")
    rows = [(_code(name), COLUMNS[name]) for name in (*tables.COLUMNS, *tables.OPTIONAL)]
    return _table(("column", "meaning"), rows)


COLUMNS = {
    "curve": "name of the curve, such as `lamp_tied_bg`",
    "network": "option of the network",
    "shrinkage": "option of the shrinkage; empty if the network has none",
    "tied": "`true`, `false`, or empty if nothing can be tied",
    "layer": "number of layers, or of iterations; empty for a bound",
    "nmse_db": "NMSE on the test set, ratio of sums (dB)",
    "nmse_db_se": "its standard error over the test samples (dB)",
    "nmse_mean_ratio_db": "mean over the samples of ‖x̂ − x‖² / ‖x‖² (dB)",
    "nmse_mean_ratio_db_se": "its standard error (dB)",
    "nmse_median_db": "median of these ratios (dB)",
    "selection_nmse_db": "NMSE on the selection set, which decides which weights are kept (dB)",
    "training_nmse_db": "NMSE on the training pairs, for recorded pairs (dB)",
    "attainable_db": "attainable NMSE, the lowest of the reference algorithms (dB)",
    "fresh_nmse_db": "NMSE on fresh samples, if `fresh` is set (dB)",
    "fresh_nmse_db_se": "its standard error (dB)",
    "fresh_samples": "number of fresh samples",
    "problem": "option of the problem",
    "instance": "`authors2017`: matrix and test set of the published code; or `seeded`",
    "seed": "seed of the matrix, the samples and the initial parameters",
    "steps": "training steps since the start of the curve",
    "seconds": "training time of these steps (s)",
    "parameters": "number of real parameters of the network",
    "test_samples": "size of the test set",
    "nonconverged": "number of test samples on which an algorithm did not converge",
    "clipped": "number of clipped divergences",
    "rescued": "number of restarts of diverging stages",
    "zero_samples": "number of test samples with x = 0, which have no ratio",
    "embedding": "`real` or `complex`, if x is complex",
    "told": "what the method knows besides A and y",
}


def gallery() -> str:
    """experiments/README.md, with the paths of drawings and tables seen from docs/."""
    text = (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"^# .*\n", "", text, count=1)
    text = re.sub(r"^## \[(.+?)\]\((\w+)/\S+?\)$", r"(record-\2)=\n## \1", text, flags=re.MULTILINE)
    text = re.sub(r"^\[(!\[.*?\])\((\S+?)\)\]\((\S+?)\)$", r"\1(../experiments/\2)", text, flags=re.MULTILINE)
    return re.sub(r"(?<!!)\]\((?!http|\.\.|#)(\S+?)\)", r"](../experiments/\1)", text)


def claims() -> str:
    """experiments/CLAIMS.md without its title."""
    return re.sub(r"^# .*\n", "", (ROOT / "experiments" / "CLAIMS.md").read_text(encoding="utf-8"), count=1)


PARTS: dict[str, Callable[[], str]] = {
    "commands": commands, "options": options, "keys": config_keys, "columns": columns, "gallery": gallery,
    "claims": claims,
}  # fmt: skip


def filled(text: str) -> str:
    """A page with its generated parts. Links to the record lead to the gallery, which has every page of it."""
    text = MARK.sub(lambda match: PARTS[match[1]](), text)
    text = text.replace("](../experiments/CLAIMS.md)", "](#record-claims)")
    return re.sub(r"\]\(\.\./experiments/(\w+)/README\.md\)", r"](#record-\1)", text)


def setup(app: object) -> dict[str, bool]:
    """Connect to Sphinx."""

    def fill_page(app: object, name: str, source: list[str]) -> None:
        source[0] = filled(source[0])

    def escape(app: object, what: str, name: str, of: object, options: object, lines: list[str]) -> None:
        """|x| is a magnitude, not a substitution of reStructuredText."""
        lines[:] = [one if one.lstrip().startswith((">>>", "...")) else one.replace("|", r"\|") for one in lines]

    app.connect("source-read", fill_page)  # type: ignore[attr-defined]
    app.connect("autodoc-process-docstring", escape, priority=400)  # type: ignore[attr-defined]  # before napoleon
    return {"parallel_read_safe": True}
