"""Matrices in text: whatever separates the numbers, and as Octave saves them."""

import numpy as np
import pytest
from matrix_files import A, Z, contents, only, refusal


class TestText:
    CSV = "0.25,-1.5,2\n3,4.125,0\n"
    SAME = {  # noqa: RUF012
        "commas": CSV.encode(),
        "no end of line": CSV.strip().encode(),
        "byte order mark": b"\xef\xbb\xbf" + CSV.encode(),
        "UTF-16 of Excel": CSV.replace(",", "\t").encode("utf-16"),
        "Windows": CSV.replace("\n", "\r\n").encode(),
        "old Mac": CSV.replace("\n", "\r").encode(),
        "semicolons": CSV.replace(",", ";").encode(),
        "decimal commas": CSV.replace(",", ";").replace(".", ",").encode(),
        "decimal commas and tabs": CSV.replace(",", "\t").replace(".", ",").encode(),
        "decimal commas and blanks": CSV.replace(",", " ").replace(".", ",").encode(),
        "quoted decimal commas": b'"0,25","-1,5","2"\n"3","4,125","0"\n',
        "tabs": CSV.replace(",", "\t").encode(),
        "blanks": b"  0.25   -1.5  2\n  3.0  4.125   0\n\n",
        "commas and blanks": CSV.replace(",", ", ").encode(),
        "trailing commas": CSV.replace("\n", ",\n").encode(),
        "rows as in MATLAB": CSV.replace("\n", ";\n").encode(),
        "quotes": b'"0.25","-1.5","2"\n"3","4.125","0"\n',
        "said to Excel": b"sep=;\r\n" + CSV.replace(",", ";").encode(),
        "empty rows and columns of Excel": b"0.25;-1.5;2;;\n3;4.125;0;;\n;;;;\n",
        "header": b"first,second,third\n" + CSV.encode(),
        "header in Latin-1": "µ,ä,°\n".encode("latin-1") + CSV.encode(),
        "header after a title": b"My matrix\na;b;c\n" + CSV.replace(",", ";").encode(),
        "header and index of pandas": b",0,1,2\n0,0.25,-1.5,2.0\n1,3.0,4.125,0.0\n",
        "named index of pandas": b"index,a,b,c\n0,0.25,-1.5,2.0\n1,3.0,4.125,0.0\n",
        "names of rows": b",a,b,c\nr1,0.25,-1.5,2.0\nr2,3.0,4.125,0.0\n",
        "write.csv of R": b'"","V1","V2","V3"\n"1",0.25,-1.5,2\n"2",3,4.125,0\n',
        "write.table of R": b'"V1" "V2" "V3"\n"1" 0.25 -1.5 2\n"2" 3 4.125 0\n',
        "comments": b"# by hand\n% of 2 x 3\n0.25,-1.5,2 # first\n3,4.125,0 % last\n",
        "exponents of Fortran": b" 2.5D-1 -1.5d+0 2.0D0\n 0.3D+01 4.125 0\n",
        "minus signs from a page": "0.25,−1.5,2\n3,4.125,0\n".encode(),
        "end of file of DOS": CSV.encode() + b"\x1a",
        "zero imaginary parts": b"0.25+0i,-1.5+0i,2-0i\n3+0i,4.125+0i,0+0i\n",
    }

    @pytest.mark.parametrize("case", SAME)
    def test_one_matrix_in_many_ways(self, tmp_path, case):
        np.testing.assert_array_equal(only(tmp_path / "a.txt", self.SAME[case]), A)

    @pytest.mark.parametrize(
        "text",
        [
            "1+2i,3.5-1e-1i\n",
            "1+2j,3.5-0.1j\n",
            "(1+2j) (3.5+-0.1j)\n",
            "1 + 2i; 3.5 - 0.1i\n",
            "1+2*i,3.5-.1*i\n",
            "1+2i;3,5-0,1i\n",
        ],
    )
    def test_complex_numbers(self, tmp_path, text):
        np.testing.assert_allclose(only(tmp_path / "a.csv", text.encode()), [[1 + 2j, 3.5 - 0.1j]])

    def test_true_and_false(self, tmp_path):
        np.testing.assert_array_equal(only(tmp_path / "a.csv", b"True,FALSE\nfalse,true\n"), np.eye(2))

    def test_savetxt_of_numpy(self, tmp_path):
        for array in (A, Z, Z.conj()):
            np.savetxt(tmp_path / "a.txt", array)
            np.testing.assert_array_equal(only(tmp_path / "a.txt"), array)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("1,2\n\n# two\n3,x\n", "line 4, column 2 is 'x'; write comma-separated numbers"),
            ("a,b\n1,2\n3,,5\n", "line 3, column 2 is empty"),
            ("1,2\n3\n", "line 2 has 1 numbers, line 1 has 2"),
            ("1,2\n3,1_0\n", "line 2, column 2 is '1_0'"),
            ("1;2\n3;1.000,5\n", "line 2, column 2 is '1.000,5'"),
            (f"1,2\n3,{'9' * 100}x\n", "line 2, column 2 is '999999999999999999…"),
            ("a,b\nc,d\n", "holds no numbers"),
            ("# nothing\n", "holds no numbers"),
            ("index\n0\n1\n", "holds no numbers"),
            ("A = 3\n", "line 1, column 1 is 'A'"),
        ],
    )
    def test_lines_and_columns_are_those_of_an_editor(self, tmp_path, text, words):
        assert words in refusal(tmp_path / "a.csv", text.encode())


