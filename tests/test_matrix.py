"""A matrix of one's own: which array of a file it is, what is refused, what is said of it, before anything is written."""

import io
import os
import pickle

import numpy as np
import pytest
from conftest import slow
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from scipy.io import savemat
from test_problems import TOY

import onsager_cli
from onsager_cli import run
from onsager_cli.cli.main import main
from onsager_cli.config.load import load_experiment
from onsager_cli.config.own_matrix import check_matrices
from onsager_cli.errors import Notice, UserError
from onsager_cli.problems import build
from onsager_cli.run import in_users_units, problem_of
from onsager_cli.store import matrix

pytestmark = pytest.mark.usefixtures("quick_compile")

A = np.arange(1.0, 7.0).reshape(2, 3) / 7
ONE = np.ones((2, 3))


def write(path, array, **others):
    """The path of a file, in the format of its suffix, with the matrix and other arrays."""
    if path.suffix == ".csv":
        np.savetxt(path, array, delimiter=",")
    elif path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez(path, A=array, **others)
    else:
        savemat(path, {"A": array, **others})
    return str(path)


def refusal(path, shape=(2, 3), name=None):
    """The one line that refuses a file."""
    with pytest.raises(UserError) as caught:
        matrix.read(str(path), shape, name)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"problem.matrix={path}")
    return str(caught.value)


class TestReading:
    @pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", *slow(".mat")])
    def test_every_format(self, tmp_path, suffix):
        """To the bit what it would be in NumPy."""
        read = matrix.read(write(tmp_path / f"a{suffix}", A), (2, 3))
        assert read.dtype == np.float32
        assert read.tobytes() == A.astype(np.float32).tobytes()

    @pytest.mark.parametrize("suffix", [".NPY", ".Npz", ".CSV", *slow(".MAT")])
    def test_capital_letters(self, tmp_path, suffix):
        write(tmp_path / f"a{suffix.lower()}", A)
        renamed = (tmp_path / f"a{suffix.lower()}").rename(tmp_path / f"b{suffix}")
        np.testing.assert_allclose(matrix.read(str(renamed), (2, 3)), A, rtol=1e-7)

    @pytest.mark.parametrize("dtype", [np.float16, np.float64, np.longdouble, np.int32, np.uint8, bool, complex])
    def test_any_real_numbers(self, tmp_path, dtype):
        """Complex ones too, where all imaginary parts are zero."""
        A = np.array([[1, 0, 1], [0, 1, 1]], dtype)
        np.testing.assert_array_equal(matrix.read(write(tmp_path / "a.npy", A), (2, 3)), np.real(A).astype(np.float32))

    def test_columns_and_rows_that_only_count(self, tmp_path):
        """pandas numbers columns and rows; known by the shape that the config asks for."""
        rows = "\n".join(",".join(map(str, row)) for row in A)
        for text in (f"0,1,2\n{rows}\n", "\n".join(f"{n},{row}" for n, row in enumerate(rows.split("\n")))):
            (tmp_path / "a.csv").write_text(text)
            np.testing.assert_allclose(matrix.read(str(tmp_path / "a.csv"), (2, 3)), A, rtol=1e-7)
        assert "is 2 x 4, the config has problem.M=2 problem.N=2" in refusal(tmp_path / "a.csv", (2, 2))

    @pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", *slow(".mat")])
    @pytest.mark.parametrize("content", [b"", b"\x00", b"1,2\n3", b"a,b\nc,d", b"\xff\xfe\x00" * 50, pickle.dumps({})])
    def test_garbage(self, tmp_path, suffix, content):
        (tmp_path / f"a{suffix}").write_bytes(content)
        refusal(tmp_path / f"a{suffix}")

    @pytest.mark.parametrize("suffix", [".npy", ".npz"])
    @given(position=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), cut=st.booleans())
    @examples(max_examples=40)
    def test_damaged_files(self, tmp_path_factory, suffix, position, byte, cut):
        """A byte changed or the end missing: the matrix, another finite one, or one clear line."""
        self.damage(tmp_path_factory, suffix, position, byte, cut)

    @pytest.mark.slow  # each is read in a process of its own
    @given(position=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), cut=st.booleans())
    @examples(max_examples=20)
    def test_damaged_mat_files(self, tmp_path_factory, position, byte, cut):
        """The same, also where SciPy's reader ends in a segmentation fault."""
        self.damage(tmp_path_factory, ".mat", position, byte, cut)

    def damage(self, tmp_path_factory, suffix, position, byte, cut):
        path = tmp_path_factory.mktemp("own") / f"a{suffix}"
        write(path, A)
        data = bytearray(path.read_bytes())
        at = int(position * len(data))
        if cut:
            del data[at:]
        else:
            data[at] = byte
        path.write_bytes(bytes(data))
        try:
            read, text = matrix.read(str(path), (2, 3)), ""
        except UserError as error:
            read, text = np.zeros((2, 3)), str(error)
        assert np.isfinite(read).all()
        assert "\n" not in text


