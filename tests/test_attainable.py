"""What is attainable: algorithms against brute force and NumPy, which method wins where, notes, and what is reported."""

import dataclasses
import itertools
import json
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from onsager_cli.config.load import load_experiment
from onsager_cli.metrics import to_db
from onsager_cli.problems.frame import column_scales
from onsager_cli.problems.signals import GaussianMixture
from onsager_cli.run import attainable as surface
from onsager_cli.store.environment import one_blas_thread
from onsager_cli.store.problem_notes import ProblemNote
from onsager_cli.theory.attainable import Attainable, attainable
from onsager_cli.theory.matched_vamp import balanced_vamp, damped_vamp
from onsager_cli.theory.support_search import support_search


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


class TestSearch:
    @pytest.mark.parametrize("complex_", [False, True])
    def test_against_all_supports(self, complex_):
        A, noise, _, y = draw(12, 8, 20, gamma=0.15, snr_db=25, complex_=complex_)
        expected = brute_force(A, 0.15, 1.0, noise, y)
        found = support_search(A, 0.15, 1.0, noise, y)
        assert np.sum(np.abs(found - expected) ** 2) < 1e-4 * np.sum(np.abs(expected) ** 2)

    def test_the_number_of_samples_at_a_time_is_no_matter(self):
        A, noise, _, y = draw(40, 24, 30)
        whole = support_search(A, 0.1, 1.0, noise, y)
        np.testing.assert_allclose(support_search(A, 0.1, 1.0, noise, y[:, 26:]), whole[:, 26:], rtol=1e-6, atol=1e-9)

    @pytest.mark.slow
    @pytest.mark.parametrize(("how", "expected_db"), [({"N": 500, "M": 60, "gamma": 0.01}, -43.4),
                                                      ({"N": 250, "M": 125, "columns": 11}, -37.5),
                                                      ({"N": 250, "M": 125, "correlation": 0.9}, -40.1)])  # fmt: skip
    def test_the_problems_on_which_vamp_diverges(self, how, expected_db):
        A, noise, x, y = draw(L=60, **how)
        x_hat = support_search(A, how.get("gamma", 0.1), 1.0, noise, y)
        assert to_db(np.sum((x_hat - x) ** 2) / np.sum(x**2)) < expected_db + 0.5


