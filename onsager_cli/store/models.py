"""Trained networks as files: the folder of a curve, one of its .npz, or a packed network that stands alone.

A packed network is one sealed .npz (arrays.py) with everything that its use needs:

    layers.3.theta, B, …    parameters, as in the folder of a curve
    problem.A …             the matrix (M, N) and the frame; only where the config cannot draw them again
    problem.row             otherwise the first row of A, by which a wrong draw is noticed
    meta                    format, curve, depth, config, points, and which versions trained it

`weights-NAME.tar` holds the packed networks of an experiment as NAME/CURVE.npz, and SHA256SUMS.
"""

import hashlib
import io
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onsager_cli.errors import UserError
from onsager_cli.store import files
from onsager_cli.store.arrays import DamagedFileError, unpack
from onsager_cli.store.curves import CurveFolder
from onsager_cli.store.files import Json
from onsager_cli.store.notes import read_json
from onsager_cli.store.tables import Row
from onsager_cli.store.yaml_files import read_yaml
from onsager_cli.text import show

FORMAT = "onsager network 1"
FOLDER = "weights"  # of packed networks, in an experiment's folder of the record and in the output folder
VARIABLE = "ONSAGER_WEIGHTS"  # further folders, separated as in PATH
LARGEST = 2**31  # bytes of a member of a tar
PROBLEM = "problem."  # prefix of arrays that are not parameters
ROW = "problem.row"  # the first row of A
Y_POWER = "problem.y_power"  # the mean of |y_m|² on the selection set


@dataclass(frozen=True, eq=False)
class StoredModel:
    """A trained network as it was found: where, its curve, its config, its arrays and its points."""

    source: str
    curve: str
    depth: int
    config: Json
    parameters: Mapping[str, np.ndarray]
    problem: Mapping[str, np.ndarray]
    points: Sequence[Row]


def places(folder: Path | None = None) -> list[Path]:
    """Where released names are looked for: `folder`, else the output folder, the record, and those that onsager brings."""
    if folder is not None:
        return [folder]
    package = Path(__file__).parents[1]
    own = [package.parent / "experiments", package / FOLDER]  # of a checkout, of a wheel
    return [Path("outputs") / FOLDER, Path("outputs"), Path("experiments"), *(place for place in own if place.is_dir())]


def digest(found: StoredModel) -> str:
    """A checksum of the parameters of a network."""
    sums = (
        f"{name} {array.shape} {hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()}"
        for name, array in sorted(found.parameters.items())
    )
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()


def is_packed(path: Path) -> bool:
    """Whether a file is a packed network, or a tar of such, which onsager can write again."""
    data = files.read_bytes(path)
    try:
        if data[257:262] == b"ustar":
            with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
                return all(name.endswith((".npz", "/SHA256SUMS")) for name in archive.getnames())
        return unpack(data)[1].get("format") == FORMAT
    except (DamagedFileError, tarfile.TarError):
        return False


def tar_name(experiment: str) -> str:
    """Name of the file of an experiment's packed networks."""
    return f"weights-{experiment}.tar"


def find(word: str, folders: Iterable[Path], depth: int | None = None) -> StoredModel:
    """The network that a word names: a folder, a .npz, or a released name such as `fig10/lamp_tied_bg`.

    Released names are looked for in `folders`, and in those of the variable ONSAGER_WEIGHTS first. `depth` asks for a
    network of fewer layers, which the folder of a curve has. Raises UserError with where it looked.
    """
    path = files.expanded(word)
    if files.is_folder(path):
        return _of_folder(path, depth)
    if files.is_file(path):
        return _of_file(path, depth)
    if path.suffix == ".npz" or path.is_absolute() or word.startswith((".", "~")):
        raise UserError(f"there is no network {show(word)}")
    experiment, _, curve = word.partition("/")
    places = [*map(files.expanded, filter(None, os.environ.get(VARIABLE, "").split(os.pathsep))), *folders]
    for data, source in _released(experiment, curve, places) if curve and "/" not in curve else ():
        return _packed(data, source, depth)
    looked = ", ".join(map(str, places))
    raise UserError(
        f"there is no network {show(word)}: it is not a file or folder, and no packed network in {looked} or ${VARIABLE} "
        "has this name"
    )


def _released(experiment: str, curve: str, places: Iterable[Path]) -> Iterator[tuple[bytes, str]]:
    """The bytes of packed networks of this name, and where they are."""
    for place in places:
        for path in (place / experiment / FOLDER / f"{curve}.npz", place / experiment / f"{curve}.npz"):
            if files.is_file(path):
                yield files.read_bytes(path), str(path)
        path = place / tar_name(experiment)
        if files.is_file(path) and (data := _member(path, f"{experiment}/{curve}.npz")) is not None:
            yield data, f"{path}: {curve}"


