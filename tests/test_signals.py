"""Laws of the coefficients of x: posteriors against quadrature, samples against moments, settings against mistakes."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import slow
from scipy import stats

from onsager_cli.config.load import load_experiment
from onsager_cli.errors import UserError
from onsager_cli.networks import build as build_network
from onsager_cli.networks.layers import squared_errors
from onsager_cli.problems import linear, signals
from onsager_cli.problems.bernoulli_gaussian import Draw, SignalDraw, law
from onsager_cli.problems.signals.em import fit_mixture
from onsager_cli.theory import state_evolution

ROOT_HALF = math.sqrt(0.5)
# Options → density of active coefficients.
LAWS: Any = stats
DENSE: dict[str, Any] = {
    "signal=laplace": LAWS.laplace(scale=ROOT_HALF).pdf,
    "signal=laplace problem.gamma=0.2": LAWS.laplace(scale=ROOT_HALF).pdf,
    "signal=exponential problem.gamma=0.1": LAWS.expon(scale=ROOT_HALF).pdf,
    "signal=half_normal": LAWS.halfnorm.pdf,
    "signal=half_normal problem.gamma=0.3": LAWS.halfnorm.pdf,
    "signal=student_t signal.dof=3 signal.scale=1": LAWS.t(3).pdf,
    "signal=mixture signal.means=[-1,2] problem.gamma=0.4": lambda x: (
        0.9 * stats.norm.pdf(x, -1, 0.1) + 0.1 * stats.norm.pdf(x, 2, 1)
    ),
    "signal.mean=0.5 signal.variance=2": LAWS.norm(0.5, 2**0.5).pdf,
}
LETTERS = ("signal=rademacher", "signal=alphabet signal.values=[-3,-1,1,3] signal.probabilities=[0.1,0.4,0.4,0.1]",
           "signal=bpsk problem.gamma=1")  # fmt: skip
COMPLEX = ("signal=qpsk", "signal=qam16", "signal=alphabet signal.values=[1,[0,1]]")
NODES, WEIGHTS = np.polynomial.legendre.leggauss(60)


def problem_of(words: str) -> Any:
    return load_experiment(words.split()).curves[0].settings.problem


def signal_of(words: str) -> signals.Signal:
    return signals.of(problem_of(words))


def integrated(density, gamma: float, r: float, sigma: float) -> tuple[float, float, float]:
    """log p(r), E[x|r] and var(x|r) by composite quadrature over x."""
    around = np.linspace(r - 8 * sigma, r + 8 * sigma, 9)
    scales = np.geomspace(0.01, 5000, 26)
    edges = np.unique(np.clip([*around, *scales, *-scales, 0, -9000, 9000], -9000, 9000))
    half = np.diff(edges)[:, None] / 2
    x, mass = (edges[:-1, None] + half * (1 + NODES)).ravel(), (half * WEIGHTS).ravel()
    with np.errstate(divide="ignore"):
        on = np.log(gamma * density(x)) - (r - x) ** 2 / (2 * sigma**2)
        off = np.log(1 - gamma) - r**2 / (2 * sigma**2)
    top = max(on.max(), off)
    mass, x = np.append(mass * np.exp(on - top), np.exp(off - top)), np.append(x, 0)
    total = mass.sum()
    mean = mass @ x / total
    log_density = top + math.log(total) - math.log(sigma * math.sqrt(2 * math.pi))
    return log_density, mean, mass @ (x - mean) ** 2 / total


class TestPosterior:
    @pytest.mark.parametrize("words", DENSE)
    def test_closed_forms_are_the_integrals(self, words):
        """To 1e-8, which the quadrature reaches; Student's t to 1e-6, the error of its mixture."""
        signal = signal_of(words)
        worst = 1e-6 if "student" in words else 1e-8
        for sigma in (0.01, 0.3, 3.0, 100.0):
            for r in (0.0, 0.5 * sigma, -2 * sigma, 5 * sigma, -5 * sigma, 30 * sigma, 1.0):
                expected = integrated(DENSE[words], signal.gamma, r, sigma)
                found = signal.posterior(np.array([r]), sigma**2)
                np.testing.assert_allclose(np.ravel(found), expected, rtol=worst, atol=worst * min(sigma, 1) ** 2)

    @pytest.mark.parametrize("words", [*LETTERS, *COMPLEX])
    def test_of_alphabets_is_bayes(self, words):
        signal, settings = signal_of(words), problem_of(words).signal
        values = [-1, 1] if settings.kind == "rademacher" else [complex(*pair) for pair in settings.values]
        weights = getattr(settings, "probabilities", None) or [1 / len(values)] * len(values)
        values, weights = np.array([0, *values]), np.array([1 - signal.gamma, *(signal.gamma * np.array(weights))])
        r = (0.7 + 0.2j) if signal.complex else 0.7
        scale = 0.5
        if signal.complex:
            terms = weights * np.exp(-(np.abs(r - values) ** 2) / scale) / (np.pi * scale)
        else:
            terms = weights * stats.norm.pdf(r, np.real(values), scale**0.5)
        mean = terms @ values / terms.sum()
        found = signal.posterior(np.array([r]), scale)
        expected = math.log(terms.sum()), mean, terms @ np.abs(values - mean) ** 2 / terms.sum()
        np.testing.assert_allclose(np.ravel(found), expected, rtol=1e-12)

    @pytest.mark.slow
    @pytest.mark.parametrize("words", [*DENSE, *LETTERS])
    def test_single_precision_far_out(self, words):
        """r up to 1000 σ, σ from 1e-4 to 100: finite, and within rounding of double precision.

        The exponent r²/σ² = 1e6 has a rounding error of 0.06, so that where two components are alike the mean may be
        off by some per cent of σ: below 1e-3 of |r|.
        """
        signal = signal_of(words)
        compiled = jax.jit(signal.posterior)
        for sigma in (1e-4, 1e-2, 1.0, 100.0):
            r = (np.concatenate([np.linspace(-1000, 1000, 41), np.linspace(-8, 8, 41)]) * sigma).astype(np.float32)
            v = np.float32(sigma**2)
            found, exact = compiled(jnp.asarray(r), v), signal.posterior(r, float(v))
            assert all(np.isfinite(np.asarray(part)).all() for part in found)
            assert all(part.dtype == jnp.float32 for part in found)
            assert np.max(np.abs(found.mean - exact.mean) / (np.abs(r) + sigma)) < 1e-3

    def test_blocks(self):
        """A block of one is a coefficient; the posterior of a longer one is that of its energy."""
        r = np.random.default_rng(0).normal(size=(12, 3))
        one, alone = signal_of("signal=block signal.length=1"), signal_of("problem.gamma=0.1")
        for a, b in zip(one.posterior(r, 0.2), alone.posterior(r, 0.2), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
        longer = signal_of("signal=block signal.length=4").posterior(r, 0.2)
        first = r[:4, 0]
        on, off = 0.1 * np.prod(stats.norm.pdf(first, 0, 1.2**0.5)), 0.9 * np.prod(stats.norm.pdf(first, 0, 0.2**0.5))
        active, wiener = on / (on + off), first / 1.2
        np.testing.assert_allclose(longer.mean[:4, 0], active * wiener)
        np.testing.assert_allclose(longer.variance[:4, 0], active * (0.2 / 1.2 + (1 - active) * wiener**2))
        assert longer.log_density[:4, 0].sum() == pytest.approx(math.log(on + off))

    @pytest.mark.parametrize("words", ["signal=laplace", "signal=rademacher", "signal=qpsk"])
    def test_scaled(self, words):
        signal, c = signal_of(words), np.array([[2.0], [0.5]])
        r = np.random.default_rng(0).normal(size=(2, 5)) + (0.3j if signal.complex else 0)
        found, base = signal.scaled(c).posterior(r, 0.3), signal.posterior(r / c, 0.3 / c**2)
        np.testing.assert_allclose(found.mean, c * base.mean)
        np.testing.assert_allclose(found.variance, c**2 * base.variance)
        both = signal.scaled(2.0).scaled(0.5).posterior(r, 0.3)
        np.testing.assert_allclose(both.log_density, signal.posterior(r, 0.3).log_density)
        np.testing.assert_allclose(signal.scaled(c).power, c**2 * signal.power)


class TestDraw:
    @pytest.mark.slow
    @pytest.mark.parametrize("words", [*DENSE, *LETTERS, *COMPLEX, "signal=block"])
    def test_moments(self, words):
        """200,000 draws: activity to 3 %, power to 5 % (Student's t with 3 degrees has no fourth moment: 30 %)."""
        signal = signal_of(words)
        x = np.asarray(jax.jit(signal.draw, static_argnums=1)(jax.random.key(0), (500, 400)))
        assert x.dtype == (np.complex64 if signal.complex else np.float32)
        assert np.mean(x != 0) == pytest.approx(signal.gamma, rel=0.03)
        assert np.mean(np.abs(x) ** 2) == pytest.approx(signal.power, rel=0.3 if "student" in words else 0.05)
        more = np.asarray(signal.draw(jax.random.key(0), (500, 400), 0.5))
        assert np.mean(more != 0) == pytest.approx(0.5, rel=0.03)

    def test_the_default_stays_what_it_was(self):
        assert law(problem_of("problem.gamma=0.1")) == Draw(0.1)
        assert law(problem_of("signal=bernoulli_gaussian signal.mean=0")) == Draw(0.1)

    @pytest.mark.slow
    @pytest.mark.parametrize("words", ["signal=rademacher", "signal=block", "signal=qpsk"])
    def test_emphasis_is_undone_by_its_weights(self, words):
        """E weight = 1, and E weight ‖x‖² = N E|x|², within 4 standard errors."""
        draw = law(problem_of(f"{words} problem.N=20 problem.M=10"))
        assert isinstance(draw, SignalDraw)
        kind = np.complex64 if draw.signal.complex else np.float32
        empty = linear.Samples(jnp.zeros((20, 0)), jnp.zeros((10, 0)))
        problem = linear.Problem(jnp.ones((10, 20), kind) / 4, jnp.float32(0.01), empty, empty, draw)
        x, y, weight = draw.emphasized(problem, jax.random.key(1), 20_000, 2.0, 2.0)
        weight = np.asarray(weight, np.float64)
        energy = np.sum(np.abs(np.asarray(x)) ** 2, axis=0)
        assert y.dtype == kind
        assert np.mean(np.asarray(x) != 0) > 1.5 * draw.signal.gamma
        for value, expected in ((weight, 1), (weight * energy, 20 * draw.power)):
            assert abs(value.mean() - expected) < 4 * value.std() / math.sqrt(len(value))

    @pytest.mark.slow
    def test_noise_has_its_variance(self):
        for words in ("signal=rademacher", "signal=qpsk"):
            draw = law(problem_of(words))
            empty = linear.Samples(jnp.zeros((20, 0)), jnp.zeros((10, 0)))
            problem = linear.Problem(jnp.zeros((10, 20)), jnp.float32(0.25), empty, empty, draw)
            _, w = draw(problem, jax.random.key(0), 4000)
            assert np.mean(np.abs(np.asarray(w)) ** 2) == pytest.approx(0.25, rel=0.03)


class TestFile:
    @pytest.fixture
    def own(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        rng = np.random.default_rng(0)
        x = rng.normal(size=(40, 200)) * (rng.uniform(size=(40, 200)) < 0.25)
        np.save("x.npy", x)
        return x

    WORDS = "signal=file problem.N=40 problem.M=20"

    def test_parts_never_overlap(self, own):
        signal = signal_of(self.WORDS)
        parts = [signal.of(name).columns for name in ("training", "selection", "test")]  # type: ignore[attr-defined]
        assert [part.shape[1] for part in parts] == [160, 20, 20]
        columns = {tuple(column) for part in parts for column in part.T}
        assert columns == {tuple(column) for column in own.astype(np.float32).T}
        again = signals.of(problem_of(self.WORDS), seed=1)
        assert again != signal
        assert signal == signal_of(self.WORDS)
        assert hash(signal) == hash(signal_of(self.WORDS))

    def test_draws_columns(self, own):
        signal = signal_of(self.WORDS)
        drawn = np.asarray(signal.draw(jax.random.key(0), (40, 30)))
        known = {tuple(column) for column in signal.columns.T}  # type: ignore[attr-defined]
        assert {tuple(column) for column in drawn.T} <= known
        held = signal.of("test")  # type: ignore[attr-defined]
        np.testing.assert_array_equal(held.draw(jax.random.key(0), (40, 20)), held.columns)
        assert not problem_of(self.WORDS).hard_samples

    def test_posterior_is_near_that_of_the_law(self, own):
        signal, true = signal_of(self.WORDS), signal_of("problem.gamma=0.25")
        r = np.linspace(-3, 3, 61)
        found, expected = signal.posterior(r, 0.05), true.posterior(r, 0.05)
        assert np.mean((found.mean - expected.mean) ** 2 * np.exp(expected.log_density)) < 2e-3
        assert signal.power == pytest.approx(np.mean(own**2), rel=0.1)

    def test_transposed_complex_and_by_content(self, own):
        before = load_experiment(self.WORDS.split()).curves[0].identity
        np.save("t.npy", own.T)
        assert signal_of(f"{self.WORDS} signal.file=t.npy").gamma == pytest.approx(0.25, rel=0.1)
        np.save("x.npy", 1j * own)
        assert signal_of(self.WORDS).complex
        assert load_experiment(self.WORDS.split()).curves[0].identity != before

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            ("problem.N=30", r"signal.file=x.npy is 40 x 200, and problem.N=30 is neither: add problem.N=40"),
            ("signal.file=no.npy", r"signal.file: there is no file 'no.npy'"),
            ("signal.file=x.jpg", r"signal.file must end in"),
            ("signal.split=[0.9,0.2,0.1]", r"signal.split must be three fractions"),
            ("signal.split=[0.9,0.001,0.001]", r"too few for signal.split"),
            ("signal.name=z", r"has no array z"),
        ],
    )
    def test_mistakes(self, own, words, says):
        with pytest.raises(UserError, match=says) as caught:
            signal_of(f"signal=file problem.M=20 {words}" + (" problem.N=40" * ("problem.N" not in words)))
        assert "\n" not in str(caught.value)


