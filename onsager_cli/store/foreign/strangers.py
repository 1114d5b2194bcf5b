"""Files that hold no array although their name says so: what they are, and what to do."""

import json
import re
from collections.abc import Collection

_MAGIC = (
    (b"\x1f\x8b", "is compressed by gzip: unpack it (gunzip)"),
    (b"BZh", "is compressed by bzip2: unpack it (bunzip2)"),
    (b"\xfd7zXZ\0", "is compressed by xz: unpack it (unxz)"),
    (b"\x28\xb5\x2f\xfd", "is compressed by zstd: unpack it (unzstd)"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive: unpack it"),
    (b"Rar!", "is a RAR archive: unpack it"),
    (b"%PDF", "is a PDF"),
    (b"%!PS", "is a PostScript file"),
    (b"\x89PNG", "is an image (PNG)"),
    (b"\xff\xd8\xff", "is an image (JPEG)"),
    (b"GIF8", "is an image (GIF)"),
    (b"II*\0", "is an image (TIFF)"),
    (b"MM\0*", "is an image (TIFF)"),
    (b"BM", "is an image (BMP)"),
    (b"RIFF", "is a sound, film or image (RIFF)"),
    (b"\xd0\xcf\x11\xe0", "is an old Excel workbook or another Office file: save the sheet as CSV"),
    (b"PAR1", "is a Parquet table: save the numbers by numpy.save"),
    (b"ARROW1", "is an Arrow table: save the numbers by numpy.save"),
    (b"FEA1", "is a Feather table: save the numbers by numpy.save"),
    (b"CDF\x01", "is a netCDF file: save the array by numpy.save"),
    (b"CDF\x02", "is a netCDF file: save the array by numpy.save"),
    (b"RDX", "is an R workspace: save the matrix by write.csv"),
    (b"Octave-1-", "is a binary file of Octave: save -v7 A.mat A"),
    (b"SQLite format 3", "is an SQLite database"),
    (b"\x7fELF", "is a program"),
    (b"MATLAB 5.0 MAT-file", "is damaged or cut off"),
    (b"MATLAB 7.3 MAT-file", "is damaged or cut off"),
    (b"%%MatrixMarket", "is a Matrix Market file: read it by scipy.io.mmread and save the matrix by numpy.save"),
    (b"version https://git-lfs", "is a Git LFS pointer, not the file itself: run git lfs pull"),
    (b"/annex/objects/", "is a git-annex pointer, not the file itself: run git annex get"),
)
_PICKLE = re.compile(
    rb"\x80[\x02-\x05]|c(numpy|__builtin__|builtins|copy_reg|copyreg|torch|collections)[\w.]*\n|\(dp0\n"
)
_WEB = re.compile(rb"<(!doctype html|html|head|body|!--)", re.IGNORECASE)
_MEMBERS = (
    (r"xl/", "is an Excel workbook: save the sheet as CSV"),
    (r"word/|ppt/", "is an Office document"),
    (r"content\.xml$", "is an OpenDocument file: save the sheet as CSV"),
    (r"(.*/)?data\.pkl$", "is a PyTorch file, which is a pickle: save the array by numpy.save"),
    (r"META-INF/", "is a Java archive"),
)


def stranger(head: bytes) -> str | None:
    """What a file that begins with `head` is, if it is known to hold no array; the end of a sentence, else None."""
    for magic, words in _MAGIC:
        if head.startswith(magic):
            return words
    if head[257:262] == b"ustar":
        return "is a tar archive: unpack it"
    if _PICKLE.match(head):
        return "is a Python pickle, which could run code when it is read: save the array by numpy.save"
    begin = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if _WEB.match(begin) or (begin.startswith(b"<") and b"<html" in begin.lower()):
        return "is a web page (HTML), not the file itself: download it again"
    if begin.startswith(b"<"):
        return "is XML"
    if begin.startswith((b"{", b"[", b"array(", b"matrix(")):
        return f"is {'JSON' if _is_json(begin) else 'a printed array'}: save the array by numpy.save or numpy.savetxt"
    if not begin or not head.strip(b"\0"):
        return "holds nothing but zeros" if b"\0" in head else "holds nothing but blanks"
    return None


def of_archive(members: Collection[str]) -> str:
    """What a zip archive of these members, none of them an array, is."""
    for pattern, words in _MEMBERS:
        if any(re.match(pattern, name) for name in members):
            return words
    return f"is a zip archive without an array: {'it is empty' if not members else 'unpack it'}"


def _is_json(begin: bytes) -> bool:
    """Whether a text begins as JSON does: a list has commas, an array as NumPy prints it has none."""
    try:
        json.loads(begin)
    except ValueError:
        return begin[:1] == b"{" or b"," in begin
    return True
