"""What a data set is: its sizes, signal-to-noise ratio and activity, where it comes from, whether it is unchanged. No JAX."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from onsager_cli.errors import UserError
from onsager_cli.store.datasets import CHECKSUM, KIND, META, Digest
from onsager_cli.store.files import Json, is_folder
from onsager_cli.store.foreign import UnreadableError, Variable, variables
from onsager_cli.store.notes import flat, parse_json
from onsager_cli.store.pairs import NOISE, Header, Names, Pairs, header, read
from onsager_cli.text import cell

BLOCK = 1024  # samples that are looked at together
TRUE = "A_true"
LABEL = "problem.file="  # before the name of a file, in the messages of `store.pairs`


@dataclass(frozen=True)
class Info:
    """A data set: its meta ({} if onsager did not write it), what its numbers say, and its checksum."""

    header: Header
    meta: Json
    shapes: dict[str, tuple[int, ...]]  # of all arrays of numbers
    noise_variance: float | None
    activity: float  # share of the entries of x that are not zero
    snr_db: float | None  # None without A
    stated: str | None  # the checksum in the file
    found: str  # that of the arrays

    @property
    def is_ours(self) -> bool:
        """Whether onsager wrote the file."""
        return self.meta.get("kind") == KIND

    @property
    def unchanged(self) -> bool:
        """Whether the arrays are those that onsager wrote."""
        return self.stated == self.found


@dataclass
class _Sums:
    """Running sums over the samples."""

    active: int = 0
    clean: float = 0.0  # ‖A x‖²
    noise: float = 0.0  # ‖y - A x‖²
    seen: int = 0
    digest: Digest = field(default_factory=Digest)

    def add(self, x: np.ndarray, y: np.ndarray, A: np.ndarray | None) -> None:
        """Add samples as rows."""
        self.seen += len(x)
        self.active += int(np.count_nonzero(x))
        if A is not None:
            clean = x.astype(A.dtype) @ A.T
            self.clean += float(np.sum(np.abs(clean) ** 2))
            self.noise += float(np.sum(np.abs(y - clean) ** 2))


def info(path: Path, report: Callable[[int, int], None] = lambda *_: None) -> Info:
    """What a file of samples is, after a look at every number. `report` is told how many samples of how many are seen.

    Raises UserError for a file without x and y, or whose numbers cannot be used.
    """
    try:
        found = [] if is_folder(path) else variables(path)
        meta = _meta(found)
        known = header(str(path), Names(), "rows" if meta and path.suffix != ".mat" else None, (None, None))
        pairs = read(str(path), Names(), known)
        others = {one.name: one.read() for one in found if one.name in (NOISE, TRUE, "reported")} if meta else {}
    except UnreadableError as error:
        raise UserError(f"{path} {error}") from error
    except UserError as error:
        raise UserError(str(error).replace(LABEL, "")) from error
    sums, A = _Sums(), others.get(TRUE, pairs.A)
    _add_fixed(sums.digest, pairs, others)
    A = None if A is None else A.astype(np.result_type(A, np.float64))
    for start in range(0, known.pairs, BLOCK):
        block = slice(start, start + BLOCK)
        sums.add(*pairs.rows(block), A)
        for name, array in (("x", pairs.x[block]), ("y", pairs.y[block])):
            sums.digest.add(name, array)
        report(sums.seen, known.pairs)
    ratio = sums.clean / sums.noise if A is not None and sums.noise else None
    return Info(
        header=known,
        meta=meta,
        shapes=_shapes(found, known),
        noise_variance=pairs.noise_variance,
        activity=sums.active / (known.pairs * known.N),
        snr_db=float(10 * np.log10(ratio)) if ratio else None,
        stated=_text(found, CHECKSUM),
        found=sums.digest.hexdigest(),
    )


def described(of: Info, path: Path) -> str:
    """The text of `onsager data --info`."""
    header, kind = of.header, "complex" if of.header.is_complex else "real"
    per = "row" if header.samples_in == "rows" else "column"
    lines = [
        ("samples", f"{header.pairs:,}, {kind}, a sample to a {per}"),
        ("arrays", ", ".join(f"{name} {' x '.join(map(str, shape)) or '(one number)'}" for name, shape in of.shapes.items())),
        ("SNR", "unknown without A" if of.snr_db is None else f"{of.snr_db:.2f} dB"),
        ("activity", f"{of.activity:.4g} of the entries of x are nonzero"),
        ("noise variance", "not in the file" if of.noise_variance is None else f"{of.noise_variance:.6g} per entry of y"),
    ]  # fmt: skip
    if not of.is_ours:
        lines.append(("origin", "onsager did not write this file: seed, versions and checksum are unknown"))
        return _aligned(path, lines)
    problem, versions = (of.meta.get(key) for key in ("problem", "versions"))
    lines += [
        ("set", f"{of.meta.get('set')}, seed {of.meta.get('seed')}"),
        ("problem", _words(problem)),
        ("versions", _words(versions)),
        ("checksum", f"sha256 {of.found}" if of.unchanged else "does not match: the arrays were changed or are damaged"),
    ]  # fmt: skip
    return _aligned(path, lines)


def _aligned(path: Path, lines: list[tuple[str, str]]) -> str:
    """The lines below the name of the file."""
    return "\n".join([str(path), *(f"  {name + ':':<16}{text}" for name, text in lines)])


def _words(values: object) -> str:
    """`gamma=0.1, snr_db=40` for a group of keys."""
    found = flat(values) if isinstance(values, Mapping) else {}
    return ", ".join(f"{key}={cell(value)}" for key, value in found.items() if value is not None) or "unknown"


def _meta(found: list[Variable]) -> Json:
    """The meta of a data set of onsager; {} for any other file."""
    text = _text(found, META)
    meta = (parse_json(text.encode()) if text else None) or {}
    return meta if meta.get("kind") == KIND else {}


def _text(found: list[Variable], name: str) -> str | None:
    """The text of this name; None if there is none."""
    return next((text for one in found if one.name == name and (text := one.text())), None)


def _shapes(found: list[Variable], known: Header) -> dict[str, tuple[int, ...]]:
    """The sizes of the arrays of numbers, as the file has them."""
    there = {one.name: one.shape for one in found if one.kind == "numbers"}
    return there or {"x": (known.pairs, known.N), "y": (known.pairs, known.M)}


def _add_fixed(digest: Digest, pairs: Pairs, others: Mapping[str, np.ndarray]) -> None:
    """Add the arrays beside x and y, as they were before they were written."""
    if pairs.A is not None:
        digest.add("A", pairs.A)
    for name, array in others.items():
        digest.add(name, array.reshape(()) if name == NOISE else array)