def _member(path: Path, name: str) -> bytes | None:
    """The bytes of a member of a tar; None if it has none of this name. Raises UserError for a damaged tar."""
    try:
        with files.writing(path, "read"), tarfile.open(path, "r:") as archive:
            found = next((one for one in archive if one.name == name and one.isfile() and one.size < LARGEST), None)
            data = found and archive.extractfile(found)
            return data.read() if data else None
    except tarfile.TarError as error:
        raise UserError(f"{path} is damaged: {error}") from error


def _of_folder(path: Path, depth: int | None) -> StoredModel:
    """The network in the folder of a curve, or the packed one in a folder that has one alone."""
    if files.is_file(path / "identity.json"):
        return _of_curve(path, None if depth is None else f"depth_{depth:02d}")
    packed = [one for one in files.entries(path, "*.npz") if not files.is_temporary(one)]
    if len(packed) == 1:
        return _of_file(packed[0], depth)
    what = "no network" if not packed else f"{len(packed)} networks: name one of them"
    raise UserError(f"{path} has {what}")


def _of_file(path: Path, depth: int | None) -> StoredModel:
    """The network in one .npz: a packed one, or a file of a curve's folder."""
    if files.is_file(path.parent / "identity.json"):
        if depth is not None and path.stem != f"depth_{depth:02d}":
            raise UserError(f"{path} is a network of one depth: with --depth name its folder {path.parent}")
        return _of_curve(path.parent, path.stem)
    return _packed(files.read_bytes(path), str(path), depth)


def _of_curve(path: Path, name: str | None) -> StoredModel:
    """A network of a curve's folder, by the name of its file; None: the deepest."""
    folder = CurveFolder(path, read_json(path / "identity.json") or {})
    known = [one for one in folder.saved() if one == "network" or one.startswith("depth_")]
    if not known:
        raise UserError(f"{path} has no trained network: run onsager train")
    if name is not None and name not in known:
        depths = [str(int(one.removeprefix("depth_"))) for one in known if one != "network"]
        asked = f"of depth {int(name.removeprefix('depth_'))}" if name.startswith("depth_") else name
        raise UserError(f"{path} has no network {asked}: stored depths are {', '.join(depths)}")
    deepest = _loaded(folder, "network") if "network" in known else None
    chosen = name or ("network" if deepest else known[-1])
    arrays, meta = deepest if deepest and chosen == "network" else _loaded(folder, chosen)
    depth = int(meta.get("depth") or chosen.removeprefix("depth_"))
    config = read_yaml(path / "config.yaml") if files.is_file(path / "config.yaml") else None
    if not isinstance(config, dict):
        raise UserError(f"{path / 'config.yaml'} is missing: it describes the network")
    about = (deepest or (arrays, {}))[0]
    slug = str((deepest or (0, {}))[1].get("curve") or config.get("network", {}).get("name"))
    return StoredModel(str(path), slug, depth, config, *_parted(arrays, about), folder.points())


def _loaded(folder: CurveFolder, name: str) -> tuple[dict[str, np.ndarray], Json]:
    """(arrays, meta) of a file. Raises UserError if it is damaged."""
    if (why := folder.damage(name)) is not None:
        raise UserError(
            f"{folder.path / name}.npz is damaged ({why}): onsager clean removes it, and onsager train trains it again"
        )
    loaded = folder.load(name)
    assert loaded is not None
    return loaded


def _packed(data: bytes, source: str, depth: int | None) -> StoredModel:
    """The network in the bytes of a packed one. Raises UserError for other bytes, and for another depth."""
    try:
        arrays, meta = unpack(data)
    except DamagedFileError as error:
        raise UserError(f"{source} is not a network of onsager, or is damaged: {error}") from error
    if meta.get("format") != FORMAT:
        raise UserError(f"{source} is not a network of onsager: it has arrays {', '.join(list(arrays)[:5]) or 'none'}")
    if depth not in (None, meta["depth"]):
        raise UserError(f"{source} has one network, of {meta['depth']} layers, got --depth {depth}")
    return StoredModel(
        source, meta["curve"], int(meta["depth"]), meta["config"], *_parted(arrays, arrays), meta["points"]
    )


def _parted(
    arrays: Mapping[str, np.ndarray], about: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The parameters among `arrays`, and what `about` has of the problem."""
    parameters = {name: array for name, array in arrays.items() if not name.startswith(PROBLEM)}
    return parameters, {name: array for name, array in about.items() if name.startswith(PROBLEM)}


def tar_bytes(members: Mapping[str, bytes]) -> bytes:
    """An uncompressed tar of these files; the same files give the same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:", format=tarfile.PAX_FORMAT) as archive:
        for name, data in sorted(members.items()):
            about = tarfile.TarInfo(name)
            about.size, about.mode = len(data), 0o644
            archive.addfile(about, io.BytesIO(data))
    return buffer.getvalue()
