"""Matrices of a linear stage that follow from A: ALISTA's in closed form, pseudo-inverse and LMMSE."""

import numpy as np
import pytest
from conftest import slow, toy_arrays
from toy_rivals import NOISE, complex_data, problem_around

from onsager_cli import shrinkage
from onsager_cli.errors import UserError
from onsager_cli.networks import weights
from onsager_cli.networks.lamp import Lamp
from onsager_cli.problems.linear import embed


class TestWeights:
    @pytest.mark.parametrize(("M", "N", "energy"), [(250, 500, 502.0), *slow((250, 1000, 3006.0))])
    def test_analytic(self, M, N, energy):
        """Unit diagonal, and the least off-diagonal energy of all W with one: about N (N/M - 1)."""
        A = toy_arrays(N, M, 1).A
        A /= np.linalg.norm(A, axis=0)
        B = weights.analytic(A)
        product = B @ A
        np.testing.assert_allclose(np.diag(product), 1, atol=1e-12)
        off = np.sum(product**2) - N
        assert off == pytest.approx(energy, rel=0.01)
        rng = np.random.default_rng(1)
        for _ in range(3):  # a step within the unit diagonals only adds to it
            step = rng.normal(size=B.shape)
            step -= np.sum(step * A.T, axis=1, keepdims=True) * A.T
            assert np.sum(((B + 1e-3 * step) @ A) ** 2) - N > off

    def test_ridge_is_lmmse_up_to_the_scale_of_rows(self):
        A = toy_arrays(30, 20, 1).A
        one, other = weights.analytic(A, 0.3), weights.filtered(A, 0.3)
        ratio = one / other
        np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :1], ratio.shape), rtol=1e-9)
        np.testing.assert_allclose(np.diag(one @ A), 1, atol=1e-12)
        assert np.trace(other @ A) == pytest.approx(30)

    def test_the_ridge_amplifies_less_noise(self):
        """κ = 100: the gain of white noise is ‖B‖_F² / N, and without a ridge it has 1/s² of the smallest s."""
        U, s, Vt = np.linalg.svd(toy_arrays(60, 30, 1).A, full_matrices=False)
        A = (U * np.geomspace(1, 0.01, len(s))) @ Vt
        without, some, more = (np.sum(weights.analytic(A, ridge) ** 2) for ridge in (0.0, 1e-3, 1e-1))
        assert more < some < without / 3

    def test_complex_and_rank_deficient(self):
        A, _, _ = complex_data()
        np.testing.assert_allclose(np.diag(weights.analytic(A) @ A), 1, atol=1e-12)
        low = A[:, :10] @ np.random.default_rng(0).normal(size=(10, 30))
        np.testing.assert_allclose(np.diag(weights.analytic(low) @ low), 1, atol=1e-9)
        np.testing.assert_allclose(weights.filtered(low, 0.0) * 10 / 30, np.linalg.pinv(low), atol=1e-9)

    def test_the_real_embedding_has_the_embedded_weights(self):
        """[Re, -Im; Im, Re] of a product is the product of both, so that linear stages agree; thresholds do not."""
        A, _, y = complex_data()
        for made in (weights.analytic, lambda A: weights.analytic(A, 0.2), lambda A: weights.filtered(A, 0.2)):
            real = made(embed(A))
            np.testing.assert_allclose(real, embed(made(A)), atol=1e-12)
            stacked = real @ np.concatenate([y.real, y.imag])
            np.testing.assert_allclose(stacked[:40] + 1j * stacked[40:], made(A) @ y, atol=1e-12)

    def test_a_column_of_zeros_is_refused(self):
        A = toy_arrays(30, 20, 1).A
        A[:, 4] = 0
        with pytest.raises(UserError, match="needs columns of A that are not zero, and column 4 is zero"):
            weights.analytic(A)

    @pytest.mark.parametrize("name", ["transpose", "analytic", "pinv", "lmmse"])
    def test_start_of_lamp(self, x64, toy, name):
        problem = problem_around(toy.A, toy.x, toy.y)
        B = np.asarray(Lamp(shrinkage.build("bg"), (1.0, 2.2), weight=name).start(problem, 2)["B"])
        inverse = np.linalg.inv(toy.A @ toy.A.T + (NOISE / 0.1 if name == "lmmse" else 0) * np.eye(toy.M))
        expected = toy.A.T if name == "transpose" else toy.A.T @ inverse
        if name == "analytic":
            expected = expected / np.diag(expected @ toy.A)[:, None]
        elif name != "transpose":
            expected = expected * toy.N / np.trace(expected @ toy.A)
        np.testing.assert_allclose(B, expected, rtol=1e-8, atol=1e-10)
