"""Recorded pairs of one's own: which arrays are what, how they are split, what is estimated, what is refused."""

import re
from itertools import product
from typing import Any

import h5py
import jax
import numpy as np
import pytest
from conftest import slow
from pairs import FILES, SOME, L, M, N, columns, curve_of, drawn, pairs_of, problem, refusal, saved, settings_of

from onsager_cli.cli.main import main
from onsager_cli.config.own_pairs import own_pairs
from onsager_cli.errors import Notice, UserError

pytestmark = pytest.mark.usefixtures("quick_compile")


class TestReading:
    @pytest.mark.slow
    @pytest.mark.parametrize(("name", "is_complex", "rows"), slow(*product(FILES, (0, 1), (0, 1)), but=SOME))
    def test_every_format(self, tmp_path, name, is_complex, rows):
        A, x, y = drawn(is_complex=is_complex)
        path = saved(tmp_path / name, A=A, x=x.T if rows else x, y=y.T if rows else y, noise_variance=2e-4)
        settings = settings_of(path)
        assert (settings.shape, settings.pairs, settings.known_operator) == ((M, N), L, True)
        assert settings.embedding == ("complex" if is_complex else None)
        read: Any = own_pairs(settings)
        np.testing.assert_allclose(read.rows(np.array([3, 7]))[0], x.T[[3, 7]], rtol=1e-6)
        np.testing.assert_allclose(read.rows(np.array([3, 7]))[1], y.T[[3, 7]], rtol=1e-6)
        np.testing.assert_allclose(read.A, A, rtol=1e-6)
        assert read.noise_variance == 2e-4

    def test_version_7_3_of_matlab(self, tmp_path):
        """It stores sizes in reverse, and complex numbers as a compound."""
        A, x, y = drawn(is_complex=True)
        path = tmp_path / "set.mat"
        with h5py.File(path, "w", userblock_size=512) as file:
            for name, array in (("A", A), ("x", x), ("y", y)):
                pair = np.zeros(array.T.shape, [("real", float), ("imag", float)])
                pair["real"], pair["imag"] = array.T.real, array.T.imag
                file[name] = pair
                file[name].attrs["MATLAB_class"] = np.bytes_("double")
        settings = settings_of(path)
        assert (settings.shape, settings.embedding) == ((M, N), "complex")
        np.testing.assert_allclose(pairs_of(path).x, x.T)

    @pytest.mark.parametrize("name", ["set.npz", "set.h5", "folder"])
    def test_arrays_stay_in_the_file(self, tmp_path, name):
        _, x, y = drawn()
        read = pairs_of(saved(tmp_path / name, x=x, y=y))
        assert isinstance(read.x.base if not isinstance(read.x, np.memmap) else read.x, np.memmap)

    def test_a_file_that_changes_after_the_training_is_refused(self, tmp_path):
        _, x, y = drawn()
        path = tmp_path / "set.npz"
        settings = settings_of(saved(path, x=x, y=y))
        saved(path, x=x[:, ::-1], y=y)
        with pytest.raises(
            UserError, match=r"^problem\.file=.*set\.npz has changed since onsager first read it: restore the file"
        ):
            own_pairs(settings)
        path.unlink()
        with pytest.raises(
            UserError, match=r"^problem\.file=.*set\.npz is missing: run onsager in the folder of the training"
        ):
            own_pairs(settings)

    def test_compressed_ones_are_read(self, tmp_path):
        _, x, y = drawn()
        np.savez_compressed(tmp_path / "set.npz", X=x, Y=y)
        np.testing.assert_array_equal(pairs_of(tmp_path / "set.npz").x, x.T)

    def test_names(self, tmp_path):
        A, x, y = drawn()
        path = saved(tmp_path / "set.npz", h=x, r=y, pilots=A)
        named = ("problem.x_name=h", "problem.y_name=r", "problem.matrix_name=pilots")
        assert settings_of(path, *named).known_operator
        assert "has no array x: it has h (12 x 300), r" in refusal(path)
        assert "has no array hh (problem.x_name) (did you mean h?)" in refusal(path, "problem.x_name=hh")

    def test_what_is_square_is_asked_for(self, tmp_path):
        _, x, _ = drawn(N)
        path = saved(tmp_path / "set.npz", x=x, y=x)
        assert "could be rows or columns: add problem.samples_in=rows or problem.samples_in=columns" in refusal(path)
        rows, cols = (pairs_of(path, f"problem.samples_in={way}") for way in ("rows", "columns"))
        np.testing.assert_array_equal(rows.x, cols.x.T)

    def test_sizes_of_the_config_tell(self, tmp_path):
        x = np.ones((12, 12))
        y = np.ones((12, 8))
        assert settings_of(saved(tmp_path / "set.npz", x=x, y=y)).samples_in == "rows"


