"""Networks under other conditions than those of their training: `onsager evaluate` and figures of kind mismatch."""

import csv
import dataclasses

import numpy as np
import pytest
from conftest import toy_overrides
from pairs import drawn, saved

from onsager_cli import run
from onsager_cli.api.inputs import problem as make_problem
from onsager_cli.api.models import model
from onsager_cli.cli.main import main
from onsager_cli.config.elsewhere import conditions, elsewhere
from onsager_cli.config.load import load_experiment
from onsager_cli.errors import UserError
from onsager_cli.figures.elsewhere import judged, method_of, own_matrix
from onsager_cli.run.figure import problems

pytestmark = pytest.mark.usefixtures("quick_compile")


def toy(*overrides: str) -> list[str]:
    asked = {word.partition("=")[0]: word for word in (*toy_overrides(), "network.depth=2", *overrides)}
    return list(asked.values())


@pytest.fixture(scope="module")
def curves(tmp_path_factory):
    """Name → curve of toy networks and algorithms on one problem, stored."""
    output, found = tmp_path_factory.mktemp("store"), {}
    for name, words in {
        "lamp": ["network=lamp", "shrinkage=bg"],
        "tuned": ["network=amp", "training=fast", "shrinkage=bg"],
        "vamp": ["network=vamp", "network.damping=null"],
        "em_vamp": ["network=em_vamp", "network.damping=null"],
        "oracle": ["network=oracle"],
    }.items():
        used = toy(*words)
        if name not in ("lamp", "tuned"):
            used = [word for word in used if not word.startswith("training.")]
        if name == "oracle":
            used = [word for word in used if not word.startswith("network.depth")]
        if name == "tuned":
            used = [word for word in used if not word.startswith("training.l")]
        experiment = load_experiment([*used, f"output={output}"])
        run.train(experiment, lambda _: None)
        found[name] = experiment.curves[0]
    return found


def settings(*overrides: str):
    return load_experiment(["network=lamp", *overrides]).curves[0].settings


class TestConditions:
    @pytest.mark.parametrize(
        ("trained", "words", "expected"),
        [
            (
                ["problem.instance=authors2017"],
                ["problem.snr_db=0"],
                {"snr_db": 0.0, "gamma": 0.1, "ensemble": "given"},
            ),
            (["problem=kappa15"], ["problem.gamma=0.2"], {"gamma": 0.2, "kappa": None, "snr_db": 40.0}),
            ([], ["problem.kappa=15"], {"kappa": 15.0, "snr_db": 40.0}),
            ([], ["problem.ensemble=dct"], {"ensemble": "dct"}),
            (["problem.ensemble=dct"], ["problem.snr_db=20"], {"ensemble": "given", "snr_db": 20.0}),
            (["problem.noise_variance=1e-3"], ["problem.snr_db=20"], {"noise_variance": None, "snr_db": 20.0}),
            (["problem=random_access", "training=cellular"], ["problem.snr_db=20"], {"snr_db": 20.0, "users": 512}),
            (["problem=gaussian"], ["problem=kappa15"], {"kappa": 15.0}),
        ],
    )
    def test_keep_what_they_do_not_name(self, trained, words, expected):
        (found,) = conditions(settings(*trained), words)
        for key, value in expected.items():
            assert getattr(found.settings.problem, key) == value

    def test_the_product_of_alternatives(self):
        found = conditions(settings(), ["problem.snr_db=0,10", "problem.gamma=0.1,0.2"])
        labels = [one.label for one in found]
        assert labels == [f"problem.snr_db={snr} problem.gamma={gamma}" for snr in (0, 10) for gamma in (0.1, 0.2)]
        assert all(one.same_matrix for one in found)

    @pytest.mark.slow
    @pytest.mark.parametrize("word", ["seed=3", "problem.kappa=15", "problem.ensemble=dct", "problem=kappa15"])
    def test_of_another_matrix(self, word):
        assert not elsewhere(settings(), [word]).same_matrix

    def test_a_signal_stays(self):
        found = elsewhere(settings("signal=qpsk", "problem.N=40", "problem.M=20"), ["problem.snr_db=20"])
        assert found.settings.problem.signal == settings("signal=qpsk").problem.signal
        other = elsewhere(settings("signal=qpsk"), ["signal=laplace"])
        signal = other.settings.problem.signal
        assert signal is not None
        assert signal.kind == "laplace"

    @pytest.mark.parametrize(
        ("word", "said"),
        [
            ("network.depth=3", "--on takes keys of the problem, of the signal, and seed, got 'network.depth=3'"),
            ("problem.snr=3", "unknown key 'problem.snr'"),
            ("problem.gamma=2", r"problem\.gamma must be"),
            ("problem.file=nothing.npz", "nothing.npz"),
        ],
    )
    def test_mistakes(self, word, said):
        with pytest.raises(UserError, match=said):
            conditions(settings(), [word])

    @pytest.mark.parametrize("word", ["seed=1", "problem.noise_variance=0.01", "signal=laplace"])
    def test_recorded_pairs_have_no_other_conditions(self, word, tmp_path):
        """Another seed would put pairs of the training into the test set."""
        _, x, y = drawn()
        trained = settings("problem=data", f"problem.file={saved(tmp_path / 'set.npz', x=x, y=y)}")
        with pytest.raises(UserError, match=rf"^--on must give other pairs \(problem\.file=…\) .*, got {word}$"):
            conditions(trained, [word])
        other = saved(tmp_path / "other.npz", x=x, y=2 * y)
        (found,) = conditions(trained, [f"problem.file={other}"])
        assert found.settings.problem.file == other


