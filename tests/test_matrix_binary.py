"""Matrices in .mat and HDF5 files, with whatever else a workspace has."""

import contextlib
import io
import os
import struct
import subprocess
import sys

import numpy as np
import pytest
from matrix_files import A, Z, contents, refusal
from scipy import sparse
from scipy.io import savemat

from onsager_cli.store.foreign import UnreadableError, binary, reader, variables


@pytest.fixture
def in_process(monkeypatch):
    """The script that reads these files runs in this process, which saves the start of another."""

    def answer(form, path, *name):
        out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                reader.main(form, str(path), *name)
        except SystemExit:
            raise UnreadableError(err.getvalue().strip()) from None
        out.flush()
        return out.buffer.getvalue()  # type: ignore[attr-defined]

    monkeypatch.setattr(binary, "_answer", answer)


def element(kind, data):
    """A data element of a .mat file, version 5."""
    return struct.pack("<2I", kind, len(data)) + data + b"\0" * (-len(data) % 8)


def opaque(name):
    """A string object, as MATLAB saves it: no sizes, and a name where numbers have theirs."""
    flags = element(6, struct.pack("<2I", 17, 0))
    inner = element(6, struct.pack("<2I", 13, 0)) + element(5, struct.pack("<2i", 6, 1)) + element(1, b"")
    inner += element(6, struct.pack("<6I", 0xDD000000, 2, 1, 1, 1, 1))
    return element(14, flags + element(1, name) + element(1, b"MCOS") + element(1, b"string") + element(14, inner))


class TestMatlab:
    @pytest.mark.parametrize("compressed", [False, True])
    def test_everything_of_a_workspace(self, tmp_path, in_process, compressed):
        path = tmp_path / "a.mat"
        cell, names = np.empty((1, 2), object), np.array(["a", "bc"])
        cell[0, 0], cell[0, 1] = A, "text"
        others = {"prob": {"A": A, "name": "x"}, "list": cell, "names": names, "snr": 40.0, "few": A.astype(np.int8)}
        savemat(path, {**others, "Z": Z, "S": sparse.csc_matrix(A), "A": A, "yes": A > 1}, do_compression=compressed)
        with path.open("ab") as file:
            file.write(opaque(b"s") + opaque(b"t"))
        found = contents(path)
        for name, array in (("A", A), ("Z", Z), ("S", A), ("few", A.astype(np.int8)), ("yes", A > 1)):
            np.testing.assert_array_equal(found[name], array)
        assert (found["prob"], found["list"], found["names"]) == ("struct", "cell", "char")
        assert found[""] == "an object, as a string or a table"

    def test_version_4(self, tmp_path, in_process):
        savemat(tmp_path / "a.mat", {"A": A, "S": sparse.csc_matrix(A), "s": "text", "Z": Z}, format="4")
        found = contents(tmp_path / "a.mat")
        for name, array in (("A", A), ("S", A), ("Z", Z)):
            np.testing.assert_array_equal(found[name], array)
        assert found["s"] == "char"
        single = struct.pack(">5i", 1010, 2, 3, 0, 2) + b"A\0" + A.T.astype(">f4").tobytes()  # of a big-endian machine
        np.testing.assert_array_equal(contents(tmp_path / "a.mat", single)["A"], A)

    def test_indices_of_a_sparse_matrix_are_checked(self, tmp_path, in_process):
        savemat(tmp_path / "a.mat", {"A": sparse.csc_matrix(A)})
        data = (tmp_path / "a.mat").read_bytes()
        rows, columns = struct.pack("<5i", 0, 1, 0, 1, 0), struct.pack("<4i", 0, 2, 4, 5)
        for good, bad in (
            (rows, (0, 1, 0, 9, 0)),
            (rows, (0, -7, 0, 1, 0)),
            (columns, (0, 4, 2, 5)),
            (columns, (0, 9, 9, 5)),
        ):
            assert data.count(good) == 1
            changed = data.replace(good, struct.pack(f"<{len(bad)}i", *bad))
            assert refusal(tmp_path / "b.mat", changed) == "is damaged or cut off"

    def test_in_a_process_of_its_own_without_the_modules_of_the_working_directory(self, tmp_path, monkeypatch):
        savemat(tmp_path / "a.mat", {"A": A})
        for name in ("scipy", "random", "numpy", "select", "json"):
            (tmp_path / f"{name}.py").write_text("raise SystemExit('my own script ran')")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", ".", *filter(None, sys.path)]))
        np.testing.assert_array_equal(contents(tmp_path / "a.mat")["A"], A)

    def test_a_crash_is_one_sentence(self, tmp_path, monkeypatch):
        savemat(tmp_path / "a.mat", {"A": A})
        script = tmp_path / "reader.py"
        script.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
        monkeypatch.setattr(binary, "SCRIPT", script)
        assert refusal(tmp_path / "a.mat") == "is damaged or cut off"


