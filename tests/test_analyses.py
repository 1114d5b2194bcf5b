"""Figures that are no curves over layers: Fig. 5, Table I, Section VI-D."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import slow

from onsager_cli import run
from onsager_cli.config.load import load_experiment
from onsager_cli.errors import UserError
from onsager_cli.figures import complexity, params, params_drawing, qq
from onsager_cli.figures.curves import save
from onsager_cli.metrics import to_db
from onsager_cli.networks.layers import squared_errors, trace
from onsager_cli.problems import build
from onsager_cli.store.tables import csv_bytes
from onsager_cli.text import cell
from onsager_cli.theory import iterate
from onsager_cli.training.networks_on_disk import network_of

SMALL = ("problem.N=60", "problem.M=36", "problem.test_samples=40", "problem.selection_samples=10")
DEPTH = "network.depth=4"


def settings(*overrides):
    return load_experiment([*SMALL, *overrides]).curves[0].settings


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_tables_as_text():
    assert csv_bytes([{"a": 1.0 / 3, "b": None}, {"a": True, "b": "x"}]) == b"a,b\n0.333333,\ntrue,x\n"
    assert cell(1234567.0, 3) == "1.23e+06"


class TestComplexity:
    N, M, T = 60, 36, 4

    # Exactly: B y and T - 1 products with S; A x̂ is not needed after the last layer, H y is needed in each.
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("overrides", "products", "parameters"),
        [
            ("network=lamp shrinkage=bg", 7 * 36 * 60, 36 * 60 + 8),
            ("network=lvamp network.learn=[noise_variance,theta]", 36**2 + 8 * 36 * 60 + 4 * 36, 9),
            *slow(
                ("network=lista network.tied=false", 36 * 60 + 3 * 60**2, 36 * 60 + 4 * 60**2 + 4),
                ("network=lista", 36 * 60 + 3 * 60**2, 36 * 60 + 60**2 + 4),
                ("network=lamp network.tied=false shrinkage=pwlin", 7 * 36 * 60, 4 * 36 * 60 + 20),
                ("network=lvamp_gh", 4 * (60**2 + 36 * 60), 4 * (60**2 + 36 * 60 + 3) + 1),
            ),
        ],
    )
    def test_counted_from_the_network(self, overrides, products, parameters):
        experiment = load_experiment([*SMALL, DEPTH, *overrides.split()])
        (row,) = complexity.tables(experiment, [], run.problem_of)["table1"]
        assert row["multiply_adds"] == products
        assert row["parameters"] == parameters

    @pytest.mark.slow
    def test_within_a_tenth_of_the_formulas_where_they_hold(self):
        """M = N/20, as the paper assumes M ≪ N."""
        small = ("only=[lista_untied,lamp_tied,lvamp_tied_svd]", "problem.N=200", "problem.M=10")
        for row in complexity.tables(load_experiment(["+experiment=table1", *small]), [], run.problem_of)["table1"]:
            for name in ("multiply_adds", "parameters"):
                assert row[name] / row[f"{name}_formula"] == pytest.approx(1, abs=0.1)


class TestErrorsAtTheShrinkage:
    @pytest.mark.slow
    def test_of_an_algorithm(self):
        """r of iteration t is where η leads to the stored x̂_t."""
        amp = settings("network=amp", "network.depth=120")
        problem = build(amp.problem, 0)
        x, y = problem.test
        for t in (1, 7, 101):
            r, sigma = iterate.shrinkage_input(network_of(amp), problem, y, t, "highest")
            net, p = iterate.iteration(network_of(amp), problem, y, "highest")
            x_hat, _ = net.family.eta(r, sigma, p["theta"])
            net_errors = iterate.iterate(net, problem, p, x, y, t)
            np.testing.assert_allclose(jnp.sum((x_hat - x) ** 2, axis=0), net_errors[t - 1], rtol=1e-4, atol=1e-7)

    @pytest.mark.slow
    def test_gaussian_is_told_from_heavy_tailed(self, monkeypatch, tmp_path):
        """Gaussian errors of another width per sample are Gaussian; Student's are not. Quantiles lie on the line."""
        rng = np.random.default_rng(1)
        errors = {
            "amp": rng.normal(size=(300, 200)) * rng.uniform(0.5, 2, 200),
            "ista": rng.standard_t(6, size=(300, 200)),
        }
        monkeypatch.setattr(qq, "shrinkage_errors", lambda curve, *_: errors[curve.settings.network.name])
        experiment = load_experiment(["+experiment=fig5", "only=[amp_l1,ista]", *SMALL[2:], "problem.instance=seeded"])
        rows = [
            {"curve": slug, "network": "amp", "shrinkage": "soft", "tied": None, "layer": layer}
            | {"nmse_db": nmse_db + 1, "nmse_mean_ratio_db": nmse_db}
            for slug in ("ista", "amp_l1")
            for layer, nmse_db in ((6, -14.9), (7, -16.0), (8, -17.0))
        ]
        tables = qq.tables(experiment, rows, run.problem_of)
        ista, amp = tables["summary"]
        assert (ista["curve"], amp["curve"], amp["layer"]) == ("ista", "amp_l1", 7)
        assert abs(amp["excess_kurtosis"]) < 0.05 < 0.5 < amp["excess_kurtosis_unscaled"]
        assert ista["excess_kurtosis"] > 1
        points = np.array([[p["normal_quantile"], p["error_quantile"]] for p in tables["qq"] if p["curve"] == "amp_l1"])
        assert len(points) > 200
        middle = points[np.abs(points[:, 0]) < 2.5]
        np.testing.assert_allclose(middle[:, 1], middle[:, 0], atol=0.05)
        assert save(qq.draw(experiment.figure, [], tables), tmp_path, "fig5", ["png"])[0].stat().st_size > 10_000
        assert "NMSE (dB, mean of ratios)" in qq.page(tables)
        assert "| amp_l1 | 7 | -16" in qq.page(tables)

    def test_nothing_below_the_level(self):
        with pytest.raises(UserError, match="below -15 dB"):
            qq.draw(load_experiment(["+experiment=fig5"]).figure, [], {})