class TestChoosing:
    CHOICES = {  # noqa: RUF012  arrays, name → value of the one chosen
        "the one named A": ({"B": 5 * ONE, "A": ONE}, None, 1),
        "the only one": ({"Phi": ONE}, None, 1),
        "the only matrix": ({"Phi": ONE, "snr": 40.0, "y": np.ones(2), "s": "x", "M": np.full((1, 1), 2)}, None, 1),
        "beside vectors of MATLAB": ({"Phi": ONE, "y": np.ones((2, 1)), "x": np.ones((1, 3))}, None, 1),
        "beside an A that is no array": ({"Phi": ONE, "A": "i.i.d."}, None, 1),
        "a lower-case a": ({"a": ONE, "y": np.ones((2, 1))}, None, 1),
        "by its name": ({"A": ONE, "P": 5 * ONE}, "P", 5),
    }

    @pytest.mark.parametrize("case", CHOICES)
    def test_which_array_it_is(self, tmp_path, case):
        arrays, name, value = self.CHOICES[case]
        np.savez(tmp_path / "a.npz", **arrays)
        np.testing.assert_array_equal(matrix.read(str(tmp_path / "a.npz"), (2, 3), name), np.full((2, 3), value))

    REFUSALS = {  # noqa: RUF012
        "two": (
            {"Phi": ONE, "Psi": np.ones((5, 5)), "snr": 1.0}, None,
            "has several matrices, Phi (2 x 3), Psi (5 x 5), and none named A: add problem.matrix_name=Phi",
        ),
        "another name": ({"Phi": ONE, "s": "x"}, "phi", "has no array phi (did you mean Phi?): it has Phi (2 x 3), s (text)"),
        "none": ({"s": "x", "y": np.ones(3)}, None, "has no matrix: it has s (text), y (3)"),
        "text by name": ({"A": ONE, "s": "x"}, "s", "must hold numbers, got s (text): save them as a plain array"),
        "many": (
            {f"B{n}": ONE for n in range(20)}, None, "B7 (2 x 3), and 12 more, and none named A: add problem.matrix_name=B0"),
        "objects": ({"A": np.array([[print, 1.0]], dtype=object)}, None, "a pickle, which could run code"),
    }  # fmt: skip

    @pytest.mark.parametrize("case", REFUSALS)
    def test_where_that_is_not_clear(self, tmp_path, case):
        arrays, name, words = self.REFUSALS[case]
        np.savez(tmp_path / "a.npz", **arrays)
        assert words in refusal(tmp_path / "a.npz", name=name)

    def test_a_name_for_an_array_that_has_none(self, tmp_path):
        assert "leave problem.matrix_name out" in refusal(write(tmp_path / "a.npy", A), name="A")

    def test_a_matrix_in_a_struct(self, tmp_path):
        savemat(tmp_path / "a.mat", {"prob": {"A": A}, "y": np.ones((2, 1))})
        assert "has a struct prob: save A itself" in refusal(tmp_path / "a.mat")

    def test_the_array_is_named_where_there_are_several(self, tmp_path):
        path = tmp_path / "a.npz"
        np.savez(path, A=np.ones((2, 2)), P=A)
        assert refusal(path).startswith(f"problem.matrix={path}: A is 2 x 2, the config has problem.M=2 problem.N=3")

    def test_a_name_needs_a_file(self):
        with pytest.raises(UserError, match=r"problem\.matrix_name=P needs a file: add problem\.matrix=…"):
            load_experiment(["network=amp", "problem.matrix_name=P"])


