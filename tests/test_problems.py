"""Problems: the published instances, the law of the drawn samples, condition numbers, and matrices of one's own."""

import dataclasses
import io
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from scipy.io import savemat
from scipy.sparse import csc_matrix
from scipy.stats import binomtest, kstest, norm

from onsager_cli.config import load_experiment
from onsager_cli.errors import UserError
from onsager_cli.problems import Problem, bernoulli_gaussian, build, matrix
from onsager_cli.training.train import TRAINING_KEY

pytestmark = pytest.mark.usefixtures("quick_compile")


def settings(*overrides: str):
    (curve,) = load_experiment(overrides).curves
    return curve.settings.problem


TOY = ("problem.N=40", "problem.M=20", "problem.selection_samples=60", "problem.test_samples=50")


_sample = jax.jit(lambda problem, key, batch: problem.sample(key, batch), static_argnums=2)


class TestAuthors2017:
    """SPEC 2.1. Relative 1e-6 leaves room for the SVD of another LAPACK, none for another order of draws."""

    @pytest.fixture(scope="class", params=[None, 15.0, 100.0])
    @staticmethod
    def instance(request):
        return request.param, *bernoulli_gaussian.authors2017(request.param)

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

    def test_what_a_run_gets(self):
        problem = build(
            settings("problem=kappa15", "problem.instance=authors2017", "problem.selection_samples=30"), 0
        )
        A, (x, y) = bernoulli_gaussian.authors2017(15.0)
        for given_array, expected in zip((problem.A, *problem.test), (A, x, y), strict=True):
            assert given_array.dtype == jnp.float32
            np.testing.assert_array_equal(given_array, expected.astype(np.float32))
        assert float(problem.noise_variance) == pytest.approx(2e-5, rel=1e-6)
        assert [a.shape for a in problem.selection] == [(500, 30), (250, 30)]


class TestMatrix:
    def test_noise_variance(self):
        assert bernoulli_gaussian.noise_variance(500, 250, 0.1, 40.0) == pytest.approx(2e-5, rel=1e-12)

    @given(
        M=st.integers(2, 12),
        wider=st.integers(0, 12),
        kappa=st.floats(1, 1000),
        seed=st.integers(0, 2**32 - 1),
    )
    @examples(max_examples=50)
    def test_condition_number(self, M, wider, kappa, seed):
        """A geometric spectrum with s_1 / s_M = κ and ‖A‖_F² = N, on the singular vectors of the draw."""
        N = M + wider
        A = np.random.default_rng(seed).normal(size=(M, N))
        B = bernoulli_gaussian.with_condition_number(A, kappa)
        s = np.linalg.svd(B, compute_uv=False)
        assert np.sum(s**2) == pytest.approx(N, rel=1e-9)
        np.testing.assert_allclose(s[:-1] / s[1:], kappa ** (1 / (M - 1)), rtol=1e-7)
        # The same singular vectors: Aᵀ B is symmetric and so is A Bᵀ.
        np.testing.assert_allclose(A.T @ B, B.T @ A, atol=1e-8)
        np.testing.assert_allclose(A @ B.T, B @ A.T, atol=1e-8)

    def test_one_row(self):
        B = bernoulli_gaussian.with_condition_number(np.array([[3.0, 4.0]]), 7.0)
        assert np.linalg.norm(B) ** 2 == pytest.approx(2)

    def test_gaussian_entries(self):
        A = bernoulli_gaussian.gaussian_matrix(0, 100, 200, None)
        assert (A.shape, A.dtype) == ((100, 200), np.float32)
        assert kstest(A.ravel() * 10, norm.cdf).pvalue > 1e-3

    def test_kappa_none_leaves_the_spectrum(self):
        """About (1 + √(M/N)) / (1 - √(M/N)) = 5.8 for a Gaussian draw, and not 1."""
        s = np.linalg.svd(bernoulli_gaussian.gaussian_matrix(0, 250, 500, None), compute_uv=False)
        assert 4.5 < s[0] / s[-1] < 6.5

    def test_kappa_acts_on_the_same_draw(self):
        A, B = (bernoulli_gaussian.gaussian_matrix(3, 20, 40, kappa) for kappa in (None, 15.0))
        np.testing.assert_allclose(B, bernoulli_gaussian.with_condition_number(A, 15.0), atol=1e-6)


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

    @pytest.mark.parametrize(("gamma", "snr_db"), [(0.01, 10.0), (0.5, 20.0), (0.999, 0.0)])
    def test_other_laws(self, gamma, snr_db):
        noise_variance = bernoulli_gaussian.noise_variance(40, 20, gamma, snr_db)
        assert noise_variance == pytest.approx(gamma * 2 * 10 ** (-snr_db / 10))
        problem = problem_with(gamma, noise_variance)
        x, y = (np.asarray(a) for a in _sample(problem, jax.random.key(0), 5000))
        values = x[x != 0]
        assert abs(np.mean(x != 0) - gamma) < 5 * np.sqrt(gamma * (1 - gamma) / x.size)
        assert abs(values.var() - 1) < 5 * np.sqrt(2 / len(values))
        assert kstest(values, norm.cdf).pvalue > 1e-3
        assert np.var(y - np.asarray(problem.A) @ x) == pytest.approx(noise_variance, rel=0.025)

    @pytest.mark.parametrize("gamma", [1e-6, 0.01, 0.5, 0.999])
    @given(seed=st.integers(0, 2**32 - 1))
    @examples(max_examples=5)
    def test_always_finite(self, gamma, seed):
        x, y = _sample(problem_with(gamma, 1e-3), jax.random.key(seed), 5000)
        assert (x.dtype, y.dtype) == (jnp.float32, jnp.float32)
        assert np.isfinite(x).all()
        assert np.isfinite(y).all()


