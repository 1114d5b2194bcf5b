"""Atomic writes: the old file or the new one, whatever fails."""

import errno
import os
from pathlib import Path

import pytest

from onsager_cli.errors import UserError
from onsager_cli.store import files
from onsager_cli.store.files import atomic_write, expanded, temporary_files


@pytest.mark.parametrize("step", ["open", "write", "fsync", "replace"])
@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission"),
        (errno.EIO, "output error"),
    ],
)
def test_a_failed_write_keeps_the_old_file_and_says_why(tmp_path, monkeypatch, step, number, words):
    path = tmp_path / "points.csv"
    atomic_write(path, b"old")

    def fail(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, step, fail)
    with pytest.raises(UserError, match=f"points.csv.*{words}"):
        atomic_write(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["points.csv"]


def test_a_kill_between_write_and_rename_leaves_the_old_file_and_a_file_clean_can_name(tmp_path, monkeypatch):
    path = tmp_path / "network.npz"
    atomic_write(path, b"old")

    class Killed(BaseException):
        pass

    def killed(*_args):
        raise Killed

    monkeypatch.setattr(files.os, "replace", killed)
    monkeypatch.setattr(files.os, "unlink", killed)  # a SIGKILL runs no clean-up either
    with pytest.raises(Killed):
        atomic_write(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    (left,) = temporary_files(tmp_path)
    assert left.read_bytes() == b"new"
    assert left.name.startswith(".network.npz.")


def test_short_writes_are_continued(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(files.os, "write", lambda descriptor, data: real(descriptor, data[:3]))
    atomic_write(tmp_path / "deep" / "er" / "file", b"0123456789")
    assert (tmp_path / "deep" / "er" / "file").read_bytes() == b"0123456789"


def test_a_folder_that_cannot_be_made_or_a_file_that_cannot_be_read_is_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"cannot create .*file"):
        atomic_write(tmp_path / "file" / "points.csv", b"")
    with pytest.raises(UserError, match=r"cannot read .*none"):
        files.read_bytes(tmp_path / "none")
    with pytest.raises(UserError, match="at most 0 are accepted"):
        files.read_bytes(tmp_path / "file", limit=0)


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expanded("~") == tmp_path
    assert expanded("~/a/~") == tmp_path / "a" / "~"
    assert expanded("results/~") == Path("results/~")
    assert str(expanded("./~x")) == "~x"
    with pytest.raises(UserError, match=r"no home folder '~nobody-here', got '~nobody-here/x': write \./~nobody-here"):
        expanded("~nobody-here/x")
