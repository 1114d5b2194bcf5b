"""Matrices in .npy and .npz, and files that hold none although their name says so."""

import io
import pickle
import struct
import zipfile

import numpy as np
import pytest
from conftest import slow
from matrix_files import A, Z, contents, only, refusal
from scipy import sparse

from onsager_cli.store.foreign import variables
from onsager_cli.store.foreign.variable import described


class TestNumpy:
    def npz(self, path, **arrays):
        np.savez(path, **arrays)
        return contents(path)

    def test_what_stands_beside_the_matrix_does_not_matter(self, tmp_path):
        path = tmp_path / "a.npz"
        record = np.zeros(2, dtype=[("x", "f8"), ("y", "i4")])
        found = self.npz(
            path, A=A, kappa=np.array(None), names=np.array(["a", "b"]), code=np.array([b"x"]), record=record
        )
        np.testing.assert_array_equal(found["A"], A)
        assert found["kappa"] == "Python objects (a pickle, which could run code)"
        assert (found["names"], found["code"], found["record"]) == ("text", "text", "a table with the fields x, y")

    def test_a_member_that_nobody_asks_for_may_be_damaged(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            for name, array in (("A", A), ("B", A)):
                buffer = io.BytesIO()
                np.save(buffer, array)
                archive.writestr(f"{name}.npy", buffer.getvalue()[: None if name == "A" else 150])
            archive.writestr("README.txt", "mine")
        found = contents(tmp_path / "a.npz")
        np.testing.assert_array_equal(found["A"], A)
        assert found["B"] == "damaged"

    @pytest.mark.parametrize("form", ["csr", "csc", "coo", "dia", "bsr"])
    @pytest.mark.parametrize("kind", [sparse.csr_matrix, *slow(sparse.csr_array)])
    def test_sparse_matrices_of_scipy(self, tmp_path, form, kind):
        matrix = kind(np.kron(np.eye(3, 4), A) + np.eye(6, 12, 2)).asformat(form)
        sparse.save_npz(tmp_path / "a.npz", matrix)
        np.testing.assert_array_equal(only(tmp_path / "a.npz"), matrix.toarray())

    def test_entries_at_one_place_add_up(self, tmp_path):
        matrix = sparse.coo_matrix(([1.0, 2.0], ([1, 1], [0, 0])), (2, 3))
        sparse.save_npz(tmp_path / "a.npz", matrix)
        np.testing.assert_array_equal(only(tmp_path / "a.npz"), [[0, 0, 0], [3, 0, 0]])

    HOSTILE = (
        {"format": "csr", "indices": [0, 9], "indptr": [0, 1, 2]},
        {"format": "csr", "indices": [0, -1], "indptr": [0, 1, 2]},
        {"format": "csr", "indices": [0, 1], "indptr": [0, 9, 2]},
        {"format": "csr", "indices": [0, 1], "indptr": [0, -2, 2]},
        {"format": "csr", "indices": [0, 1], "indptr": [0, 2**62, 2]},
        {"format": "csc", "indices": [0, 2], "indptr": [0, 1, 2, 2]},
        {"format": "csr", "indices": [0.0, 1.0], "indptr": [0, 1, 2]},
        {"format": "csr", "indices": [0, 1], "indptr": np.array([0, 2**64 - 1, 2], np.uint64)},
        {"format": "coo", "row": [0, 5], "col": [0, 0]},
        {"format": "dia", "offsets": [0, 2**62]},
        {"format": "bsr", "indices": [0, 7], "indptr": [0, 1, 2]},
        {"format": "exe", "indices": [0, 1], "indptr": [0, 1, 2]},
        {"format": "csr"},
    )

    @pytest.mark.parametrize("parts", HOSTILE)
    def test_no_index_leaves_the_matrix(self, tmp_path, parts):
        np.savez(tmp_path / "a.npz", shape=[2, 3], data=[1.0, 2.0], **parts)
        assert refusal(tmp_path / "a.npz") == "is damaged or cut off"

    def test_a_sparse_matrix_too_large_to_be_dense(self, tmp_path):
        sparse.save_npz(tmp_path / "a.npz", sparse.csr_matrix((10**6, 10**6)))
        assert "more than 1e+09 numbers" in refusal(tmp_path / "a.npz")

    def test_bfloat16_of_jax(self, tmp_path):
        import ml_dtypes

        np.save(tmp_path / "a.npy", A.astype(ml_dtypes.bfloat16))
        np.testing.assert_array_equal(only(tmp_path / "a.npy"), A)
        np.save(tmp_path / "a.npy", A.astype(ml_dtypes.float8_e4m3fn))
        assert "without a type" in only(tmp_path / "a.npy")

    def test_complex_numbers_as_pairs(self, tmp_path):
        for names in (("real", "imag"), ("r", "i")):
            pairs = np.zeros(Z.shape, dtype=[(name, "f8") for name in names])
            pairs[names[0]], pairs[names[1]] = Z.real, Z.imag
            np.save(tmp_path / "a.npy", pairs)
            np.testing.assert_array_equal(only(tmp_path / "a.npy"), Z)

    def test_order_and_types(self, tmp_path):
        for array in (np.asfortranarray(A), A.astype(">f4"), A.astype(np.longdouble), A.astype("f2"), A > 1, Z):
            np.save(tmp_path / "a.npy", array)
            np.testing.assert_array_equal(only(tmp_path / "a.npy"), array)

    @pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
    def test_versions(self, tmp_path, version):
        with (tmp_path / "a.npy").open("wb") as file:
            np.lib.format.write_array(file, A, version)
        np.testing.assert_array_equal(only(tmp_path / "a.npy"), A)

    def test_a_header_of_python_2(self, tmp_path):
        text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2L, 3L), }".ljust(117) + b"\n"
        head = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
        np.testing.assert_array_equal(only(tmp_path / "a.npy", head + A.tobytes()), A)

    def test_a_name_that_says_otherwise(self, tmp_path):
        np.savez(tmp_path / "a.npz", P=A)
        np.testing.assert_array_equal(contents((tmp_path / "a.npz").rename(tmp_path / "a.npy"))["P"], A)

    def test_an_archive_that_lies_about_sizes(self, tmp_path):
        np.savez(tmp_path / "a.npz", A=A)
        data = (tmp_path / "a.npz").read_bytes()
        for size in (170, 180, 2**31):  # 176 bytes in truth
            central = data.index(b"PK\x01\x02")
            changed = bytearray(data)
            changed[central + 20 : central + 28] = struct.pack("<2I", size, size)
            assert contents(tmp_path / "a.npz", bytes(changed)) == {"A": "damaged"}

    def test_a_header_that_promises_more_than_there_is(self, tmp_path):
        text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 1000000000), }".ljust(117) + b"\n"
        head = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
        assert refusal(tmp_path / "a.npy", head + A.tobytes()) == "is damaged or cut off"