class TestSettings:
    @pytest.mark.parametrize(
        ("words", "says"),
        [
            ("problem=random_access signal=laplace", "signal=laplace does not apply to problem.kind=cellular"),
            ("problem=massive_mimo signal.variance=2", "signal=bernoulli_gaussian does not apply"),
            ("signal=rademacher problem.instance=authors2017", "has Bernoulli-Gaussian signals of mean 0 and variance 1"),
            ("signal=laplace problem.gamma=2", "problem.gamma must be above 0 and at most 1, got 2"),
            ("signal=block problem.gamma=1", "problem.gamma must be between 0 and 1, both excluded, got 1"),
            ("signal=block signal.length=7", "problem.N=500 must be a multiple of signal.length=7"),
            ("signal=mixture signal.weights=[0.5,0.6]", "signal.weights must sum to 1, got .0.5, 0.6."),
            ("signal=mixture signal.means=[1]", "signal.weights must hold as many numbers as signal.means, 1"),
            ("signal=mixture signal.variances=[1]", "signal.variances must hold as many numbers as signal.means, 2"),
            ("signal=alphabet signal.values=[0,1]", "signal.values must be different nonzero values"),
            ("signal=alphabet signal.values=[a]", "signal.values must be a list of numbers such as"),
            ("signal=alphabet signal.probabilities=[1]", "signal.probabilities must hold as many numbers as signal.values"),
            ("signal=student_t signal.dof=2", "signal.dof must be greater than 2, got 2"),
            ("signal=laplace signal.scale=-1", "signal.scale must be at least 1e-06, got -1"),
            ("signal=lapalce", "unknown signal 'lapalce' .did you mean laplace"),
            ("signal.kind=laplace", "would keep the other keys of the old signal: write signal=laplace"),
            ("signal=laplace signal.scael=1", "unknown key 'signal.scael' .did you mean signal.scale"),
            ("problem.gamma=1", "both excluded, got 1"),
            ("problem.gamma=null", "both excluded, got null"),
        ],
    )  # fmt: skip
    def test_mistakes(self, words, says):
        with pytest.raises(UserError, match=says) as caught:
            load_experiment(words.split())
        assert "\n" not in str(caught.value)

    def test_the_default_is_no_part_of_an_identity(self):
        (plain,), (named,) = load_experiment([]).curves, load_experiment(["signal=bernoulli_gaussian"]).curves
        assert "signal" not in plain.identity["problem"]
        assert plain.identity == named.identity
        (other,) = load_experiment(["signal.variance=2"]).curves
        assert other.identity["problem"]["signal"] == {"kind": "bernoulli_gaussian", "mean": 0.0, "variance": 2.0}

    def test_complex_values_are_numbers_texts_or_pairs(self):
        words = ["signal=alphabet", 'signal.values=[1,"1+1j",[0,-1]]']
        problem = load_experiment(words).curves[0].settings.problem
        assert problem.signal.values == ((1, 0), (1, 1), (0, -1))  # type: ignore[union-attr]
        assert problem.complex_signals


