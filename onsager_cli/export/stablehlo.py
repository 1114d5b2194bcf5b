"""A network as a StableHLO program, by `jax.export`: for CPU, GPU and TPU, and any number of samples."""

from pathlib import Path

import numpy as np

from onsager_cli.export.formats import About, Files, Format
from onsager_cli.export.model import Model, function, is_complex

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def _write(model: Model, about: About) -> Files:
    import jax
    from jax import export

    dtype = np.complex64 if is_complex(model) else np.float32
    with jax.enable_x64(False):
        one = jax.jit(function(model))
        (samples,) = export.symbolic_shape("L")
        y = jax.ShapeDtypeStruct((model.problem.A.shape[0], samples), dtype)
        made = export.export(one, platforms=PLATFORMS)(y)
        content = bytes(made.serialize())
    return {f"{about.name}.stablehlo": content}


def _run(folder: Path, name: str, y: np.ndarray) -> np.ndarray:
    import jax
    from jax import export

    with jax.enable_x64(False):
        return np.asarray(export.deserialize(bytearray((folder / f"{name}.stablehlo").read_bytes())).call(y))


def _use(model: Model, name: str) -> str:
    dtype = "complex64" if is_complex(model) else "float32"
    lines = [
        "from pathlib import Path", "", "from jax import export", "",
        f'network = export.deserialize(bytearray(Path("{name}.stablehlo").read_bytes()))',
        f"x_hat = network.call(y)  # y in {dtype}",
    ]  # fmt: skip
    note = "`network.mlir_module()` is the StableHLO text, for other compilers. The parameters are in the program."
    return "\n".join(["```python", *lines, "```", "", note])


STABLEHLO = Format("jax.export", _write, _run, _use)
