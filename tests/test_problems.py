"""Problems: the published instances, the law of the drawn samples, condition numbers, and matrices of one's own."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import slow
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, kstest, norm

from onsager_cli import shrinkage
from onsager_cli.config.load import load_experiment
from onsager_cli.errors import UserError
from onsager_cli.networks.lista import Lista
from onsager_cli.problems import Problem, bernoulli_gaussian, build, linear
from onsager_cli.problems.base import Samples, check_samples
from onsager_cli.training.loop import TRAINING_KEY

pytestmark = pytest.mark.usefixtures("quick_compile")


def settings(*overrides: str):
    (curve,) = load_experiment(overrides).curves
    return curve.settings.problem


TOY = ("problem.N=40", "problem.M=20", "problem.selection_samples=60", "problem.test_samples=50")


_sample = jax.jit(lambda problem, key, batch: problem.sample(key, batch), static_argnums=2)


class TestAuthors2017:
    """SPEC 2.1. Relative 1e-6 leaves room for the SVD of another LAPACK, none for another order of draws."""

    @pytest.fixture(scope="class", params=[None, *slow(15.0, 100.0)])
    @staticmethod
    def instance(request):
        return request.param, *linear.authors2017(request.param)

    def test_norms(self, instance):
        kappa, A, (x, y) = instance
        expected = {None: 224.047723, 15.0: 224.485527, 100.0: 224.521886}
        assert np.linalg.norm(x.astype(np.float64)) == pytest.approx(224.551663, rel=1e-6)
        assert np.linalg.norm(y.astype(np.float64)) == pytest.approx(expected[kappa], rel=1e-6)
        assert (A.shape, A.dtype, x.shape, y.shape) == ((250, 500), np.float32, (500, 1000), (250, 1000))

    def test_noise(self, instance):
        """y - A x is what is left of the noise, 2e-5 per entry: 250 000 entries tell to 0.3 %."""
        _, A, (x, y) = instance
        assert np.var(y - A.astype(np.float64) @ x) == pytest.approx(2e-5, rel=0.012)

    def test_one_gaussian_matrix_behind_all_three(self, instance):
        """The singular vectors are those of the i.i.d. draw, only the spectrum differs."""
        kappa, A, _ = instance
        gaussian = np.random.RandomState(1).normal(0, 250**-0.5, (250, 500))
        if kappa is None:
            np.testing.assert_array_equal(A, gaussian.astype(np.float32))
            assert np.linalg.norm(A.astype(np.float64)) ** 2 == pytest.approx(498.8, abs=0.05)
        else:
            U, _, Vt = np.linalg.svd(gaussian, full_matrices=False)
            spectrum = np.diag(U.T @ A @ Vt.T)
            assert spectrum[0] / spectrum[-1] == pytest.approx(kappa, rel=1e-3)

    @pytest.mark.slow
    def test_what_a_run_gets(self):
        problem = build(settings("problem=kappa15", "problem.instance=authors2017", "problem.selection_samples=30"), 0)
        A, (x, y) = linear.authors2017(15.0)
        for given_array, expected in zip((problem.A, *problem.test), (A, x, y), strict=True):
            assert given_array.dtype == jnp.float32
            np.testing.assert_array_equal(given_array, expected.astype(np.float32))
        assert float(problem.noise_variance) == pytest.approx(2e-5, rel=1e-6)
        assert [a.shape for a in problem.selection] == [(500, 30), (250, 30)]


class TestMatrix:
    def test_noise_variance(self):
        assert linear.noise_variance(500, 250, 0.1, 40.0) == pytest.approx(2e-5, rel=1e-12)

    @given(M=st.integers(2, 12), wider=st.integers(0, 12), kappa=st.floats(1, 1000), seed=st.integers(0, 2**32 - 1))
    @examples(max_examples=50)
    def test_condition_number(self, M, wider, kappa, seed):
        """A geometric spectrum with s_1 / s_M = κ and ‖A‖_F² = N, on the singular vectors of the draw."""
        N = M + wider
        A = np.random.default_rng(seed).normal(size=(M, N))
        B = linear.with_condition_number(A, kappa)
        s = np.linalg.svd(B, compute_uv=False)
        assert np.sum(s**2) == pytest.approx(N, rel=1e-9)
        np.testing.assert_allclose(s[:-1] / s[1:], kappa ** (1 / (M - 1)), rtol=1e-7)
        # The same singular vectors: Aᵀ B is symmetric and so is A Bᵀ.
        np.testing.assert_allclose(A.T @ B, B.T @ A, atol=1e-8)
        np.testing.assert_allclose(A @ B.T, B @ A.T, atol=1e-8)

    def test_one_row(self):
        B = linear.with_condition_number(np.array([[3.0, 4.0]]), 7.0)
        assert np.linalg.norm(B) ** 2 == pytest.approx(2)

    def test_gaussian_entries(self):
        A = linear.gaussian_matrix(0, 100, 200, None)
        assert (A.shape, A.dtype) == ((100, 200), np.float32)
        assert kstest(A.ravel() * 10, norm.cdf).pvalue > 1e-3

    @pytest.mark.slow
    def test_kappa_none_leaves_the_spectrum(self):
        """About (1 + √(M/N)) / (1 - √(M/N)) = 5.8 for a Gaussian draw, and not 1."""
        s = np.linalg.svd(linear.gaussian_matrix(0, 250, 500, None), compute_uv=False)
        assert 4.5 < s[0] / s[-1] < 6.5

    def test_kappa_acts_on_the_same_draw(self):
        A, B = (linear.gaussian_matrix(3, 20, 40, kappa) for kappa in (None, 15.0))
        np.testing.assert_allclose(B, linear.with_condition_number(A, 15.0), atol=1e-6)


class TestDraw:
    """The law of 800 000 drawn coefficients; bounds are five standard errors, or p-values of 1e-3 at a fixed seed."""

    @pytest.fixture(scope="class")
    @staticmethod
    def drawn():
        problem = build(settings("problem.selection_samples=1", "problem.test_samples=1"), 0)
        x, y = (np.asarray(a, np.float64) for a in _sample(problem, jax.random.key(5), 1600))
        return np.asarray(problem.A, np.float64), x, y

    def test_rate(self, drawn):
        _, x, _ = drawn
        assert abs(np.mean(x != 0) - 0.1) < 5 * np.sqrt(0.1 * 0.9 / x.size)

    def test_active_values_are_standard_normal(self, drawn):
        _, x, _ = drawn
        values = x[x != 0]
        n = len(values)
        assert abs(values.mean()) < 5 / np.sqrt(n)
        assert abs(values.var() - 1) < 5 * np.sqrt(2 / n)
        assert abs(np.mean(values**4) / values.var() ** 2 - 3) < 5 * np.sqrt(24 / n)
        assert kstest(values, norm.cdf).pvalue > 1e-3
        # The tails too, where a coarse uniform variable would show.
        for level in (3.0, 3.5, 4.0):
            for sign in (1, -1):
                assert binomtest(int(np.sum(sign * values > level)), n, float(norm.sf(level))).pvalue > 1e-3

    def test_coefficients_are_independent(self, drawn):
        """Activity and value come from one random word: neither tells anything about the neighbours'."""
        _, x, _ = drawn
        active = (x != 0) - 0.1
        for a, b in ((active, active), (x, x), (active, x), (np.abs(x), active), (x**2, x**2)):
            for shifted in (np.roll(b, 1, axis=0), np.roll(b, 1, axis=1), np.roll(b, 7, axis=1)):
                assert abs(np.corrcoef(a.ravel(), shifted.ravel())[0, 1]) < 5 / np.sqrt(x.size)

    def test_every_coefficient_is_alike(self, drawn):
        """No row or column is favoured: the counts of active entries have binomial spread."""
        _, x, _ = drawn
        for axis, n in ((0, x.shape[0]), (1, x.shape[1])):
            counts = np.sum(x != 0, axis=axis)
            spread = np.var(counts) / (n * 0.1 * 0.9)
            assert abs(spread - 1) < 5 * np.sqrt(2 / len(counts))

    def test_noise_and_snr(self, drawn):
        A, x, y = drawn
        w = y - A @ x
        assert np.var(w) == pytest.approx(2e-5, rel=5 * np.sqrt(2 / w.size))
        assert kstest(w.ravel()[:50_000] / np.sqrt(2e-5), norm.cdf).pvalue > 1e-3
        assert abs(np.corrcoef(w.ravel(), (A @ x).ravel())[0, 1]) < 5 / np.sqrt(w.size)
        # ‖A‖_F² of the draw is not exactly N; the SNR in force is off by as much.
        nominal = 40 + 10 * np.log10(np.sum(A**2) / 500)
        assert 10 * np.log10(np.sum((A @ x) ** 2) / np.sum(w**2)) == pytest.approx(nominal, abs=0.1)

    @pytest.mark.parametrize(("gamma", "snr_db"), [(0.01, 10.0), *slow((0.5, 20.0), (0.999, 0.0))])
    def test_other_laws(self, gamma, snr_db):
        noise_variance = linear.noise_variance(40, 20, gamma, snr_db)
        assert noise_variance == pytest.approx(gamma * 2 * 10 ** (-snr_db / 10))
        problem = problem_with(gamma, noise_variance)
        x, y = (np.asarray(a) for a in _sample(problem, jax.random.key(0), 5000))
        values = x[x != 0]
        assert abs(np.mean(x != 0) - gamma) < 5 * np.sqrt(gamma * (1 - gamma) / x.size)
        assert abs(values.var() - 1) < 5 * np.sqrt(2 / len(values))
        assert kstest(values, norm.cdf).pvalue > 1e-3
        assert np.var(y - np.asarray(problem.A) @ x) == pytest.approx(noise_variance, rel=0.025)

    @pytest.mark.parametrize("gamma", [1e-6, *slow(0.01, 0.5), 0.999])
    @given(seed=st.integers(0, 2**32 - 1))
    @examples(max_examples=5)
    def test_always_finite(self, gamma, seed):
        x, y = _sample(problem_with(gamma, 1e-3), jax.random.key(seed), 5000)
        assert (x.dtype, y.dtype) == (jnp.float32, jnp.float32)
        assert np.isfinite(x).all()
        assert np.isfinite(y).all()


