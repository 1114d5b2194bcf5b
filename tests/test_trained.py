"""A trained network as a function of measurements."""

import numpy as np
import pytest
from conftest import slow, toy_overrides

from onsager_cli import run
from onsager_cli.api.training import Trained, load
from onsager_cli.config.load import load_experiment
from onsager_cli.errors import UserError

pytestmark = pytest.mark.usefixtures("quick_compile")


def asked(*overrides: str, problem: str = "bernoulli_gaussian") -> list[str]:
    """The words of a command at toy size; later ones win."""
    words = [*toy_overrides(problem=problem), *overrides]
    if problem == "cellular":  # its schedules are for other kinds of networks
        words = [
            text for text in words if not text.startswith(("training.lvamp.", "training.lvamp_u", "training.lvamp_r"))
        ]
    return list({text.partition("=")[0]: text for text in words}.values())


def nmse_db(trained: Trained) -> float:
    x, y = (np.asarray(a) for a in trained.problem.test)
    return 10 * np.log10(np.sum(np.abs(trained(y) - x) ** 2) / np.sum(np.abs(x) ** 2))


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        asked("network=lamp", "shrinkage=bg"),
        *slow(
            asked("network=lista", "network.tied=false"),
            asked("network=lvamp", "shrinkage=pwlin"),
            asked("network=cnn"),
            asked(
                "problem=random_access", "problem.embedding=complex", "shrinkage=bg_random_access", "training=cellular",
                problem="cellular",
            ),
        ),
    ],
)  # fmt: skip
def test_it_is_the_network_of_the_table(tmp_path, words):
    words = [text for text in words if not ("network=cnn" in words and text.startswith("network.depth"))]
    words = [*words, f"output={tmp_path}"]
    experiment = load_experiment(words)
    assert run.train(experiment, lambda _: None) == []
    for row in run.rows_of(experiment):
        depth = [] if row["layer"] is None else [f"network.depth={row['layer']}"]
        shallower = [text for text in words if not (depth and text.startswith("network.depth"))]
        trained = load(*shallower, *depth)
        assert nmse_db(trained) == pytest.approx(row["nmse_db"], abs=1e-3)  # float32 sums, in another order
    y = np.asarray(trained.problem.test[1])
    np.testing.assert_allclose(trained(y[:, 0]), trained(y)[:, 0], rtol=1e-3, atol=1e-5)
    with pytest.raises(UserError, match=r"y must have shape \(\d+,\) or \(\d+, samples\), got \(3, 2\)"):
        trained(np.zeros((3, 2)))
    with pytest.raises(UserError, match="y must be finite numbers"):
        trained(np.full(len(y), np.nan))
    if not np.iscomplexobj(y):
        with pytest.raises(UserError, match="y must be real, as A is"):
            trained(1j * y)


def test_it_says_what_is_missing(tmp_path):
    output = f"output={tmp_path}"
    with pytest.raises(UserError, match=r"one curve at a time: choose with only=.* from amp_l1, lista_tied, "):
        load("+experiment=fig8", output)
    with pytest.raises(UserError, match="amp_l1 is not trained"):
        load("network=amp", output)
    with pytest.raises(UserError, match=r"lamp_tied_pwlin: no network of 7 layers is stored in .*: run onsager train"):
        load("network=lamp", "network.depth=7", output)
