"""`onsager data`: the same samples every time, in every format, streamed, and what --info says of a file."""

import json
import zipfile
from itertools import product
from typing import Any

import h5py
import jax
import numpy as np
import pytest
from conftest import slow
from data_sets import COMPLEX, FORMATS, TOY, failure, plain, written
from pairs import drawn, problem, saved
from scipy.io import savemat

from onsager_cli.cli import data as verb
from onsager_cli.cli.main import main
from onsager_cli.run import data
from onsager_cli.store.dataset_info import info

pytestmark = pytest.mark.usefixtures("quick_compile")

ARRAYS = ("A", "x", "y", "noise_variance")
CHANGED = (("npz", "x"), ("npz", "A"), ("mat", "y"), ("h5", "noise_variance"))
READ = (("npz", ()), ("mat", COMPLEX), ("h5", ()))


class TestSamples:
    @pytest.mark.slow
    @pytest.mark.parametrize("of", [(), COMPLEX])
    def test_all_formats_hold_the_same_numbers(self, tmp_path, of):
        first, *others = [plain(written(tmp_path / f"set.{form}", *of)) for form in FORMATS]
        assert (first["x"].shape, first["y"].shape, first["A"].shape) == ((50, 12), (50, 8), (8, 12))
        assert first["x"].dtype == (np.complex64 if of else np.float32)
        for other in others:
            for name in ("A", "x", "y"):
                np.testing.assert_array_equal(first[name], other[name])

    def test_they_are_samples_of_the_problem(self, tmp_path):
        found = plain(written(tmp_path / "set.npz", samples=4000))
        noise = found["y"] - found["x"].astype(float) @ found["A"].T.astype(float)
        # 32000 entries of w: their mean square has a relative standard deviation of 0.8 %
        assert np.mean(noise**2) == pytest.approx(float(found["noise_variance"]), rel=0.04)
        assert np.mean(found["x"] != 0) == pytest.approx(0.3, abs=0.01)
        assert len(np.unique(found["x"], axis=0)) > 3900

    @pytest.mark.slow
    @pytest.mark.parametrize(("form", "of"), slow(*product(FORMATS, ((), COMPLEX)), but=READ))
    def test_recorded_pairs_read_a_set_back(self, tmp_path, form, of):
        path = written(tmp_path / f"set.{form}", *of, samples=100)
        made, own = problem(path), plain(path)
        rows = np.concatenate([np.asarray(part.x).T for part in (made.training_set(100), made.selection, made.test)])
        np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(own["x"], axis=0))
        np.testing.assert_array_equal(made.A, own["A"])
        assert float(made.noise_variance) == pytest.approx(float(own["noise_variance"].ravel()[0]))

    @pytest.mark.parametrize("form", FORMATS)
    def test_the_same_bytes_from_two_runs(self, tmp_path, form):
        one, other = (written(tmp_path / f"{name}.{form}").read_bytes() for name in "ab")
        assert one == other
        assert written(tmp_path / f"c.{form}", "seed=1").read_bytes() != one

    def test_the_first_samples_are_the_same_whatever_the_number(self, tmp_path, monkeypatch):
        monkeypatch.setattr(data, "LARGEST_BLOCK", 16)
        few, many = (plain(written(tmp_path / f"{count}.npz", samples=count)) for count in (21, 70))
        for name in "xy":
            np.testing.assert_array_equal(few[name], many[name][:21])

    @pytest.mark.parametrize("part", ["test", "selection"])
    def test_the_sets_that_judge(self, tmp_path, part):
        made = plain(written(tmp_path / "set.npz", "--set", part, samples=None))
        own = data.in_users_units(verb._curve(list(TOY)))
        np.testing.assert_array_equal(made["x"], np.asarray(getattr(own, part).x).T)
        np.testing.assert_array_equal(made["y"], np.asarray(getattr(own, part).y).T)
        few = plain(written(tmp_path / "few.npz", "--set", part, samples=7))
        np.testing.assert_array_equal(few["y"], made["y"][:7])

    def test_fresh_ones_belong_to_no_other_set(self, tmp_path):
        sets = [plain(written(tmp_path / f"{part}.npz", "--set", part, samples=20))["y"] for part in data.SETS]
        assert len(np.unique(np.concatenate(sets), axis=0)) == 60

    def test_the_published_instance(self, tmp_path):
        """The test set that the published code draws, in its order, from NumPy's legacy generator."""
        path = tmp_path / "set.npz"
        assert main(["data", "problem.instance=authors2017", "--set", "test", "-o", str(path)]) == 0
        rng = np.random.RandomState(1)
        A = rng.normal(0, 1 / np.sqrt(250), (250, 500)).astype(np.float32)
        x = (rng.uniform(0, 1, (500, 1000)) < 0.1) * rng.normal(0, 1, (500, 1000))
        np.testing.assert_array_equal(plain(path)["A"], A)
        np.testing.assert_array_equal(plain(path)["x"], x.T.astype(np.float32))

    def test_an_unknown_matrix(self, tmp_path):
        """A is what methods are told, A_true what is behind the samples."""
        known = plain(written(tmp_path / "known.npz", "problem.snr_db=60", samples=500))
        found = plain(written(tmp_path / "set.npz", "problem.known_operator=false", "problem.snr_db=60", samples=500))
        np.testing.assert_array_equal(found["A_true"], known["A"])
        assert "A_true" not in known
        error = np.linalg.norm(found["A"] - found["A_true"]) / np.linalg.norm(found["A_true"])
        assert 1e-6 < error < 1e-2
        assert info(tmp_path / "set.npz").snr_db == pytest.approx(60, abs=0.5)

    def test_no_noise_is_no_noise(self, tmp_path):
        assert plain(written(tmp_path / "set.npz", "problem.noise_variance=0"))["noise_variance"] == 0

    def test_an_experiment_of_one_problem(self, tmp_path):
        path = tmp_path / "set.npz"
        assert main(["data", "+experiment=quick", "--set", "test", "samples=10", "-o", str(path)]) == 0
        assert plain(path)["x"].shape == (10, 500)


