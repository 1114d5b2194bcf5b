"""Atomic writes: the old file or the new one, whatever fails."""

import errno
import os
from pathlib import Path

import pytest

from onsager_cli.errors import UserError
from onsager_cli.store import files
from onsager_cli.store.content import checksum
from onsager_cli.store.files import (
    append_line,
    atomic_write,
    below,
    entries,
    expanded,
    is_file,
    is_folder,
    read_bytes,
    temporary_files,
    write_for_people,
)


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


def test_what_is_in_the_way_of_a_folder_is_named(tmp_path):
    (tmp_path / "disk").symlink_to("/nowhere/disk")
    (tmp_path / "file").write_text("")
    for name, words in (
        ("disk", "disk is a link to /nowhere/disk, which does not exist"),
        ("file", "file is not a folder"),
    ):
        with pytest.raises(UserError, match=f"cannot create .*{words}$"):
            atomic_write(tmp_path / name / "points.csv", b"")


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
    with pytest.raises(UserError, match="at most 0 are allowed"):
        files.read_bytes(tmp_path / "file", limit=0)


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expanded("~") == tmp_path
    assert expanded("~/a/~") == tmp_path / "a" / "~"
    assert expanded("results/~") == Path("results/~")
    assert str(expanded("./~x")) == "~x"
    with pytest.raises(
        UserError,
        match=r"no home folder ~nobody-here, write \./~nobody-here for a file of that name, got '~nobody-here/x'",
    ):
        expanded("~nobody-here/x")


@pytest.fixture
def special(tmp_path):
    """What is not a regular file, by what messages call it."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "target").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    os.mkfifo(tmp_path / "pipe")
    return {
        "a folder": tmp_path / "folder", "a link": tmp_path / "link", "a pipe": tmp_path / "pipe",
        "a device": Path(os.devnull),
    }  # fmt: skip


@pytest.mark.parametrize("write", [atomic_write, append_line, lambda path, data: write_for_people(path, data, bool)])
@pytest.mark.parametrize("kind", ["a folder", "a link", "a pipe", "a device"])
def test_only_a_regular_file_is_replaced(special, tmp_path, kind, write):
    before = special[kind].lstat()
    with pytest.raises(UserError, match=f"^cannot write .*: it is {kind}.*, and onsager replaces only files$"):
        write(special[kind], b"new")
    assert os.path.samestat(special[kind].lstat(), before)
    assert (tmp_path / "target").read_text() == "kept"


@pytest.mark.parametrize("kind", ["a folder", "a pipe", "a device"])
def test_only_a_regular_file_is_read_and_nobody_waits_for_a_pipe(special, kind):
    with pytest.raises(UserError, match=f"^cannot read .*: it is {kind}$"):
        read_bytes(special[kind])
    with pytest.raises(UserError, match=f"^problem.matrix: .* cannot be read: it is {kind}$"):
        checksum(special[kind], "problem.matrix")
    assert read_bytes(special["a link"]) == b"kept"


def test_a_file_for_people_replaces_what_onsager_wrote_and_asks_otherwise(tmp_path):
    path, asked = tmp_path / "deep" / "page.html", []

    def answer(asked_of: Path) -> bool:
        asked.append(asked_of)
        return len(asked) > 1

    def ours(head: bytes) -> bool:
        return head.startswith(b"onsager")

    write_for_people(path, b"onsager 1", ours)
    write_for_people(path, b"mine", ours)
    for replace in ({}, {"replace": answer}):
        with pytest.raises(UserError, match=r"page.html is kept, because onsager did not write it: move it away"):
            write_for_people(path, b"onsager 2", ours, **replace)
        assert path.read_bytes() == b"mine"
    write_for_people(path, b"onsager 2", ours, replace=answer)
    assert path.read_bytes() == b"onsager 2"
    assert asked == [path] * 2


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_a_name_that_no_file_can_have_is_one_line(tmp_path, name):
    for act in (read_bytes, is_file, entries, lambda path: atomic_write(path, b"")):
        with pytest.raises(UserError, match="no file can have this name"):
            act(tmp_path / name)


def test_what_is_in_a_folder(tmp_path):
    for name in ("b/c.csv", "a.csv", "a.txt"):
        atomic_write(tmp_path / name, b"")
    assert entries(tmp_path, "*.csv") == [tmp_path / "a.csv"]
    assert entries(tmp_path) == [tmp_path / "a.csv", tmp_path / "a.txt", tmp_path / "b"]
    assert below(tmp_path, "*.csv") == [tmp_path / "a.csv", tmp_path / "b" / "c.csv"]
    assert entries(tmp_path / "none") == below(tmp_path / "none") == []
    assert is_folder(tmp_path / "b")
    assert not is_folder(tmp_path / "a.csv" / "x")
    assert is_file(tmp_path / "a.csv")
    assert not is_file(tmp_path / "b")
    with pytest.raises(UserError, match="the name is too long"):
        is_file(tmp_path / ("x" * 300))


def test_a_closed_folder_is_one_line(tmp_path, monkeypatch):
    def closed(path, *_, **__):
        raise PermissionError(errno.EACCES, "", str(path))

    for name in ("stat", "listdir", "scandir"):
        monkeypatch.setattr(files.os, name, closed)
    for look in (is_file, is_folder, entries, below):
        with pytest.raises(UserError, match=f"^cannot read {tmp_path}: permission denied$"):
            look(tmp_path)
