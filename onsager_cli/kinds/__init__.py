"""Records of what there is: networks, problems, shrinkage families, trainings, figures. No JAX here.

A declaration of a kind may use the names below; then it is read without importing the file that it stands in.
"""

from onsager_cli.kinds.checks import choice, flag, integer, number, text
from onsager_cli.kinds.lists import by_depth, numbers, words
from onsager_cli.kinds.problems import BernoulliGaussian, Linear, ProblemSettings
from onsager_cli.kinds.records import (
    FREE,
    POSITIVE,
    FigureKind,
    Look,
    NetworkKind,
    ProblemKind,
    ShrinkageKind,
    SignalKind,
    TrainingKind,
)
from onsager_cli.kinds.signals import SignalSettings
from onsager_cli.kinds.trainings import TrainingSettings

__all__ = [
    "FREE", "POSITIVE", "BernoulliGaussian", "FigureKind", "Linear", "Look", "NetworkKind", "ProblemKind",
    "ProblemSettings", "ShrinkageKind", "SignalKind", "SignalSettings", "TrainingKind", "TrainingSettings", "by_depth", "choice", "flag", "integer",
    "number", "numbers", "text", "words",
]  # fmt: skip