class TestRefusals:
    CASES = {  # noqa: RUF012
        "text": (np.array([["1", "2"]]), (1, 2), ["must hold numbers, got text"]),
        "vector": (np.ones(4), (2, 2), ["must hold a matrix", "(4,)", "rows and columns"]),
        "cube": (np.ones((2, 2, 2)), (2, 2), ["must hold a matrix", "(2, 2, 2)"]),
        "number": (np.array(3.0), (1, 1), ["must hold a matrix", "()"]),
        "in one row": (np.ones((1, 6)), (2, 3), ["1 x 6, all entries in one line", "2 rows and 3 columns"]),
        "transposed": (
            A.T, (2, 3),
            ["is 3 x 2, the transpose of problem.M=2 problem.N=3: save A.T; or, if you have 3 measurements of 2 unknowns, "
             "add problem.M=3 problem.N=2"],
        ),
        "another size": (A, (2, 4), ["is 2 x 3, the config has problem.M=2 problem.N=4: add problem.M=2 problem.N=3"]),
        "nan": (np.where(A > 0.8, np.nan, A), (2, 3), ["NaN or infinity at row 2, column 3 (counted from 1)"]),
        "infinities": (np.where(A > 0.6, np.inf, A), (2, 3), ["row 2, column 2 (counted from 1), and 1 more"]),
        "too large for float32": (np.where(A > 0.8, 1e300, A), (2, 3), ["row 2, column 3", "1e+300 is too large"]),
        "zero column": (A * [1, 0, 1], (2, 3), ["a column of zeros: column 2 (counted from 1)"]),
        "zero column in float32": (A * [1, 1, 1e-60], (2, 3), ["a column of zeros: column 3"]),
        "empty": (np.ones((0, 3)), (2, 3), ["is empty: 0 x 3"]),
    }  # fmt: skip

    @pytest.mark.parametrize("case", CASES)
    def test_what_is_no_matrix_of_this_shape(self, tmp_path, case):
        array, shape, words = self.CASES[case]
        message = refusal(write(tmp_path / "a.npy", array), shape)
        assert all(word in message for word in words), message

    def test_a_suffix_that_nobody_knows(self, tmp_path):
        (tmp_path / "a.pkl").write_bytes(b"")
        with pytest.raises(UserError, match=r"must end in \.npy, \.npz, \.mat, \.csv, \.txt, \.tsv, \.h5 or \.hdf5"):
            load_experiment(["network=amp", f"problem.matrix={tmp_path / 'a.pkl'}"])


