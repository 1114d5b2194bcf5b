"""Training plans: which stages, in which order, with which names and rates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from toy_training import full_size, settings, stages_of

from onsager_cli.kinds.trainings import PaperTraining
from onsager_cli.networks.base import RATES
from onsager_cli.training.networks_on_disk import network_of


class TestPlan:
    @given(
        training=st.sampled_from(["fast", "paper"]),
        tied=st.booleans(),
        shallow=st.integers(1, 8),
        more=st.integers(0, 8),
    )
    @examples(max_examples=30)
    def test_a_shallower_plan_is_the_beginning_of_a_deeper_one(self, training, tied, shallow, more):
        curve = full_size(f"training={training}", f"network.tied={str(tied).lower()}")
        deeper = stages_of(curve, shallow + more, tied)
        beginning = stages_of(curve, shallow, tied)
        assert deeper[: len(beginning)] == beginning

    @pytest.mark.parametrize("training", ["fast", "paper"])
    @pytest.mark.parametrize("tied", [True, False])
    def test_every_depth_is_closed_once_by_its_last_stage(self, training, tied):
        curve = full_size(f"training={training}", f"network.tied={str(tied).lower()}")
        stages = stages_of(curve, 5, tied)
        assert [stage.depth for stage in stages] == sorted(stage.depth for stage in stages)
        closing = [stage for stage in stages if stage.closes]
        assert [stage.depth for stage in closing] == [1, 2, 3, 4, 5]
        for depth in range(1, 6):
            assert [s for s in stages if s.depth == depth][-1].closes
            assert not closing[depth - 1].new_only

    def test_paper(self):
        """SPEC 6: 1e-3 for a new layer, then 1e-4 for all, each with 4 refinements of lr/10 and doubled patience."""
        curve = full_size("training=paper")
        stages = stages_of(curve, 3)
        tenfold = [10.0**-k for k in range(5)]
        expected = [(1, False, 1e-3), (2, True, 1e-3), (2, False, 1e-4), (3, True, 1e-3), (3, False, 1e-4)]
        found = [(s.depth, s.new_only, s.rates["matrices"], s.patience, s.check_every) for s in stages]
        assert found == [
            (depth, new_only, pytest.approx(rate * tenth), patience, 10)
            for depth, new_only, rate in expected
            for tenth, patience in zip(tenfold, (20, 40, 80, 160, 320), strict=True)
        ]
        assert isinstance(curve.training, PaperTraining)
        assert curve.training.batch == 1000
        assert not any(stage.cosine for stage in stages)
        rates = stages[0].rates_at(30, 4)
        assert set(rates) == set(RATES)
        np.testing.assert_array_equal(list(rates.values()), np.full((5, 4), 1e-3, np.float32))

    @pytest.mark.parametrize(
        ("tied", "begins"), [(True, ["grow", "grow", "keep"]), (False, ["grow", "grow", "bootstrap"])]
    )
    def test_algorithms_2_and_3(self, tied, begins):
        """Algorithm 3 takes the tied network over between learning the new layer and learning all."""
        stages = stages_of(full_size("training=paper"), 2, tied)
        assert [stage.begin for stage in stages[::5]] == begins
        assert all(stage.begin == "keep" for i, stage in enumerate(stages) if i % 5)

    @pytest.mark.parametrize(("when", "begins"), [("null", "bootstrap"), ("after", "keep")])
    def test_when_the_fast_plan_compares(self, when, begins):
        """After the new layer alone, as Algorithm 3 does, or after all layers; a first layer is the tied one anyway."""
        overrides = ("network.tied=false", f"training.lamp_untied.bootstrap={when}")
        stages = stages_of(full_size(*overrides), 3, False)
        assert [stage.begin for stage in stages] == ["grow or bootstrap", "grow", begins, "grow", begins]
        compares = [i for i, stage in enumerate(stages) if stage.bootstrap_after]
        assert compares == ([2, 4] if when == "after" else [])
        at_once = stages_of(full_size(*overrides, "training.steps_new=0"), 3, False)
        first = "grow" if when == "after" else "grow or bootstrap"
        assert [stage.begin for stage in at_once] == ["grow or bootstrap", first, first]
        tied = stages_of(full_size(f"training.lamp.bootstrap={when}"), 3)
        assert not any(stage.bootstrap_after for stage in tied)

    def test_names_say_what_is_learned(self):
        stages = stages_of(full_size("training=paper"), 4)
        assert (stages[0].name, stages[-10].name, stages[-5].name) == ("layer 1: all", "layer 4: θ", "layers 1-4: all")
        assert stages[-1].name == "layers 1-4: all, refinement 4"
        untied = stages_of(full_size("network.tied=false"), 4, False, "B, θ")
        assert [stage.name for stage in untied[-2:]] == ["layer 4: B, θ", "layers 1-4: all"]

    def test_names_are_different(self):
        for training in ("fast", "paper"):
            stages = stages_of(full_size(f"training={training}"), 12, tied=False)
            assert len({stage.name for stage in stages}) == len(stages)

    def test_knees_have_a_highest_rate(self):
        rates = {
            (family, rate): [
                s.rates["theta"] for s in stages_of(full_size(f"shrinkage={family}", f"training.knee_rate={rate}"), 2)
            ]
            for family in ("bg", "pwlin")
            for rate in ("0.1", "null")
        }
        assert rates["pwlin", "0.1"] == [0.1, 0.1]
        assert rates["pwlin", "null"] == rates["bg", "0.1"] == rates["bg", "null"] == [0.3, 0.3]

    def test_optimizers_go_by_depth(self):
        stages = stages_of(full_size("network=lvamp", "network.init=random"), 3)
        assert [stage.optimizer for stage in stages] == ["muon", "adam", "adam"]
        assert {stage.optimizer for stage in stages_of(full_size("network.tied=false"), 3, False)} == {"adam"}

    def test_sigma_w_has_a_rate_of_its_own_where_one_is_named(self):
        lvamp, lamp = (stages_of(full_size(f"network={name}"), 2)[1] for name in ("lvamp", "lamp"))
        assert (lvamp.rates["spectrum"], lvamp.rates["noise"]) == (3e-7, 0.1)
        assert lamp.rates["noise"] == lamp.rates["spectrum"]
        net = network_of(full_size("network=lvamp"))
        names = {name: net.rate_of(name) for name in ("U", "log_s", "V", "log_noise_variance", "theta")}
        assert names == {
            "U": "matrices", "log_s": "spectrum", "V": "matrices", "log_noise_variance": "noise", "theta": "theta",
        }  # fmt: skip

    def test_rows_have_a_rate_of_their_own_where_one_is_named(self):
        lvamp, lamp = (stages_of(full_size(f"network={name}"), 2)[1] for name in ("lvamp", "lamp"))
        assert lvamp.rates["rows"] == lvamp.rates["matrices"]
        assert lamp.rates["rows"] == 3e-3
        net = network_of(full_size("network=lista"))
        assert {name: net.rate_of(name) for name in "Bbade"} == {
            "B": "matrices", "b": "spectrum", "a": "rows", "d": "spectrum", "e": "rows",
        }  # fmt: skip

    def test_joint(self):
        """One stage over all layers, in as many steps as the layers take one after the other."""
        layerwise, joint = (stages_of(settings(f"training.joint={value}"), 5) for value in ("false", "true"))
        (only,) = joint
        assert (only.steps, only.depth, only.begin) == (sum(stage.steps for stage in layerwise), 5, "keep")
        first = layerwise[0]  # everything begins
        assert (only.rates, only.optimizer) == (first.rates, first.optimizer)
        assert only.closes
        assert not only.new_only

    def test_nothing_to_do_without_training(self):
        assert stages_of(full_size("network=amp"), 5) == []

    def test_cosine(self):
        """From the full rate to nearly none, on average half of it, however the steps are cut into calls."""
        stage = stages_of(full_size("training=fast", "training.warmup=0"), 1)[0]
        assert stage.cosine
        found, rate = stage.rates_at(0, stage.steps), stage.rates["matrices"]
        rates = found["matrices"]
        assert set(found) == set(RATES)
        for name, of_name in found.items():
            np.testing.assert_allclose(of_name, rates * (stage.rates[name] / rate), rtol=1e-6)
        assert rates[0] == np.float32(rate)
        assert 0 < rates[-1] < 0.01 * rate
        assert np.all(np.diff(rates) < 0)
        assert rates.mean() == pytest.approx(rate / 2, rel=0.01)
        cut = stage.steps // 3
        calls = [stage.rates_at(0, cut)["matrices"], stage.rates_at(cut, stage.steps - cut)["matrices"]]
        np.testing.assert_array_equal(rates, np.concatenate(calls))

    def test_warmup(self):
        """Up to the rate in as many steps as it says, of short stages in the first half; then the cosine."""
        for steps, rising in ((100, 15), (20, 10), (1, 1)):
            changed = f"training.lamp.steps=[{steps}]"
            (warm,), (cold,) = (stages_of(full_size(changed, f"training.warmup={warmup}"), 1) for warmup in (15, 0))
            whole, without = warm.rates_at(0, steps), cold.rates_at(0, steps)
            calls = [warm.rates_at(first, min(7, steps - first)) for first in range(0, steps, 7)]
            expected = np.minimum(np.arange(1, steps + 1) / rising, 1)
            for name in RATES:
                np.testing.assert_allclose(whole[name] / without[name], expected, rtol=1e-6)
                np.testing.assert_array_equal(np.concatenate([call[name] for call in calls]), whole[name])
        assert all(stage.warmup == 0 for stage in stages_of(full_size("training=paper"), 3))