def problem_with(gamma: float, noise_variance: float) -> Problem:
    """A small problem that nobody builds sets for."""
    A = jnp.asarray(np.random.default_rng(0).normal(0, 20**-0.5, (20, 40)), jnp.float32)
    empty = (jnp.zeros((40, 0)), jnp.zeros((20, 0)))
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
        assert not (columns(one.selection) | columns(one.test)) & (
            columns(other.selection) | columns(other.test)
        )

    def test_sizes_of_the_sets_do_not_move_the_matrix(self):
        larger = [text.replace("samples=", "samples=1") for text in TOY]
        one, other = (build(settings(*overrides), 2) for overrides in (TOY, larger))
        assert (one.test[0].shape, other.test[0].shape) == ((40, 50), (40, 150))
        np.testing.assert_array_equal(one.A, other.A)

    def test_problems_of_one_law_share_compiled_programs(self):
        """Another matrix is another value of the same pytree."""
        plain, kappa = (build(settings(f"problem={name}", *TOY), 0) for name in ("gaussian", "kappa15"))
        assert jax.tree.structure(plain) == jax.tree.structure(kappa)


class TestOwnMatrix:
    A = np.arange(1.0, 7.0).reshape(2, 3) / 7

    def write(self, path, array, **others):
        if path.suffix == ".csv":
            np.savetxt(path, array, delimiter=",")
        elif path.suffix == ".npy":
            np.save(path, array)
        elif path.suffix == ".npz":
            np.savez(path, A=array, **others)
        else:
            savemat(path, {"A": array, **others})
        return str(path)

    @pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat", ".csv"])
    def test_every_format(self, tmp_path, suffix):
        path = self.write(tmp_path / f"a{suffix}", self.A)
        read = matrix.read(path, (2, 3))
        assert read.dtype == np.float32
        np.testing.assert_allclose(read, self.A, rtol=1e-7)

    @pytest.mark.parametrize("suffix", [".NPY", ".Npz", ".MAT", ".CSV"])
    def test_capital_letters(self, tmp_path, suffix):
        self.write(tmp_path / f"a{suffix.lower()}", self.A)
        renamed = (tmp_path / f"a{suffix.lower()}").rename(tmp_path / f"b{suffix}")
        np.testing.assert_allclose(matrix.read(str(renamed), (2, 3)), self.A, rtol=1e-7)

    @pytest.mark.parametrize("suffix", [".npz", ".mat"])
    def test_the_array_named_a_or_the_only_one(self, tmp_path, suffix):
        several = self.write(tmp_path / f"a{suffix}", self.A, B=np.ones((5, 5)))
        np.testing.assert_allclose(matrix.read(several, (2, 3)), self.A, rtol=1e-7)
        write = np.savez if suffix == ".npz" else lambda path, **arrays: savemat(path, arrays)
        write(tmp_path / f"one{suffix}", phi=self.A)
        np.testing.assert_allclose(matrix.read(str(tmp_path / f"one{suffix}"), (2, 3)), self.A, rtol=1e-7)
        write(tmp_path / f"two{suffix}", phi=self.A, psi=self.A)
        with pytest.raises(UserError, match=r"must hold an array named A, got .*phi"):
            matrix.read(str(tmp_path / f"two{suffix}"), (2, 3))

    @pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int32, np.uint8, bool])
    def test_any_real_numbers(self, tmp_path, dtype):
        A = np.array([[1, 0, 1], [0, 1, 1]], dtype)
        np.testing.assert_array_equal(
            matrix.read(self.write(tmp_path / "a.npy", A), (2, 3)), A.astype(np.float32)
        )

    REFUSALS = {  # noqa: RUF012
        "complex": (A * 1j, (2, 3), ["real matrix", "complex128"]),
        "text": (np.array([["1", "2"]]), (1, 2), ["real matrix"]),
        "vector": (np.ones(4), (2, 2), ["real matrix", "(4,)"]),
        "cube": (np.ones((2, 2, 2)), (2, 2), ["real matrix", "(2, 2, 2)"]),
        "number": (np.array(3.0), (1, 1), ["real matrix", "()"]),
        "transposed": (A.T, (2, 3), ["3 x 2", "problem.M=2", "problem.N=3", "add problem.M=3 problem.N=2"]),
        "nan": (np.where(A > 0.8, np.nan, A), (2, 3), ["NaN or infinity", "[1, 2]"]),
        "infinity": (np.where(A > 0.8, np.inf, A), (2, 3), ["NaN or infinity", "[1, 2]"]),
        "too large for float32": (np.where(A > 0.8, 1e300, A), (2, 3), ["[1, 2]"]),
        "zero column": (A * [1, 0, 1], (2, 3), ["column of zeros", "column 1"]),
        "zero column in float32": (A * [1, 1, 1e-60], (2, 3), ["column of zeros", "column 2"]),
        "empty": (np.ones((0, 3)), (2, 3), ["0 x 3"]),
    }

    @pytest.mark.parametrize("case", sorted(REFUSALS))
    def test_refusals(self, tmp_path, case):
        array, shape, words = self.REFUSALS[case]
        path = self.write(tmp_path / "a.npy", array)
        with pytest.raises(UserError) as error:
            matrix.read(path, shape)
        assert "\n" not in str(error.value)
        assert all(word in str(error.value) for word in [f"problem.matrix={path}", *words]), str(error.value)

    def test_no_pickle(self, tmp_path):
        """An object array would run code when it is loaded."""
        for name in ("a.npy", "a.npz"):
            write = np.save if name.endswith("npy") else lambda path, a, **_: np.savez(path, A=a)
            write(tmp_path / name, np.array([[print, 1.0]], dtype=object), allow_pickle=True)
            with pytest.raises(UserError, match=r"cannot be read: .*pickle"):
                matrix.read(str(tmp_path / name), (1, 2))

    def test_sparse_mat(self, tmp_path):
        """MATLAB's sparse matrices are matrices too; a huge one is refused before it is made dense."""
        savemat(tmp_path / "a.mat", {"A": csc_matrix(self.A)})
        np.testing.assert_allclose(matrix.read(str(tmp_path / "a.mat"), (2, 3)), self.A, rtol=1e-6)
        savemat(tmp_path / "b.mat", {"A": csc_matrix((10**6, 10**6))})
        with pytest.raises(UserError, match="more than 1e9 numbers"):
            matrix.read(str(tmp_path / "b.mat"), (2, 3))

    def test_archive_under_another_name(self, tmp_path):
        self.write(tmp_path / "a.npz", self.A)
        renamed = (tmp_path / "a.npz").rename(tmp_path / "a.npy")
        np.testing.assert_allclose(matrix.read(str(renamed), (2, 3)), self.A, rtol=1e-7)

    @pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat", ".csv"])
    @pytest.mark.parametrize(
        "content", [b"", b"\x00", b"1,2\n3", b"a,b\nc,d", b"\xff\xfe\x00" * 50, pickle.dumps({})]
    )
    def test_garbage(self, tmp_path, suffix, content):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(content)
        with pytest.raises(UserError) as error:
            matrix.read(str(path), (2, 3))
        assert "\n" not in str(error.value)
        assert str(path) in str(error.value)

    @pytest.mark.parametrize("suffix", [".npy", ".npz"])
    @given(position=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), cut=st.booleans())
    @examples(max_examples=40)
    def test_damaged_files(self, tmp_path_factory, suffix, position, byte, cut):
        """A byte changed or the end missing: the matrix, another finite one, or one clear line."""
        self.damage(tmp_path_factory, suffix, position, byte, cut)

    @pytest.mark.slow  # each is read in a process of its own
    @given(position=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), cut=st.booleans())
    @examples(max_examples=40)
    def test_damaged_mat_files(self, tmp_path_factory, position, byte, cut):
        """The same, also where SciPy's reader ends in a segmentation fault."""
        self.damage(tmp_path_factory, ".mat", position, byte, cut)

    def damage(self, tmp_path_factory, suffix, position, byte, cut):
        path = tmp_path_factory.mktemp("own") / f"a{suffix}"
        self.write(path, self.A)
        data = bytearray(path.read_bytes())
        at = int(position * len(data))
        if cut:
            del data[at:]
        else:
            data[at] = byte
        path.write_bytes(bytes(data))
        try:
            read, refusal = matrix.read(str(path), (2, 3)), ""
        except UserError as error:
            read, refusal = np.zeros((2, 3)), str(error)
        assert np.isfinite(read).all()
        assert "\n" not in refusal

    def test_a_problem_around_it(self, tmp_path):
        rng = np.random.default_rng(0)
        A = rng.normal(size=(20, 40)).astype(np.float32)
        np.save(tmp_path / "a.npy", A)
        problem = build(settings(*TOY, f"problem.matrix={tmp_path / 'a.npy'}"), 0)
        np.testing.assert_array_equal(problem.A, A)
        x, y = problem.test
        assert np.std(y - A @ x) == pytest.approx(np.sqrt(2e-5), rel=0.15)

    def test_identity_goes_by_content(self, tmp_path):
        buffer = io.BytesIO()
        np.save(buffer, np.ones((20, 40)))
        for name in ("a", "b"):
            (tmp_path / f"{name}.npy").write_bytes(buffer.getvalue())
        np.save(tmp_path / "c.npy", np.full((20, 40), 2.0))
        one, same, other = (
            load_experiment([*TOY, f"problem.matrix={tmp_path / name}.npy"]).curves[0].identity()
            for name in "abc"
        )
        assert one == same
        assert one != other


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
        return [
            build(settings(*TOY, f"problem.known_operator={value}"), seed=3) for value in ("true", "false")
        ]

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
