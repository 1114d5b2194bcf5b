"""`onsager data`: the same samples every time, in every format, streamed, and what --info says of a file."""

import io
import json
import os
import signal
import threading
import tracemalloc
import zipfile
from types import SimpleNamespace

import h5py
import jax
import numpy as np
import pytest
from conftest import slow
from pairs import drawn, problem, saved
from scipy.io import savemat

from onsager_cli.cli import data as verb
from onsager_cli.cli.main import main
from onsager_cli.errors import UserError
from onsager_cli.run import data
from onsager_cli.store import datasets
from onsager_cli.store.dataset_info import info

pytestmark = pytest.mark.usefixtures("quick_compile")

TOY = ("problem.N=12", "problem.M=8", "problem.gamma=0.3", "problem.selection_samples=20", "problem.test_samples=30")
FORMATS = ("npz", "mat", "h5")
COMPLEX = ("signal=qpsk",)


def written(path, *words, samples=50):
    """The path, once `onsager data` has written it."""
    count = () if samples is None else (f"samples={samples}",)
    assert main(["data", *TOY, *count, *words, "-o", str(path)]) == 0
    return path


def plain(path):
    """The arrays of a file, by NumPy or h5py alone, as rows of samples."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    with h5py.File(path) as file:
        arrays = {name: file[name][()] for name in file}
    if path.suffix == ".mat":
        arrays["A"] = arrays["A"].T
        arrays = {name: a["real"] + 1j * a["imag"] if a.dtype.names else a for name, a in arrays.items()}
    return arrays


def failure(capsys, *words):
    """The one line by which a command fails."""
    assert main(["data", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


class TestSamples:
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

    @pytest.mark.parametrize("of", [(), COMPLEX])
    @pytest.mark.parametrize("form", FORMATS)
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
        written(tmp_path / "set.npz", "+experiment=quick", "--set", "test", samples=10)
        assert plain(tmp_path / "set.npz")["x"].shape == (10, 12)


class TestStreaming:
    @pytest.mark.parametrize("form", FORMATS)
    def test_memory_is_that_of_a_few_blocks(self, tmp_path, form):
        """40 MB of samples in blocks of 0.2 MB."""
        rng, size, count = np.random.default_rng(0), 500, 100_000

        def blocks():
            for _ in range(count // size):
                yield rng.normal(size=(size, 60)).astype(np.float32), rng.normal(size=(size, 40)).astype(np.float32)

        tracemalloc.start()
        try:
            datasets.write(tmp_path / f"set.{form}", {}, {"A": np.ones((40, 60), np.float32)}, blocks(), count)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert (tmp_path / f"set.{form}").stat().st_size > 40e6
        assert peak < 10e6  # a few blocks, and the buffer through which y of an .npz is copied

    def test_blocks_are_never_larger_than_asked(self, monkeypatch):
        monkeypatch.setattr(data, "LARGEST_BLOCK", 16)
        curve = verb._curve(list(TOY))
        sizes = [len(x) for x, _ in data.fresh(curve.settings, data.in_users_units(curve), 40)]
        assert sizes == [16, 16, 8]
        assert data.block_size(10**6, 10**6) == 2
        assert data.block_size(10**7, 10**7) == 1
        assert data.block_size(8, 12, together=5) == 15

    @pytest.mark.parametrize("form", FORMATS)
    def test_a_stop_leaves_nothing(self, tmp_path, monkeypatch, form, capsys):
        """Ctrl-C between two blocks; the file of an earlier run stays."""
        path = written(tmp_path / f"set.{form}")
        before = path.read_bytes()
        monkeypatch.setattr(data, "LARGEST_BLOCK", 16)
        capsys.readouterr()

        def stop(self, done, of):
            if done >= 32:
                os.kill(os.getpid(), signal.SIGINT)
                threading.Event().wait(5)

        monkeypatch.setattr(verb.Counter, "__call__", stop)
        assert main(["data", *TOY, "samples=70", "seed=4", "-o", str(path)]) == 130
        assert [one.name for one in tmp_path.iterdir()] == [path.name]
        assert path.read_bytes() == before

    @pytest.mark.parametrize("form", FORMATS)
    def test_a_disk_without_room(self, tmp_path, form, capsys, monkeypatch):
        """Before a single sample is written."""
        monkeypatch.setattr(datasets.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
        line = failure(capsys, *TOY, "samples=50000", "-o", str(tmp_path / "new" / f"set.{form}"))
        assert f"would take {6.7 if form == 'npz' else 5.1} MB, and the disk has 1.0 MB left" in line
        assert not list((tmp_path / "new").iterdir())

    def test_progress(self):
        """Nothing for short work; lines in a log; one line on a terminal that is wiped in the end."""
        now = [0.0]
        log, screen = io.StringIO(), io.StringIO()
        screen.isatty = lambda: True
        for stream in (log, screen):
            now[0] = 0.0
            with verb.Counter(stream, lambda: now[0]) as counter:
                for done in range(1, 31):
                    counter(done * 1000, 30_000)
                    now[0] += 1.0
        assert log.getvalue().splitlines() == [
            "3,000 of 30,000 samples, 27 s left",
            "13,000 of 30,000 samples, 17 s left",
            "23,000 of 30,000 samples, 7 s left",
        ]
        assert "\n" not in screen.getvalue()
        assert screen.getvalue().endswith(" \r")


class TestInfo:
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

    def test_the_checksum_is_that_of_the_arrays_in_any_format(self, tmp_path):
        sums = {info(written(tmp_path / f"set.{form}", *COMPLEX)).found for form in FORMATS}
        assert len(sums) == 1
        assert info(tmp_path / "set.mat").unchanged

    @pytest.mark.parametrize("form", FORMATS)
    @pytest.mark.parametrize("name", ["A", "x", "y", "noise_variance"])
    def test_a_changed_array(self, tmp_path, form, name, capsys):
        path = written(tmp_path / f"set.{form}", samples=20)
        assert info(path).unchanged
        if form == "npz":
            arrays = plain(path)
            arrays[name] = np.array(arrays[name])
            arrays[name].flat[0] += 1
            np.savez(path, **arrays)
        else:
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


class TestMistakes:
    @pytest.mark.parametrize(
        ("words", "line"),
        [
            (["samples=0", "-o", "s.npz"], "samples must be a whole number from 1 to 1000000000, got '0'"),
            (["samples=1e5", "-o", "s.npz"], "samples must be a whole number"),
            (["samples=5", "samples=6", "-o", "s.npz"], "samples is set twice"),
            (["-o", "s.npz"], "data needs the number of samples: add samples=100000, or --set test"),
            (["samples=5"], "data needs the file to write: add -o set.npz"),
            (["samples=5", "-o", "s.csv"], "must end in .npz, .mat, .h5 or .hdf5, got 's.csv'"),
            (["samples=5", "-o", "-"], "-o must name a file"),
            (["samples=5", "network=lamp", "-o", "s.npz"], "'network=lamp' does not change the samples"),
            (["samples=5", "training.lamp.steps=[1]", "-o", "s.npz"], "does not change the samples"),
            (["samples=5", "output=s.npz"], "data needs the file to write"),
            (["samples=5", "problem.gama=0.2", "-o", "s.npz"], "did you mean problem.gamma?"),
            (["samples=5", "problem.gamma=nan", "-o", "s.npz"], "problem.gamma"),
            (["--set", "train", "-o", "s.npz"], "--set must be fresh, test or selection, got 'train'"),
            (["--set", "test", "samples=31", "-o", "s.npz"], "samples=31, and the test set has 30"),
            (["samples=5", "--info", "s.npz"], "--info FILE stands alone"),
            (["+experiment=finite_size", "--set", "test", "-o", "s.npz"], "choose by only=[…] one of n250-lamp"),
        ],
    )  # fmt: skip
    def test_words(self, tmp_path, monkeypatch, capsys, words, line):
        monkeypatch.chdir(tmp_path)
        toy = [] if any("experiment" in word for word in words) or "--info" in words else TOY
        assert line in failure(capsys, *toy, *words)
        assert not list(tmp_path.iterdir())

    def test_recorded_pairs_have_no_fresh_ones(self, tmp_path, capsys):
        path = written(tmp_path / "set.npz", samples=100)
        words = ("problem=data", f"problem.file={path}", "-o", str(tmp_path / "new.npz"))
        capsys.readouterr()
        assert "has recorded pairs, and no fresh ones" in failure(capsys, *words, "samples=5")
        assert main(["data", *words, "--set", "test"]) == 0
        x = plain(tmp_path / "new.npz")["x"]
        assert len(x) == 10
        assert {tuple(row) for row in x.tolist()} <= {tuple(row) for row in plain(path)["x"].tolist()}

    @pytest.mark.parametrize("form", FORMATS)
    def test_a_file_that_onsager_did_not_write(self, tmp_path, form, capsys):
        path = tmp_path / f"set.{form}"
        np.savez(tmp_path / "set", x=np.ones(3)) if form == "npz" else path.write_bytes(b"mine")
        before = path.read_bytes()
        words = (*TOY, "samples=5", "-o", str(path))
        assert "move it away, or add --force" in failure(capsys, *words)
        assert path.read_bytes() == before
        assert main(["data", *words, "--force"]) == 0
        assert main(["data", *words, "seed=2"]) == 0  # onsager's own file needs no word

    def test_a_folder_and_a_read_only_place(self, tmp_path, capsys):
        (tmp_path / "set.npz").mkdir()
        assert "it is a folder" in failure(capsys, *TOY, "samples=5", "-o", str(tmp_path / "set.npz"))
        (tmp_path / "file").write_text("")
        assert "is no folder" in failure(capsys, *TOY, "samples=5", "-o", str(tmp_path / "file" / "set.npz"))

    def test_without_h5py(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setitem(__import__("sys").modules, "h5py", None)
        line = failure(capsys, *TOY, "samples=5", "-o", str(tmp_path / "set.mat"))
        assert "needs h5py: pip install 'onsager[hdf5]'" in line
        assert main(["data", *TOY, "samples=5", "-o", str(tmp_path / "set.npz")]) == 0

    def test_numbers_that_are_not_finite(self, tmp_path):
        block = (np.full((2, 3), np.inf, np.float32), np.ones((2, 2), np.float32))
        of = data.DataSet({"problem": {}}, {}, 2, [block])
        with pytest.raises(UserError, match="x is not finite in samples 1 to 2"):
            list(data._reported(of, lambda *_: None))


@pytest.mark.parametrize("name", slow([("random_access",), ("massive_mimo",)], but=[]))
def test_further_problems(tmp_path, name):
    path = tmp_path / "set.npz"
    words = [f"problem={name[0]}", "problem.selection_samples=64", "problem.test_samples=64", "samples=256"]
    assert main(["data", *words, "-o", str(path)]) == 0
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    assert info(path).unchanged