def test_mixtures_are_fitted_by_em():
    rng = np.random.default_rng(0)
    x = np.where(rng.uniform(size=20_000) < 0.3, rng.normal(-2, 0.5, 20_000), rng.normal(1, 1, 20_000))
    weights, means, variances = fit_mixture(x, 2)
    np.testing.assert_allclose([weights[0], *means, *variances], [0.3, -2, 1, 0.25, 1], rtol=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "signal=rademacher problem.snr_db=10",  # at 30 dB, both are exact
        "signal=laplace problem.gamma=0.1",
        "signal=exponential problem.gamma=0.1",
        "signal=half_normal problem.gamma=0.1",
        "signal=mixture problem.gamma=0.1",
        "signal.mean=1",
    ],
)
def test_matched_vamp_ends_where_state_evolution_does(words):
    """Its fixed point within 0.3 dB, at N = 2000, M = 1000, γ = 0.1, 30 dB."""
    N, M, T = 2000, 1000, 20
    size = ["problem.snr_db=30"] * ("snr_db" not in words) + [f"problem.N={N}", f"problem.M={M}"]
    settings: Any = load_experiment(["network=vamp", f"network.depth={T}", *size, *words.split()]).curves[0].settings
    A, signal, snr_db = linear.gaussian_matrix(0, M, N, None), signals.of(settings.problem), settings.problem.snr_db
    noise = linear.noise_variance(N, M, signal.power, snr_db)
    s = np.linalg.svd(A.astype(np.float64), compute_uv=False)
    expected = state_evolution.vamp(signal, state_evolution.conditional_mean(signal), noise, s, N, T)
    built = linear.build(law(settings.problem), A=A, snr_db=snr_db, seed=0, selection_samples=1, test_samples=96)
    net = build_network(settings.network, settings.shrinkage, settings.problem)
    with jax.default_matmul_precision("highest"):
        errors = jax.jit(squared_errors, static_argnums=0)(net, built, net.start(built, T), *built.test, T)
    levels = 10 * np.log10(np.sum(errors, axis=1) / np.sum(np.square(built.test.x)))
    assert levels[-1] == pytest.approx(expected[-1], abs=0.3)


@pytest.mark.parametrize(
    "words", ["signal=laplace", *slow("signal=rademacher", "signal=half_normal problem.gamma=0.2")]
)
def test_state_evolution_against_samples(words):
    """E var(x|r) and ν of the posterior mean, within 2 % of 200,000 draws."""
    signal, tau = signal_of(words), 0.4
    x = np.asarray(signal.draw(jax.random.key(0), (500, 400)), np.float64).ravel()
    z = np.random.default_rng(0).normal(size=x.shape)
    mean = signal.posterior(x + tau * z, tau**2).mean
    error, nu = state_evolution.denoising(signal, state_evolution.conditional_mean(signal), tau, tau)
    assert error == pytest.approx(np.mean((mean - x) ** 2), rel=0.02)
    assert nu == pytest.approx(np.mean(mean * z) / tau, rel=0.02)
