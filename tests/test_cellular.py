"""The 5G problems: SPEC 2.2, 2.3 in closed form against drawn samples, and the bounds of SPEC 7."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import slow
from scipy.stats import arcsine, binomtest, kstest

from onsager_cli.config.load import load_experiment
from onsager_cli.kinds.cellular import Cellular
from onsager_cli.metrics import nmse
from onsager_cli.problems import Problem, build, cellular
from onsager_cli.theory import bounds

pytestmark = pytest.mark.usefixtures("quick_compile")


def law(name: str, *overrides: str) -> Cellular:
    (curve,) = load_experiment([f"problem={name}", *overrides]).curves
    assert isinstance(curve.settings.problem, Cellular)
    return curve.settings.problem


FEW = ("problem.selection_samples=1", "problem.test_samples=1")
SMALL = ("problem.users=40", "problem.antennas=8", "problem.embedding=complex")

positions = jax.jit(cellular.active_positions, static_argnums=(1, 3))
sample = jax.jit(lambda problem, key, batch: problem.sample(key, batch), static_argnums=2)
signals = jax.jit(lambda draw, key, batch: draw.signals(key, batch), static_argnums=(0, 2))


def drawn(problem: Cellular, batch: int, seed: int = 5):
    """x and the power that an oracle knows, float64 or complex128."""
    x, known = signals(cellular.Draw(problem), jax.random.key(seed), batch)
    return bounds.double(np.asarray(x)), np.asarray(known, np.float64)


@partial(jax.jit, static_argnums=(1, 3))
def emphasized(problem: Problem, batch: int, emphasis: float, most: float | None):
    return problem.emphasized(jax.random.key(1), batch, emphasis, most)


def near(sample: np.ndarray, expected: float, independent: int) -> bool:
    """Whether the mean of `sample` is within five standard errors, with this many independent values in it."""
    return abs(sample.mean() - expected) <= 5 * sample.std() / np.sqrt(independent)


class TestNumbers:
    @pytest.mark.parametrize(
        ("name", "own", "other", "noise"),
        [*slow(("random_access", 15.358, None, 0.061431)), ("massive_mimo", 0.103387, 0.0031246, 6.1067e-4)],
    )
    def test_of_the_specification(self, name, own, other, noise):
        """E|x|² of an active user, in the mean over the angles, and σ_w² per real entry (SPEC 2.2, 2.3)."""
        problem = law(name)
        power = cellular.mean_power(problem)[:, 0]
        assert power[0] / problem.activity == pytest.approx(own, rel=1e-4)
        if other:
            np.testing.assert_allclose(power[problem.users :], other, rtol=1e-4)
        built = build(dataclasses.replace(problem, selection_samples=1, test_samples=1), 0)
        assert float(built.noise_variance) == pytest.approx(noise, rel=1e-4)
        assert built.A.shape == problem.shape
        np.testing.assert_allclose(np.abs(built.A), 1 / np.sqrt(128), rtol=1e-6)
        np.testing.assert_allclose(built.known_power, np.tile(power / 2, 2)[:, None], rtol=1e-6)

    @pytest.mark.slow
    def test_what_the_nmse_counts(self):
        assert build(law("random_access", *FEW), 0).reported is None
        reported = np.asarray(build(law("massive_mimo", *FEW), 0).reported)
        np.testing.assert_array_equal(reported[:, 0], np.arange(896) % 448 < 64)


class TestPlace:
    def test_distances_in_the_own_cell(self):
        """P(d <= ρ) is the area of the disc within the hexagon, over 2√3."""

        def below(rho):
            rho = np.clip(rho, 1e-9, 2 / np.sqrt(3))
            beyond = np.maximum(rho, 1)
            segment = beyond**2 * np.arccos(1 / beyond) - np.sqrt(beyond**2 - 1)
            return (np.pi * rho**2 - 6 * segment) / (2 * np.sqrt(3))

        x, y = np.asarray(cellular.hexagon(jax.random.key(0), 40_000), np.float64)
        assert below(2 / np.sqrt(3)) == pytest.approx(1)
        assert kstest(np.hypot(x, y), below).pvalue > 1e-3

    def test_uniform_in_the_hexagon(self):
        """Within its six sides, and alike in its twelve equal sectors."""
        z = np.array([1, 1j]) @ np.asarray(cellular.hexagon(jax.random.key(1), 60_000), np.float64)
        assert max(np.abs((z * np.exp(-1j * k * np.pi / 3)).real).max() for k in range(3)) <= 1 + 1e-6
        counts = np.bincount((np.angle(z) % (2 * np.pi) // (np.pi / 6)).astype(int), minlength=12)
        assert all(binomtest(int(n), 60_000, 1 / 12).pvalue > 1e-4 for n in counts)

    @pytest.mark.parametrize("neighbour", [False, True])
    @pytest.mark.parametrize("exponent", [*slow(2.0), 4.0])
    def test_mean_gain(self, neighbour, exponent):
        z = np.array([1, 1j]) @ np.asarray(cellular.hexagon(jax.random.key(2), 200_000), np.float64)
        square = 1 / (1 + np.abs(z + 2 * neighbour) ** exponent) ** 2
        assert near(square, cellular.mean_gain(exponent, neighbour), len(z))


class TestChannel:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("fading", "phase"), [("rician", "slope"), ("shared_direct", "slope"), ("shared_direct", "ula")]
    )
    def test_energy(self, fading, phase):
        """Of every antenna, both groups of users: the closed form is that of the drawn channels."""
        problem = law(
            "massive_mimo", *SMALL, f"problem.channel.fading={fading}", f"problem.channel.phase={phase}",
            "problem.channel.angle_spread=25",
        )  # fmt: skip
        x, known = drawn(problem, 8 * 1000)
        energy = (np.abs(x) ** 2).reshape(280, 1000, 8).mean(axis=2)
        for group, expected in (
            (slice(40), cellular.mean_power(problem)[0, 0]),
            (slice(40, 280), cellular.mean_power(problem)[-1, 0]),
        ):
            assert near(energy[group], expected, energy[group].size)
            assert near(known[group, ::8], expected, energy[group].size)
        # Antenna by antenna, with everybody at the base station: what the angles do alone.
        channel, count = problem.channel, 50_000
        re, im = np.asarray(cellular.by_angle(jax.random.key(3), channel, 8, count), np.float64)
        z = np.fft.ifft(re + 1j * im, axis=0) * 8
        for q in range(8):
            expected = cellular.mean_fading(channel, 8)
            if fading == "shared_direct":
                expected = 5.5 + 20 * cellular._coherence(channel, 8)[q]
            assert near(np.abs(z[q]) ** 2, expected, count)

    def test_one_antenna(self):
        """E Σ_p |h_p|² = 5.5 and five direct components in phase: 25.5."""
        assert cellular.mean_fading(law("random_access").channel, 1) == pytest.approx(25.5)

    def test_a_path_is_a_phase_slope_over_the_antennas(self):
        """Eq (48) with one path, without spread: |z_q| is constant, and z_{q+1}/z_q = exp(jψ)."""
        for phase in ("slope", "ula"):
            channel = law(
                "massive_mimo", f"problem.channel.phase={phase}", "problem.channel.paths=1", "problem.channel.angle_spread=0"
            ).channel  # fmt: skip
            re, im = np.asarray(cellular.by_angle(jax.random.key(4), channel, 16, 4000), np.float64)
            x = re + 1j * im
            # (50): z_q = Σ_l x_l exp(2πjlq/Nr)
            q = np.arange(16)
            z = np.exp(2j * np.pi * np.outer(q, q) / 16) @ x
            turns = z[1:] / z[:-1]
            np.testing.assert_allclose(turns, np.broadcast_to(turns[0], turns.shape), atol=1e-3)
            np.testing.assert_allclose(np.abs(turns), 1, atol=1e-3)
            angle = np.angle(turns[0]) / np.pi
            uniform = kstest(angle, lambda a: (a + 1) / 2).pvalue
            sine = kstest(angle, arcsine(loc=-1, scale=2).cdf).pvalue
            assert (uniform if phase == "slope" else sine) > 1e-3 > (sine if phase == "slope" else uniform)

    @pytest.mark.slow
    def test_angular_spread(self):
        """Of many antennas, one user's energy lies in as many angles as its paths spread over."""
        channel = law("massive_mimo", "problem.channel.angle_spread=90").channel
        re, im = np.asarray(cellular.by_angle(jax.random.key(6), channel, 256, 500), np.float64)
        energy = re**2 + im**2
        first = np.argmax(energy, axis=0)
        offset = (np.arange(256)[:, None] - first + 128) % 256 - 128
        within = np.sum(energy * (np.abs(offset) <= 68), axis=0) / energy.sum(axis=0)  # 90° are 64 of 256
        assert np.median(within) > 0.98
        assert np.mean(np.sum(energy * (np.abs(offset) <= 16), axis=0) / energy.sum(axis=0)) < 0.9

    @pytest.mark.parametrize("name", ["random_access", *slow("massive_mimo")])
    def test_circular_symmetry(self, name):
        """E x² = 0 and a uniform phase."""
        x, _ = drawn(law(name, "problem.users=40", "problem.embedding=complex"), 4000)
        values = x[x != 0][:: 64 if name == "massive_mimo" else 1]
        assert abs(np.mean(values**2)) < 5 * np.sqrt(np.mean(np.abs(values) ** 4) / len(values))
        assert kstest(np.angle(values) / (2 * np.pi) + 0.5, "uniform").pvalue > 1e-3