class TestRefusing:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"x": None}, "has no array x: it has A (8 x 12), y (8 x 300): add problem.x_name"),
            ({"y": None}, "has no array y"),
            ({"x": np.ones((12, 299))}, "do not fit A (8 x 12), for which x is 12 x L and y 8 x L"),
            ({"x": np.ones((13, 300))}, "do not fit A (8 x 12)"),
            ({"A": np.ones((12, 8))}, "save A.T"),
            ({"A": None, "x": np.ones((12, 299))}, "do not have the same number of samples, in rows or in columns"),
            ({"x": np.ones(12)}, "x (12) must be a matrix with rows and columns"),
            ({"x": np.zeros((12, 300))}, "x is zero in all 300 samples"),
            ({"y": np.full((8, 300), np.inf)}, "y holds NaN or infinity, or a number beyond single precision, in sample 1 "),
            ({"y": np.full((8, 300), 1e300)}, "beyond single precision, in sample 1 (counted from 1)"),
            ({"A": np.full((8, 12), np.nan)}, "A holds NaN or infinity at row 1, column 1"),
            ({"A": np.eye(8, 12)}, "A has a column of zeros: column 9"),
            ({"x": 1j * np.ones((12, 300))}, "x is complex and y is real, which needs a complex A"),
            ({"A": 1j * np.ones((8, 12))}, "A is complex, but x and y are real"),
            ({"noise_variance": -1.0}, "noise_variance must be a finite number, at least 0, got -1"),
            ({"noise_variance": [1.0, 2.0]}, "noise_variance must be one real number, got noise_variance"),
            ({"x": np.array([["a"]])}, "must hold numbers, got x (text)"),
        ],
    )  # fmt: skip
    def test_arrays(self, tmp_path, change, words):
        A, x, y = drawn()
        arrays = {name: a for name, a in ({"A": A, "x": x, "y": y} | change).items() if a is not None}
        found = refusal(saved(tmp_path / "set.npz", **arrays))
        assert found.startswith(f"problem.file={tmp_path / 'set.npz'}")
        assert words in found

    def test_which_sample(self, tmp_path):
        A, x, y = drawn()
        x[3, 77] = np.nan
        assert "x holds NaN or infinity" in (found := refusal(saved(tmp_path / "set.npz", A=A, x=x, y=y)))
        assert "in sample 78 (counted from 1)" in found

    @pytest.mark.parametrize(
        ("override", "words"),
        [
            ("problem.M=9", "problem.M=9, but y of problem.file={path} is y (8 x 300): M is 8"),
            ("problem.N=9", "problem.N=9, but x of"),
            ("problem.split=[0.5,0.5,0.5]", "with a sum of at most 1"),
            ("problem.split=[1,0,0]", "three fractions above 0"),
            ("problem.split=[0.998,0.001,0.001]", "300 pairs, too few for"),
            ("problem.embedding=real", "problem.embedding must be null for the real pairs"),
            ("problem.samples_in=rows", "with problem.samples_in=rows"),
            ("problem.gamma=0.1", "unknown key 'problem.gamma'"),
            ("problem.snr_db=10", "unknown key 'problem.snr_db'"),
        ],
    )
    def test_keys(self, tmp_path, override, words):
        A, x, y = drawn()
        path = saved(tmp_path / "set.npz", A=A, x=x, y=y)
        assert words.format(path=path) in refusal(path, override)

    def test_files(self, tmp_path, capsys):
        for value, words in (
            ("null", "problem=data needs recorded pairs: add problem.file"),
            (tmp_path / "none.npz", "there is no file"),
            (tmp_path / "none.csv", "must end in .npz, .mat, .h5 or .hdf5"),
            (tmp_path, "is a folder without arrays: it must have x.npy and y.npy"),
        ):
            assert main(["train", "problem=data", f"problem.file={value}", f"output={tmp_path / 'out'}"]) == 2
            assert words in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    def test_a_file_that_is_none(self, tmp_path):
        (tmp_path / "set.npz").write_bytes(b"<!doctype html>")
        assert "is a web page" in refusal(tmp_path / "set.npz")


