"""Many problems in one drawing: the NMSE of each method's last point, and what is attainable.

A curve is named PROBLEM-METHOD. The drawing has a row for each problem and a marker for each method.
"""

from matplotlib.figure import Figure

from onsager_cli.config.experiment import Experiment
from onsager_cli.config.figure import FigureSpec
from onsager_cli.config.names import MATCHED
from onsager_cli.errors import UserError
from onsager_cli.figures.kinds import ProblemOf, Rows, Tables, as_markdown
from onsager_cli.figures.layout import paper
from onsager_cli.figures.looks import marker_of, style_of
from onsager_cli.kinds.records import FigureKind
from onsager_cli.store.tables import by_curve
from onsager_cli.text import render

KIND = FigureKind("problems")

ROW_INCHES, WIDTH = 0.22, 5.2
MARGIN = 1.0  # dB between the left end of the axis and what lies below it
ATTAINABLE = "attainable"
EXACT_DB = -120.0  # what float32 resolves


def tables(experiment: Experiment, rows: Rows, problem_of: ProblemOf) -> Tables:
    """`problems`: a row per stored curve, with problem and method, the last point, and its distance to what is attainable.

    Raises UserError for a curve whose name is not PROBLEM-METHOD.
    """
    del experiment, problem_of
    found = []
    for slug, points in by_curve(rows).items():
        problem, dash, method = slug.rpartition("-")
        if not dash:
            raise UserError(f"figure.kind=problems: the name of a curve must be PROBLEM-METHOD, got {slug}")
        last = points[-1]
        level = last.get("attainable_db")
        gap = None if level is None else last["nmse_db"] - level
        kept = {
            name: last[name] for name in ("curve", "network", "shrinkage", "tied", "layer", "nmse_db", "nmse_db_se")
        }
        found.append({"problem": problem, "method": method, **kept, "attainable_db": level, "gap_db": gap})
    return {"problems": found}


def draw(figure: FigureSpec, rows: Rows, tables: Tables) -> Figure:
    """A row for each problem, a marker for each method, a black line where what is attainable lies."""
    del rows
    shown = [row for row in tables["problems"] if row["curve"] not in figure.hidden]
    problems = list(dict.fromkeys(row["problem"] for row in shown))
    place = {name: number for number, name in enumerate(problems)}
    levels = {row["problem"]: row["attainable_db"] for row in shown if row["attainable_db"] is not None}
    with paper():
        drawing = Figure(figsize=(WIDTH, 1 + ROW_INCHES * len(problems)))
        axes = drawing.add_subplot()
        axes.plot(
            [inside(level, figure) for level in levels.values()],
            [place[name] for name in levels],
            "k|",
            markersize=11,
            label=ATTAINABLE,
        )
        for method in dict.fromkeys(row["method"] for row in shown):
            own = [row for row in shown if row["method"] == method]
            look = style_of({**own[0], "curve": MATCHED if own[0]["network"] == "vamp" else method})
            places = [place[row["problem"]] for row in own]
            alike = len({row["shrinkage"] for row in own}) == 1 or own[0]["network"] == "vamp"
            label = look.label if alike else str(own[0]["network"]).upper()
            axes.plot(
                [inside(row["nmse_db"], figure) for row in own],
                places,
                linestyle="",
                color=look.color,
                label=label,
                **marker_of(look),
            )
        axes.set_yticks(range(len(problems)), problems)
        axes.set(xlabel="NMSE (dB)", xlim=figure.ylim, ylim=(len(problems) - 0.5, -0.5))
        axes.grid(axis="y", linewidth=0.4, alpha=0.5)
        drawing.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return drawing


def inside(level: float, figure: FigureSpec) -> float:
    """A level (dB) as it is drawn: one below the axis stands at its left end, such as that of an exact estimate."""
    return level if figure.ylim is None else max(level, figure.ylim[0] + MARGIN)


def words(level: float) -> str:
    """A level (dB) in the table: exact estimates have none, up to the rounding of float32."""
    return f"{level:.1f}" if level > EXACT_DB else "exact"


def page(tables: Tables) -> str:
    """The table: a row per problem, a column per method."""
    shown = tables["problems"]
    methods = list(dict.fromkeys(row["method"] for row in shown))
    rows = []
    for problem in dict.fromkeys(row["problem"] for row in shown):
        own = {row["method"]: row for row in shown if row["problem"] == problem}
        level = next((row["attainable_db"] for row in own.values() if row["attainable_db"] is not None), None)
        cells = {method: words(own[method]["nmse_db"]) if method in own else "" for method in methods}
        rows.append({"problem": problem, ATTAINABLE: "" if level is None else words(level), **cells})
    headings = {"problem": "problem", ATTAINABLE: ATTAINABLE, **{method: method for method in methods}}
    return render("problems.md.j2", table=as_markdown, rows=rows, headings=headings)
