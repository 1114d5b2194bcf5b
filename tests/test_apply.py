"""`onsager apply`: files of measurements to files of estimates."""

import numpy as np
import pytest
import scipy.io
from conftest import slow, toy_overrides

from onsager_cli import run
from onsager_cli.api.models import model
from onsager_cli.cli import apply
from onsager_cli.cli.main import main
from onsager_cli.config.load import load_experiment

pytestmark = pytest.mark.usefixtures("quick_compile")

SAMPLES = 9
NETWORKS = {
    "bg": ["network=lamp", "shrinkage=bg"],
    "pwlin": ["network=lamp", "shrinkage=pwlin"],
    "lista": ["network=lista"],
    "aglista": ["network=aglista"],
    "complex": ["network=lamp", "shrinkage=bg", "problem.embedding=complex"],
    "real": ["network=lamp", "shrinkage=bg", "problem.embedding=real"],
}


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Folders of toy networks: LAMP with a prior and without one, LISTA, and a complex LAMP."""
    output = tmp_path_factory.mktemp("store")

    class Networks(dict):
        """Name → folder; a network is trained when it is first asked for."""

        def __missing__(self, name: str) -> str:
            asked = {word.partition("=")[0]: word for word in [*toy_overrides(), *NETWORKS[name]]}
            asked["network.depth"] = "network.depth=2"
            experiment = load_experiment([*asked.values(), f"output={output}"])
            run.train(experiment, lambda _: None)
            self[name] = str(experiment.curves[0].folder.path)
            return self[name]

    return Networks()


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def y():
    return np.random.default_rng(0).normal(size=(20, SAMPLES)).astype(np.float32)


def save(path, y):
    if path.suffix == ".npy":
        np.save(path, y)
    elif path.suffix == ".npz":
        np.savez(path, y=y, other=np.ones(3))
    elif path.suffix == ".mat":
        scipy.io.savemat(path, {"y": y, "other": np.ones((3, 3))})
    else:
        np.savetxt(path, y, delimiter=",", fmt="%.9g")


def read(path):
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".npz":
        return np.load(path)["x_hat"]
    return (
        scipy.io.loadmat(path)["x_hat"] if path.suffix == ".mat" else np.loadtxt(path, delimiter=",", dtype=np.float32)
    )


class TestFormats:
    @pytest.mark.slow
    @pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat", ".csv"])
    @pytest.mark.parametrize("samples_in", ["columns", "rows"])
    def test_come_back_as_they_came(self, networks, here, y, suffix, samples_in):
        path = here / f"y{suffix}"
        save(path, y.T if samples_in == "rows" else y)
        more = ["--samples-in", "rows"] if samples_in == "rows" else []
        assert main(["apply", networks["bg"], path.name, *more]) == 0
        found = read(here / f"y-x_hat{suffix}")
        np.testing.assert_array_equal(found.T if samples_in == "rows" else found, model(networks["bg"])(y))

    @pytest.mark.parametrize("suffix", [".npy", ".csv", *slow(".npz", ".mat")])
    def test_one_sample(self, networks, here, y, suffix):
        save(here / f"y{suffix}", y[:, 0])
        assert main(["apply", networks["bg"], f"y{suffix}"]) == 0
        found = read(here / f"y-x_hat{suffix}")
        np.testing.assert_allclose(np.ravel(found), model(networks["bg"])(y[:, 0]), rtol=1e-6)

    def test_blocks_have_the_bits_of_the_whole(self, networks, here, y, monkeypatch):
        monkeypatch.setattr(apply, "BATCH", 4)
        np.save(here / "y.npy", y)
        assert main(["apply", networks["pwlin"], "y.npy", "-o", "x.npy"]) == 0
        np.testing.assert_allclose(np.load(here / "x.npy"), model(networks["pwlin"])(y), rtol=1e-5, atol=1e-6)

    def test_a_set_of_onsager_has_its_samples_in_rows(self, networks, here, y):
        np.savez(here / "set.npz", y=y.T, x=np.ones((SAMPLES, 40)), meta=np.array("{}"), checksum=np.array("0"))
        assert main(["apply", networks["bg"], "set.npz", "-o", "x.npz"]) == 0
        np.testing.assert_array_equal(np.load(here / "x.npz")["x_hat"], model(networks["bg"])(y).T)

    @pytest.mark.slow
    def test_complex_ones(self, networks, here, capsys):
        rng = np.random.default_rng(1)
        y = (rng.normal(size=(20, 5)) + 1j * rng.normal(size=(20, 5))).astype(np.complex64)
        np.save(here / "y.npy", y)
        for name in ("complex", "real"):
            assert main(["apply", networks[name], "y.npy", "-o", f"{name}.npy"]) == 0
            found = np.load(here / f"{name}.npy")
            assert found.dtype == np.complex64
            np.testing.assert_array_equal(found, model(networks[name])(y).astype(np.complex64))
        np.savetxt(here / "y.csv", y, delimiter=",")
        np.save(here / "real.npy", y.real)
        assert main(["apply", networks["complex"], "real.npy", "-o", "x_real.npy"]) == 0
        said = "real.npy is real, and the network lamp_tied_bg is complex: the imaginary part of y is taken as 0"
        assert said in capsys.readouterr().err
        assert main(["apply", networks["complex"], "y.npy", "-o", "x.csv"]) == 0
        assert "is real" not in capsys.readouterr().err
        text = np.loadtxt(here / "x.csv", delimiter=",", dtype=str)
        np.testing.assert_array_equal(np.vectorize(complex)(text).astype(np.complex64), np.load(here / "complex.npy"))


class TestWhat:
    @pytest.mark.parametrize("name", ["bg", "pwlin", *slow("lista", "complex", "real")])
    def test_posterior(self, networks, here, name):
        M = 20
        rng = np.random.default_rng(2)
        y = rng.normal(size=(M, SAMPLES)) + (1j * rng.normal(size=(M, SAMPLES)) if name in ("complex", "real") else 0)
        np.save(here / "y.npy", y)
        assert main(["apply", networks[name], "y.npy", "-o", "p.npz", "--what", "posterior"]) == 0
        found, expected = np.load(here / "p.npz"), model(networks[name]).posterior(y)
        for key in ("x_hat", "sigma", "activity", "mean", "variance"):
            np.testing.assert_allclose(found[key], getattr(expected, key), rtol=1e-5, atol=1e-6)
        assert found["activity"].shape == (40, SAMPLES)
        assert ((found["activity"] >= 0) & (found["activity"] <= 1)).all()
        assert (found["variance"] >= 0).all()
        assert found["sigma"].shape == (SAMPLES,)

    def test_the_mean_of_a_prior_is_the_estimate(self, networks, y):
        found = model(networks["bg"]).posterior(y)
        np.testing.assert_allclose(found.mean, found.x_hat, rtol=1e-4, atol=1e-6)

    def test_sigma_of_lamp(self, networks, y):
        """‖v‖/√M of the last layer, by a loop in float64."""
        trained = model(networks["bg"])
        A, p = (
            np.asarray(trained.problem.A, np.float64),
            {k: np.asarray(v, np.float64) for k, v in trained.params.items()},
        )
        v, x_hat = y.astype(np.float64), np.zeros((40, SAMPLES))
        for t in range(2):
            sigma = np.linalg.norm(v, axis=0) / np.sqrt(20)
            r, (phi, odds) = x_hat + p["B"] @ v, p["theta"][t]
            beta = phi / (phi + sigma**2)
            active = 1 / (1 + np.exp(odds + 0.5 * np.log1p(phi / sigma**2) - 0.5 * beta * r**2 / sigma**2))
            slope = np.mean(beta * (active + beta * r**2 / sigma**2 * active * (1 - active)), axis=0)
            x_hat = beta * r * active
            v = y - A @ x_hat + 2 * slope * v
        np.testing.assert_allclose(trained.posterior(y).sigma, sigma, rtol=1e-4)

    @pytest.mark.slow
    def test_sigma_of_a_network_without_one(self, networks, y):
        """AGLISTA hands its last estimate to the shrinkage beside r, which is no error level: that is fitted."""
        trained = model(networks["aglista"])
        x, of = trained.selection
        found = trained.posterior(of)
        _, r, _ = trained.reach(trained.problem, trained.params, of)
        gain = np.sum(x * r) / np.sum(x**2)
        level = np.sqrt(np.mean((np.asarray(r) - gain * x) ** 2))
        np.testing.assert_allclose(found.sigma, level, rtol=1e-4)
        assert np.mean(found.activity[x != 0]) > np.mean(found.activity[x == 0])

    def test_decisions_have_their_false_alarms(self, networks, here):
        """On the selection set, by which the threshold is chosen, the rate is met."""
        trained = model(networks["pwlin"])
        x, y = trained.selection
        np.save(here / "y.npy", y)
        words = ["apply", networks["pwlin"], "y.npy", "-o", "d.npy", "--what", "activity", "--false-alarms", "0.1"]
        assert main(words) == 0
        decided = np.load(here / "d.npy")
        assert decided.dtype == np.uint8
        assert np.mean(decided[x == 0]) == pytest.approx(0.1, abs=2e-3)

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (
                ["--what", "posterior"],
                "--what posterior gives five arrays: name a file for them, such as -o y-x_hat.npz",
            ),
            (["--what", "posterior", "-o", "p.npy"], "p.npy can hold only one array, and the output has 5"),
            (["--false-alarms", "0.1"], "--false-alarms needs --what activity"),
            (
                ["--what", "activity", "--false-alarms", "1.5"],
                "false_alarms must be above 0 and below 1, such as 0.01 for 1 %, got 1.5",
            ),
            (["--what", "everything"], "--what must be x, sigma, activity or posterior"),
            (["--depth", "0"], "--depth must be at least 1, got 0"),
            (["--depth", "7"], "has no network of depth 7"),
            (["-o", "x.txt"], "x.txt must end in .npy, .npz, .mat or .csv"),
            (["-o", ".."], "-o must name a file, and .. is a folder"),
            (["-o", "y.npy"], "-o must not be the file of the measurements"),
        ],
    )
    def test_mistakes(self, networks, here, y, capsys, words, said):
        np.save(here / "y.npy", y)
        assert main(["apply", networks["bg"], "y.npy", *words]) == 2
        line = capsys.readouterr().err
        assert said in line
        assert line.count("\n") == 1
        assert [path.name for path in here.iterdir()] == ["y.npy"]


class TestRefused:
    """Every y that does not fit is one line; nothing is written, and what is there stays."""

    @pytest.mark.parametrize(
        ("array", "said"),
        [
            (np.ones((SAMPLES, 20)), f"y.npy is {SAMPLES} x 20, the transpose of 20 x samples: add --samples-in rows"),
            (np.ones((21, SAMPLES)), f"y.npy must be 20 x samples, got 21 x {SAMPLES}"),
            (np.ones((2, 20, 3)), "y.npy must be 20 x samples, got 2 x 20 x 3"),
            (np.ones(21), "y.npy must be 20 x samples, got 21"),
            (np.ones((20, 0)), "y.npy must be 20 x samples, got 20 x 0"),
            (np.full((20, 3), np.nan), "y.npy holds NaN or infinity in sample 1 (counted from 1)"),
            (np.ones((20, 3)) * 1j, "y.npy is complex, and the network lamp_tied_bg takes real measurements"),
            (np.array([["a"] * 3] * 20), "y.npy must hold numbers"),
            (np.ones((20, 3)) > 0, "y.npy must be numbers, got bool values"),
            (np.ones((20, 3)) * 1e39, "y.npy holds a number too large for single precision in sample 1"),
        ],
    )
    def test_arrays(self, networks, here, capsys, array, said):
        np.save(here / "y.npy", array)
        np.save(here / "x.npy", np.arange(3))
        assert main(["apply", networks["bg"], "y.npy", "-o", "x.npy", "--force"]) == 2
        line = capsys.readouterr().err
        assert said in line
        assert line.count("\n") == 1
        assert sorted(path.name for path in here.iterdir()) == ["x.npy", "y.npy"]
        np.testing.assert_array_equal(np.load(here / "x.npy"), np.arange(3))

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ([], "apply takes a trained network and a file of measurements: onsager apply MODEL Y"),
            (["net"], "apply takes a trained network and a file of measurements"),
            (["y.npy", "net"], "apply takes the network first, then a file of measurements"),
            (["net", "."], "apply needs a file of measurements, and . is a folder"),
            (["net", "y.h5"], "onsager cannot write estimates in the format of y.h5, '.h5': add -o y-x_hat.npy"),
            (["net", "nothing.npy"], "there is no network 'net'"),
            (["problem=gaussian"], "apply takes a trained network"),
            (["network=lamp", "problem=gaussian"], "apply needs the file of measurements as its last word"),
        ],
    )
    def test_words(self, here, capsys, words, said):
        assert main(["apply", *words]) == 2
        assert said in capsys.readouterr().err

    @pytest.mark.parametrize("suffix", [".npy", ".mat", ".npz"])
    def test_a_file_of_another_kind(self, networks, here, capsys, suffix):
        (here / f"y{suffix}").write_text("some words\n")
        assert main(["apply", networks["bg"], f"y{suffix}"]) == 2
        assert f"y{suffix} is damaged, or neither a {suffix} file nor a table of numbers" in capsys.readouterr().err

    def test_a_disk_without_room(self, networks, here, y, capsys, monkeypatch):
        """All arrays count together, and an .npz is made of parts that lie beside it."""
        np.save(here / "y.npy", y)
        size = SAMPLES * 4 * (40 + 1 + 40 + 40 + 40)
        for free, code in ((2 * size - 1, 2), (2 * size, 0)):
            monkeypatch.setattr("shutil.disk_usage", lambda _, free=free: type("Usage", (), {"free": free}))
            assert main(["apply", networks["bg"], "y.npy", "--what", "posterior", "-o", "p.npz"]) == code
        assert "p.npz would take 12 kB, and the disk has 12 kB left" in capsys.readouterr().err

    def test_a_file_that_is_there(self, networks, here, y, capsys):
        np.save(here / "y.npy", y)
        np.save(here / "x.npy", y)
        assert main(["apply", networks["bg"], "y.npy", "-o", "x.npy"]) == 2
        assert "apply: x.npy exists: add --force, or name another file with -o" in capsys.readouterr().err

    def test_several_arrays_without_a_y(self, networks, here, y, capsys):
        np.savez(here / "y.npz", a=y, b=y)
        assert main(["apply", networks["bg"], "y.npz"]) == 2
        assert "has no array y: it has a (20 x 9), b (20 x 9): add --name NAME" in capsys.readouterr().err
        assert main(["apply", networks["bg"], "y.npz", "--name", "b"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("factor", "told"), [(1, False), (1.35, False), (0.75, False), (1.5, True), (0.65, True), (0, True)]
)
def test_y_of_another_scale(networks, here, capsys, factor, told):
    """From a factor of 2 in power on, a warning says both powers; of a few samples, from a factor of 4 on."""
    trained = model(networks["bg"])
    _, y = trained.selection
    np.save(here / "y.npy", y * factor)
    assert main(["apply", networks["bg"], "y.npy"]) == 0
    said, power = capsys.readouterr().err, np.mean(y.astype(np.float64) ** 2)
    assert trained.y_power == pytest.approx(power, rel=1e-6)
    expected = f"the mean of |y_m|² is {power * factor**2:.2g}, in training it was {power:.2g}"
    assert (expected in said) == told
    assert bool(said) == told
    np.save(here / "few.npy", y[:, :50] * factor)
    assert main(["apply", networks["bg"], "few.npy"]) == 0
    assert bool(capsys.readouterr().err) == (factor == 0)
