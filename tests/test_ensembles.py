"""Matrices by name, complex matrices, and laws of the noise."""

import numpy as np
import pytest
from synthetic_problems import made

from onsager_cli import UserError, problem
from onsager_cli.problems.ensembles import ensemble
from onsager_cli.problems.noise import NoiseLaw

NAMES = ["bernoulli", "zero_one", "dct", "fourier", "correlated", "toeplitz"]


@pytest.mark.parametrize("name", NAMES)
def test_an_ensemble_has_its_shape_and_its_seed(name):
    A = ensemble(name, 3, 20, 50, 0.5)
    assert A.shape == (20, 50)
    assert A.dtype == (np.complex64 if name == "fourier" else np.float32)
    assert np.array_equal(A, ensemble(name, 3, 20, 50, 0.5))
    assert not np.array_equal(A, ensemble(name, 4, 20, 50, 0.5))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "zero_one"])
def test_the_energy_is_nominal(name):
    energy = np.mean([np.sum(np.abs(ensemble(name, seed, 40, 80, 0.9)) ** 2) for seed in range(20)])
    assert energy == pytest.approx(80, rel=0.1)  # toeplitz has 119 independent numbers a draw


@pytest.mark.parametrize("name", ["dct", "fourier"])
def test_rows_of_a_transform_are_orthogonal(name):
    A = ensemble(name, 0, 20, 50).astype(np.complex128)
    np.testing.assert_allclose(A @ A.conj().T, 2.5 * np.eye(20), atol=1e-5)


def test_neighbouring_columns_have_the_correlation():
    A = ensemble("correlated", 0, 4000, 3, 0.9)
    assert np.corrcoef(A.T)[0, 1] == pytest.approx(0.9, abs=0.02)
    assert np.corrcoef(A.T)[0, 2] == pytest.approx(0.81, abs=0.03)


def test_toeplitz_is_constant_along_diagonals():
    A = ensemble("toeplitz", 0, 5, 7)
    assert np.array_equal(A[1:, 1:], A[:-1, :-1])


class TestNoise:
    def of(self, **keys):
        made_problem = made(M=100, N=200, test_samples=2000, **keys)
        x, y = (np.asarray(a, np.float64) for a in made_problem.test)
        clean = np.asarray(made_problem.A, np.float64) @ x
        return np.sum(clean**2, axis=0), np.sum((y - clean) ** 2, axis=0), made_problem

    @pytest.mark.slow
    def test_a_variance_instead_of_an_snr(self):
        _, noise, made_problem = self.of(noise_variance=0.02)
        assert noise.mean() / 100 == pytest.approx(0.02, rel=0.02)
        assert float(made_problem.noise_variance) == pytest.approx(0.02)

    @pytest.mark.slow
    def test_no_noise_at_all(self):
        signal, noise, made_problem = self.of(noise_variance=0.0)
        assert noise.sum() < 1e-12 * signal.sum()  # float32
        assert 0 < float(made_problem.noise_variance) < 1e-10

    @pytest.mark.slow
    def test_every_sample_has_the_snr(self):
        signal, noise, _ = self.of(noise="per_sample", snr_db=20.0)
        levels = 10 * np.log10(signal / noise)
        assert levels.mean() == pytest.approx(20, abs=0.1)
        assert levels.std() < 0.8  # 100 entries of noise each: 4.3/√50

    @pytest.mark.slow
    def test_an_snr_is_drawn_for_every_sample(self):
        signal, noise, made_problem = self.of(noise="per_sample", snr_db=[5.0, 40.0])
        levels = 10 * np.log10(signal / noise)
        assert levels.min() < 8
        assert levels.max() > 37
        assert levels.mean() == pytest.approx(22.5, abs=1)
        # 2000 draws between 5 and 40 dB
        assert float(made_problem.noise_variance) == pytest.approx(noise.mean() / 100, rel=0.15)

    def test_the_mean_of_a_range(self):
        levels = np.linspace(5, 40, 100_001)
        assert NoiseLaw(5, 40).mean == pytest.approx(np.mean(10 ** (-levels / 10)), rel=1e-4)

    def test_a_range_is_two_numbers_in_rising_order(self):
        for wrong in ([40, 5], [5], [1, 2, 3]):
            with pytest.raises(UserError, match=r"problem.snr_db must be .*rising order, got"):
                problem("gaussian", snr_db=wrong)


