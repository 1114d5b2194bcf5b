"""From an experiment to trained curves, tables and drawings: the only place where everything meets.

Training a figure trains the curves that its store does not hold. A curve is found by its identity, so a curve
that another figure, seed sweep or earlier run has trained is simply there.
"""

from onsager_cli.run.curve import in_order, make, maker_of, train_one
from onsager_cli.run.figure import plot, record, rows_of
from onsager_cli.run.judging import judge
from onsager_cli.run.problem import in_users_units, problem_of, seen_by
from onsager_cli.run.training import train

__all__ = [
    "in_order", "in_users_units", "judge", "make", "maker_of", "plot", "problem_of", "record", "rows_of", "seen_by", "train",
    "train_one",
]  # fmt: skip
