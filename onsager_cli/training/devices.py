"""The devices that JAX computes on."""

import os
from functools import cache

import jax

from onsager_cli.errors import UserError


@cache
def device_kind() -> str:
    """What the first device is, such as "cpu" or "NVIDIA H200". Raises UserError if JAX cannot use the platform asked for."""
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