class TestComplex:
    @pytest.mark.slow
    def test_the_real_embedding_is_the_same_problem(self):
        rng = np.random.default_rng(0)
        A = (rng.normal(size=(20, 40)) + 1j * rng.normal(size=(20, 40))).astype(np.complex64)
        whole, real = (made(A, ensemble="given", embedding=name, test_samples=3000) for name in ("complex", "real"))
        assert whole.A.shape == (20, 40)
        assert real.A.shape == (40, 80)
        assert float(real.noise_variance) == pytest.approx(float(whole.noise_variance) / 2, rel=1e-5)
        assert real.mean_power is not None
        assert whole.mean_power is not None
        assert float(real.mean_power) == pytest.approx(float(whole.mean_power) / 2)
        x, y = (np.asarray(a) for a in real.test)
        x, y = (a[: len(a) // 2] + 1j * a[len(a) // 2 :] for a in (x, y))
        snr = np.sum(np.abs(A @ x) ** 2) / np.sum(np.abs(y - A @ x) ** 2)
        assert 10 * np.log10(snr) == pytest.approx(30, abs=0.3)
        # real and imaginary part of a coefficient are active together
        assert np.array_equal(x.real != 0, x.imag != 0)

    @pytest.mark.slow
    def test_fourier_rows_are_complex_without_a_word(self):
        built = problem("gaussian", N=40, M=20, ensemble="fourier", test_samples=50)
        assert np.iscomplexobj(built.A)
        assert np.iscomplexobj(built.test[0])


class TestNoiseOfEachSample:
    """Networks whose linear stage uses σ_w² estimate it for each sample."""

    def built(self, *words, network="vamp"):
        from onsager_cli.config.load import load_experiment
        from onsager_cli.run import problem_of
        from onsager_cli.training.networks_on_disk import network_of

        sizes = ["problem.N=200", "problem.M=100", "problem.test_samples=400", "network.damping=null"]
        (curve,) = load_experiment([f"network={network}", *sizes, *words]).curves
        return curve.settings, network_of(curve.settings), problem_of(curve)

    @pytest.mark.slow
    def test_vamp_finds_the_noise_of_each_sample(self):
        from onsager_cli.networks.layers import trace

        _, net, built = self.built("problem.snr_db=[10,35]")
        x, y = (np.asarray(a, np.float64) for a in built.test)
        true = np.mean((y - np.asarray(built.A, np.float64) @ x) ** 2, axis=0)
        state, _ = trace(net, built, net.start(built, 12), built.test.y, 12)[-1]
        error_db = 10 * np.log10(np.asarray(state.noise)[0] / true)
        # 100 measurements, of which some 20 serve the support: 0.7 dB, and a few samples that are not solved
        assert np.median(np.abs(error_db)) < 1.5

    @pytest.mark.slow
    def test_it_is_better_than_one_noise_variance_for_all(self):
        from dataclasses import replace

        from onsager_cli.theory import iterate

        _, net, built = self.built("problem.snr_db=[5,40]")
        levels = []
        for each in (net, replace(net, noise_of_each=False)):
            errors, powers = iterate.run(each, built, 15, "highest")
            levels.append(10 * np.log10(np.mean(errors[-1] / powers)))
        assert levels[0] < levels[1] - 1

    @pytest.mark.slow
    def test_tables_say_what_a_network_is_told(self):
        from onsager_cli.config.told import told

        assert told(self.built("problem.snr_db=[5,40]")[0]) == "A, prior, noise of each sample estimated"
        assert told(self.built("problem.ensemble=dct")[0]) == "A, prior, noise"
        assert told(self.built("problem.ensemble=dct", network="em_vamp")[0]) == "A"
        assert told(self.built("problem.ensemble=dct", network="lvamp")[0]) == "A, training samples"
