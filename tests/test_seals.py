"""What is stored is what was written: a changed digit is noticed, and the sealed copy is used."""

import os
import shutil

import pytest
from test_results import IDENTITY, ROW, network

from onsager_cli.errors import UserError
from onsager_cli.store import files
from onsager_cli.store.curves import CurveFolder, MemoryFolder, Store, StoreWarning


@pytest.fixture
def folder(tmp_path) -> CurveFolder:
    """A stored curve of two points and a network."""
    made = Store(tmp_path).curve(IDENTITY, "c")
    made.add_point(ROW | {"layer": 1})
    made.add_point(ROW | {"layer": 2, "nmse_db": -25.5})
    made.save("depth_02", network(), {"stage": 1})
    made.write_json("made", {"jax": "0.10.2", "threads": 2})
    return made


class TestTable:
    def test_any_changed_byte_is_noticed_and_restored(self, folder):
        path, rows = folder.path / "points.csv", folder.points()
        whole = path.read_bytes()
        for place in range(len(whole)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.warns(StoreWarning, match=r"points\.csv was changed or removed: onsager restores it"):
                assert folder.points() == rows
            assert path.read_bytes() == whole

    def test_a_table_that_is_gone_is_restored(self, folder):
        rows = folder.points()
        (folder.path / "points.csv").unlink()
        with pytest.warns(StoreWarning, match="restores it"):
            assert folder.points() == rows

    def test_a_damaged_copy_leaves_the_table(self, folder):
        rows, copy = folder.points(), folder.path / "points.npz"
        copy.write_bytes(copy.read_bytes()[:-1] + b"x")
        with pytest.warns(StoreWarning, match=r"points\.npz is damaged"):
            assert folder.points() == rows

    def test_a_table_of_an_older_edition_has_no_copy(self, folder):
        (folder.path / "points.npz").unlink()
        assert [row["layer"] for row in folder.points()] == [1, 2]

    def test_a_run_stopped_between_the_copy_and_the_table_loses_nothing(self, folder, monkeypatch):
        def stop(path, data):
            if path.name == "points.csv":
                raise KeyboardInterrupt
            write(path, data)

        write = files.atomic_write
        monkeypatch.setattr(files, "atomic_write", stop)
        with pytest.raises(KeyboardInterrupt):
            folder.add_point(ROW | {"layer": 3})
        monkeypatch.undo()
        table = folder.path / "points.csv"
        with folder.locked():  # as if that run went on: its table is its own
            assert [row["layer"] for row in folder.points()] == [1, 2, 3]
        assert len(table.read_text().splitlines()) == 3
        assert [row["layer"] for row in folder.points()] == [1, 2, 3]
        assert len(table.read_text().splitlines()) == 4

    def test_a_read_only_store_is_read(self, folder, monkeypatch):
        def refuse(path, data):
            raise UserError(f"cannot write {path}")

        rows = folder.points()
        (folder.path / "points.csv").write_bytes(b"layer\n")
        monkeypatch.setattr(files, "atomic_write", refuse)
        with pytest.warns(StoreWarning):
            assert folder.points() == rows

    def test_in_memory(self):
        kept = MemoryFolder(IDENTITY)
        kept.add_point(ROW)
        assert [row["layer"] for row in kept.points()] == [3]
        assert kept.saved() == []


class TestNote:
    def test_any_changed_digit_is_noticed(self, folder):
        path = folder.path / "made.json"
        whole = path.read_bytes()
        for place in (at for at, byte in enumerate(whole) if chr(byte).isdigit()):
            path.write_bytes(whole[:place] + (b"8" if whole[place : place + 1] == b"7" else b"7") + whole[place + 1 :])
            with pytest.warns(StoreWarning, match=r"made\.json is damaged"):
                assert folder.read_json("made") is None

    def test_it_says_what_was_written(self, folder):
        assert folder.read_json("made") == {"jax": "0.10.2", "threads": 2}

    def test_of_an_older_edition_it_has_no_checksum(self, folder):
        (folder.path / "made.json").write_text('{"jax": "0.9"}')
        assert folder.read_json("made") == {"jax": "0.9"}


class TestOwner:
    def test_a_network_at_the_place_of_another_depth_is_not_used(self, folder):
        shutil.copy(folder.path / "depth_02.npz", folder.path / "depth_03.npz")
        with pytest.warns(StoreWarning, match=r"depth_03\.npz is damaged \(it was saved as \w+/depth_02"):
            assert folder.load("depth_03") is None

    def test_a_network_of_another_curve_is_not_used(self, folder, tmp_path):
        other = Store(tmp_path).curve(IDENTITY | {"seed": 1}, "c")
        other.save("depth_02", network(), {"stage": 1})
        shutil.copy(other.path / "depth_02.npz", folder.path / "depth_02.npz")
        with pytest.warns(StoreWarning, match="it was saved as"):
            assert folder.load("depth_02") is None

    def test_a_folder_is_no_saved_network(self, folder):
        os.mkdir(folder.path / "network.npz")
        assert folder.saved() == ["depth_02"]