@pytest.mark.slow
class TestJudged:
    def nmse(self, x_hat, x):
        return 10 * np.log10(np.sum((x_hat - x) ** 2) / np.sum(x**2))

    def judge(self, curve, *words):
        problem_of = problems()
        method = method_of(curve, problem_of(curve))
        condition = elsewhere(curve.settings, words)
        return judged(method, condition, problem_of, own_matrix(method.problem)), condition, own_matrix(method.problem)

    def test_as_trained_is_the_table(self, curves):
        for curve in curves.values():
            found, *_ = self.judge(curve)
            assert found["nmse_db"] == pytest.approx(curve.folder.points()[-1]["nmse_db"], abs=1e-3)

    @pytest.mark.parametrize(
        "words", [["problem.snr_db=10"], ["problem.gamma=0.2"], ["problem.perturb_db=-10"], ["signal=laplace"]]
    )
    def test_a_network_on_its_own_matrix(self, curves, words):
        """The samples are y = A x + w of the network's A; the estimate is that of the network as a function of y."""
        found, condition, A = self.judge(curves["lamp"], *words)
        users = run.in_users_units(dataclasses.replace(curves["lamp"], settings=condition.settings), A)
        x, y = map(np.asarray, users.test)
        np.testing.assert_array_equal(users.A, A)
        if words == ["problem.snr_db=10"]:
            noise = np.sum((y - A @ x) ** 2) / np.sum((A @ x) ** 2)
            assert 10 * np.log10(noise) == pytest.approx(-10, abs=1.5)  # 50 samples of 4 active entries
        trained = model(str(curves["lamp"].folder.path))
        assert found["nmse_db"] == pytest.approx(self.nmse(trained(y), x), abs=1e-3)

    def test_of_another_matrix(self, curves):
        """θ alone carries over to another A: B = Aᵀ of that A, in a float64 loop of AMP."""
        found, condition, _ = self.judge(curves["tuned"], "seed=5")
        assert not condition.same_matrix
        p = make_problem("gaussian", N=40, M=20, selection_samples=100, test_samples=50, seed=5)
        (x, y), A = p.test, p.A.astype(np.float64)
        theta = np.asarray(model(str(curves["tuned"].folder.path)).params["theta"], np.float64)
        v, x_hat = y.astype(np.float64), np.zeros(x.shape)
        for phi, odds in theta[:2]:
            sigma2 = np.sum(v**2, axis=0) / 20
            r, beta = x_hat + A.T @ v, phi / (phi + sigma2)
            active = 1 / (1 + np.exp(odds + 0.5 * np.log1p(phi / sigma2) - 0.5 * beta * r**2 / sigma2))
            slope = np.mean(beta * (active + beta * r**2 / sigma2 * active * (1 - active)), axis=0)
            x_hat = beta * r * active
            v = y - A @ x_hat + 2 * slope * v
        assert found["nmse_db"] == pytest.approx(self.nmse(x_hat, x), abs=1e-3)

    def test_told_values_are_those_of_the_training(self, curves):
        """Matched VAMP that is told 40 dB is worse at 0 dB than one that is told 0 dB."""
        told, *_ = self.judge(curves["vamp"], "problem.snr_db=0")
        words = [
            word
            for word in toy("network=vamp", "network.damping=null", "problem.snr_db=0")
            if not word.startswith("training.")
        ]
        right = load_experiment(words).curves[0]
        from onsager_cli.figures.elsewhere import Method
        from onsager_cli.training.networks_on_disk import network_of

        problem_of = problems()
        here = problem_of(right)
        method = Method("right", right.settings, here, 2, network_of(right.settings))
        best = judged(method, elsewhere(right.settings, []), problem_of)
        assert best["nmse_db"] < told["nmse_db"] - 0.5

    def test_perturbation(self):
        """E has the energy that is asked for, and y comes from A + E."""
        p = make_problem("gaussian", N=200, M=100, snr_db=80, perturb_db=-20, test_samples=200).arrays
        A, true = np.asarray(p.A), np.asarray(p.source)
        assert 10 * np.log10(np.sum((true - A) ** 2) / np.sum(A**2)) == pytest.approx(-20, abs=0.2)
        x, y = map(np.asarray, p.test)
        assert np.linalg.norm(y - true @ x) < 1e-3 * np.linalg.norm(y)


