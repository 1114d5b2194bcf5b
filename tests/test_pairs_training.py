"""Training on recorded pairs: every network, resuming, splits, overfitting, the stages of few numbers."""

import re

import jax
import numpy as np
import pytest
from conftest import slow
from pairs import QUICK, N, drawn, problem, saved

import onsager_cli
from onsager_cli.cli.main import main
from onsager_cli.config.load import load_experiment
from onsager_cli.errors import UserError
from onsager_cli.store.tables import OPTIONAL, read_table, table_bytes
from onsager_cli.training.plan import plan

pytestmark = pytest.mark.usefixtures("quick_compile")


class TestTraining:
    def trained(self, tmp_path, path, *words):
        assert (
            main(["train", "problem=data", f"problem.file={path}", *QUICK, f"output={tmp_path / 'out'}", *words]) == 0
        )
        return read_table(next((tmp_path / "out/figures").glob("*/curves.csv")))

    @pytest.mark.slow
    def test_end_to_end(self, tmp_path, capsys):
        A, x, y = drawn(1000)
        path = saved(tmp_path / "set.npz", A=A, x=x, y=y)
        rows = self.trained(tmp_path, path)
        assert [row["layer"] for row in rows] == [1, 2]
        assert rows[-1]["nmse_db"] < -4
        assert all(abs(row["training_nmse_db"] - row["selection_nmse_db"]) < 2 for row in rows)
        capsys.readouterr()
        self.trained(tmp_path, path)
        assert "already trained" in capsys.readouterr().err
        net = onsager_cli.load("problem=data", f"problem.file={path}", *QUICK, f"output={tmp_path / 'out'}")
        assert net(y[:, :5]).shape == (N, 5)
        (folder,) = (tmp_path / "out/curves").glob("data-*")
        np.testing.assert_array_equal(onsager_cli.load(str(folder))(y[:, :5]), net(y[:, :5]))
        np.save(tmp_path / "y.npy", y[:, :5])
        words = ["problem=data", f"problem.file={path}", *QUICK, f"output={tmp_path / 'out'}"]
        assert main(["apply", *words, str(tmp_path / "y.npy"), "-o", str(tmp_path / "x.npy")]) == 0
        np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), net(y[:, :5]))
        few = [line for line in (tmp_path / "out").rglob("*.jsonl") if "few parameters" in line.read_text()]
        assert few
        # Decisions need the pairs: those of the training, wherever they are.
        level = net.threshold(0.1)
        moved = (tmp_path / "set.npz").rename(tmp_path / "moved.npz")
        words[1] = f"problem.file={moved}"
        assert onsager_cli.load(*words).threshold(0.1) == level
        with pytest.raises(UserError, match=r"set\.npz is missing: run onsager in the folder of the training"):
            onsager_cli.load(str(folder)).threshold(0.1)
        saved(tmp_path / "set.npz", A=A, x=x, y=3 * y)
        with pytest.raises(UserError, match=r"set\.npz has changed since onsager first read it"):
            onsager_cli.load(str(folder)).threshold(0.1)

    @pytest.mark.slow
    def test_both_ways_draw_the_same_pairs(self, tmp_path, monkeypatch):
        """Training pairs as arrays of the problem, and from the file where they are larger than memory."""
        _, x, y = drawn(600)
        rows = saved(tmp_path / "folder", x=x.T.copy(), y=y.T.copy())
        found = []
        for share in (0.25, 0):
            monkeypatch.setattr("onsager_cli.problems.data.IN_MEMORY", share)
            made = problem(rows)
            assert (made.recorded is None) == (share == 0)
            data = onsager_cli.problem("data", file=rows)
            net = onsager_cli.train(onsager_cli.network("lamp", depth=2), data, "fast", *QUICK[2:4])
            samples = jax.jit(lambda p, key: p.sample(key, 50))(data.arrays, jax.random.key(3))
            found.append((net.table[-1]["nmse_db"], np.asarray(net.params["B"]), *map(np.asarray, samples)))
        assert all(map(np.array_equal, found[0][2:], found[1][2:]))
        assert found[0][0] == pytest.approx(found[1][0], abs=1e-3)
        # XLA compiles the products of the frame differently where pairs come from a file: rounding
        np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-3)

    @pytest.mark.slow
    def test_a_deeper_network_resumes(self, tmp_path):
        _, x, y = drawn(600)
        path = saved(tmp_path / "set.npz", x=x, y=y)
        words = [word for word in QUICK if "depth" not in word]
        found = []
        for depth in (1, 2):
            given = ["problem=data", f"problem.file={path}", *words, f"network.depth={depth}"]
            assert main(["train", *given, f"output={tmp_path / 'out'}"]) == 0
            found.append(read_table(next((tmp_path / "out/figures").glob("*/curves.csv"))))
        assert found[0] == found[1][:1]
        assert len(list((tmp_path / "out/curves").glob("data-*"))) == 1

    def test_few_numbers_learn_first(self, tmp_path):
        _, x, y = drawn()
        words = ("problem=data", f"problem.file={saved(tmp_path / 'set.npz', x=x, y=y)}", "network.depth=2")
        for more, few in (((), True), (("network=lvamp",), False), (("training.few_first=false",), False)):
            (curve,) = load_experiment(
                [*(() if more and "network" in more[0] else ("network=lamp",)), *words, *more]
            ).curves
            stages = plan(curve.settings.training, 2, True, "θ")
            names = ["layer 1: few parameters", "layer 1: all", "layers 1-2: few parameters", "layers 1-2: all"]
            assert [stage.name for stage in stages] == (names if few else names[1::2])
            assert [stage.rates["matrices"] == 0 for stage in stages] == ([True, False] * 2 if few else [False] * 2)
            assert [stage.begin for stage in stages] == (["grow", "keep"] * 2 if few else ["grow"] * 2)
            assert curve.identity["training"].get("few_first", False) == few

    @pytest.mark.slow
    def test_seeds_are_splits(self, tmp_path):
        _, x, y = drawn(600)
        rows = self.trained(tmp_path, saved(tmp_path / "set.npz", x=x, y=y), "seeds=[0,1]")
        assert {row["seed"] for row in rows} == {0, 1}
        assert len({row["nmse_db"] for row in rows}) == 4

    @pytest.mark.slow
    def test_overfitting_is_reported(self, tmp_path, capsys):
        _, x, y = drawn(60)
        words = ("training.few_first=false", "training.lamp.rates=[0.01]", "problem.split=[0.2,0.4,0.4]")
        self.trained(tmp_path, saved(tmp_path / "set.npz", x=x, y=y), *words)
        told = capsys.readouterr().err
        assert "A is estimated from 12 training pairs, and at least 120 (10 per unknown) are recommended" in told
        found = r"layers 1-2: overfitting, -[\d.]+ dB on training pairs and -?[\d.]+ dB on selection pairs: use more pairs, or learn fewer"
        assert re.search(found, told)

    @pytest.mark.parametrize(
        "network", slow("vamp", "em_vamp", "lmmse", "oracle", "amp", "lvamp", but=("lmmse", "amp"))
    )
    def test_every_network(self, tmp_path, network):
        _, x, y = drawn(600)
        words = (f"network={network}",) if network in ("lmmse", "oracle") else (f"network={network}", "network.depth=2")
        path = saved(tmp_path / "set.npz", x=x, y=y)
        assert (
            main(["train", "problem=data", f"problem.file={path}", *words, "jobs=1", f"output={tmp_path / 'out'}"]) == 0
        )

    def test_an_oracle_needs_zeros(self, tmp_path, capsys):
        _, x, y = drawn(gamma=1)
        path = saved(tmp_path / "set.npz", x=x, y=y)
        assert (
            main(["train", "problem=data", f"problem.file={path}", "network=oracle", f"output={tmp_path / 'out'}"]) == 2
        )
        assert "no recorded x is zero: use network=lmmse" in capsys.readouterr().err

    def test_other_tables_stay_as_they_are(self):
        (curve,) = load_experiment(["network=lamp"]).curves
        assert "few_first" not in curve.identity["training"]
        assert not set(OPTIONAL) & set(
            table_bytes([{"curve": "a", "layer": 1, "nmse_db": -1.0}]).decode().split("\n")[0].split(",")
        )
