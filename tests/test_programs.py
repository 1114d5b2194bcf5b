"""Compiled programs that are kept: damaged, torn and foreign ones are compiled anew, and the folder stays small."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from onsager_cli.errors import UserError
from onsager_cli.training import programs
from onsager_cli.training.programs import SEAL, Programs, keep_programs

PROGRAM = bytes(range(256)) * 4


@pytest.fixture
def kept(tmp_path) -> Programs:
    """A folder with one program."""
    found = Programs(tmp_path)
    found.put("one", PROGRAM)
    return found


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


class TestPrograms:
    def test_what_is_put_is_got_by_any_process(self, kept, tmp_path):
        assert kept.get("one") == PROGRAM
        assert Programs(tmp_path).get("one") == PROGRAM
        assert kept.get("two") is None

    @pytest.mark.parametrize("place", [0, SEAL - 1, SEAL, SEAL + 500, -1])
    def test_any_changed_byte_is_noticed_and_the_file_goes(self, kept, tmp_path, place):
        path = only_file(tmp_path)
        data = bytearray(path.read_bytes())
        data[place] ^= 1
        path.write_bytes(data)
        assert kept.get("one") is None
        assert not path.exists()
        kept.put("one", PROGRAM)
        assert kept.get("one") == PROGRAM

    @pytest.mark.parametrize("length", [0, 5, SEAL, SEAL + 100])
    def test_a_torn_file_is_none(self, kept, tmp_path, length):
        path = only_file(tmp_path)
        path.write_bytes(path.read_bytes()[:length])
        assert kept.get("one") is None

    def test_a_program_of_another_key_is_none(self, kept, tmp_path):
        """Moved by hand: it would compute something else."""
        only_file(tmp_path).rename(kept._file("two"))
        assert kept.get("two") is None

    def test_those_not_used_for_longest_go_first(self, tmp_path):
        size = SEAL + len(PROGRAM)
        found = Programs(tmp_path, limit=10 * size)
        for number in range(10):
            found.put(str(number), PROGRAM)
            os.utime(found._file(str(number)), (1000 + number, 1000 + number))
        found.get("0")  # used now
        Programs(tmp_path, limit=10 * size).put("new", PROGRAM)
        left = [name for name in (*map(str, range(10)), "new") if found._file(name).exists()]
        assert left == ["0", *map(str, range(2, 10)), "new"]
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 10 * size

    def test_what_is_larger_than_all_room_is_not_kept(self, tmp_path):
        found = Programs(tmp_path, limit=100)
        found.put("one", PROGRAM)
        assert not list(tmp_path.iterdir())

    def test_a_full_disk_costs_a_compilation_and_nothing_else(self, kept, tmp_path, monkeypatch):
        def full(path, data):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "write_bytes", full)
        kept.put("two", PROGRAM)
        assert kept.get("two") is None
        assert len(list(tmp_path.iterdir())) == 1


class TestFolder:
    @pytest.fixture(autouse=True)
    def fresh(self, monkeypatch):
        import jax

        monkeypatch.setattr(programs, "jax", type("Jax", (), {"config": type("Config", (), {
            "jax_compilation_cache_dir": None, "update": staticmethod(lambda name, value: None)})}))  # fmt: skip
        keep_programs.cache_clear()
        yield
        keep_programs.cache_clear()
        del jax

    @pytest.mark.parametrize("value", ["", "off", "OFF", "none", "0", "no"])
    def test_switched_off(self, monkeypatch, value):
        monkeypatch.setenv("ONSAGER_CACHE", value)
        assert keep_programs() is None

    def test_a_folder_of_jax_stays(self, monkeypatch, tmp_path):
        monkeypatch.setenv("ONSAGER_CACHE", str(tmp_path))
        monkeypatch.setattr(programs.jax.config, "jax_compilation_cache_dir", "elsewhere")
        assert keep_programs() is None

    def test_a_folder_that_cannot_be_written(self, monkeypatch, tmp_path):
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("ONSAGER_CACHE", str(tmp_path / "file"))
        with pytest.raises(UserError, match="file"):
            keep_programs()

    def test_no_home_keeps_nothing(self, monkeypatch, tmp_path):
        (tmp_path / "file").write_text("")
        monkeypatch.delenv("ONSAGER_CACHE", raising=False)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: tmp_path / "file" / "onsager")
        assert keep_programs() is None

    @pytest.mark.parametrize(("value", "lost"), [(None, False), ("~nobody-here/x", True)])
    def test_no_home_folder(self, monkeypatch, value, lost):
        def homeless(*_: object, **__: object) -> Path:
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr("platformdirs.user_cache_path", homeless)
        monkeypatch.delenv("ONSAGER_CACHE", raising=False)
        if value is not None:
            monkeypatch.setenv("ONSAGER_CACHE", value)
        if lost:
            with pytest.raises(UserError, match="ONSAGER_CACHE: ~nobody-here/x needs a home folder"):
                keep_programs()
        else:
            assert keep_programs() is None

    @pytest.mark.skipif(not hasattr(os, "getuid"), reason="no users here")
    def test_a_folder_of_another_user_is_refused(self, monkeypatch, tmp_path):
        """Whoever writes it decides what runs here."""
        monkeypatch.setenv("ONSAGER_CACHE", str(tmp_path))
        monkeypatch.setattr(os, "getuid", lambda: 12345)
        with pytest.raises(UserError, match=r"ONSAGER_CACHE: .* belongs to another user"):
            keep_programs()


def trained(folder: Path, cache: str) -> "subprocess.CompletedProcess[str]":
    """A small training in a process of its own, as a user would start it."""
    words = ["network=lamp", "network.depth=1", "problem.N=40", "problem.M=20", "problem.selection_samples=20",
             "problem.test_samples=20", "training.lamp.steps=[5]", "training.lamp.batch=8", "plot.formats=[png]"]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    environment |= {"ONSAGER_CACHE": cache, "PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, "-m", "onsager_cli", "train", *words, f"output={folder}"]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=folder.parent)


@pytest.mark.slow
def test_a_second_process_has_the_bits_of_the_first_whatever_became_of_the_programs(tmp_path):
    from test_checkpoint import stored

    for name, damage in (("first", None), ("again", None), ("damaged", lambda data: data[:-7] + bytes(7))):
        for path in (tmp_path / "cache").rglob("*.program"):
            if damage is not None:
                path.write_bytes(damage(path.read_bytes()))
        done = trained(tmp_path / name, str(tmp_path / "cache"))
        assert done.returncode == 0, done.stderr
        assert "arning" not in done.stderr
        assert stored(tmp_path / name) == stored(tmp_path / "first")
    assert len(list((tmp_path / "cache").rglob("*.program"))) > 5
    assert not list((tmp_path / "cache").rglob("*.onsager-tmp"))
