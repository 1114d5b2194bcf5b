"""The devices that JAX computes on."""

import os
import sys
from functools import cache

import jax

from onsager_cli.errors import UserError
from onsager_cli.store.environment import take_cores
from onsager_cli.training.programs import keep_programs


@cache
def device_kind() -> str:
    """What the first device is, such as "cpu" or "NVIDIA H200". Raises UserError if JAX cannot use the platform asked for."""
    take_cores()
    keep_programs()
    try:
        return jax.devices()[0].device_kind
    except (RuntimeError, AssertionError) as error:
        asked = os.environ.get("JAX_PLATFORMS")
        reason = " ".join(str(error).split())
        if not asked:
            raise UserError(f"JAX cannot use a device: {reason or type(error).__name__}") from error
        raise UserError(
            f"JAX_PLATFORMS={asked}: JAX finds no such device here; unset the variable, or install JAX for the device, "
            f"such as pip install 'jax[cuda12]'{f' ({reason})' if reason else ''}"
        ) from error


def on_cpu() -> bool:
    """Whether JAX computes on the CPU."""
    device_kind()
    return jax.devices()[0].platform == "cpu"


def curves_share() -> bool:
    """Whether several curves can be trained at a time: several devices share the batch of one curve."""
    return jax.device_count() == 1 and not (on_cpu() and sys.platform == "win32")
