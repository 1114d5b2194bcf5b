"""The support oracle: the published value, another formula for the same estimate, and that it is a bound."""

import numpy as np
import pytest
from conftest import toy_arrays
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from onsager_cli.metrics import nmse
from onsager_cli.problems.linear import authors2017
from onsager_cli.theory.bounds import support_oracle


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
