"""Sealed arrays: exact, reproducible, and any damage is noticed."""

import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onsager_cli.errors import UserError
from onsager_cli.store import arrays
from onsager_cli.store.arrays import check_shapes, read_arrays


def network():
    return {
        "B": np.arange(6, dtype=np.float32).reshape(2, 3),
        "layers.3.theta": np.array([1.0, 2.1972245773362196]),
        "problem.A": np.asfortranarray(np.arange(6.0).reshape(3, 2)),
        "key": np.array([1, 2], dtype=np.uint32),
    }


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.from_regex(r"[A-Za-z][A-Za-z0-9_.]{0,12}", fullmatch=True).filter(lambda name: name != "meta"),
        hnp.arrays(
            st.sampled_from(["f4", "f8", "i8", "u4", "?", "c8", "U3"]),
            hnp.array_shapes(min_dims=0, max_dims=3, min_side=0),
        ),
        max_size=4,
    )
)
def test_packing_is_exact_and_reproducible(contents):
    data = arrays.pack(contents, {"a": 1})
    assert data == arrays.pack(dict(reversed(contents.items())), {"a": 1})
    loaded, _ = arrays.unpack(data, sealed=True)
    assert loaded.keys() == contents.keys()
    for name, array in contents.items():
        assert loaded[name].shape == array.shape
        assert loaded[name].dtype == array.dtype
        assert loaded[name].tobytes() == array.tobytes()


def test_damage_to_a_file_without_a_seal_ends_in_one_error_or_in_plain_arrays():
    buffer = io.BytesIO()
    np.savez(buffer, B=np.eye(2), theta=np.zeros(2))
    good = buffer.getvalue()
    refused = 0
    for position in range(len(good)):
        for value in (good[position] ^ 1, good[position] ^ 128, 0):
            try:
                arrays.unpack(good[:position] + bytes([value]) + good[position + 1 :])
            except arrays.DamagedFileError:
                refused += 1
    assert refused > len(good)


def test_a_file_cut_off_anywhere_is_refused():
    good = arrays.pack(network(), {})
    for length in range(0, len(good), 7):
        with pytest.raises(arrays.DamagedFileError):
            arrays.unpack(good[:length], sealed=True)
    with pytest.raises(arrays.DamagedFileError):
        arrays.unpack(good + b"\n", sealed=True)


def test_a_network_from_outside_needs_no_seal_but_must_be_plain(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez_compressed(path, B=np.eye(3))
    loaded, meta = read_arrays(path)
    assert meta == {}
    assert loaded["B"].shape == (3, 3)
    np.savez(path, B=np.array([{}], dtype=object))
    with pytest.raises(UserError, match=r"mine.npz.*dtype"):
        read_arrays(path)
    path.write_bytes(b"not a zip")
    with pytest.raises(UserError, match=r"mine.npz.*not a readable"):
        read_arrays(path)


def test_a_header_that_promises_more_than_the_file_holds_allocates_nothing(tmp_path):
    member = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**9)}
    np.lib.format.write_array_header_1_0(member, header)
    path = tmp_path / "huge.npz"
    with arrays.zipfile.ZipFile(path, "w") as archive:
        archive.writestr("B.npy", member.getvalue())
    with pytest.raises(UserError, match="not as long as its header says"):
        read_arrays(path)


def test_objects_and_reserved_names_are_not_saved():
    with pytest.raises(TypeError, match="'x' has dtype object"):
        arrays.pack({"x": np.array([None])}, {})
    with pytest.raises(ValueError, match="reserved"):
        arrays.pack({"meta": np.zeros(1)}, {})


def test_shapes_are_checked_by_name():
    expected = {"B": (2, 3), "layers.3.theta": (2,), "problem.A": (3, 2), "key": (2,)}
    check_shapes(network(), expected, "n.npz")
    with pytest.raises(UserError, match=r"n.npz: B must have shape \(3, 2\), got \(2, 3\)"):
        check_shapes(network(), expected | {"B": (3, 2)}, "n.npz")
    with pytest.raises(UserError, match=r"array layers.4.theta is missing.*\(2,\)"):
        check_shapes(network(), expected | {"layers.4.theta": (2,)}, "n.npz")
    with pytest.raises(UserError, match="array key is not expected"):
        check_shapes(network(), {name: shape for name, shape in expected.items() if name != "key"}, "n.npz")
