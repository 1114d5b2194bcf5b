"""The store: curves found by content, stale folders refused, torn logs, full disks."""

import errno
import json
import warnings

import numpy as np
import pytest

from onsager_cli.errors import UserError
from onsager_cli.store import arrays, files
from onsager_cli.store.curves import Store, StoreWarning, canonical, identity_hash

IDENTITY = {"problem": {"kind": "bernoulli_gaussian", "N": 500, "kappa": None}, "seed": 0}

ROW = {
    "curve": "lamp_tied_bg",
    "network": "lamp",
    "shrinkage": "bg",
    "tied": True,
    "layer": 3,
    "nmse_db": -17.51138,
    "nmse_db_se": 0.0123456789,
    "nmse_mean_ratio_db": -16.5,
    "problem": "gaussian",
    "instance": "authors2017",
    "seed": 0,
    "steps": 2000,
    "seconds": 123.456789,
    "parameters": 125006,
}


def network():
    return {
        "B": np.arange(6, dtype=np.float32).reshape(2, 3),
        "layers.3.theta": np.array([1.0, 2.1972245773362196]),
        "problem.A": np.asfortranarray(np.arange(6.0).reshape(3, 2)),
        "key": np.array([1, 2], dtype=np.uint32),
    }


def test_a_curve_is_found_by_its_identity_whatever_its_label(tmp_path):
    store = Store(tmp_path)
    store.curve(IDENTITY, "lamp_tied_bg").add_point(ROW)
    reordered = {"seed": 0.0, "problem": {"N": 500.0, "kappa": None, "kind": "bernoulli_gaussian"}}
    found = store.curve(reordered, "another_name")
    assert found.exists
    assert found.points()[0]["layer"] == 3
    assert found.path.name == f"lamp_tied_bg-{identity_hash(IDENTITY)}"
    assert [folder.identity for folder in store.curves()] == [IDENTITY]


def test_another_identity_is_another_folder(tmp_path):
    store = Store(tmp_path)
    store.curve(IDENTITY, "c").add_point(ROW)
    other = store.curve(IDENTITY | {"seed": 1}, "c")
    assert not other.exists
    assert other.points() == []


def test_asking_for_a_curve_creates_nothing(tmp_path):
    assert Store(tmp_path / "outputs").curve(IDENTITY, "c").load("network") is None
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("spoil", ["other", "text", "gone", "list"])
def test_a_folder_whose_identity_differs_is_named_and_not_reused(tmp_path, spoil):
    store = Store(tmp_path)
    first = store.curve(IDENTITY, "c")
    first.add_point(ROW)
    file = first.path / "identity.json"
    if spoil == "gone":
        file.unlink()
    else:
        file.write_text({"other": json.dumps(IDENTITY | {"seed": 1}), "text": "{", "list": "[]"}[spoil])
    assert not first.identity_ok()
    with pytest.warns(StoreWarning, match=first.path.name):
        second = store.curve(IDENTITY, "c")
    assert second.path != first.path
    assert second.points() == []
    second.add_point(ROW | {"layer": 1})
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the good folder is found first, and there is nothing to say
        assert store.curve(IDENTITY, "c").path == second.path


def test_writing_into_a_folder_of_another_curve_is_refused(tmp_path):
    folder = Store(tmp_path).curve(IDENTITY, "c")
    folder.path.mkdir(parents=True)
    (folder.path / "identity.json").write_text("{}")
    with pytest.raises(UserError, match="belongs to another curve"):
        folder.add_point(ROW)


def test_a_folder_left_empty_by_a_kill_is_used(tmp_path):
    store = Store(tmp_path)
    folder = store.curve(IDENTITY, "c")
    folder.path.mkdir(parents=True)
    (folder.path / f".identity.json.1-ab{files.TEMPORARY_SUFFIX}").write_text("{")
    assert store.curve(IDENTITY, "c").path == folder.path


@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc/x", ".hidden", "a..b", "a b", "a\\b", "ä", "x" * 101])
def test_names_that_leave_the_folder_are_refused(tmp_path, name):
    store = Store(tmp_path)
    for call in (
        lambda: store.curve(IDENTITY, name),
        lambda: store.figure(name),
        lambda: store.curve(IDENTITY, "c").save(name, {}),
        lambda: store.curve(IDENTITY, "c").load(name),
        lambda: store.curve(IDENTITY, "c").delete(name),
        lambda: store.curve(IDENTITY, "c").write_json(name, {}),
    ):
        with pytest.raises(UserError, match="letters, digits"):
            call()
    assert list(tmp_path.iterdir()) == []


