"""onsager: learned sparse recovery (LISTA, LAMP, LVAMP), on the command line and as a library.

The names below are loaded on first use, so that the command starts quickly.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.2.0"

if TYPE_CHECKING:
    from onsager_cli.api.figures import experiment, verify
    from onsager_cli.api.inputs import network, problem
    from onsager_cli.api.recovery import nmse, recover
    from onsager_cli.api.training import load, train
    from onsager_cli.errors import DivergedError, UserError
    from onsager_cli.theory import state_evolution
    from onsager_cli.theory.bounds import lmmse, support_oracle

# Public name → its module.
_HOMES = {
    "DivergedError": "errors", "UserError": "errors", "experiment": "api.figures", "lmmse": "theory.bounds",
    "load": "api.training", "network": "api.inputs", "nmse": "api.recovery", "problem": "api.inputs",
    "recover": "api.recovery", "state_evolution": "theory", "support_oracle": "theory.bounds",
    "train": "api.training", "verify": "api.figures",
}  # fmt: skip

__all__ = [
    "DivergedError", "UserError", "experiment", "lmmse", "load", "network", "nmse", "problem", "recover",
    "state_evolution", "support_oracle", "train", "verify",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = f"{__name__}.{_HOMES[name]}"
    return import_module(f"{home}.{name}") if name == "state_evolution" else getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
