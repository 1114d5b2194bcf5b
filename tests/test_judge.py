"""`onsager judge`: foreign solvers on the test set of an experiment, against float64 NumPy; where they are shown."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import toy_judge
from test_mistakes import said

from onsager_cli import run
from onsager_cli.api.figures import experiment as figure_of
from onsager_cli.cli.completion import candidates
from onsager_cli.cli.main import main
from onsager_cli.config.load import load_experiment
from onsager_cli.errors import UserError
from onsager_cli.figures.curves import build
from onsager_cli.run.foreign import load, solver_of
from onsager_cli.store import judged
from onsager_cli.store.tables import read_table
from onsager_cli.training import growth


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    toy_judge.prepare(monkeypatch, tmp_path)


def test_completion_goes_on_behind_the_function():
    assert candidates("onsager judge solvers.py:linear +experiment=min") == ["+experiment=mine"]
    assert candidates("onsager judge --") == ["--help", "--name"]


def outcome(words: str, capsys) -> str:
    """What a command prints on stdout; it must succeed."""
    code = main(words.split())
    out, err = capsys.readouterr()
    assert code == 0, err
    return out


def judge_of(name: str, *overrides: str) -> list:
    (rows,) = run.judge(load_experiment(["+experiment=mine", *overrides]), load("solvers.py", name))
    return rows


def by_hand(x_hat: np.ndarray, x: np.ndarray) -> tuple[float, float]:
    """NMSE in both meanings, dB."""
    errors, powers = np.sum(np.abs(x_hat - x) ** 2, axis=0), np.sum(np.abs(x) ** 2, axis=0)
    there = powers > 0
    ratios = errors.sum() / powers.sum(), np.mean(errors[there] / powers[there])
    return 10 * np.log10(ratios[0]), 10 * np.log10(ratios[1])


def arrays(*overrides: str):
    """A, x and y of the experiment in double precision."""
    problem = run.in_users_units(load_experiment(["+experiment=mine", *overrides]).curves[0])
    return [np.asarray(a, np.complex128 if np.iscomplexobj(a) else np.float64) for a in (problem.A, *problem.test)]


class TestNumbers:
    @pytest.mark.slow
    def test_ten_lines_of_lmmse_are_those_of_onsager(self, capsys):
        """The table rounds to 1e-4 dB; float64 differs by less."""
        outcome("train +experiment=mine plot.formats=[png]", capsys)
        outcome("judge solvers.py:linear +experiment=mine plot.formats=[png]", capsys)
        rows = {row["curve"]: row for row in read_table("outputs/figures/mine/curves.csv")}
        ours, theirs = rows["lmmse"], rows["linear"]
        for metric in ("nmse_db", "nmse_mean_ratio_db", "nmse_db_se", "nmse_mean_ratio_db_se"):
            assert theirs[metric] == pytest.approx(ours[metric], abs=1.01e-4)
        assert ours["nmse_db"] < -2
        assert (theirs["network"], theirs["layer"], theirs["test_samples"]) == ("solvers.py:linear", None, 50)

    def test_the_matched_filter_by_hand(self):
        A, x, y = arrays()
        (row,) = judge_of("matched_filter")
        # Errors are summed in float32.
        assert (row["nmse_db"], row["nmse_mean_ratio_db"]) == pytest.approx(by_hand(A.T @ y, x), abs=1e-5)
        assert 0 < row["seconds_per_sample"] == pytest.approx(row["seconds"] / 50)

    def test_iterations_are_a_curve(self):
        A, x, y = arrays()
        rows = judge_of("landweber")
        assert [row["layer"] for row in rows] == [1, 2, 3, 4]
        second = A.T @ y + 0.1 * A.T @ (y - A @ A.T @ y)
        assert rows[1]["nmse_db"] == pytest.approx(by_hand(second, x)[0], abs=1e-5)
        assert [row["nmse_db"] for row in judge_of("stacked")] == [row["nmse_db"] for row in rows]

    def test_a_solver_cannot_change_our_arrays(self):
        problem = load_experiment(["+experiment=mine", "seeds=[0,1]"])
        rows = (
            run.judge(problem, load("solvers.py", "destroys")),
            run.judge(problem, load("solvers.py", "matched_filter")),
        )
        assert [row["nmse_db"] for (row,) in rows[0]] == [row["nmse_db"] for (row,) in rows[1]]

    def test_what_a_solver_is_told(self):
        """A is the estimate where samples come from another matrix, σ_w² the mean where the SNR is drawn."""
        seen = []

        def solve(y, A, noise_variance):
            seen.append((y, A, noise_variance))
            return np.zeros((40, 50))

        words = ["+experiment=mine", "problem.perturb_db=-20", "problem.snr_db=[10,30]"]
        asked = load_experiment(words)
        ((row,),) = run.judge(asked, solver_of(solve), "zero")
        problem = run.in_users_units(asked.curves[0])
        ((y, A, noise_variance),) = seen
        assert (y.dtype, A.dtype, type(noise_variance)) == (np.float64, np.float64, float)
        assert np.array_equal(A, np.asarray(problem.A))
        assert not np.array_equal(A, np.asarray(problem.behind.A))
        assert np.array_equal(y, np.asarray(problem.test.y))
        # The mean of 10^(-SNR/10) over 10 to 30 dB, times E|x_n|² N / M.
        mean = np.mean(10 ** (-np.linspace(10, 30, 100_001) / 10))
        assert noise_variance == pytest.approx(0.1 * 40 / 20 * mean, rel=1e-3)
        assert row["nmse_db"] == pytest.approx(0, abs=1e-6)

    @pytest.mark.slow
    def test_complex_numbers(self):
        A, x, y = arrays("problem.ensemble=fourier")
        asked = load_experiment(["+experiment=mine", "problem.ensemble=fourier"])
        ((row,),) = run.judge(asked, solver_of(lambda y, A, noise_variance: A.conj().T @ y), "matched_filter")
        assert np.iscomplexobj(A)
        assert row["nmse_db"] == pytest.approx(by_hand(A.conj().T @ y, x)[0], abs=1e-5)

    @pytest.mark.slow
    def test_only_users_of_the_own_cell_count(self):
        words = ["problem=massive_mimo", "problem.embedding=complex", "problem.users=5", "problem.pilots=6", "network=lmmse",
                 "problem.antennas=4", "problem.selection_samples=8", "problem.test_samples=40"]  # fmt: skip
        asked = load_experiment(words)
        ((row,),) = run.judge(asked, solver_of(lambda y, A, noise_variance: A.conj().T @ y), "matched_filter")
        problem = run.in_users_units(asked.curves[0])
        A, x, y = (np.asarray(a, np.complex128) for a in (problem.A, *problem.test))
        assert x.shape == (35, 40)
        assert row["nmse_db"] == pytest.approx(by_hand((A.conj().T @ y)[:5], x[:5])[0], abs=1e-4)

    @pytest.mark.slow
    def test_the_test_set_grows_as_that_of_the_curves(self, capsys, monkeypatch):
        """Where few coefficients are active, until the standard error is small; here, until there are 3000 samples."""
        monkeypatch.setattr(growth, "ENOUGH_DB", 0.0)
        monkeypatch.setattr(growth, "MOST", 3000)
        words = "+experiment=mine problem.test_samples=1000 problem.gamma=0.004 plot.formats=[png]"
        outcome(f"train {words}", capsys)
        Path("beside.py").write_text("POWER = 0.004\n")
        outcome(f"judge solvers.py:linear {words}", capsys)
        rows = {row["curve"]: row for row in read_table("outputs/figures/mine/curves.csv")}
        assert rows["linear"]["test_samples"] == rows["lmmse"]["test_samples"] == 3000
        assert rows["linear"]["nmse_db"] == pytest.approx(rows["lmmse"]["nmse_db"], abs=1.01e-4)

    def test_a_solver_with_64_bit_jax_keeps_it_and_moves_no_number(self):
        import jax

        def solve(y, A, noise_variance):
            assert jax.numpy.ones(1).dtype == np.float64
            return A.T @ y

        asked = load_experiment(["+experiment=mine"])
        with jax.enable_x64(True):
            ((row,),) = run.judge(asked, solver_of(solve))
        assert row["nmse_db"] == judge_of("matched_filter")[0]["nmse_db"]


class TestWhereItIsShown:
    def test_in_table_and_figure_and_plot_keeps_it(self, capsys):
        outcome("train +experiment=mine plot.formats=[png]", capsys)
        out = outcome("judge solvers.py:landweber --name mine_too +experiment=mine plot.formats=[png]", capsys)
        line, *files = out.splitlines()
        assert line.startswith("mine_too: NMSE ")
        assert " dB after 4 iterations, mean of ratios " in line
        assert line.endswith(" ms per sample")
        assert files == ["outputs/figures/mine/curves.csv", "outputs/figures/mine/mine.png"]
        outcome("judge solvers.py:matched_filter +experiment=mine plot.formats=[png]", capsys)
        drawn = Path("outputs/figures/mine/mine.png").read_bytes()
        assert outcome("plot +experiment=mine plot.formats=[png]", capsys).splitlines() == files
        assert Path("outputs/figures/mine/mine.png").read_bytes() == drawn
        asked = load_experiment(["+experiment=mine"])
        drawing = build(asked.figure, run.rows_of(asked))
        (legend,) = drawing.legends
        texts = [text.get_text() for text in legend.get_texts()]
        assert texts == ["support oracle", "LMMSE", "mine too", "matched filter"]
        lines = {line.get_label(): line for line in drawing.axes[0].get_lines()}
        assert np.asarray(lines["mine too"].get_xdata()).tolist() == [1, 2, 3, 4]
        assert len({round(float(y), 9) for y in np.asarray(lines["matched filter"].get_ydata())}) == 1

    def test_nothing_needs_to_be_trained(self, capsys):
        assert main(["judge", "solvers.py:linear", "+experiment=mine", "plot.formats=[png]"]) == 0
        assert capsys.readouterr().err == "missing in mine: oracle, lmmse\n"
        assert Path("outputs/figures/mine/mine.png").exists()

    def test_a_second_solver_of_the_name_replaces_the_first(self):
        judge_of("landweber")
        asked = load_experiment(["+experiment=mine"])
        run.judge(asked, load("solvers.py", "matched_filter"), "landweber")
        run.judge(asked, load("solvers.py", "linear"))
        rows = [(row["curve"], row["network"], row["layer"]) for row in judged.read(asked.place)]
        assert rows == [("landweber", "solvers.py:matched_filter", None), ("linear", "solvers.py:linear", None)]

    def test_other_test_sets_do_not_show_it(self):
        judge_of("linear")
        judge_of("linear", "problem.snr_db=10")
        levels = [
            run.rows_of(load_experiment(["+experiment=mine", *more]))
            for more in ([], ["problem.snr_db=10"], ["seed=3"])
        ]
        assert [len(rows) for rows in levels] == [1, 1, 0]
        assert levels[0][0]["nmse_db"] < levels[1][0]["nmse_db"]
        # What trains a network, but leaves its test set alone.
        same = load_experiment(["+experiment=mine", "problem.selection_samples=60", "only=[oracle]"])
        assert run.rows_of(same) == levels[0]

    def test_on_several_matrices(self):
        asked = load_experiment(["+experiment=mine", "seeds=[0,1]"])
        found = run.judge(asked, load("solvers.py", "linear"))
        assert [row["seed"] for (row,) in found] == [0, 1]
        assert found[0][0]["nmse_db"] != found[1][0]["nmse_db"]
        drawing = build(asked.figure, run.rows_of(asked))
        (level,) = {float(y) for y in np.asarray(drawing.axes[0].get_lines()[0].get_ydata())}
        assert level == pytest.approx(np.mean([row["nmse_db"] for (row,) in found]), abs=1e-4)

    def test_the_record_names_its_file(self, capsys):
        outcome("train +experiment=mine plot.formats=[png]", capsys)
        outcome("judge solvers.py:linear +experiment=mine plot.formats=[png]", capsys)
        outcome("record +experiment=mine", capsys)
        page = Path("experiments/mine/README.md").read_text()
        digest = hashlib.sha256(toy_judge.SOLVERS.encode()).hexdigest()
        assert (
            f"- `linear` is an external solver, tested on the same test set: `solvers.py:linear`, from a file with the SHA-256 `{digest}`."
            in page
        )
        assert [row["checksum"] for row in judged.read(Path("experiments/mine"))] == [digest]
        Path("outputs/figures/mine/judged.csv").unlink()
        outcome("record +experiment=mine", capsys)
        assert "foreign" not in Path("experiments/mine/README.md").read_text()
        assert not Path("experiments/mine/judged.csv").exists()

    def test_a_foreign_solver_alone_is_no_record(self, capsys):
        outcome("judge solvers.py:linear +experiment=mine plot.formats=[png]", capsys)
        assert "nothing is trained yet" in said(capsys, "record +experiment=mine")

    def test_a_damaged_table_is_named(self, capsys):
        judge_of("linear")
        path = Path("outputs/figures/mine/judged.csv")
        path.write_text(path.read_text().replace(",50,", ",many,"))
        assert "judged.csv, line 2, column test_samples" in said(capsys, "plot +experiment=mine")

    def test_in_python(self):
        figure = figure_of("+experiment=mine")
        (row,) = figure.judge(lambda y, A, noise_variance: A.T @ y, "matched_filter")
        assert row["nmse_db"] == judge_of("matched_filter")[0]["nmse_db"]
        assert [row["curve"] for row in figure.table()] == ["matched_filter"]
        with pytest.raises(UserError, match="got '<lambda>'"):
            figure.judge(lambda y, A, noise_variance: A.T @ y)
        with pytest.raises(UserError, match="judge takes a function"):
            figure.judge("solve")  # type: ignore[arg-type]