class TestMeasurements:
    @pytest.mark.slow
    @pytest.mark.parametrize(("name", "snr_db"), [("random_access", 10), *slow(("massive_mimo", 20))])
    def test_snr(self, name, snr_db):
        problem = build(law(name, "problem.selection_samples=1", "problem.test_samples=4096"), 0)
        A, (x, y) = np.asarray(problem.A, np.float64), (np.asarray(a, np.float64) for a in problem.test)
        w = y - A @ x
        assert 10 * np.log10(np.sum((A @ x) ** 2) / np.sum(w**2)) == pytest.approx(snr_db, abs=0.3)
        assert np.mean(w**2) == pytest.approx(float(problem.noise_variance), rel=0.01)

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["random_access", *slow("massive_mimo")])
    def test_real_embedding_is_the_complex_model(self, name):
        few = ("problem.users=30", "problem.selection_samples=20", "problem.test_samples=70")
        real, native = (build(law(name, *few, f"problem.embedding={e}"), 3) for e in ("real", "complex"))
        stacked = lambda a: np.concatenate([a.real, a.imag])  # noqa: E731
        np.testing.assert_array_equal(real.A, cellular.embed(np.asarray(native.A)))
        assert float(native.noise_variance) == pytest.approx(2 * float(real.noise_variance), rel=1e-6)
        for one, other in ((real.selection, native.selection), (real.test, native.test)):
            np.testing.assert_array_equal(one[0], stacked(np.asarray(other[0])))
            np.testing.assert_allclose(one[1], stacked(np.asarray(other[1])), atol=1e-5)
        known = [np.asarray(problem.test_power) for problem in (real, native)]
        np.testing.assert_allclose(known[0][: len(known[1])] * 2, known[1], rtol=1e-5)
        np.testing.assert_allclose(real.squared_norm(real.test[0]), native.squared_norm(native.test[0]), rtol=1e-5)
        assert native.A.dtype == native.test[1].dtype == jnp.complex64

    def test_sets_are_disjoint_and_follow_the_seed(self):
        small = law("random_access", "problem.users=30", "problem.selection_samples=20", "problem.test_samples=20")
        one, same, other = (build(small, seed) for seed in (1, 1, 2))
        assert not np.array_equal(one.selection[1], one.test[1])
        assert not np.array_equal(one.A, other.A)
        jax.tree.map(np.testing.assert_array_equal, one, same)


