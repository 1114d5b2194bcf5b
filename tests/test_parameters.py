"""The parameters of networks: counts, names on disk, growing, untying, what a stage learns."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import slow
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from toy_networks import NETWORKS as OF_THE_PAPER
from toy_networks import ROOM, THETAS, errors, lamp, lista, problem_of, randomized
from toy_rivals import RIVALS

from onsager_cli.networks.aglista import GATES
from onsager_cli.training.networks_on_disk import flatten, unflatten

pytestmark = pytest.mark.usefixtures("strict", "quick_compile")
NETWORKS = OF_THE_PAPER | RIVALS
# Tied and untied, of each kind; every other network is slow.
EVERY = slow(*sorted(NETWORKS), but=("lamp_tied_bg", "lamp_untied_pwlin", "lista_untied", "aglista"))


class TestParameters:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("lista_untied", lambda M, N, T: M * N + T * N * N + T),
            ("lamp_tied_bg", lambda M, N, T: M * N + 2 * T),
            ("lamp_untied_pwlin", lambda M, N, T: T * (M * N + 5)),
            *slow(
                ("lista_tied", lambda M, N, T: M * N + N * N + T), ("lamp_untied_bg", lambda M, N, T: T * (M * N + 2))
            ),
        ],
    )
    def test_count(self, toy, name, expected):
        """Sections III-A and IV-C: {B, S, λ_t}, {B, θ_t} and their untied forms; the room for more does not count."""
        net, problem = NETWORKS[name], problem_of(toy)
        for depth in (1, 3):
            assert net.count(net.start(problem, ROOM), depth) == expected(toy.M, toy.N, depth)

    @pytest.mark.slow
    @given(name=st.sampled_from(sorted(NETWORKS)), depth=st.integers(1, 4), seed=st.integers(0, 99))
    @examples(max_examples=25)
    def test_stored_names_and_back(self, toy, name, depth, seed):
        net = NETWORKS[name]
        params = randomized(net, problem_of(toy), depth, seed)
        arrays = flatten(net, params, depth)
        assert {f"layers.{t}.theta" for t in range(depth)} <= arrays.keys()
        assert all(type(array) is np.ndarray for array in arrays.values())
        back = unflatten(net, arrays)
        assert back.keys() == params.keys()
        jax.tree.map(np.testing.assert_array_equal, back, params)

    def test_stored_names(self, toy):
        def names(name):
            net = NETWORKS[name]
            return sorted(flatten(net, net.start(problem_of(toy), 5), 2))

        assert names("lamp_tied_bg") == ["B", "layers.0.theta", "layers.1.theta"]
        assert names("lamp_untied_bg") == ["layers.0.B", "layers.0.theta", "layers.1.B", "layers.1.theta"]
        assert names("lista_tied") == ["B", "S", "layers.0.theta", "layers.1.theta"]
        assert names("lista_untied") == ["B", "layers.0.S", "layers.0.theta", "layers.1.S", "layers.1.theta"]

    @pytest.mark.parametrize("name", EVERY)
    @pytest.mark.parametrize("stored_depth", [2, 5])
    def test_fill_takes_what_there_is_room_for(self, toy, name, stored_depth):
        net, problem = NETWORKS[name], problem_of(toy)
        room, stored = net.start(problem, 3), randomized(net, problem, stored_depth)
        filled = net.fill(room, stored)
        rows = min(3, stored_depth)
        for leaf in room:
            assert filled[leaf].shape == room[leaf].shape
            if leaf in net.layered:
                np.testing.assert_array_equal(filled[leaf][:rows], stored[leaf][:rows])
                np.testing.assert_array_equal(filled[leaf][rows:], room[leaf][rows:])
            else:
                np.testing.assert_array_equal(filled[leaf], stored[leaf])

    @pytest.mark.parametrize(("tied", "untied"), [(lista(), lista(False)), (lamp("bg"), lamp("bg", False))])
    def test_an_untied_copy_computes_the_same(self, toy, tied, untied):
        problem = problem_of(toy)
        params = randomized(tied, problem, 3)
        copy = untied.untie(params, untied.start(problem, 5))
        assert untied.depth_of(copy) == 5
        one = errors(tied, problem, params, *problem.test, 3)
        other = errors(untied, problem, copy, *problem.test, 3)
        np.testing.assert_allclose(other[:3], one, rtol=1e-5)

    @pytest.mark.parametrize("name", EVERY)
    def test_growing_copies_the_layer_before(self, toy, name):
        net, problem = NETWORKS[name], problem_of(toy)
        params = randomized(net, problem, 4)
        if "selected" not in params:
            assert net.grow(params, 0) is params
        grown = net.grow(params, 2)
        for leaf in params:
            if leaf == "selected":  # that of so many layers, by its rule (test_rivals)
                continue
            if leaf in GATES:
                np.testing.assert_array_equal(grown[leaf], params[leaf].at[2].set(GATES[leaf]))
            elif leaf in net.layered:
                np.testing.assert_array_equal(grown[leaf][2], params[leaf][1])
                for other in (0, 1, 3):
                    np.testing.assert_array_equal(grown[leaf][other], params[leaf][other])
            else:
                np.testing.assert_array_equal(grown[leaf], params[leaf])

    def learned(self, net, params, *stage, shared):
        """Leaf → layers in which anything learns, or whether a shared leaf does."""
        masks = net.learnable(params, *stage, shared=shared)
        assert masks.keys() == params.keys()
        whole = {name: np.broadcast_to(masks[name], params[name].shape) for name in params}
        return {
            name: [t for t, row in enumerate(mask) if row.any()] if name in net.layered else bool(mask.any())
            for name, mask in whole.items()
        }

    def test_what_a_stage_learns(self, toy):
        problem = problem_of(toy)
        for net, matrix, common in ((lista(False), "S", {"B"}), (lamp("bg", False), "B", set())):
            params = net.start(problem, 4)
            new = self.learned(net, params, 2, 2, shared=False)
            assert new == {matrix: [2], "theta": [2], **dict.fromkeys(common, False)}
            everything = self.learned(net, params, 0, 2, shared=True)
            assert everything == {matrix: [0, 1, 2], "theta": [0, 1, 2], **dict.fromkeys(common, True)}
        tied = lamp("bg")
        params = tied.start(problem, 4)
        assert self.learned(tied, params, 2, 2, shared=False) == {"B": False, "theta": [2]}
        assert self.learned(tied, params, 0, 2, shared=True) == {"B": True, "theta": [0, 1, 2]}

    @pytest.mark.parametrize("tied", [True, False])
    def test_beta_0_of_lamp_l1_is_fixed(self, toy, tied):
        """Section III-C: {μB, μα, β/μ} is one network for every μ > 0, so β_0 stays where it starts."""
        problem, net = problem_of(toy), lamp("soft", tied)
        params = net.start(problem, 4)
        for stage in ((0, 0), (0, 3)):
            mask = np.broadcast_to(net.learnable(params, *stage, shared=True)["theta"], params["theta"].shape)
            assert mask[0].tolist() == [0, 1]  # β_0 fixed, α_0 learns
            assert mask[1 : stage[1] + 1].all()

    def test_beta_0_learns_where_b_does_not(self, toy):
        """AMP whose shrinkage is tuned: with B = Aᵀ the scale of layer 1 is no longer free."""
        net = dataclasses.replace(lamp("soft"), learn=("theta",))
        params = net.start(problem_of(toy), 2)
        mask = np.broadcast_to(net.learnable(params, 0, 1, shared=True)["theta"], params["theta"].shape)
        assert mask.all()

    def test_the_freedom_that_beta_0_takes(self, x64, toy):
        """And that is so: scaled parameters, same output of the first layer."""
        net, problem, mu = lamp("soft"), problem_of(toy), 1.7
        params = net.start(problem, 1)
        beta, alpha = THETAS["soft"]
        scaled = {"B": mu * params["B"], "theta": jnp.array([[beta / mu, mu * alpha]])}
        one, other = (errors(net, problem, p, *problem.test, 1) for p in (params, scaled))
        np.testing.assert_allclose(one, other, rtol=1e-10)

    def test_what_a_new_layer_brings(self):
        assert [NETWORKS[name].new_leaves for name in ("lamp_tied_bg", "lamp_untied_bg", "lista_untied")] == [
            "θ",
            "B, θ",
            "S, θ",
        ]