class TestOctave:
    TEXT = """# Created by Octave 7.3.0, Sun Nov 29 14:42:56 2026 UTC <me@here>
# name: prob
# type: scalar struct
# ndims: 2
 1 1
# length: 2
# name: A
# type: matrix
# rows: 1
# columns: 1
 7


# name: list
# type: cell
# rows: 1
# columns: 1
# name: <cell-element>
# type: scalar
1






# name: A
# type: matrix
# rows: 2
# columns: 3
 0.25 -1.5 2
 3 4.125 0


# name: F
# type: float matrix
# rows: 2
# columns: 3
 0.25 -1.5 2
 3 4.125 0


# name: B
# type: bool matrix
# rows: 2
# columns: 3
 0 0 1
 1 1 0


# name: Z
# type: complex matrix
# rows: 2
# columns: 3
 (0.25,1) (-1.5,0) (2,0)
 (3,0) (4.125,0) (0,2)


# name: S
# type: sparse matrix
# nnz: 5
# rows: 2
# columns: 3
1 1 0.25
2 1 3
1 2 -1.5
2 2 4.125
1 3 2


# name: K
# type: int8 matrix
# ndims: 2
 2 3
 1
 4
 2
 5
 3
 6


# name: snr
# type: scalar
40


# name: s
# type: string
# elements: 1
# length: 5
hello


# name: gap
# type: matrix
# rows: 1
# columns: 2
 NaN NA


"""

    def test_matrices_of_any_type(self, tmp_path):
        found = contents(tmp_path / "a.mat", self.TEXT.encode())
        K = [[1, 2, 3], [4, 5, 6]]
        for name, array in (("A", A), ("F", A), ("B", A > 1), ("Z", Z), ("S", A), ("K", K), ("gap", [[np.nan] * 2])):
            np.testing.assert_array_equal(found[name], array)
        assert {name: kind for name, kind in found.items() if isinstance(kind, str)} == {
            "prob": "scalar struct", "snr": "scalar", "s": "string",
        }  # fmt: skip

    def test_of_windows(self, tmp_path):
        found = contents(tmp_path / "a.mat", self.TEXT.replace("\n", "\r\n").encode())
        np.testing.assert_array_equal(found["Z"], Z)

    @pytest.mark.parametrize(
        ("good", "bad"),
        [(" 3 4.125 0", " 3 4.125"), ("2 2 4.125", "2 9 4.125"), ("2 2 4.125", "0 2 4.125"), ("2 2 4.125", "nan 2 4"),
         ("# nnz: 5", "# nnz: 6"), ("(0,2)", "(0;2)"), ("# rows: 2", "# rows: -2"), ("# rows: 2", "# rows: two")],
    )  # fmt: skip
    def test_damage(self, tmp_path, good, bad):
        assert refusal(tmp_path / "a.mat", self.TEXT.replace(good, bad).encode()) == "is damaged or cut off"
