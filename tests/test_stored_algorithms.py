"""What an algorithm without training leaves in its folder."""

import pytest

from onsager_cli import run
from onsager_cli.config.load import load_experiment

pytestmark = pytest.mark.usefixtures("quick_compile")


class TestStored:
    """Untrained curves in the store: made once, made again only for more iterations than were asked for before."""

    SMALL = ("problem.N=60", "problem.M=36", "problem.test_samples=20")

    @pytest.fixture(autouse=True)
    def empty_folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)

    def train(self, *overrides):
        experiment, events = load_experiment([*overrides, *self.SMALL]), []
        assert run.train(experiment, events.append) == []
        return run.rows_of(experiment), [event for event in events if event["event"] == "curve"]

    @pytest.mark.slow
    def test_settled_is_complete(self):
        rows, made = self.train("network=vamp", "network.depth=3000")
        assert len(made) == 1
        assert rows[-1]["layer"] < 3000
        assert rows[-1]["clipped"] == 0
        assert rows[-1]["nonconverged"] == 0
        again, made = self.train("network=vamp", "network.depth=3000")
        assert made == []
        assert again == rows
        fewer, made = self.train("network=vamp", "network.depth=20")
        assert made == []
        assert fewer == rows[:20]

    @pytest.mark.slow
    def test_more_iterations_are_made(self):
        rows, _ = self.train("network=ista", "network.depth=30", "network.weight=vamp")
        assert [row["layer"] for row in rows] == list(range(1, 31))
        deeper, made = self.train("network=ista", "network.depth=70", "network.weight=vamp")
        assert len(made) == 1
        assert deeper[-1]["layer"] == 70
        assert deeper[0]["nmse_db"] == rows[0]["nmse_db"]