class TestInfo:
    @pytest.mark.slow
    @pytest.mark.parametrize("form", FORMATS)
    def test_what_it_says(self, tmp_path, form, capsys):
        path = written(tmp_path / f"set.{form}", "seed=3", samples=200)
        capsys.readouterr()
        assert main(["data", "--info", str(path)]) == 0
        text = capsys.readouterr().out
        found = plain(path)
        clean = found["x"].astype(float) @ found["A"].T
        snr = 10 * np.log10(np.sum(clean**2) / np.sum((found["y"] - clean) ** 2))
        assert f"SNR:            {snr:.2f} dB" in text
        assert f"{np.mean(found['x'] != 0):.4g} of the entries" in text
        assert "fresh, seed 3" in text
        assert f"jax={jax.__version__}" in text
        assert "gamma=0.3" in text
        assert "sha256" in text

    @pytest.mark.slow
    def test_the_checksum_is_that_of_the_arrays_in_any_format(self, tmp_path):
        sums = {info(written(tmp_path / f"set.{form}", *COMPLEX)).found for form in FORMATS}
        assert len(sums) == 1
        assert info(tmp_path / "set.mat").unchanged

    @pytest.mark.parametrize(("form", "name"), slow(*product(FORMATS, ARRAYS), but=CHANGED))
    @pytest.mark.slow
    def test_a_changed_array(self, tmp_path, form, name, capsys):
        path = written(tmp_path / f"set.{form}", samples=20)
        assert info(path).unchanged
        if form == "npz":
            arrays = plain(path)
            arrays[name] = np.array(arrays[name])
            arrays[name].flat[0] += 1
            np.savez(path, **arrays)
        else:
            file: Any
            with h5py.File(path, "r+") as file:
                array = np.array(file[name][()])
                array.flat[0] += 1
                file[name][...] = array
        assert main(["data", "--info", str(path)]) == 1
        assert "checksum:       does not match" in capsys.readouterr().out

    def test_a_file_of_somebody_else(self, tmp_path, capsys):
        A, x, y = drawn()
        for path in (saved(tmp_path / "set.npz", A=A, x=x, y=y), saved(tmp_path / "folder", x=x.T, y=y.T)):
            assert main(["data", "--info", path]) == 0
            text = capsys.readouterr().out
            assert "onsager did not write this file" in text
            assert "300, real" in text
        assert "SNR:            unknown without A" in text

    def test_files_that_are_none(self, tmp_path, capsys):
        savemat(tmp_path / "other.mat", {"h": np.ones((3, 4))})
        (tmp_path / "page.npz").write_bytes(b"<!doctype html>")
        for name, words in (
            ("none.npz", "cannot read"),
            ("page.npz", "is a web page"),
            ("other.mat", "has no array x: it has h (3 x 4)"),
        ):
            line = failure(capsys, "--info", str(tmp_path / name))
            assert words in line
            assert "problem.file" not in line

    def test_a_cut_file(self, tmp_path, capsys):
        for form in FORMATS:
            path = written(tmp_path / f"set.{form}")
            path.write_bytes(path.read_bytes()[:3000])
            capsys.readouterr()
            assert "is damaged or cut off" in failure(capsys, "--info", str(path))

    def test_meta_is_plain_json_for_others(self, tmp_path):
        texts = [plain(written(tmp_path / f"set.{form}"))["meta"] for form in FORMATS]
        read = (str(texts[0]), "".join(map(chr, texts[1].ravel())), texts[2].decode())
        first, *others = map(json.loads, read)
        assert all(other == first for other in others)
        assert (first["seed"], first["samples"], first["samples_in"], first["set"]) == (0, 50, "rows", "fresh")


@pytest.mark.parametrize("name", slow("random_access", "massive_mimo"))
def test_further_problems(tmp_path, name):
    path = tmp_path / "set.npz"
    words = [f"problem={name}", "problem.selection_samples=64", "problem.test_samples=64", "samples=256"]
    assert main(["data", *words, "-o", str(path)]) == 0
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    assert info(path).unchanged
