"""Small problems with the arrays that a test asks for."""

from onsager_cli.kinds.settings import make_problem
from onsager_cli.problems import build


def made(A=None, **keys):
    settings = {
        "kind": "bernoulli_gaussian", "name": "gaussian", "N": 40, "M": 20, "gamma": 0.1, "snr_db": 30.0,
        "known_operator": True, "selection_samples": 300, "test_samples": 200, "instance": "seeded", **keys,
    }  # fmt: skip
    base = dict.fromkeys(("kappa", "matrix"))
    return build(make_problem({**base, **settings}), 0, A)