def test_the_command_does_not_import_modules_of_the_working_directory(tmp_path):
    (tmp_path / "argparse.py").write_text("raise SystemExit('my own script ran')")
    command = [sys.executable, "-m", "onsager_cli", "--version"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def h5py(in_process):
    return pytest.importorskip("h5py")


class TestHdf5:
    def matlab(self, group, name, array, kind, **attributes):
        """An array as MATLAB -v7.3 stores it: by columns, with its class."""
        made = group.create_dataset(name, data=np.asarray(array).T)
        made.attrs["MATLAB_class"] = np.bytes_(kind)
        made.attrs.update(attributes)

    def test_of_h5py(self, tmp_path, h5py):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["A"], file["data/deep/Z"], file["half"] = A, Z, A.astype("f2")
            file["name"], file["yes"], file["one"] = "text", A > 1, 3.0
            file.create_dataset("small", data=A, compression="gzip")
        found = contents(tmp_path / "a.h5")
        for name, array in (("A", A), ("data/deep/Z", Z), ("half", A), ("yes", A > 1), ("small", A), ("one", 3.0)):
            np.testing.assert_array_equal(found[name], array)
        assert found["name"] == "object"

    def test_of_matlab(self, tmp_path, h5py):
        path = tmp_path / "a.mat"
        with h5py.File(path, "w", userblock_size=512) as file:
            self.matlab(file, "A", A, "double")
            pairs = np.zeros(Z.shape, dtype=[("real", "f8"), ("imag", "f8")])
            pairs["real"], pairs["imag"] = Z.real, Z.imag
            self.matlab(file, "Z", pairs, "double")
            self.matlab(file, "yes", (A > 1).astype("u1"), "logical", MATLAB_int_decode=np.int32(1))
            self.matlab(file, "name", np.array([[104, 105]], "u2"), "char", MATLAB_int_decode=np.int32(2))
            self.matlab(file, "none", np.array([0, 3], "u8"), "double", MATLAB_empty=np.uint8(1))
            self.matlab(file, "s", np.zeros((1, 6), "u4"), "string", MATLAB_object_decode=np.int32(3))
            prob = file.create_group("prob")
            prob.attrs["MATLAB_class"] = np.bytes_("struct")
            self.matlab(prob, "A", A, "double")
            self.matlab(file.create_group("#refs#"), "a", A, "double")
            file["list"] = np.array([[file["A"].ref]], dtype=h5py.ref_dtype)
            file["list"].attrs["MATLAB_class"] = np.bytes_("cell")
            for name, matrix in (("S", sparse.csc_matrix(A)), ("O", sparse.csc_matrix((2, 3)))):
                group = file.create_group(name)
                group.attrs["MATLAB_class"], group.attrs["MATLAB_sparse"] = np.bytes_("double"), np.uint64(2)
                group["jc"] = matrix.indptr.astype("u8")
                if matrix.nnz:
                    group["ir"], group["data"] = matrix.indices.astype("u8"), matrix.data
        with path.open("r+b") as file:
            file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
        found = contents(path)
        none = np.zeros((0, 3))
        for name, array in (("A", A), ("Z", Z), ("yes", A > 1), ("S", A), ("O", 0 * A), ("none", none)):
            np.testing.assert_array_equal(found[name], array)
        kinds = {name: kind for name, kind in found.items() if isinstance(kind, str)}
        assert kinds == {"name": "char", "s": "string", "prob": "struct", "list": "cell"}

    def test_of_octave(self, tmp_path, h5py):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            for name, kind, value in (
                ("A", "matrix", A.T),
                ("s", "string", np.zeros((5, 1), "i1")),
                ("x", "scalar", 3.0),
            ):
                group = file.create_group(name)
                group["type"], group["value"] = np.bytes_(kind), value
            group, matrix = file.create_group("S"), sparse.csc_matrix(A)
            group["type"] = np.bytes_("sparse matrix")
            parts = {
                "nr": 2,
                "nc": 3,
                "cidx": matrix.indptr[:, None],
                "ridx": matrix.indices[:, None],
                "data": matrix.data,
            }
            for name, part in parts.items():
                group[f"value/{name}"] = part
        found = contents(tmp_path / "a.h5")
        for name in "AS":
            np.testing.assert_array_equal(found[name], A)
        assert (found["s"], found["x"]) == ("string", "scalar")

    def test_nothing_of_another_file_is_read(self, tmp_path, h5py):
        with h5py.File(tmp_path / "secret.h5", "w") as file:
            file["A"] = A
        (tmp_path / "secret.bin").write_bytes(A.tobytes())
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["link"] = h5py.ExternalLink("secret.h5", "/A")
            file["folder/through"] = h5py.ExternalLink("secret.h5", "/")
            file["soft"] = h5py.SoftLink("/folder/through/A")
            layout = h5py.VirtualLayout(shape=A.shape, dtype="f8")
            layout[...] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "A", shape=A.shape)
            file.create_virtual_dataset("virtual", layout)
            file.create_dataset("outside", A.shape, "f8", external=[(str(tmp_path / "secret.bin"), 0, 48)])
            octave = file.create_group("octave")
            octave["type"], octave["value"] = np.bytes_("matrix"), h5py.ExternalLink("secret.h5", "/A")
            sparse_one = file.create_group("sparse")
            sparse_one.attrs["MATLAB_sparse"] = np.uint64(2)
            sparse_one["jc"] = h5py.ExternalLink("secret.h5", "/A")
            file["here"] = A
        found = contents(tmp_path / "a.h5")
        np.testing.assert_array_equal(found.pop("here"), A)
        assert set(found.values()) == {"nothing of this file", "data in another file"}
        assert len(found) == 7

    def test_indices_of_a_sparse_matrix_are_checked(self, tmp_path, h5py):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            group = file.create_group("A")
            group.attrs["MATLAB_sparse"] = np.uint64(2)
            group["jc"], group["ir"], group["data"] = [0, 1, 2, 2], [0, 9], [1.0, 2.0]
        (one,) = variables(tmp_path / "a.h5")
        with pytest.raises(UnreadableError, match="is damaged or cut off"):
            one.read()

    def test_groups_in_a_circle_have_an_end(self, tmp_path, h5py, monkeypatch):
        monkeypatch.setattr(reader, "MANY", 100)
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["loop/again"] = file["/"]
        assert refusal(tmp_path / "a.h5") == "has more than 100 arrays and groups"

    def test_a_size_that_no_memory_holds(self, tmp_path, h5py):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file.create_dataset("A", (10**6, 10**6), "f8", chunks=(1000, 1000))
        assert "more than 1e+09 numbers: A (1000000 x 1000000)" in refusal(tmp_path / "a.h5")

    def test_in_a_process_of_its_own(self, tmp_path):
        h5py = pytest.importorskip("h5py")
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["A"] = A
        np.testing.assert_array_equal(contents(tmp_path / "a.h5")["A"], A)
        data = (tmp_path / "a.h5").read_bytes()
        assert refusal(tmp_path / "b.h5", data[:600]) == "is damaged or cut off"

    def test_without_h5py_one_sentence_says_what_to_do(self, tmp_path, in_process, monkeypatch):
        def missing(name):
            raise ImportError(name)

        monkeypatch.setattr(reader, "import_module", missing)
        words = refusal(tmp_path / "a.mat", b"MATLAB 7.3".ljust(512) + b"\x89HDF\r\n\x1a\n")
        assert words.startswith("is an HDF5 file, such as MATLAB's -v7.3, which needs h5py: pip install h5py")
