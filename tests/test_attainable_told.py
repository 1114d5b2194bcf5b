"""What is attainable, as trainings and tables tell it, and on problems where untrained networks find it."""

import itertools
import json
import os

import numpy as np
import pytest
from conftest import slow

from onsager_cli import run
from onsager_cli.config.load import load_experiment
from onsager_cli.problems.signals import GaussianMixture
from onsager_cli.store.environment import one_blas_thread
from onsager_cli.store.tables import read_table, table_bytes


def bernoulli_gaussian(gamma, variance=1.0, is_complex=False):
    return GaussianMixture(gamma, (1.0,), (0.0,), (variance,), is_complex)


TOY = ["problem=gaussian", "problem.instance=seeded", "problem.N=40", "problem.M=24", "problem.selection_samples=100",
       "problem.test_samples=50", "training.lamp.steps=[20]", "network.depth=2"]  # fmt: skip

CELLS = ["problem.users=24", "problem.pilots=12", "problem.selection_samples=100", "problem.test_samples=60"]


@pytest.fixture(autouse=True)
def one_thread():
    """As in a training: several threads do not make small products faster."""
    with one_blas_thread():
        yield


def draw(N, M, L, gamma=0.1, snr_db=40.0, seed=0, complex_=False, columns=None, correlation=0.0):
    """A with ‖A‖_F² = N, σ_w², x and y of Bernoulli-Gaussian signals of variance 1."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        if not complex_:
            return rng.normal(size=shape)
        return (rng.normal(size=shape) + 1j * rng.normal(size=shape)) / np.sqrt(2)

    A = normal(M, N)
    for n in range(1, N):
        A[:, n] = correlation * A[:, n - 1] + np.sqrt(1 - correlation**2) * A[:, n]
    A = A * (1 if columns is None else rng.permutation(np.geomspace(1, columns, N)))
    A *= np.sqrt(N) / np.linalg.norm(A)
    x = normal(N, L) * (rng.uniform(size=(N, L)) < gamma)
    noise = gamma * N / M * 10 ** (-snr_db / 10)
    return A, noise, x, A @ x + np.sqrt(noise) * normal(M, L)


def brute_force(A, gamma, variance, noise, y):
    """E[x | y] over all supports."""
    M, N = A.shape
    kappa = 1.0 if np.iscomplexobj(y) else 0.5
    scores, means = [], []
    for support in itertools.product([False, True], repeat=N):
        S = np.flatnonzero(support)
        covariance = noise * np.eye(M) + variance * A[:, S] @ A[:, S].conj().T
        solved = np.linalg.solve(covariance, y)
        fit = np.sum((y.conj() * solved).real, axis=0)
        scores.append(-kappa * (np.linalg.slogdet(covariance)[1] + fit) + len(S) * np.log(gamma / (1 - gamma)))
        mean = np.zeros((N, y.shape[1]), y.dtype)
        mean[S] = variance * A[:, S].conj().T @ solved
        means.append(mean)
    weights = np.exp(np.array(scores) - np.max(scores, axis=0))
    return np.einsum("sl,snl->nl", weights / weights.sum(axis=0), np.array(means))


def trained(tmp_path, *words):
    events = []
    experiment = load_experiment([*TOY, "network=lamp", f"output={tmp_path}", "jobs=1", *words])
    run.train(experiment, events.append)
    return experiment, events


@pytest.mark.slow
class TestReport:
    def test_a_training_ends_with_its_gap(self, tmp_path):
        experiment, events = trained(tmp_path)
        (line,) = [event["message"] for event in events if event["event"] == "attainable"]
        assert line.startswith("ends at -")
        assert " dB above what is attainable (" in line
        rows = run.rows_of(experiment)
        (note,) = (tmp_path / "attainable").glob("*.json")
        level = json.loads(note.read_text())["nmse_db"]
        assert {row["attainable_db"] for row in rows} == {level}
        written = tmp_path / "table.csv"
        written.write_bytes(table_bytes(rows))
        assert read_table(written)[0]["attainable_db"] == pytest.approx(level, abs=1e-4)
        before = os.stat(note).st_mtime_ns
        trained(tmp_path, "shrinkage=pwlin")
        assert os.stat(note).st_mtime_ns == before

    def test_a_stored_curve_is_compared_too(self, tmp_path):
        """One that was stopped before, or trained without."""
        _, events = trained(tmp_path, "attainable=false")
        experiment, events = trained(tmp_path)
        assert [event["event"] for event in events if event["event"] in ("point", "attainable")] == ["attainable"]
        assert all(row["attainable_db"] for row in run.rows_of(experiment))

    def test_it_can_be_switched_off(self, tmp_path):
        experiment, events = trained(tmp_path, "attainable=false")
        assert not any(event["event"] == "attainable" for event in events)
        assert not (tmp_path / "attainable").exists()
        rows = run.rows_of(experiment)
        assert b"attainable" not in table_bytes(rows)

    def test_experiments_are_asked_for_it(self):
        for words, expected in (([], False), (["attainable=true"], True)):
            curves = load_experiment(["+experiment=quick", *words]).curves
            assert {curve.attainable for curve in curves} == {expected}
        assert load_experiment(TOY).curves[0].attainable

    def test_it_changes_no_identity(self):
        one, other = (load_experiment([*TOY, f"attainable={word}"]).curves[0] for word in ("true", "false"))
        assert one.identity == other.identity


class TestOtherProblems:
    """Where samples differ in noise, or nobody knows a prior: the best untrained network, as the program itself runs it."""

    @pytest.mark.parametrize(
        ("words", "algorithms"),
        slow(
            (("problem.snr_db=[5,40]",), ("vamp", "em_vamp")),
            (("problem.noise=per_sample",), ("vamp", "em_vamp")),
            (("signal=qpsk", "problem.embedding=real"), ("em_vamp",)),
            (("problem=random_access", *CELLS), ("em_vamp",)),
            (("problem=massive_mimo", "problem.antennas=4", "problem.users=8", *CELLS[1:]), ("em_vamp",)),
            but=((("problem.snr_db=[5,40]",), ("vamp", "em_vamp")),),
        ),
    )
    @pytest.mark.slow
    def test_the_best_untrained_network(self, words, algorithms, tmp_path):
        toy = TOY if "problem.pilots=12" not in words else TOY[6:]
        common = [*toy, f"output={tmp_path}", "jobs=1", *words]
        events = []
        run.train(load_experiment([*common, "network=lamp"]), events.append)
        (level,) = [event["attainable_db"] for event in events if event["event"] == "attainable"]
        ends = []
        for name in algorithms:
            common = [word for word in common if not word.startswith(("training.", "network."))]
            experiment = load_experiment([*common, f"network={name}", "network.depth=30"])
            run.train(experiment, lambda _: None)
            ends.append(run.rows_of(experiment)[-1]["nmse_db"])
        assert level == pytest.approx(min(ends), abs=1e-3)  # dB: the same algorithm, compiled for other shapes
        assert level < -1
