"""The support oracle and LMMSE: published values, other formulas for the same estimate, exact arithmetic, a bound."""

from decimal import Decimal, localcontext

import numpy as np
import pytest
from conftest import slow, toy_arrays
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from onsager_cli.errors import UserError
from onsager_cli.metrics import nmse
from onsager_cli.problems import bernoulli_gaussian, linear
from onsager_cli.problems.linear import authors2017
from onsager_cli.theory.bounds import lmmse, of_support, support_oracle


def nmse_db(x_hat, x) -> float:
    return nmse(np.sum((x_hat - x) ** 2, axis=0), np.sum(x.astype(np.float64) ** 2, axis=0))["nmse_db"]


@pytest.mark.parametrize(("kappa", "expected"), [(None, -46.03), (15.0, -44.7)])
def test_published_instances(kappa, expected):
    """SPEC 7: ours, and the authors' plot script for κ = 15."""
    A, (x, y) = authors2017(kappa)
    assert nmse_db(support_oracle(A, x, y, 2e-5), x) == pytest.approx(expected, abs=0.1)


@given(
    seed=st.integers(0, 2**32 - 1),
    gamma=st.sampled_from([0.05, 0.3, 1.0]),
    noise=st.floats(1e-3, 3),
    phi=st.floats(0.1, 9),
)
@examples(max_examples=30)
def test_is_the_lmmse_estimate(seed, gamma, noise, phi):
    """In its other form, Cov(x, y) Cov(y)⁻¹ y with the covariances of the whole signal, given the support."""
    data = toy_arrays(N=12, M=8, L=3, seed=seed, gamma=gamma, noise=noise)
    x_hat = support_oracle(data.A, data.x, data.y, noise**2, phi)
    for sample in range(data.L):
        prior = np.diag(phi * (data.x[:, sample] != 0))
        covariance = data.A @ prior @ data.A.T + noise**2 * np.eye(data.M)
        expected = prior @ data.A.T @ np.linalg.solve(covariance, data.y[:, sample])
        np.testing.assert_allclose(x_hat[:, sample], expected, rtol=1e-6, atol=1e-9)


def test_zero_signals():
    """A sample without an active entry is estimated as zero, whatever y is."""
    data = toy_arrays(N=12, M=8, L=3)
    x = data.x.copy()
    x[:, 1] = 0
    assert not support_oracle(data.A, x, data.y, 1e-3)[:, 1].any()


def test_only_the_support_of_x_is_used():
    data = toy_arrays(N=40, M=20, L=8)
    one, other = (support_oracle(data.A, x, data.y, 1e-3) for x in (data.x, 5.0 * (data.x != 0)))
    np.testing.assert_array_equal(one, other)
    assert np.all((one != 0) <= (data.x != 0))


def test_no_other_linear_estimate_on_the_support_is_better():
    """On average; least squares and a noise variance that is off by a factor are."""
    data = toy_arrays(N=40, M=20, L=3000, noise=0.3)
    best = nmse_db(support_oracle(data.A, data.x, data.y, 0.09), data.x)
    for factor in (1e-9, 0.2, 5.0):
        assert nmse_db(support_oracle(data.A, data.x, data.y, factor * 0.09), data.x) > best


def ridge(A, y, noise_variance) -> np.ndarray:
    """(AᵀA + σ_w² I)⁻¹ Aᵀy of A (M, k), y (M,), by elimination with 80 digits."""
    with localcontext(prec=80):
        A, y = ([[Decimal(float(a)) for a in row] for row in rows] for rows in (A, y[:, None]))
        k, diagonal = len(A[0]), Decimal(float(noise_variance))
        zero = Decimal(0)
        rows = [
            [sum((row[i] * row[j] for row in A), diagonal * (i == j)) for j in range(k)]
            + [sum((row[i] * right[0] for row, right in zip(A, y, strict=True)), zero)]
            for i in range(k)
        ]
        for i in range(k):
            rows[i] = [a / rows[i][i] for a in rows[i]]
            rows[i + 1 :] = [[b - row[i] * a for a, b in zip(rows[i], row, strict=True)] for row in rows[i + 1 :]]
        x = [zero] * k
        for i in reversed(range(k)):
            x[i] = rows[i][k] - sum((rows[i][j] * x[j] for j in range(i + 1, k)), zero)
        return np.array(list(map(float, x)))


