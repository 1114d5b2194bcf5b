"""The convolutional control: its convolution against NumPy's, its gradient, and its place among the networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import toy_overrides

from onsager_cli import run
from onsager_cli.config.load import load_experiment
from onsager_cli.networks.cnn import Cnn, convolve
from onsager_cli.networks.layers import estimate
from onsager_cli.problems import Problem, Samples

pytestmark = pytest.mark.usefixtures("quick_compile")


def no_draw(*_):
    raise NotImplementedError


@pytest.mark.parametrize("width", [1, 2, 4, 5, 11])
def test_convolution(x64, width):
    rng = np.random.default_rng(0)
    h, kernel = rng.normal(size=(20, 3)), rng.normal(size=(width, 3, 2))
    padded = np.pad(h, ((width // 2, width - 1 - width // 2), (0, 0)))
    expected = [
        np.sum([np.correlate(padded[:, i], kernel[:, i, o], "valid") for i in range(3)], axis=0) for o in range(2)
    ]
    np.testing.assert_allclose(convolve(jnp.asarray(h), jnp.asarray(kernel)), np.transpose(expected), rtol=1e-12)


@pytest.mark.slow
def test_real_embedding_and_complex_arrays_are_one_network():
    """The channels are the real and the imaginary part either way."""
    rng = np.random.default_rng(1)
    A, y = (rng.normal(size=(*shape, 2)) @ [1, 1j] for shape in ((6, 9), (6, 70)))
    stacked = np.block([[A.real, -A.imag], [A.imag, A.real]])
    found = []
    for matrix, measured, parts in ((A, y, 1), (stacked, np.concatenate([y.real, y.imag]), 2)):
        dtype = jnp.complex64 if parts == 1 else jnp.float32
        samples = Samples(jnp.zeros((matrix.shape[1], 1), dtype), jnp.zeros((matrix.shape[0], 1), dtype))
        problem = Problem(jnp.asarray(matrix, dtype), jnp.float32(1), samples, samples, no_draw)
        net = Cnn(channels=(4,), width=3, parts=parts)
        rng = np.random.default_rng(2)  # the same kernels for both
        params = {
            k: a + 0.3 * rng.normal(size=a.shape).astype(a.dtype) for k, a in sorted(net.start(problem, 1).items())
        }
        assert net.count(params, 1) == (3 * 2 * 4 + 4) + (3 * 4 * 2 + 2)
        found.append(
            np.asarray(jax.jit(estimate, static_argnums=(0, 4))(net, problem, params, jnp.asarray(measured, dtype), 1))
        )
    np.testing.assert_allclose(found[1], np.concatenate([found[0].real, found[0].imag]), atol=1e-4)


@pytest.mark.slow
def test_trains_to_a_level(tmp_path):
    """One row without a layer, better than no estimate at all."""
    toy = [*toy_overrides(steps=150, problem="cellular"), "problem=random_access", "network=cnn", "training=cellular"]
    kept = [item for item in toy if not item.startswith(("network.depth", "training.")) or "cnn" in item]
    experiment = load_experiment(
        [*kept, "network.channels=[8]", "network.width=3", "training.cnn.rates=[1e-2]", f"output={tmp_path}"]
    )
    assert [curve.slug for curve in experiment.curves] == ["cnn"]
    assert run.train(experiment, lambda _: None) == []
    (row,) = run.rows_of(experiment)
    assert row["layer"] is row["shrinkage"] is row["tied"] is None
    assert row["nmse_db"] < -0.5
    assert row["parameters"] == (3 * 2 * 8 + 8) + (3 * 8 * 2 + 2)