class TestPrior:
    def test_moments_by_quadrature(self):
        prior, r, variance = bernoulli_gaussian(0.2, 1.7), np.linspace(-3, 3, 7)[:, None], 0.3
        x = np.linspace(-12, 12, 200_001)
        width = x[1] - x[0]
        slab = 0.2 * np.exp(-(x**2) / 3.4) / np.sqrt(3.4 * np.pi)
        log_density, mean, spread = prior.posterior(r, np.full((1, 1), variance))
        for n, value in enumerate(r[:, 0]):
            noise = np.exp(-((value - x) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
            off = 0.8 * np.exp(-(value**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
            density = np.sum(slab * noise) * width + off
            first, second = (np.sum(slab * noise * x**k) * width / density for k in (1, 2))
            np.testing.assert_allclose(log_density[n, 0], np.log(density), rtol=1e-6, atol=1e-8)
            np.testing.assert_allclose([mean[n, 0], spread[n, 0]], [first, second - first**2], rtol=1e-6, atol=1e-9)

    def test_complex_is_the_shrinkage_of_the_networks(self):
        import jax.numpy as jnp

        from onsager_cli.shrinkage.bernoulli_gaussian import bernoulli_gaussian as eta

        A, _, _, y = draw(10, 10, 6, complex_=True)
        r, sigma = A.T @ y, np.full((1, 6), 0.4)
        _, mean, spread = bernoulli_gaussian(0.1, 2.0, is_complex=True).posterior(r, sigma**2)
        theta = (jnp.float32(2), jnp.float32(np.log(9)))
        x_hat, slope = eta(jnp.asarray(r, jnp.complex64), jnp.asarray(sigma, jnp.float32), theta)
        np.testing.assert_allclose(mean, x_hat, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(np.mean(spread / sigma**2, axis=0), np.asarray(slope)[0], rtol=1e-3)


class TestVamp:
    @pytest.mark.parametrize("complex_", [False, True])
    def test_it_converges_near_the_oracle(self, complex_):
        A, noise, x, y = draw(200, 120, 60, complex_=complex_)
        *_, x_hat = damped_vamp(A, bernoulli_gaussian(0.1, is_complex=complex_), noise, y, 20)
        assert to_db(np.sum(np.abs(x_hat - x) ** 2) / np.sum(np.abs(x) ** 2)) < -44

    def test_balanced_is_vamp_for_scaled_coordinates(self):
        A, noise, _, y = draw(60, 40, 10, columns=11)
        c, prior = column_scales(A), bernoulli_gaussian(0.1)
        np.testing.assert_allclose(np.ptp(np.linalg.norm(A / c.T, axis=0)), 0, atol=1e-12)
        one = list(balanced_vamp(A, prior, noise, y, 5))[-1]
        other = list(damped_vamp(A / c.T, bernoulli_gaussian(0.1).scaled(c), noise, y, 5))[-1] / c
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)

    def test_no_noise_and_columns_of_zeros(self):
        A, _, x, _ = draw(60, 40, 10)
        A[:, 7] = 0
        for algorithm in (damped_vamp, balanced_vamp):
            *_, x_hat = algorithm(A, bernoulli_gaussian(0.1), 0.0, A @ x, 30)
            assert np.isfinite(x_hat).all()


class TestAttainable:
    def test_correlated_columns_need_damping(self):
        A, noise, x, y = draw(200, 100, 80, correlation=0.9, seed=1)
        found = attainable(A, _Opaque(bernoulli_gaussian(0.1)), noise, x, y)
        assert found is not None
        assert found.method == "damped VAMP"
        assert found.nmse_db < -38
        assert found.oracle_db is found.state_evolution_db is None
        untrained = found.untrained(3)
        assert untrained is not None
        name, level = untrained
        assert name == "damped VAMP"
        assert found.nmse_db < level < -8

    def test_columns_of_different_norms_need_balance(self):
        A, noise, x, y = draw(200, 100, 80, columns=11, seed=1)
        found = attainable(A, _Opaque(bernoulli_gaussian(0.1)), noise, x, y)
        assert found is not None
        assert "balanced VAMP" in found.method
        assert found.nmse_db < -36

    def test_few_active_entries_are_searched_for(self):
        A, noise, x, y = draw(100, 40, 40, gamma=0.03, seed=2)
        found = attainable(A, bernoulli_gaussian(0.03), noise, x, y)
        assert found is not None
        assert {"support search"} <= set(found.methods)
        assert found.oracle_db is not None
        assert found.oracle_db - 0.5 < found.nmse_db < found.oracle_db + 1.5
        assert Attainable(**json.loads(json.dumps(found.as_json()))) == dataclasses.replace(found, seconds=0.0)

    @pytest.mark.slow
    def test_state_evolution_agrees_for_a_large_matrix(self):
        A, noise, x, y = draw(500, 250, 400)
        found = attainable(A, bernoulli_gaussian(0.1), noise, x, y)
        assert found is not None
        assert found.state_evolution_db is not None
        assert abs(found.state_evolution_db - found.methods["VAMP"]) < 0.3
        assert found.seconds < 60

    def test_only_reported_coordinates_count(self):
        A, noise, x, y = draw(60, 40, 40)
        reported = (np.arange(60) < 30)[:, None]
        found = attainable(A, _Opaque(bernoulli_gaussian(0.1)), noise, x, y, reported=reported)
        hidden = x.copy()
        hidden[30:] = 99
        again = attainable(A, _Opaque(bernoulli_gaussian(0.1)), noise, hidden, y, reported=reported)
        assert found is not None
        assert again is not None
        assert found.nmse_db == again.nmse_db

    def test_a_large_matrix_is_left_out(self):
        A = np.broadcast_to(1.0, (2001, 2000))
        assert attainable(A, bernoulli_gaussian(0.1), 1.0, np.ones((2000, 1)), np.ones((2001, 1))) is None


class _Opaque:
    """A prior of which only the posterior is known: nothing is searched."""

    def __init__(self, prior):
        self.inner, self.power, self.posterior = prior, prior.power, prior.posterior

    def scaled(self, c):
        return _Opaque(self.inner.scaled(c))


class TestNote:
    def test_it_is_made_once(self, tmp_path):
        made = []

        def ask():
            note = ProblemNote(tmp_path, "toy", {"a": 1})
            assert note.made(lambda: made.append(1) or {"nmse_db": -3.5}) == {"nmse_db": -3.5}

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(made) == 1
        assert ProblemNote(tmp_path, "toy", {"a": 2}).read() is None

    def test_a_damaged_one_is_made_again(self, tmp_path):
        note = ProblemNote(tmp_path, "toy", {"a": 1})
        note.made(lambda: {"nmse_db": -3.5})
        note.path.write_text(note.path.read_text().replace("-3.5", "-4.5"))
        assert note.read() is None
        assert note.made(lambda: {"nmse_db": -5.5}) == {"nmse_db": -5.5}


def found(**more):
    return Attainable(**{
        "nmse_db": -36.4, "se_db": 0.1, "method": "damped VAMP", "samples": 100, "methods": {"damped VAMP": -36.4},
        "levels": {"damped VAMP": [-5.0, -20.0, -36.4]}, "oracle_db": -40.0, "state_evolution_db": None, "seconds": 1.0,
        **more,
    })  # fmt: skip


class TestWords:
    def events(self, nmse_db, layer=2, *words, columns=1.0):
        problem: Any = SimpleNamespace(A=np.eye(3) * np.array([1, 1, columns]))
        curve = load_experiment([*TOY, *words]).curves[0]
        events = surface.compared(curve, {"layer": layer, "nmse_db": nmse_db, "nmse_db_se": 0.1}, found(), problem)
        return [(event["event"], str(event["message"])) for event in events]

    def test_the_gap(self):
        ((_, line),) = self.events(-35.9, 3)
        assert line == "ends at -35.9 dB, 0.5 dB above what is attainable (damped VAMP, -36.4 dB)"
        assert "0.6 dB below" in self.events(-37.0, 3)[0][1]

    def test_few_layers_get_more(self):
        ((_, line),) = self.events(-20.2)
        assert line.endswith("; what may help: more layers (network.depth)")

    def test_advice_fits_the_network(self):
        (_, line), (kind, warning) = self.events(-18.0, 2, "network=lamp", "shrinkage=bg", columns=8.0)
        advice = line.partition("help: ")[2]
        for words in ("shrinkage=pwlin", "network=lvamp", "norms differ by a factor of 8.0", "network.tied=false"):
            assert words in advice
        assert kind == "warning"
        assert "above the -20.0 dB of damped VAMP after 2 iterations" in warning
        _, other = self.events(-18.0, 2, "network=lvamp", "network.tied=false")[0]
        assert "lvamp" not in other
        assert "pwlin" not in other
        assert "tied" not in other