@pytest.fixture(scope="module")
def star():
    """Matched VAMP for a small problem."""
    (curve,) = load_experiment([*SMALL, DEPTH, "problem.kappa=30", "network=lvamp"]).curves
    return params.matched(curve, run.problem_of(curve))


class TestParameters:
    @staticmethod
    def layers(star, noise=1.0, theta=(0.0, 0.0), depth=3):
        """The prescribed parameters but for the stated factor on σ_w² and increment of θ."""
        best = star.best
        changed = dataclasses.replace(best, noise=best.noise * noise, theta=best.theta + np.array(theta))
        return [changed] * depth

    @staticmethod
    def find(rows, quantity):
        return [row for row in rows if row["quantity"] == quantity]

    @pytest.mark.slow
    def test_the_prescribed_ones_are_found_exact(self, star):
        rows = params.compare(self.layers(star), star, tied=False)
        assert {row["layer"] for row in rows} == {1, 2, 3}
        assert max(row["relative_error"] for row in rows) < 1e-5

    @pytest.mark.slow
    def test_each_deviation_shows_where_it_is_made(self, star):
        rows = params.compare(self.layers(star, noise=1.2, theta=(0.1, 0.0)), star, tied=True)
        (noise,) = self.find(rows, "noise_variance")
        assert noise["relative_error"] == pytest.approx(0.2)
        assert noise["layer"] is None
        np.testing.assert_allclose([row["relative_error"] for row in self.find(rows, "phi")], 0.1)
        assert max(row["relative_error"] for row in self.find(rows, "log_odds_zero")) < 1e-9
        for quantity in ("linear_map_db", "linear_output_db", "shrinkage_curve_db"):
            assert all(-90 < row["learned"] < -10 for row in self.find(rows, quantity))
        assert self.find(rows, "matrix_db")[0]["learned"] < -100

    @pytest.mark.slow
    def test_what_no_loss_can_tell_apart_is_the_same(self, star):
        """(b U, b s, b² σ_w²), other signs and another order of the (u_i, s_i, v_i)."""
        rng = np.random.default_rng(0)
        p, order = star.best, rng.permutation(36)
        signs, b = rng.choice([-1.0, 1.0], 36), 1.7
        leaves = {
            "U": (b * signs * p.U)[:, order], "log_s": np.log(b * p.s)[order], "V": (signs * p.V)[:, order],
            "log_noise_variance": np.log(b**2 * p.noise), "theta": p.theta,
        }  # fmt: skip

        rows = params.compare([params.normalized(leaves)], star, tied=True)
        assert max(row["relative_error"] for row in rows) < 1e-5

    def test_a_flat_range_costs_what_it_says(self, star):
        _, _, r, sigma = star.received[0]
        best = params.eta(r, sigma, star.best.theta)
        error = np.sum((best - star.x) ** 2)
        slopes = [params.eta(r, sigma, star.best.theta + 1e-4 * unit) - best for unit in np.eye(2)]
        H = np.array([[np.sum(a * b) for b in slopes] for a in slopes])
        for i, flat in enumerate(params.theta_flat_range(star, r, sigma)):
            change = flat * star.best.theta[i]
            other = -H[i, 1 - i] / H[1 - i, 1 - i] * change  # the best that the other component can do
            theta = star.best.theta + np.array([change, other] if i == 0 else [other, change])
            cost = to_db(1 + np.sum((params.eta(r, sigma, theta) - best) ** 2) / error)
            assert cost == pytest.approx(params.COST_DB, rel=0.2)  # to second order

    def test_the_noise_is_flat_until_the_signal_has_come_down_to_it(self, star):
        ranges = [params.noise_flat_range(star, variance) for variance in (1e-1, 1e-3, 1e-5)]
        assert ranges[0] > 1 > ranges[2]
        assert params.noise_flat_range(star, 1e6) == 1e3

    def test_untied_against_tied(self, star):
        rows = params.against_tied(self.layers(star, noise=1.1), self.layers(star), star)
        np.testing.assert_allclose([row["relative_error"] for row in self.find(rows, "tied_vs_untied_noise")], 0.1)
        assert max(row["relative_error"] for row in self.find(rows, "tied_vs_untied_theta")) == 0
        assert all(0 < row["relative_error"] < 0.1 for row in self.find(rows, "tied_vs_untied_linear_map"))

    def test_the_legend_names_matrices_unless_two_curves_share_one(self):
        rows = [
            {"problem": problem, "curve": f"lvamp_{name}_bg", "tied": name == "tied"}
            for problem in ("gaussian", "kappa100", "mine")
            for name in ("tied", "untied")
        ]
        shown = [(row["problem"], row["curve"]) for row in rows]
        assert list(params_drawing.legend(rows, shown).values()) == [
            f"{matrix}, {name}" for matrix in ("i.i.d. $A$", "$\\kappa = 100$", "mine") for name in ("tied", "untied")
        ]
        rows.append({"problem": "mine", "curve": "lvamp_tied_bg_svd", "tied": True})
        shown.append(("mine", "lvamp_tied_bg_svd"))
        assert params_drawing.legend(rows, shown)[shown[-1]] == "mine, lvamp tied bg svd"

    @pytest.mark.slow
    def test_drawn_and_told(self, star, tmp_path):
        experiment = load_experiment(["+experiment=params"])
        rows = [
            {"problem": "gaussian", "curve": f"lvamp_{name}_bg", "tied": name == "tied", **row}
            for name in ("tied", "untied")
            for row in params.compare(self.layers(star, noise=1.2), star, tied=name == "tied")
        ]
        (drawing,) = save(params.draw(experiment.figure, [], {"params": rows}), tmp_path, "params", ["png"])
        assert drawing.stat().st_size > 10_000
        page = params.page({"params": rows})
        assert "flat_range" in page
        assert "| gaussian | `lvamp_tied_bg` | noise_variance |" in page


@pytest.mark.slow
def test_the_trace_is_the_network():
    lvamp = settings(DEPTH, "network=lvamp", "network.tied=false")
    problem = build(lvamp.problem, 0)
    net = network_of(lvamp)
    p = net.start(problem, 4)
    x, y = problem.test
    with jax.default_matmul_precision("highest"):
        expected = squared_errors(net, problem, p, x, y, 4)
    for t, (_, (r, sigma)) in enumerate(trace(net, problem, p, y, 4)):
        found = net.family.eta(r, sigma, p["theta"][t])[0]
        np.testing.assert_allclose(jnp.sum((found - x) ** 2, axis=0), expected[t], rtol=1e-4)