class TestProblem:
    OWN = ("problem.N=40", "problem.M=20", "problem.instance=seeded", "network=amp", "network.depth=1")

    @pytest.fixture
    def drawn(self):
        return np.random.default_rng(0).normal(0, 20**-0.5, size=(20, 40)).astype(np.float32)

    def test_a_problem_around_it(self, tmp_path, drawn):
        np.save(tmp_path / "a.npy", drawn)
        (curve,) = load_experiment([*TOY, f"problem.matrix={tmp_path / 'a.npy'}"]).curves
        problem = in_users_units(curve)
        np.testing.assert_array_equal(problem.A, drawn)
        seen = problem_of(curve)
        np.testing.assert_allclose(np.sum(np.square(seen.A)), 40, rtol=1e-5)
        assert seen.original is not None
        with pytest.raises(ValueError, match=r"a\.npy and passes it as A"):
            build(curve.settings.problem, 0)
        x, y = problem.test
        assert np.std(y - drawn @ x) == pytest.approx(np.sqrt(1e-5 * np.sum(drawn**2) / 20), rel=0.15)

    def test_what_the_user_should_know_is_a_notice(self, tmp_path, drawn):
        drawn[:, 7] = drawn[:, 6]
        np.save(tmp_path / "a.npy", drawn)
        (curve,) = load_experiment([*self.OWN, f"problem.matrix={tmp_path / 'a.npy'}"]).curves
        with pytest.warns(Notice, match=r"^problem\.matrix=\S+a\.npy has .*columns 7 and 8 are equal"):
            problem_of(curve)

    def test_it_is_read_once_for_all_curves(self, tmp_path, drawn, monkeypatch):
        np.save(tmp_path / "a.npy", drawn)
        calls, read = [], matrix.read
        monkeypatch.setattr(matrix, "read", lambda *args: calls.append(args) or read(*args))
        words = [*self.OWN, f"problem.matrix={tmp_path / 'a.npy'}"]
        for gamma in (0.1, 0.2):
            experiment = load_experiment([*words, f"problem.gamma={gamma}"])
            check_matrices([experiment])
            problem_of(experiment.curves[0])
        assert len(calls) == 1
        np.save(tmp_path / "a.npy", 2 * drawn)
        np.testing.assert_array_equal(in_users_units(load_experiment(words).curves[0]).A, 2 * drawn)

    def test_one_that_cannot_be_used_leaves_nothing(self, tmp_path):
        path = write(tmp_path / "a.npy", np.full((20, 40), np.nan))
        words = [*self.OWN, f"problem.matrix={path}"]
        with pytest.raises(UserError, match="holds NaN or infinity"):
            run.train(load_experiment([*words, f"output={tmp_path / 'there'}"]), lambda event: None)
        assert not (tmp_path / "there").exists()

    def test_in_python(self, tmp_path, drawn):
        np.savez(tmp_path / "a.npz", A=2 * drawn, P=drawn)
        own = onsager_cli.problem(matrix=tmp_path / "a.npz", matrix_name="P", M=20, N=40, test_samples=50)
        np.testing.assert_array_equal(own.A, drawn)

    @pytest.mark.parametrize("verb", ["train", "sweep"])
    def test_the_command_refuses_it_before_anything_else(self, tmp_path, monkeypatch, capsys, drawn, verb):
        """In a sweep before the first job: the second matrix has another shape."""
        monkeypatch.chdir(tmp_path)
        np.save("good.npy", drawn)
        np.save("bad.npy", drawn.T)
        files = {"train": "bad.npy", "sweep": "good.npy,bad.npy"}[verb]
        assert main([verb, *self.OWN, f"problem.matrix={files}"]) == 2
        out, err = capsys.readouterr()
        assert err.startswith("onsager: problem.matrix=bad.npy is 40 x 20, the transpose of")
        assert (out, err.count("\n")) == ("", 1)
        assert sorted(os.listdir()) == ["bad.npy", "good.npy"]

    def test_identity_goes_by_content_and_name(self, tmp_path):
        buffer = io.BytesIO()
        np.savez(buffer, A=np.ones((20, 40)), P=np.ones((20, 40)))
        for name in ("a", "b"):
            (tmp_path / f"{name}.npz").write_bytes(buffer.getvalue())
        np.savez(tmp_path / "c.npz", np.full((20, 40), 2.0))
        words = [f"problem.matrix={tmp_path / name}.npz" for name in "abc"]
        one, same, other = (load_experiment([*TOY, word]).curves[0].identity for word in words)
        assert one == same
        assert one != other
        named = load_experiment([*TOY, words[0], "problem.matrix_name=P"]).curves[0].identity
        assert named["problem"].pop("matrix_name") == "P"
        assert named == one