class TestEmphasis:
    """Hard samples drawn more often, with the weights that make up for it."""

    def test_none_is_the_law_itself(self):
        problem = problem_with(0.1, 1e-3)
        x, y, weights = problem.emphasized(jax.random.key(2), 500, 1.0, 1.2)
        plain = problem.sample(jax.random.key(2), 500)
        np.testing.assert_array_equal(x, plain[0])
        np.testing.assert_array_equal(y, plain[1])
        np.testing.assert_array_equal(weights, np.ones(500))

    @pytest.mark.slow
    @pytest.mark.parametrize(("gamma", "emphasis"), [*slow((0.1, 1.2), (0.1, 0.9)), (0.5, 1.1)])
    def test_weighted_means_are_those_of_the_law(self, gamma, emphasis):
        """Σ w f(x) / L estimates E f(x) of the law without emphasis, within five standard errors."""
        problem, L = problem_with(gamma, 1e-3), 200_000
        x, _, weights = (
            np.asarray(a, np.float64) for a in problem.emphasized(jax.random.key(3), L, emphasis, emphasis)
        )
        odds = gamma * emphasis / (1 - gamma)
        active = np.sum(x != 0, axis=0)
        assert active.mean() == pytest.approx(40 * odds / (1 + odds), rel=0.01)
        moments = ((1.0, 1.0), (active, 40 * gamma), (active == 5, binom.pmf(5, 40, gamma)))
        for value, expected in (*moments, (np.sum(x**2, axis=0), 40 * gamma)):
            terms = weights * value
            assert abs(terms.mean() - expected) < 5 * terms.std() / np.sqrt(L) + 1e-6

    def test_a_law_that_offers_none(self):
        problem = dataclasses.replace(problem_with(0.1, 1e-3), draw=lambda problem, key, batch: problem.test)
        assert problem.emphasized(jax.random.key(0), 7, 1.5, 1.5)[2].tolist() == [1.0] * 7


