"""`onsager recover`: files of A and y to files of estimates, without training."""

import numpy as np
import pytest
from conftest import toy_arrays

from onsager_cli.cli.main import main


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestRecover:
    @pytest.fixture
    def problem(self, here):
        found = toy_arrays(N=60, M=30, L=40, noise=1e-3)
        np.save(here / "A.npy", found.A)
        np.save(here / "y.npy", found.y)
        return found

    @pytest.mark.slow
    def test_is_the_function(self, problem, here):
        from onsager_cli import nmse, recover

        assert main(["recover", "A.npy", "y.npy", "-o", "x.npy"]) == 0
        found = np.load(here / "x.npy")
        # A file gives A and y in single precision; a sample that has hardly converged moves by a thousandth.
        assert np.linalg.norm(found - recover(problem.y, problem.A)) < 1e-2 * np.linalg.norm(found)
        assert nmse(found, problem.x) < -15

    def test_posterior(self, problem, here):
        assert main(["recover", "A.npy", "y.npy", "-o", "p.npz", "--what", "posterior"]) == 0
        found = np.load(here / "p.npz")
        active = problem.x != 0
        assert np.mean(found["activity"][active]) > 0.8
        assert np.mean(found["activity"][~active]) < 0.05
        assert np.mean(found["variance"]) == pytest.approx(np.mean((found["x_hat"] - problem.x) ** 2), rel=1)

    @pytest.mark.slow
    def test_damps_itself(self, here):
        """On correlated columns undamped EM-VAMP fails; the damped one does not."""
        from onsager_cli import nmse, recover

        rng = np.random.default_rng(0)
        A = rng.normal(size=(60, 120)) @ np.linalg.cholesky(0.95 ** np.abs(np.subtract.outer(range(120), range(120)))).T
        x = rng.normal(size=(120, 100)) * (rng.uniform(size=(120, 100)) < 0.05)
        y = A @ x + 1e-3 * rng.normal(size=(60, 100))
        damped = nmse(recover(y, A, 30), x)
        assert damped < -10
        assert damped < nmse(recover(y, A, 30, damping=None), x) + 1

    @pytest.mark.slow
    def test_real_y_for_a_complex_matrix(self, problem, here, capsys):
        np.save(here / "A.npy", problem.A * 1j)
        assert main(["recover", "A.npy", "y.npy", "-o", "x.npy"]) == 0
        assert (
            "y.npy is real, and A in A.npy is complex: the imaginary part of y is taken as 0" in capsys.readouterr().err
        )
        assert np.load(here / "x.npy").dtype == np.complex64

    @pytest.mark.parametrize(
        ("A", "y", "said"),
        [
            (np.ones((3, 4)), np.ones((4, 2)), "y.npy must be 3 x samples, got 4 x 2"),
            (np.ones((3, 4)), np.ones((2, 3)), "y.npy is 2 x 3, the transpose of 3 x samples"),
            (np.ones(3), np.ones((3, 2)), "A.npy must hold a matrix, got an array of shape (3,)"),
            (np.zeros((3, 4)), np.ones((3, 2)), "A.npy has a column of zeros"),
            (np.ones((3, 4)), np.full((3, 2), np.inf), "y.npy holds NaN or infinity in sample 1"),
            (np.ones((3, 4)), np.ones((3, 2)) * 1j, "y.npy is complex, and A in A.npy is real"),
        ],
    )
    def test_refused(self, here, capsys, A, y, said):
        np.save(here / "A.npy", A)
        np.save(here / "y.npy", y)
        assert main(["recover", "A.npy", "y.npy"]) == 2
        assert said in capsys.readouterr().err
        assert main(["recover", "B.npy", "y.npy"]) == 2
        assert "B.npy" in capsys.readouterr().err