@pytest.mark.slow
class TestCommand:
    def test_table_and_figure(self, curves, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        folder = str(curves["lamp"].folder.path)
        assert main(["evaluate", folder, "--on", "problem.snr_db=10,30", "-o", "out"]) == 0
        out = capsys.readouterr().out
        assert "problem.snr_db" in out.splitlines()[0]
        with (tmp_path / "out/evaluation.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [row["curve"] for row in rows] == ["lamp_tied_bg", "matched_vamp", "em_vamp", "oracle"] * 2
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
            "evaluation.csv", "evaluation.pdf", "evaluation.png", "evaluation.svg",
        ]  # fmt: skip
        levels = {(row["curve"], row["problem.snr_db"]): float(row["nmse_db"]) for row in rows}
        assert levels["oracle", "30"] < levels["oracle", "10"]
        assert levels["oracle", "30"] < levels["matched_vamp", "30"]

    def test_as_trained(self, curves, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        assert main(["evaluate", str(curves["lamp"].folder.path), "--no-references", "-o", "out"]) == 0
        expected = curves["lamp"].folder.points()[-1]["nmse_db"]
        assert f"{expected:.2f}" in capsys.readouterr().out

    @pytest.mark.parametrize("shape", [(20, 40), (20, 20)])
    def test_as_trained_on_uneven_columns(self, shape, tmp_path, monkeypatch, capsys):
        """onsager balances such a matrix; its samples come from the matrix of the user."""
        monkeypatch.chdir(tmp_path)
        np.save("A.npy", np.random.default_rng(0).normal(size=shape) * np.geomspace(0.5, 2, shape[1]))
        own = ["problem.matrix=A.npy", f"problem.M={shape[0]}", f"problem.N={shape[1]}", "problem.instance=seeded"]
        (curve,) = load_experiment(toy("network=lamp", "shrinkage=bg", *own)).curves
        run.train(load_experiment(toy("network=lamp", "shrinkage=bg", *own)), lambda _: None)
        assert main(["evaluate", str(curve.folder.path), "--no-references"]) == 0
        assert f"{curve.folder.points()[-1]['nmse_db']:.2f}" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ([], "evaluate takes a network"),
            (["--on", "problem.N=50"], "y has 20 and x 50 numbers, the network"),
            (["--on", "problem.snr_db=1", "problem.snr_db=2"], "set twice"),
        ],
    )
    def test_mistakes(self, curves, tmp_path, monkeypatch, capsys, words, said):
        monkeypatch.chdir(tmp_path)
        model_words = [] if not words else [str(curves["lamp"].folder.path)]
        assert main(["evaluate", *model_words, *words]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.slow
def test_the_figure(tmp_path):
    """A row for each condition and method; networks that keep their matrix are left out on another A."""
    words = ["+experiment=mismatch", *toy_overrides(), "network.depth=2", f"output={tmp_path}"]
    asked = {word.partition("=")[0]: word for word in words}
    asked["figure.conditions"] = (
        "figure.conditions={SNR: 'problem.snr_db=20,40', fresh: 'seed=1', prior: 'signal=laplace,rademacher'}"
    )
    experiment = load_experiment(list(asked.values()))
    run.train(experiment, lambda _: None)
    files, _ = run.plot(experiment)
    (path,) = [path for path in files if path.name == "mismatch.csv"]
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert {row["curve"] for row in rows if row["panel"] == "fresh"} == {
        "amp_tuned_bg",
        "matched_vamp",
        "em_vamp",
        "oracle",
    }
    assert len([row for row in rows if row["panel"] == "SNR"]) == 2 * 9
