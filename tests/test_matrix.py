"""Matrices of one's own, from files that are not trusted."""

import io
import pickle

import numpy as np
import pytest
from conftest import slow
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from scipy.io import savemat
from scipy.sparse import csc_matrix
from test_problems import TOY

from onsager_cli import run
from onsager_cli.config.load import load_experiment
from onsager_cli.errors import UserError
from onsager_cli.problems import build
from onsager_cli.run import problem_of
from onsager_cli.store import matrix

pytestmark = pytest.mark.usefixtures("quick_compile")


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

    @pytest.mark.parametrize("suffix", [".NPY", ".Npz", ".CSV", *slow(".MAT")])
    def test_capital_letters(self, tmp_path, suffix):
        self.write(tmp_path / f"a{suffix.lower()}", self.A)
        renamed = (tmp_path / f"a{suffix.lower()}").rename(tmp_path / f"b{suffix}")
        np.testing.assert_allclose(matrix.read(str(renamed), (2, 3)), self.A, rtol=1e-7)

    @pytest.mark.parametrize("suffix", [".npz", *slow(".mat")])
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
        np.testing.assert_array_equal(matrix.read(self.write(tmp_path / "a.npy", A), (2, 3)), A.astype(np.float32))

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

    @pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", *slow(".mat")])
    @pytest.mark.parametrize("content", [b"", b"\x00", b"1,2\n3", b"a,b\nc,d", b"\xff\xfe\x00" * 50, pickle.dumps({})])
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
    @examples(max_examples=20)
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
        A = rng.normal(0, 20**-0.5, size=(20, 40)).astype(np.float32)
        np.save(tmp_path / "a.npy", A)
        (curve,) = load_experiment([*TOY, f"problem.matrix={tmp_path / 'a.npy'}"]).curves
        problem = problem_of(curve)
        np.testing.assert_array_equal(problem.A, A)
        with pytest.raises(ValueError, match=r"a\.npy and passes it as A"):
            build(curve.settings.problem, 0)
        x, y = problem.test
        assert np.std(y - A @ x) == pytest.approx(np.sqrt(2e-5), rel=0.15)

    def test_one_that_cannot_be_used_leaves_nothing(self, tmp_path):
        path = self.write(tmp_path / "a.npy", np.full((20, 40), np.nan))
        words = ["problem.N=40", "problem.M=20", "problem.instance=seeded", f"problem.matrix={path}", "network=lamp"]
        with pytest.raises(UserError, match="holds NaN or infinity"):
            run.train(load_experiment([*words, f"output={tmp_path / 'there'}"]), lambda event: None)
        assert not (tmp_path / "there").exists()

    def test_identity_goes_by_content(self, tmp_path):
        buffer = io.BytesIO()
        np.save(buffer, np.ones((20, 40)))
        for name in ("a", "b"):
            (tmp_path / f"{name}.npy").write_bytes(buffer.getvalue())
        np.save(tmp_path / "c.npy", np.full((20, 40), 2.0))
        one, same, other = (
            load_experiment([*TOY, f"problem.matrix={tmp_path / name}.npy"]).curves[0].identity for name in "abc"
        )
        assert one == same
        assert one != other