@pytest.mark.slow
class TestBounds:
    """SPEC 7, within 0.2 dB."""

    @staticmethod
    def nmse_db(problem, x_hat):
        x = np.asarray(problem.test[0])
        return nmse(problem.squared_norm(x_hat - x), problem.squared_norm(x))["nmse_db"]

    def test_random_access(self):
        problem = build(law("random_access", "problem.test_samples=3000"), 0)
        A, x, y = (np.asarray(a) for a in (problem.A, *problem.test))
        noise_variance = float(problem.noise_variance)
        linear = bounds.lmmse(A, y, noise_variance, np.asarray(problem.known_power))
        oracle = bounds.support_oracle(A, x, y, noise_variance, np.asarray(problem.test_power))
        assert self.nmse_db(problem, linear) == pytest.approx(-0.52, abs=0.2)
        assert self.nmse_db(problem, oracle) == pytest.approx(-20.6, abs=0.2)
        # The distances tell something: with one variance for all active users the estimate is worse.
        mean = float(cellular.mean_power(law("random_access"))[0, 0]) / 0.01 / 2
        blind = bounds.support_oracle(A, x, y, noise_variance, mean)
        assert self.nmse_db(problem, blind) > self.nmse_db(problem, oracle)

    def test_massive_mimo(self):
        problem = build(law("massive_mimo", "problem.selection_samples=1", "problem.test_samples=8192"), 0)
        x_hat = bounds.lmmse(
            np.asarray(problem.A), np.asarray(problem.test[1]), float(problem.noise_variance), np.asarray(problem.known_power)
        )  # fmt: skip
        assert self.nmse_db(problem, x_hat) == pytest.approx(-4.6, abs=0.2)