def problem_with(gamma: float, noise_variance: float) -> Problem:
    """A small problem that nobody builds sets for."""
    A = jnp.asarray(np.random.default_rng(0).normal(0, 20**-0.5, (20, 40)), jnp.float32)
    empty = Samples(jnp.zeros((40, 0)), jnp.zeros((20, 0)))
    return Problem(A, jnp.float32(noise_variance), empty, empty, bernoulli_gaussian.Draw(gamma))


def columns(samples) -> set[bytes]:
    """The measurements of every sample, as something that can be compared exactly."""
    return {column.tobytes() for column in np.asarray(samples[1]).T}


class TestDataSets:
    """Three sets that share no sample: training learns, selection decides, test is reported."""

    def test_disjoint(self):
        problem = build(settings(*TOY), 4)
        sets = [columns(problem.selection), columns(problem.test)]
        assert [len(s) for s in sets] == [60, 50]
        for stage in range(4):
            key = jax.random.fold_in(jax.random.key(4), TRAINING_KEY + stage)
            sets += [columns(_sample(problem, jax.random.fold_in(key, step), 60)) for step in range(4)]
        assert len(set.union(*sets)) == sum(len(s) for s in sets)

    def test_same_seed_same_data(self):
        one, other = (build(settings(*TOY), 9) for _ in range(2))
        jax.tree.map(np.testing.assert_array_equal, one, other)

    def test_other_seed_other_data(self):
        one, other = (build(settings(*TOY), seed) for seed in (9, 10))
        assert not np.any(np.asarray(one.A) == np.asarray(other.A))
        assert not (columns(one.selection) | columns(one.test)) & (columns(other.selection) | columns(other.test))

    def test_sizes_of_the_sets_do_not_move_the_matrix(self):
        larger = [text.replace("samples=", "samples=1") for text in TOY]
        one, other = (build(settings(*overrides), 2) for overrides in (TOY, larger))
        assert (one.test[0].shape, other.test[0].shape) == ((40, 50), (40, 150))
        np.testing.assert_array_equal(one.A, other.A)

    def test_problems_of_one_law_share_compiled_programs(self):
        """Another matrix is another value of the same pytree."""
        plain, kappa = (build(settings(f"problem={name}", *TOY), 0) for name in ("gaussian", "kappa15"))
        assert jax.tree.structure(plain) == jax.tree.structure(kappa)


