"""What the user should know of a matrix of their own: its scale, its rank, its columns."""

import numpy as np
import pytest

from onsager_cli.store.matrix_remarks import proportional, remarks

RANDOM = np.random.default_rng(0).normal(0, 20**-0.5, (20, 40)).astype(np.float32)


def test_a_gaussian_matrix_has_none():
    assert not list(remarks(RANDOM))


@pytest.mark.parametrize(("factor", "word"), [(1, "equal"), (-0.3, "proportional")])
def test_columns_that_are_multiples_of_each_other(factor, word):
    A = RANDOM.copy()
    A[:, 7] = A[:, 6] * np.float32(factor)
    (text,) = remarks(A)
    assert f"columns 7 and 8 are {word} (counted from 1)" in text


def test_many_of_them_are_counted():
    *_, text = remarks(np.tile(RANDOM[:, :10], 4))
    assert "columns 1, 11, 21 and 31 are equal" in text
    assert text.endswith(
        "; so are 2, 12, 22 and 32; so are 3, 13, 23 and 33; so are 4, 14, 24 and 34, and 6 more groups"
    )
    *_, text = remarks(np.outer(RANDOM[:, 0], np.arange(1, 41)).astype(np.float32))
    assert "columns 1, 2, 3, 4, and 36 more are proportional" in text


def test_no_proportional_column_is_missed_and_none_invented():
    """Against a comparison of all pairs, of small whole numbers, among which many are proportional."""
    A = np.random.default_rng(1).integers(-2, 3, (4, 300)).astype(np.float32)
    A = A[:, A.any(axis=0)]
    norms = np.linalg.norm(A.astype(float), axis=0)
    pairs = np.abs(np.abs(A.T.astype(float) @ A) - np.outer(norms, norms)) < 1e-9
    expected = {tuple(np.flatnonzero(row)) for row in pairs if row.sum() > 1}
    assert {tuple(group) for group in proportional(A, norms)} == expected


def test_a_hundred_thousand_columns():
    A = np.random.default_rng(0).normal(0, 1, (30, 100_000)).astype(np.float32)
    A[:, 99_999], A[:, 5] = A[:, 0] * -1e-3, A[:, 70_000]
    found = proportional(A, np.linalg.norm(A, axis=0))
    assert [list(group) for group in found] == [[0, 99_999], [5, 70_000]]


@pytest.mark.parametrize(("mean", "told"), [(0.5, "0.5"), (-2, "-2"), (0.3 + 0.4j, "0.3+0.4j")])
def test_a_mean_of_the_entries(mean, told):
    A = RANDOM - RANDOM.mean() + mean
    (text,) = remarks(A)
    share = abs(mean) ** 2 * A.size / np.linalg.norm(A) ** 2
    assert text.startswith(f"has entries with mean {told}, and this constant part has {share:.0%} of the energy")
    assert not list(remarks(RANDOM - RANDOM.mean() + 0.05 * mean))


def test_norms_of_columns():
    A = RANDOM.copy()
    A[:, 2] *= 1e-3
    (text,) = remarks(A)
    assert f"very different norms: from {np.linalg.norm(A[:, 2]):.3g} (column 3) to " in text
    assert (
        f"{np.linalg.norm(A, axis=0).max():.3g} (column {np.linalg.norm(A, axis=0).argmax() + 1}, counted from 1)"
        in text
    )


@pytest.mark.parametrize("shape", [(20, 40), (40, 20)])
def test_the_rank_is_that_of_an_svd(shape):
    rng = np.random.default_rng(0)
    for rank in (1, 7, 19, 20):
        A = (rng.normal(size=(shape[0], rank)) @ rng.normal(size=(rank, shape[1]))).astype(np.float32)
        texts = [text for text in remarks(A) if "rank" in text]
        assert np.linalg.matrix_rank(A) == rank
        assert [text.split(":")[0] for text in texts] == ([f"has rank {rank} instead of 20"] if rank < 20 else [])
