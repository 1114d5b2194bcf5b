"""Figures and claims."""

from collections.abc import Callable
from pathlib import Path

from onsager_cli.api.checks import in_float32, place, texts
from onsager_cli.api.training import Callback, ignore
from onsager_cli.claims import verify as claims
from onsager_cli.claims.claim import Verdict
from onsager_cli.config.experiment import Experiment
from onsager_cli.config.load import load_experiment
from onsager_cli.errors import UserError
from onsager_cli.store.files import is_file
from onsager_cli.store.tables import Row, read_table


class Figure:
    """An experiment: its curves, its table, training and drawing; made by `experiment`."""

    def __init__(self, asked: Experiment):
        self.experiment = asked

    def __repr__(self) -> str:
        return f"<Figure {self.experiment.name}, {len(self.curves)} curves>"

    @property
    def curves(self) -> list[str]:
        """The names of the curves."""
        return list(dict.fromkeys(curve.slug for part in self.experiment.parts for curve in part.curves))

    @in_float32
    def train(self, callback: Callback | None = None) -> None:
        """Train what the store lacks; `plot` draws it. Raises DivergedError, last, for a curve that was given up."""
        from onsager_cli import run

        run.train(self.experiment, callback or ignore)

    @in_float32
    def plot(self) -> list[Path]:
        """Write the table and draw the figure from what is stored; the files. Raises UserError if nothing is."""
        from onsager_cli import run

        return [path for part in self.experiment.parts for path in run.plot(part)[0]]

    def judge(self, function: Callable[..., object], name: str | None = None) -> list[Row]:
        """Judge a solver of your own on the frozen test set. `table` and `plot` show it from then on.

        Args:
            function: (y, A, noise_variance) → x_hat. y is (M, L), a sample to a column, A (M, N), both float64 or
                complex128, and noise_variance σ_w² per entry of w, linear. x_hat is (N, L), or (T, N, L) for T iterations.
            name: of the curve; None: that of the function.

        Returns the rows (columns as in judged.csv): NMSEs in dB in both meanings with standard errors, seconds per sample.
        A second solver of that name replaces the first one. Raises UserError for an exception of the function, for an
        answer of another shape or with NaN, and for a name that a curve has.

        Example:
            >>> from onsager_cli import UserError, experiment
            >>> figure = experiment("+experiment=quick")
            >>> try:
            ...     figure.judge(lambda y, A, noise_variance: A.T @ y, "oracle")
            ... except UserError as error:
            ...     print(str(error).partition(":")[0])
            the name of a solver (--name) must be no curve of quick, got 'oracle'
        """
        from onsager_cli.run.foreign import solver_of
        from onsager_cli.run.judging import judge

        return [row for rows in judge(self.experiment, solver_of(function), name) for row in rows]

    def table(self) -> list[Row]:
        """The stored points, a dictionary each (columns as in curves.csv), with those of judged solvers."""
        from onsager_cli import run

        return [row for part in self.experiment.parts for row in run.rows_of(part)]

    def recorded(self, folder: str | Path = "experiments") -> list[Row]:
        """The points of the published record. Raises UserError if there are none."""
        paths = [place(folder, "folder") / part.name / "curves.csv" for part in self.experiment.parts]
        for path in paths:
            if not is_file(path):
                raise UserError(f"{path}: nothing is recorded there")
        return [row for path in paths for row in read_table(path)]


def experiment(*overrides: str) -> Figure:
    """A figure, by the overrides of the command line.

    Raises UserError for a mistake in them.

    Example:
        >>> from onsager_cli import experiment
        >>> experiment("+experiment=quick").curves
        ['amp_l1', 'lista_tied', 'lamp_tied_l1', 'lamp_tied_bg', 'oracle']
    """
    return Figure(load_experiment(texts(overrides)))


def verify(*names: str, folder: str | Path = claims.FOLDER) -> list[Verdict]:
    """The verdicts on recorded tables, of all claims or of those about the experiments and claims named.

    Raises UserError for a folder or a name that there is not.

    Example:
        >>> from onsager_cli import UserError, verify
        >>> try:
        ...     verify(folder="nowhere")
        ... except UserError as error:
        ...     print(error)
        folder: there is no folder 'nowhere'
    """
    return claims.verify(place(folder, "folder"), texts(names, "a name", "'fig10'"))
