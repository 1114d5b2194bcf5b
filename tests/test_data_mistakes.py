"""`onsager data`: streamed in blocks, stopped in order, and what it refuses."""

import io
import os
import signal
import threading
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from data_sets import FORMATS, TOY, failure, plain, written

from onsager_cli.cli import data as verb
from onsager_cli.cli.main import main
from onsager_cli.errors import UserError
from onsager_cli.run import data
from onsager_cli.store import datasets

pytestmark = pytest.mark.usefixtures("quick_compile")


class TestStreaming:
    @pytest.mark.slow
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
        assert f"would take {6.6 if form == 'npz' else 5.0} MB, and the disk has 1.0 MB left" in line
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
            (["samples=5", "--info", "s.npz"], "--info FILE takes no other arguments"),
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
        assert "has only recorded pairs" in failure(capsys, *words, "samples=5")
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
        assert "is not a folder" in failure(capsys, *TOY, "samples=5", "-o", str(tmp_path / "file" / "set.npz"))

    def test_without_h5py(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setitem(__import__("sys").modules, "h5py", None)
        line = failure(capsys, *TOY, "samples=5", "-o", str(tmp_path / "set.mat"))
        assert "needs h5py: pip install h5py" in line
        assert main(["data", *TOY, "samples=5", "-o", str(tmp_path / "set.npz")]) == 0

    def test_numbers_that_are_not_finite(self, tmp_path):
        block = (np.full((2, 3), np.inf, np.float32), np.ones((2, 2), np.float32))
        of = data.DataSet({"problem": {}}, {}, 2, [block])
        with pytest.raises(UserError, match="x is not finite in samples 1 to 2"):
            list(data._reported(of, lambda *_: None))
