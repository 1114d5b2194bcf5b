"""What a training will take: forecasts, disks that are full, memory that runs out."""

import dataclasses

import jax
import pytest
from conftest import TOY_SIZES, toy_overrides
from toy_training import Watch

from onsager_cli import run
from onsager_cli.config.load import load_experiment
from onsager_cli.errors import UserError
from onsager_cli.kinds.problems import ProblemSettings
from onsager_cli.training import resources
from onsager_cli.training.engine import Engine
from onsager_cli.training.networks_on_disk import network_of

pytestmark = pytest.mark.usefixtures("quick_compile")

TOY = (*toy_overrides(steps=30), "shrinkage=bg", "plot.formats=[svg]")


class TestMemory:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        "error", [MemoryError(), jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")]
    )
    def test_that_runs_out_names_the_curve_and_what_to_reduce(self, tmp_path, monkeypatch, error):
        def steps(*_):
            raise error

        monkeypatch.setattr(Engine, "steps", steps)
        with pytest.raises(UserError, match=r"lamp_tied_bg: out of memory; reduce .*16.*network.depth=3"):
            run.train(load_experiment([*TOY, f"output={tmp_path}"]), Watch())

    def test_other_errors_of_xla_stay_what_they_are(self, tmp_path, monkeypatch):
        def steps(*_):
            raise jax.errors.JaxRuntimeError("INTERNAL: bug")

        monkeypatch.setattr(Engine, "steps", steps)
        with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
            run.train(load_experiment([*TOY, f"output={tmp_path}"]), Watch())


class TestForecast:
    def test_a_full_disk_is_reported_before_the_first_step(self, tmp_path, monkeypatch):
        little = type("Usage", (), {"free": 10_000})
        monkeypatch.setattr(resources.shutil, "disk_usage", lambda _: little)
        with pytest.raises(UserError, match=r"output: .* has 1 MiB left, and the curves need about 1 MiB"):
            run.train(load_experiment([*TOY, f"output={tmp_path}"]), Watch())
        assert list(tmp_path.iterdir()) == []

    def test_grows_with_the_network(self, tmp_path, monkeypatch):
        def needs(curve, work):
            found = resources.needs(curve.slug, curve.settings, work)
            assert found is not None
            return found

        (tied,) = load_experiment(["network=lamp"]).curves
        (untied,) = load_experiment(["network=lamp", "network.tied=false"]).curves
        curves = [needs(curve, 1e6) for curve in (tied, untied)]
        line, warnings = resources.forecast(curves, tmp_path, 1, 600.0)
        assert "memory" in line
        assert warnings == []
        assert curves[1].disk > 5 * curves[0].disk
        ista, vamp = (load_experiment([f"network={name}"]).curves[0] for name in ("ista", "vamp"))
        assert needs(ista, 0).disk == 0  # a λ per sample, and no network
        assert needs(ista, 0).memory < 2**30  # thousands of iterations with one matrix
        assert 0 < needs(vamp, 0).disk < 2**20
        unsized = dataclasses.replace(tied.settings, problem=ProblemSettings("mine", "mine"))
        assert resources.needs("mine", unsized, 1e6) is None
        assert resources.forecast([None], tmp_path, 1, 0.0) == ("", [])
        monkeypatch.setattr(resources, "memory_free", lambda: 2**29)
        _, (warning,) = resources.forecast(curves, tmp_path, 1, 600.0)
        assert "lamp_untied_pwlin needs about" in warning
        assert "0.5 GiB are free" in warning

    @pytest.mark.parametrize(
        ("words", "cause"),
        [
            (["network=lamp", "problem.test_samples=1000000"], "problem.test_samples=1000000"),
            (["network=lamp", "problem.selection_samples=1000000"], "problem.selection_samples=1000000"),
            (
                ["network=lamp", "training.lamp.batch=1000000"],
                "the batch size (training.NETWORK.batch=1000000) and network.depth=15",
            ),
            (["network=lamp", "problem.N=20000", "problem.M=10000"], "the size of A (10000 x 20000)"),
            (["network=amp", "problem.test_samples=1000000"], "problem.test_samples=1000000"),
        ],
        ids=str,
    )
    def test_names_the_cause(self, tmp_path, monkeypatch, words, cause):
        monkeypatch.setattr(resources, "memory_free", lambda: 2**29)
        (curve,) = load_experiment(words).curves
        found = resources.needs(curve.slug, curve.settings, 1e6 if curve.settings.trained else 0)
        assert found is not None
        _, (warning,) = resources.forecast([found], tmp_path, 1, 600.0)
        assert f"are free: reduce {cause} (" in warning

    @pytest.mark.parametrize("words", [["network=lamp"], ["network=oracle"]], ids=str)
    def test_data_beyond_all_memory_are_refused_before_anything_is_made(self, tmp_path, monkeypatch, words):
        """A and both sets are (500 + 250) x 5000 numbers and 500 x 250, each of 4 bytes: 15.5 MB."""
        data = 4 * (500 * 250 + 750 * (4000 + 1000))
        asked = load_experiment([*words, f"output={tmp_path}"])
        monkeypatch.setattr(resources, "memory_limit", lambda: data - 1)
        with pytest.raises(
            UserError, match=r"A and the data sets need 15 MiB, .* reduce problem.selection_samples=4000"
        ):
            run.train(asked, Watch())
        assert list(tmp_path.iterdir()) == []
        monkeypatch.setattr(resources, "memory_limit", lambda: data)
        found = [resources.needs(curve.slug, curve.settings, 0) for curve in asked.curves]
        assert "memory" in resources.forecast(found, tmp_path, 1, 600.0)[0]

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "words",
        [
            *(["network=lamp"], ["network=lista"], ["network=lvamp"], ["network=lvamp_gh"]),
            ["problem=random_access", "network=cnn", "training=cellular"],
        ],
        ids=str,
    )
    def test_counts_the_matrices_that_learn(self, words):
        """The record of a kind knows their entries; the CNN is the sum of its kernels, whatever A is."""
        sizes = [] if "network=cnn" in words else TOY_SIZES["bernoulli_gaussian"]
        (curve,) = load_experiment([*words, *sizes, "problem.selection_samples=16", "problem.test_samples=16"]).curves
        net, settings = network_of(curve.settings), curve.settings
        params = net.start(run.problem_of(curve), 1)
        learned = sum(leaf.size for name, leaf in params.items() if leaf.ndim > 1 and name != "theta")
        M, N = settings.problem.shape
        assert M
        assert N
        assert settings.network.record.entries(settings.network, M, N) == learned

    def test_a_kernel_works_at_every_user(self):
        (curve,) = load_experiment(["problem=random_access", "network=cnn", "training=cellular"]).curves
        found = resources.needs(curve.slug, curve.settings, 1.0)
        assert found is not None
        # A product of the kernels is there and back 6 operations an entry, at each of 512 users.
        assert found.flops * resources.EFFICIENCY == 6 * 512 * 11 * (2 * 64 + 64 * 32 + 32 * 2)