STRANGERS = {
    "nothing": (b"", "is empty"),
    "zeros": (b"\0" * 1000, "holds nothing but zeros"),
    "blanks": (b" \n\n", "holds nothing but blanks"),
    "Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", "run git lfs pull"),
    "git-annex pointer": (b"/annex/objects/SHA256E-s1--ab.mat\n", "run git annex get"),
    "web page": (b"\n<!DOCTYPE html>\n<html><head>", "is a web page (HTML)"),
    "web page with a mark": (b"\xef\xbb\xbf<HTML lang=en>", "is a web page (HTML)"),
    "XML": (b"<?xml version='1.0'?><a/>", "is XML"),
    "JSON": (b"[[1, 2], [3, 4]]", "is JSON"),
    "JSON object": (b'{"A": [[1, 2]]}', "is JSON"),
    "printed array": (b"[[1. 2.]\n [3. 4.]]", "is a printed array"),
    "gzip": (b"\x1f\x8b\x08\0\0\0", "is compressed by gzip: unpack it"),
    "PDF": (b"%PDF-1.7\n", "is a PDF"),
    "image": (b"\x89PNG\r\n\x1a\n\0\0", "is an image (PNG)"),
    "pickle": (pickle.dumps({"A": A}), "is a Python pickle, which could run code"),
    "old pickle": (pickle.dumps(A, protocol=0), "is a Python pickle, which could run code"),
    "old Excel": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 500, "is an old Excel workbook"),
    "Octave's binary": (b"Octave-1-L\0\1\0\0\0A", "save -v7 A.mat A"),
    "Matrix Market": (b"%%MatrixMarket matrix coordinate real general\n1 1 1\n1 1 5\n", "scipy.io.mmread"),
    "tar": (b"A.npy".ljust(257, b"\0") + b"ustar\0", "is a tar archive"),
}
NO_TABLES = {
    "binary numbers": (np.arange(100.0).tobytes()[8:], "is not text and not a known format"),
    "text": (b"This is no matrix.\nIt is a text.\n", "holds no numbers"),
}


@pytest.mark.parametrize("case", STRANGERS)
@pytest.mark.parametrize("suffix", [".npy", *slow(".npz", ".mat", ".csv", ".h5")])
def test_a_file_without_an_array_is_called_what_it_is(tmp_path, case, suffix):
    data, words = STRANGERS[case]
    assert words in refusal(tmp_path / f"a{suffix}", data)


@pytest.mark.parametrize("case", NO_TABLES)
@pytest.mark.parametrize("suffix", [".npy", ".csv", ".txt", ".mat"])
def test_what_is_no_table_is_said_by_its_name(tmp_path, case, suffix):
    """Of a file whose name promises no text, the advice on comma-separated numbers would mislead."""
    data, words = NO_TABLES[case]
    binary = suffix in (".npy", ".mat")
    said = refusal(tmp_path / f"a{suffix}", data)
    assert (f"is damaged, or neither a {suffix} file nor a table of numbers" if binary else words) in said


def test_a_mistake_in_a_table_is_found_under_any_name(tmp_path):
    assert "line 2, column 2 is 'x'" in refusal(tmp_path / "a.npy", b"1,2\n3,x\n")


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (["[Content_Types].xml", "xl/workbook.xml"], "is an Excel workbook: save the sheet as CSV"),
        (["mimetype", "content.xml"], "is an OpenDocument file"),
        (["archive/data.pkl", "archive/version"], "is a PyTorch file"),
        (["a.csv"], "is a zip archive without an array"),
        ([], "is a zip archive without an array: it is empty"),
    ],
)
def test_an_archive_without_an_array_is_called_what_it_is(tmp_path, members, words):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name in members:
            archive.writestr(name, "x")
    assert refusal(tmp_path / "a.npz").startswith(words)


def test_sizes_and_kinds_are_said_in_one_way(tmp_path):
    np.savez(tmp_path / "a.npz", Phi=A, snr=40.0, name="x")
    assert list(map(described, variables(tmp_path / "a.npz"))) == ["Phi (2 x 3)", "snr (one number)", "name (text)"]