def test_an_identity_must_be_plain_and_finite():
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"rate": float("nan")})
    with pytest.raises(TypeError):
        canonical({"rate": np.float32(1)})
    with pytest.raises(TypeError):
        canonical({1: 2})  # pyright: ignore[reportArgumentType]
    assert canonical({"a": (1, True, 0.1, "ü")}) == r'{"a":[1,true,0.1,"\u00fc"]}'


def test_a_point_replaces_the_one_of_its_layer_and_the_oracle_has_none(tmp_path):
    folder = Store(tmp_path).curve(IDENTITY, "c")
    for layer in (2, 10, 1, None):
        folder.add_point(ROW | {"layer": layer})
    folder.add_point(ROW | {"layer": 2, "nmse_db": -12.15})
    folder.add_point(ROW | {"layer": None, "tied": None})
    assert [row["layer"] for row in folder.points()] == [1, 2, 10, None]
    assert folder.points()[1]["nmse_db"] == -12.15
    assert folder.points()[3]["tied"] is None


def test_a_saved_network_comes_back_as_it_was(tmp_path):
    folder = Store(tmp_path).curve(IDENTITY, "c")
    path = folder.save("stage_0007", network(), {"depth": 3, "note": "ü"})
    loaded, meta = folder.load("stage_0007") or pytest.fail("not found")
    assert meta == {"depth": 3, "note": "ü"}
    assert folder.saved() == ["stage_0007"]
    assert loaded.keys() == network().keys()
    for name, array in network().items():
        assert loaded[name].dtype == array.dtype
        assert loaded[name].flags.writeable
        np.testing.assert_array_equal(loaded[name], array)
    with np.load(path, allow_pickle=False) as plain:  # an ordinary .npz for everybody else
        np.testing.assert_array_equal(plain["layers.3.theta"], network()["layers.3.theta"])
    folder.delete("stage_0007")
    assert folder.load("stage_0007") is None
    assert folder.saved() == []


def test_a_flipped_bit_in_any_region_is_refused(tmp_path):
    folder = Store(tmp_path).curve(IDENTITY, "c")
    path = folder.save("network", network(), {"depth": 3})
    good = path.read_bytes()
    # Every byte, one by one: local headers, array headers, data, directory, comment and digest.
    for position in range(len(good)):
        spoiled = bytearray(good)
        spoiled[position] ^= 1 << (position % 8)
        with pytest.raises(arrays.DamagedFileError):
            arrays.unpack(bytes(spoiled), sealed=True)
    path.write_bytes(bytes(good[:100]) + bytes([good[100] ^ 4]) + good[101:])
    with pytest.warns(StoreWarning, match=r"network.npz is damaged .*not used"):
        assert folder.load("network") is None


def test_a_torn_line_of_the_log_spoils_only_itself(tmp_path):
    folder = Store(tmp_path).curve(IDENTITY, "c")
    folder.log({"event": "stage", "index": np.int64(1), "nmse_db": float("nan")})
    with open(folder.path / "log.jsonl", "ab") as file:
        file.write(b'{"event": "eval", "st')
    assert [event["event"] for event in folder.events()] == ["stage"]
    folder.log({"event": "point", "layer": 2})
    assert folder.events() == [{"event": "stage", "index": 1, "nmse_db": None}, {"event": "point", "layer": 2}]


def test_notes_and_config_are_kept_and_a_broken_note_is_said(tmp_path):
    folder = Store(tmp_path).curve(IDENTITY, "c")
    folder.write_config("seed: 0\n")
    folder.write_json("made", {"seconds": 1.5})
    assert folder.read_json("made") == {"seconds": 1.5}
    assert folder.read_json("none") is None
    assert (folder.path / "config.yaml").read_text() == "seed: 0\n"
    (folder.path / "made.json").write_text("[1")
    with pytest.warns(StoreWarning, match=r"made\.json is damaged"):
        assert folder.read_json("made") is None
    with pytest.raises(ValueError, match="the store itself"):
        folder.write_json("identity", {})


@pytest.mark.parametrize("write", ["add_point", "save", "write_config", "write_json", "log"])
def test_every_kind_of_write_reports_a_full_disk(tmp_path, monkeypatch, write):
    folder = Store(tmp_path).curve(IDENTITY, "c")
    calls = {
        "add_point": lambda: folder.add_point(ROW),
        "save": lambda: folder.save("network", network()),
        "write_config": lambda: folder.write_config("seed: 0\n"),
        "write_json": lambda: folder.write_json("made", {"seconds": 1}),
        "log": lambda: folder.log({"event": "warning"}),
    }
    calls[write]()
    before = {p.name: p.read_bytes() for p in folder.path.iterdir()}

    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "write", full)
    with pytest.raises(UserError, match="the disk is full"):
        calls[write]()
    assert {p.name: p.read_bytes() for p in folder.path.iterdir()} == before