GAUSSIAN = np.random.default_rng(2).normal(0, 20**-0.5, (20, 40))
HARD = {
    "few measurements": GAUSSIAN,
    "one measurement": GAUSSIAN[:1],
    "each measurement twice": np.vstack([GAUSSIAN[:10], GAUSSIAN[:10]]),
    "each column twice": np.hstack([GAUSSIAN[:, :20], GAUSSIAN[:, :20]]),
    "rank 1": np.full((20, 40), 20**-0.5),
}


@pytest.mark.parametrize("name", slow(*HARD, but=("few measurements", "rank 1")))
@pytest.mark.parametrize("snr_db", slow(100, 200, but=(200,)))
def test_exact_where_normal_equations_are_singular(name, snr_db):
    A = HARD[name].astype(np.float32)
    problem = linear.build(
        bernoulli_gaussian.Draw(0.7), A=A, snr_db=snr_db, seed=0, selection_samples=1, test_samples=2
    )  # fmt: skip
    x, y = (np.asarray(a, np.float64) for a in problem.test)
    noise, expected = float(problem.noise_variance), np.zeros_like(x)
    for sample in range(2):
        support = x[:, sample] != 0
        expected[support, sample] = ridge(A[:, support], y[:, sample], noise)
    found = of_support(problem, x, y)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert -30 < nmse_db(found, x) < 0
    whole = 0.7 * ridge(np.sqrt(0.7) * A, y[:, 0], noise) / np.sqrt(0.7)
    np.testing.assert_allclose(lmmse(A, y, noise, 0.7)[:, 0], whole, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("gamma", "snr_db", "expected"),
    [
        (0.7, 200, -5.16),
        *slow((0.1, 60, -64.4), (0.1, 100, -104.4), (0.1, 140, -143.4), (0.7, 60, -5.16), (0.7, 150, -5.16)),
    ],
)
def test_at_high_snr(gamma, snr_db, expected):
    """At 140 dB, measurements in float32 cost one decibel. With more unknowns than measurements, SNR hardly helps."""
    A = linear.gaussian_matrix(0, 20, 40, None)
    law = bernoulli_gaussian.Draw(gamma)
    problem = linear.build(law, A=A, snr_db=snr_db, seed=0, selection_samples=1, test_samples=50)
    x, y = map(np.asarray, problem.test)
    assert nmse_db(of_support(problem, x, y), x) == pytest.approx(expected, abs=0.05)


def test_without_noise_the_shortest_solution():
    """Of the equations that A x = y holds, however many times each is there."""
    A, x = HARD["each measurement twice"], np.random.default_rng(3).normal(size=(40, 2))
    found = support_oracle(A, x, A @ x, 0.0)
    np.testing.assert_allclose(found, np.linalg.pinv(A, rcond=1e-12) @ A @ x, atol=1e-10)
    np.testing.assert_allclose(lmmse(A, A @ x, 0.0, 0.3), found, atol=1e-10)


def test_either_way_of_solving_gives_the_same(monkeypatch):
    data = toy_arrays(N=40, M=20, L=8)
    found = support_oracle(data.A, data.x, data.y, 1e-4, 0.7), lmmse(data.A, data.y, 1e-4, 0.1)
    monkeypatch.setattr("onsager_cli.theory.bounds.CONDITION", 0)
    other = support_oracle(data.A, data.x, data.y, 1e-4, 0.7), lmmse(data.A, data.y, 1e-4, 0.1)
    np.testing.assert_allclose(found[0], other[0], atol=1e-12)
    np.testing.assert_allclose(found[1], other[1], atol=1e-12)


@pytest.mark.parametrize("noise_variance", [-1e-9, float("nan")])
def test_a_noise_variance_that_cannot_be_is_refused(noise_variance):
    data = toy_arrays(N=12, M=8, L=3)
    for bound in (lambda v: support_oracle(data.A, data.x, data.y, v), lambda v: lmmse(data.A, data.y, v, 1.0)):
        with pytest.raises(UserError, match="noise_variance must be at least 0"):
            bound(noise_variance)
    with pytest.raises(UserError, match="variance must be above 0"):
        support_oracle(data.A, data.x, data.y, 1e-3, 0.0)