def test_samples_that_are_all_zero_have_no_nmse():
    quiet = build(settings("problem.gamma=1e-9", *TOY), 0)
    with pytest.raises(UserError, match=r"problem\.selection_samples=60: all of them are zero"):
        check_samples(quiet)
    check_samples(build(settings(*TOY), 0))


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        TOY,
        ("problem=random_access", "problem.pilots=8", "problem.users=16"),
        *slow((("problem=massive_mimo", "problem.pilots=8", "problem.users=4", "problem.antennas=4"),)),
    ],
    ids=lambda overrides: overrides[0],
)
def test_data_do_not_lose_digits_where_products_do(overrides):
    """On a GPU the default precision of a product is that of TF32, also outside the compiled steps, which set theirs."""
    problem = build(settings(*overrides), 0)
    with jax.default_matmul_precision("default"):
        drawn = str(jax.make_jaxpr(lambda key: problem.emphasized(key, 8, 1.1, 1.1))(jax.random.key(0)))
    full = "precision=(Precision.HIGHEST, Precision.HIGHEST)"
    assert drawn.count("dot_general[") == drawn.count(full) > 0
    with jax.default_matmul_precision("default"):
        start = str(
            jax.make_jaxpr(
                lambda A: Lista(shrinkage.build("threshold"), (0.1,)).textbook(dataclasses.replace(problem, A=A))
            )(problem.A)
        )
    assert start.count("dot_general[") == start.count(full) > 0


def test_settings_are_all_that_decides():
    """A problem is a function of its settings and the seed; the name is only a name."""
    one = build(settings(*TOY), 1)
    other = build(dataclasses.replace(settings(*TOY), name="other"), 1)
    jax.tree.map(np.testing.assert_array_equal, one, other)


class TestUnknownOperator:
    """`known_operator: false`: networks are told an estimate, nature keeps to A."""

    @pytest.fixture(scope="class")
    @classmethod
    def pair(cls):
        return [build(settings(*TOY, f"problem.known_operator={value}"), seed=3) for value in ("true", "false")]

    def test_the_estimate_is_near_and_is_not_the_matrix(self, pair):
        known, unknown = pair
        np.testing.assert_array_equal(unknown.behind.A, known.A)
        assert unknown.behind.source is None
        apart = np.linalg.norm(unknown.A - known.A) / np.linalg.norm(known.A)
        assert 1e-5 < apart < 0.01

    def test_samples_come_from_the_matrix(self, pair):
        known, unknown = pair
        for name in ("selection", "test"):
            for a, b in zip(getattr(known, name), getattr(unknown, name), strict=True):
                np.testing.assert_array_equal(a, b)
        x, y = _sample(unknown, jax.random.key(8), 4000)
        noise = np.asarray(y, np.float64) - np.asarray(known.A, np.float64) @ np.asarray(x, np.float64)
        assert np.mean(noise**2) == pytest.approx(float(known.noise_variance), rel=0.05)
        # The estimate errs by another part of the measurements than the noise.
        assert np.mean((y - unknown.A @ x) ** 2) > 1.0005 * np.mean((y - known.A @ x) ** 2)
