"""A trained network found again by one word: a folder, a file, a packed network, a released name; and as a start."""

import dataclasses
import os
import tarfile

import numpy as np
import pytest
import yaml
from conftest import slow, toy_overrides

from onsager_cli import run
from onsager_cli.api.models import model
from onsager_cli.cli.main import main
from onsager_cli.config.catalog import config_files
from onsager_cli.config.identity import identity_of
from onsager_cli.config.load import load_experiment
from onsager_cli.config.stored import settings_of
from onsager_cli.errors import UserError
from onsager_cli.run import packing
from onsager_cli.store import models

pytestmark = pytest.mark.usefixtures("quick_compile")

WORDS = [*toy_overrides(), "network=lamp", "shrinkage=bg"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The experiment of one toy LAMP-BG with three layers, trained in a store."""
    output = tmp_path_factory.mktemp("store")
    experiment = load_experiment([*WORDS, f"output={output}"])
    run.train(experiment, lambda _: None)
    return experiment


@pytest.fixture
def folder(trained):
    return trained.curves[0].folder.path


@pytest.fixture
def y():
    return np.random.default_rng(0).normal(size=(20, 7))


def stored_estimate(experiment, y, depth=None):
    """x̂ by the library's own way to a stored network."""
    from onsager_cli.api.training import load

    more = [] if depth is None else [f"network.depth={depth}"]
    words = [word for word in experiment.overrides if not (more and word.startswith("network.depth"))]
    return load(*words, *more)(y)


class TestFound:
    def test_by_folder_file_and_overrides(self, trained, folder, y):
        expected = stored_estimate(trained, y)
        for words in ([str(folder)], [str(folder / "network.npz")], list(trained.overrides)):
            found = model(*words)
            assert (found.depth, found.shape) == (3, (20, 40))
            np.testing.assert_array_equal(found(y), expected)
        assert found.nmse_db == trained.curves[0].folder.points()[-1]["nmse_db"]

    def test_a_shallower_one(self, trained, folder, y):
        expected = stored_estimate(trained, y, 2)
        for found in (model(str(folder), depth=2), model(str(folder / "depth_02.npz"))):
            assert found.depth == 2
            np.testing.assert_array_equal(found(y), expected)

    @pytest.mark.slow
    def test_without_its_matrix_file(self, tmp_path, y):
        """What a stored network sees lies beside it: nobody needs the file of the training any more."""
        np.save(tmp_path / "A.npy", np.random.default_rng(1).normal(size=(20, 40)))
        words = [*WORDS, "network.depth=1", f"problem.matrix={tmp_path / 'A.npy'}", f"output={tmp_path / 'out'}"]
        words = list({word.partition("=")[0]: word for word in words}.values())
        experiment = load_experiment(words)
        run.train(experiment, lambda _: None)
        expected, folder = stored_estimate(experiment, y), experiment.curves[0].folder.path
        (tmp_path / "A.npy").unlink()
        np.testing.assert_allclose(model(str(folder))(y), expected, rtol=1e-6, atol=1e-7)

    @pytest.mark.parametrize(
        ("word", "said"),
        [
            ("fig10/lamp", "there is no network 'fig10/lamp'"),
            ("nothing.npz", "there is no network 'nothing.npz'"),
            ("", "no network is named"),
            ("empty", "empty has no network"),
        ],
    )
    def test_or_not(self, word, said, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "empty").mkdir()
        with pytest.raises(UserError, match=said):
            model(word)

    def test_a_depth_that_is_not_stored(self, folder):
        with pytest.raises(UserError, match=r"has no network of depth 9: stored depths are 1, 2, 3"):
            model(str(folder), depth=9)

    def test_two_words(self):
        with pytest.raises(UserError, match="one network at a time, got 'a' and 'b'"):
            model("a", "b")

    def test_what_is_damaged(self, trained, folder, tmp_path):
        import shutil

        copy = tmp_path / folder.name
        shutil.copytree(folder, copy)
        data = (copy / "network.npz").read_bytes()
        (copy / "network.npz").write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
        with pytest.raises(UserError, match=r"network\.npz is damaged"):
            model(str(copy))
        (copy / "network.npz").write_bytes(data)
        (copy / "config.yaml").unlink()
        with pytest.raises(UserError, match=r"config\.yaml is missing"):
            model(str(copy))

    def test_arrays_of_something_else(self, tmp_path):
        np.savez(tmp_path / "x.npz", a=np.ones(3))
        with pytest.raises(UserError, match=r"x\.npz is not a network of onsager: it has arrays a"):
            model(str(tmp_path / "x.npz"))


class TestPacked:
    @pytest.fixture
    def files(self, trained):
        return packing.packed(trained)

    def test_the_same_network(self, trained, files, tmp_path, y):
        (path := tmp_path / "one.npz").write_bytes(files["lamp_tied_bg"])
        found = model(str(path))
        np.testing.assert_array_equal(found(y), stored_estimate(trained, y))
        assert found.nmse_db == trained.curves[0].folder.points()[-1]["nmse_db"]
        assert packing.packed(trained) == files
        assert "problem.A" not in np.load(path)  # its config draws it again

    def test_by_a_released_name(self, files, tmp_path, monkeypatch, y):
        """In a folder, in the folder of the record, in a tar; the variable comes first."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("ONSAGER_WEIGHTS", raising=False)
        data = files["lamp_tied_bg"]
        for place in ("outputs/toy", "experiments/toy/weights"):
            (folder := tmp_path / place).mkdir(parents=True)
            (folder / "lamp_tied_bg.npz").write_bytes(data)
            expected = model("toy/lamp_tied_bg")(y)
            (folder / "lamp_tied_bg.npz").unlink()
        (tmp_path / "w").mkdir()
        (tmp_path / "w/weights-toy.tar").write_bytes(models.tar_bytes(packing.with_sums("toy", files)))
        monkeypatch.setenv("ONSAGER_WEIGHTS", os.pathsep.join(["nowhere", str(tmp_path / "w")]))
        np.testing.assert_array_equal(model("toy/lamp_tied_bg")(y), expected)
        with pytest.raises(UserError, match="has one network, of 3 layers, got --depth 2"):
            model("toy/lamp_tied_bg", depth=2)
        np.testing.assert_array_equal(model("toy/lamp_tied_bg", folder=tmp_path / "w")(y), expected)

    def test_a_tar_of_known_content(self, files, tmp_path):
        import hashlib

        data = models.tar_bytes(packing.with_sums("toy", files))
        (tmp_path / "w.tar").write_bytes(data)
        with tarfile.open(tmp_path / "w.tar") as archive:
            names = archive.getnames()
            sums = archive.extractfile("toy/SHA256SUMS").read().decode()  # type: ignore[union-attr]
        assert names == ["toy/SHA256SUMS", "toy/lamp_tied_bg.npz"]
        assert sums == f"{hashlib.sha256(files['lamp_tied_bg']).hexdigest()}  toy/lamp_tied_bg.npz\n"
        assert models.tar_bytes(packing.with_sums("toy", files)) == data

    def test_a_draw_that_differs_is_noticed(self, files, tmp_path):
        from onsager_cli.store.arrays import pack, unpack

        arrays, meta = unpack(files["lamp_tied_bg"])
        arrays["problem.row"] = arrays["problem.row"] + 1
        (tmp_path / "one.npz").write_bytes(pack(arrays, meta))
        with pytest.raises(UserError, match="draws another A than that of the training"):
            model(str(tmp_path / "one.npz"))

    def test_the_command(self, trained, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        assert main(["pack", "network=lamp"]) == 2
        assert "pack needs an experiment" in capsys.readouterr().err
        assert main(["pack", "+experiment=quick", "output=nowhere"]) == 2
        assert "no network is stored in nowhere" in capsys.readouterr().err
        assert main(["pack", "+experiment=quick", "seeds=[0,1]"]) == 2
        assert "give seed=… instead of seeds=[…]" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", slow(*sorted(config_files("experiment")), but=("ablations", "fig15c", "problems", "quick"))
)
def test_the_config_beside_a_network_has_its_settings(name):
    """Settings → YAML → settings, and the same identity."""
    for part in load_experiment([f"+experiment={name}"]).parts:
        for curve in part.curves:
            text = yaml.safe_dump(dataclasses.asdict(curve.settings), sort_keys=False)
            found = settings_of(yaml.safe_load(text), "config.yaml")
            assert found == curve.settings
            assert identity_of(found) == curve.identity


@pytest.mark.parametrize(
    "words",
    [
        ["problem=data", "problem.file=pairs.npz"],
        ["signal=file", "signal.file=x.npy", "problem.N=40", "problem.M=20"],
        ["problem.matrix=A.npy", "problem.N=40", "problem.M=20"],
        ["problem=random_access", "problem.matrix=A.npy", "problem.users=40", "problem.pilots=20"],
        ["problem=random_access", "problem.users=3", "problem.activity=[0.1,0.2,0.3]"],
        ["problem.snr_db=[5,40]", "network=lvamp", "network.damping=learned"],
        *slow(
            ["signal=qam16"], ["signal=rademacher", "shrinkage=discrete"], ["training=paper"], ["network=hyperlista"]
        ),
    ],
    ids=" ".join,
)
def test_the_config_of_ones_own_problem_has_its_settings(words, tmp_path, monkeypatch):
    """What a file holds is part of the settings, and comes back without the file."""
    monkeypatch.chdir(tmp_path)
    A, x = np.random.default_rng(0).normal(size=(20, 40)), np.random.default_rng(1).normal(size=(40, 500))
    x[np.random.default_rng(2).uniform(size=x.shape) > 0.1] = 0
    np.save("A.npy", A)
    np.save("x.npy", x)
    np.savez("pairs.npz", x=x, y=A @ x)
    (curve,) = load_experiment(words).curves
    text = yaml.safe_dump(dataclasses.asdict(curve.settings), sort_keys=False)
    for name in ("A.npy", "x.npy", "pairs.npz"):
        (tmp_path / name).unlink()
    assert settings_of(yaml.safe_load(text), "config.yaml") == curve.settings


def test_a_config_of_another_version_is_said():
    (curve,) = load_experiment(WORDS).curves
    config = yaml.safe_load(yaml.safe_dump(dataclasses.asdict(curve.settings)))
    config["network"]["future"] = 1
    with pytest.raises(UserError, match=r"w\.npz: unknown key 'network\.future'.*another version"):
        settings_of(config, "w.npz")
    with pytest.raises(UserError, match=r"w\.npz: its config is not that of a trained network"):
        settings_of({"problem": 3}, "w.npz")


class TestStart:
    """`network.start`: training begins with the layers of another network."""

    IDLE = (
        "training.lamp.steps=[1]", "training.lamp.rates=[1e-12]", "training.lamp.theta_rates=[1e-12]",
        "training.lamp.spectral_rates=[1e-12]", "training.lamp.row_rates=[1e-12]",
    )  # fmt: skip

    def train(self, output, *overrides):
        asked = {word.partition("=")[0]: word for word in (*WORDS, *self.IDLE, *overrides, f"output={output}")}
        experiment = load_experiment(list(asked.values()))
        run.train(experiment, lambda _: None)
        return experiment.curves[0]

    def test_is_that_network_where_nothing_learns(self, trained, folder, tmp_path, y):
        curve = self.train(tmp_path, f"network.start={folder}")
        there, given = (model(str(path)) for path in (curve.folder.path, folder))
        np.testing.assert_allclose(there(y), given(y), rtol=1e-4, atol=1e-6)

    def test_goes_on_elsewhere(self, folder, tmp_path):
        """On another SNR, it begins far below the textbook's start."""
        begun = self.train(tmp_path, f"network.start={folder}", "problem.snr_db=30")
        fresh = self.train(tmp_path, "problem.snr_db=30")
        assert begun.folder.points()[-1]["nmse_db"] < fresh.folder.points()[-1]["nmse_db"] - 1

    def test_counts_by_its_content(self, folder, tmp_path):
        import shutil

        shutil.copytree(folder, copy := tmp_path / "elsewhere")
        identities = [load_experiment([*WORDS, f"network.start={path}"]).curves[0].identity for path in (folder, copy)]
        assert identities[0] == identities[1]
        assert identities[0] != load_experiment(WORDS).curves[0].identity

    @pytest.mark.parametrize(
        ("overrides", "said"),
        [
            (["shrinkage=pwlin"], r"network\.start=.*: shrinkage must be pwlin, .*, got bg"),
            (["shrinkage=soft"], r"network\.start=.*: shrinkage must be soft, .*, got bg"),
            (["problem.N=50"], r"network\.start=.*: problem\.N must be 50, .*, got 40"),
            (["problem.M=10"], r"network\.start=.*: problem\.M must be 10, .*, got 20"),
            (["network.tied=false"], r"network\.start=.*: network\.tied must be false, .*, got true"),
        ],
    )
    def test_of_another_form(self, folder, tmp_path, overrides, said):
        with pytest.raises(UserError, match=said):
            self.train(tmp_path, f"network.start={folder}", *overrides)
        assert not (tmp_path / "curves").exists()  # nothing was begun

    def test_of_nothing_names_the_key(self):
        with pytest.raises(
            UserError, match=r"^network\.start must be a trained network .*: there is no network 'nothing'"
        ):
            load_experiment([*WORDS, "network.start=nothing"]).curves[0].identity  # noqa: B018 - looked up there

    def test_of_what_does_not_learn(self, folder):
        with pytest.raises(UserError, match=r"network\.start is only for trained networks"):
            load_experiment(["network=vamp", f"network.start={folder}"])
