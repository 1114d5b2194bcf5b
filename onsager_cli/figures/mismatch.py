"""Who is robust: the NMSE of networks on samples of other SNR, activity, matrix or prior than those of their training.

`figure.conditions` has the panels, each with the overrides that it varies, such as `problem.snr_db=0,10,20`. Nothing is trained
anew. `elsewhere` says what each method is given.
"""

from collections.abc import Iterator, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from onsager_cli.config.elsewhere import Condition, conditions
from onsager_cli.config.experiment import Experiment
from onsager_cli.config.figure import FigureSpec
from onsager_cli.errors import UserError
from onsager_cli.figures.curves import panels
from onsager_cli.figures.elsewhere import judged, method_of, own_matrix
from onsager_cli.figures.kinds import ProblemOf, Rows, Tables, as_markdown
from onsager_cli.figures.looks import Look, Style, line_of, marker_of, styles
from onsager_cli.figures.turns import take_turns
from onsager_cli.kinds.records import FigureKind
from onsager_cli.store.tables import Row, by_curve, grouped
from onsager_cli.text import render

KIND = FigureKind("mismatch")

ABOUT = ("curve", "network", "shrinkage", "tied", "layer", "embedding")
NEAR_ZERO_DB = -10.0  # from which on the drawing marks 0 dB
CEILING_DB = 5.0  # of the drawing: above, an estimate is worse than none


def tables(experiment: Experiment, rows: Rows, problem_of: ProblemOf) -> Tables:
    """`mismatch`: a row for each panel, condition and stored curve.

    Raises UserError for an experiment without panels, and for one whose curves do not share their problem.
    """
    asked = experiment.figure.conditions
    if not asked:
        raise UserError(
            f"{experiment.name}: figure.kind=mismatch needs figure.conditions, such as {{SNR: 'problem.snr_db=0,20'}}"
        )
    last = {slug: points[-1] for slug, points in by_curve(rows).items()}
    stored = [curve for curve in experiment.curves if curve.slug in last]
    if len({(curve.settings.problem, curve.settings.seed) for curve in stored}) > 1:
        raise UserError(f"{experiment.name}: the curves of figure.kind=mismatch must share one problem")
    methods = [method_of(curve, problem_of(curve)) for curve in stored]
    A = own_matrix(methods[0].problem) if methods else None
    found: list[Row] = []
    for panel, words in asked.items():
        for condition in conditions(stored[0].settings, words.split()) if stored else ():
            for method in methods:
                if not condition.same_matrix and method.keeps_matrix:
                    continue  # its matrices are of another A
                about = {name: last[method.name].get(name) for name in ABOUT}
                found.append({**about, **place_of(panel, condition), **judged(method, condition, problem_of, A)})
    return {"mismatch": [*_compared(found, {one.name for one in methods if one.net is None})]}


def _compared(rows: Rows, bounds: set[str]) -> Iterator[Row]:
    """The rows with their distances (dB) to the best method and to the lowest bound under the same condition."""
    for own in grouped(((row["panel"], row["condition"], row["value"]), row) for row in rows).values():
        best = min(row["nmse_db"] for row in own if row["curve"] not in bounds)
        bound = min((row["nmse_db"] for row in own if row["curve"] in bounds), default=None)
        for row in own:
            above = None if bound is None else row["nmse_db"] - bound
            yield {**row, "above_best_db": row["nmse_db"] - best, "above_bound_db": above}


def place_of(panel: str, condition: Condition) -> Row:
    """Where a condition stands in its panel: the key that varies last, and its value as text."""
    key, _, value = (condition.words[-1] if condition.words else "").partition("=")
    others = " ".join(condition.words[:-1])
    return {"panel": panel, "condition": others, "key": key, "value": value}


def draw(figure: FigureSpec, rows: Rows, tables: Tables) -> Figure:
    """A panel for each of `figure.conditions`: NMSE over what it varies, a line for each method.

    Raises UserError if there is nothing to draw.
    """
    del rows
    # A seed is no quantity: fresh matrices are in the table alone.
    shown = [row for row in tables["mismatch"] if row["curve"] not in figure.hidden and row["key"] != "seed"]
    by_panel = grouped((row["panel"], row) for row in shown)
    if not by_panel:
        raise UserError(f"{figure.name}: none of its curves is completely trained: run onsager train")
    looks = styles(shown, figure.labels)
    wide = 2 if len(by_panel) > 1 else 1
    tall = -(-len(by_panel) // wide)
    with panels(tall, wide, 3.3 * wide, 2.3 * tall + 0.25 * -(-len(looks) // (2 * wide))) as (drawing, axes):
        for one, (panel, own) in zip(axes, by_panel.items(), strict=False):
            draw_panel(one, own, looks)
            one.set_title(panel, fontsize=8)
        for one in axes[len(by_panel) :]:
            one.remove()
        handles, names = axes[0].get_legend_handles_labels()
        drawing.legend(handles, names, loc="outside lower center", ncols=2 * wide, fontsize=6.5)
    return drawing


def draw_panel(axes: Axes, rows: Rows, looks: Mapping[str, Look]) -> None:
    """NMSE over the key that varies; numbers on an axis, words beside each other."""
    values = list(dict.fromkeys(row["value"] for row in rows))
    numbers = [number_of(value) for value in values]
    known = [number for number in numbers if number is not None]
    numeric = len(known) == len(values)
    place = dict(zip(values, known if numeric else range(len(values)), strict=True))
    conditions = list(dict.fromkeys(row["condition"] for row in rows))
    for (slug, condition), own in grouped(((row["curve"], row["condition"]), row) for row in rows).items():
        look = looks[slug]
        line: Style = line_of(look) if numeric else {**line_of(look), "linewidth": 0.5}
        label = look.label if condition == conditions[0] else None
        x, y = [place[row["value"]] for row in own], [min(row["nmse_db"], CEILING_DB) for row in own]
        axes.plot(x, y, label=label, **line, **marker_of(look))
        if len(conditions) > 1 and slug == rows[0]["curve"]:
            offset: Style = {"xytext": (0, 4), "textcoords": "offset points", "ha": "right", "fontsize": 6}
            axes.annotate(condition, (x[-1], y[-1]), **offset)
    axes.set(xlabel=rows[0]["key"], ylabel="NMSE (dB)")
    if max(row["nmse_db"] for row in rows) > NEAR_ZERO_DB:
        axes.axhline(0, color="black", linewidth=0.5)
    if not numeric:
        axes.set_xticks(list(place.values()), [value.replace("_", " ") for value in values])
        axes.set_xlim(-0.4, len(values) - 0.6)
    take_turns(axes)


def number_of(value: str) -> float | None:
    """The number that a value of a condition is; None for a word."""
    try:
        return float(value)
    except ValueError:
        return None


def page(tables: Tables) -> str:
    """A table for each panel: the NMSE of each method under each condition."""
    return render("mismatch.md.j2", tables=crossed(tables["mismatch"]))


def crossed(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """(panel, table in Markdown) for each panel: a row for each method, a column for each condition."""
    found = []
    for panel, own in grouped((row["panel"], row) for row in rows).items():
        values = list(dict.fromkeys(" ".join(filter(None, (row["condition"], row["value"]))) for row in own))
        lines = []
        for slug, of in by_curve(own).items():
            levels = {" ".join(filter(None, (row["condition"], row["value"]))): f"{row['nmse_db']:.2f}" for row in of}
            lines.append({"method": f"`{slug}`", **{value: levels.get(value, "") for value in values}})
        headings = {"method": own[0]["key"], **{value: value for value in values}}
        found.append((panel, as_markdown(lines, headings)))
    return found