class TestSplit:
    def test_parts_never_overlap(self, tmp_path):
        _, x, y = drawn()
        path = saved(tmp_path / "set.npz", x=x, y=y)
        found = {}
        for seed in (0, 1):
            made = problem(path, f"seed={seed}")
            parts = [columns(part) for part in (made.training_set(L), made.selection, made.test)]
            assert [len(part) for part in parts] == [240, 30, 30]
            assert len(parts[0] | parts[1] | parts[2]) == L
            found[seed] = parts
        assert found[0][2] != found[1][2]
        np.testing.assert_array_equal(problem(path).test.x, problem(path).test.x)

    def test_minibatches_are_training_pairs(self, tmp_path):

        _, x, y = drawn()
        made = problem(saved(tmp_path / "set.npz", x=x, y=y))
        batch = made.sample(jax.random.key(0), 500)
        assert columns(batch) <= columns(made.training_set(L))
        assert len(columns(batch)) > 150
        where = {tuple(column): n for n, column in enumerate(x.astype(np.float32).T.tolist())}
        for own_x, own_y in zip(np.asarray(batch.x).T[:20], np.asarray(batch.y).T[:20], strict=True):
            np.testing.assert_array_equal(own_y, y.astype(np.float32)[:, where[tuple(own_x.tolist())]])

    def test_the_rest_of_a_split_is_left_alone(self, tmp_path):
        _, x, y = drawn()
        settings = settings_of(saved(tmp_path / "set.npz", x=x, y=y), "problem.split=[0.2,0.1,0.1]")
        assert settings.counts == (60, 30, 30)

    def test_the_file_counts_by_its_content(self, tmp_path):
        _, x, y = drawn()
        paths = [saved(tmp_path / name, x=x, y=y) for name in ("a.npz", "b.npz")]
        assert len({curve_of(path).key for path in paths}) == 1
        assert curve_of(paths[0]).key != curve_of(saved(tmp_path / "b.npz", x=x, y=2 * y)).key


class TestEstimates:
    def test_a_matrix_of_enough_pairs(self, tmp_path):
        A, x, y = drawn(4000)
        made = problem(saved(tmp_path / "set.npz", x=x, y=y))
        np.testing.assert_allclose(made.A, A, atol=2e-3)
        assert float(made.noise_variance) == pytest.approx(1e-4, rel=0.05)
        assert float(made.mean_power) == pytest.approx(np.mean(x**2), rel=0.05)
        assert float(made.test_power) == pytest.approx(1, rel=0.1)

    @pytest.mark.parametrize("unit", [1e-6, 1e4])
    def test_any_units(self, tmp_path, unit):
        A, x, y = drawn(4000)
        made = problem(saved(tmp_path / "set.npz", x=x * unit, y=y * unit))
        np.testing.assert_allclose(made.A, A, atol=2e-3)
        assert float(made.noise_variance) == pytest.approx(1e-4 * unit**2, rel=0.05)

    def test_too_few_pairs(self, tmp_path):
        """Fewer than 2 N: a ridge, whose A is better than none, and a notice."""
        A, x, y = drawn(20)
        with pytest.warns(
            Notice, match=re.escape("16 training pairs, and at least 120 (10 per unknown) are recommended")
        ):
            made = problem(saved(tmp_path / "set.npz", x=x, y=y))
        assert np.linalg.norm(np.asarray(made.A) - A) < np.linalg.norm(A)
        assert np.isfinite(float(made.noise_variance))

    def test_what_is_never_active(self, tmp_path):
        A, x, _ = drawn(2000)
        x[4] = 0
        with pytest.warns(Notice, match=r"x_5 \(counted from 1\) is 0 in all of them"):
            made = problem(saved(tmp_path / "set.npz", x=x, y=A @ x))
        others = np.arange(N) != 4
        np.testing.assert_allclose(np.asarray(made.A)[:, others], A[:, others], atol=1e-4)

    def test_noise(self, tmp_path):
        """From the key, else from the file, else from the residual, with a floor."""
        A, x, y = drawn()
        path = saved(tmp_path / "set.npz", A=A, x=x, y=A @ x, noise_variance=3e-4)
        assert float(problem(path).noise_variance) == pytest.approx(3e-4)
        assert float(problem(path, "problem.noise_variance=0.5").noise_variance) == 0.5
        exact = problem(path, "problem.noise_variance=0")
        assert 0 < float(exact.noise_variance) < 2e-12 * np.mean((A @ x) ** 2)
        residual = problem(saved(tmp_path / "other.npz", A=A, x=x, y=y))
        assert float(residual.noise_variance) == pytest.approx(1e-4, rel=0.1)
        np.testing.assert_allclose(residual.A, A, rtol=1e-6)

    def test_the_real_embedding(self, tmp_path):
        _, x, y = drawn(2000, is_complex=True)
        path = saved(tmp_path / "set.npz", x=x, y=y)
        native, real = problem(path), problem(path, "problem.embedding=real")
        assert native.A.dtype == np.complex64
        assert real.A.shape == (2 * M, 2 * N)
        np.testing.assert_allclose(np.asarray(real.A)[:M, :N], np.real(native.A), rtol=1e-6)
        np.testing.assert_allclose(real.test.x[:N], np.real(native.test.x))
        np.testing.assert_allclose(real.A @ real.test.x, real.test.y, atol=0.1)
        assert float(real.noise_variance) == pytest.approx(float(native.noise_variance) / 2, rel=1e-5)
        assert float(native.noise_variance) == pytest.approx(2e-4, rel=0.05)
