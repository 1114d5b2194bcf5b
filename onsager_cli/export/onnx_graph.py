"""A network as an ONNX graph: by jax2onnx, with its layers one after the other, complex arrays as two channels.

The graph has the input `y`, (M, L), and the output `x_hat`, (N, L), float32, for any number L of samples. Of complex
ones, `y` is (2, M, L) and `x_hat` (2, N, L): real parts, then imaginary parts.
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from onsager_cli.errors import UserError
from onsager_cli.export.formats import About, AbsentError, Files, Format
from onsager_cli.export.model import Model, function, is_complex

INSTALL = "pip install jax2onnx onnxruntime (in a checkout also pip install -e '.[export]')"


def _write(model: Model, about: About) -> Files:
    """Raises UserError without jax2onnx, and for a network with an operation that ONNX does not have."""
    try:
        with _silent():
            from jax2onnx import to_onnx
    except ImportError:
        raise UserError(f"--to onnx needs jax2onnx, which is not installed: {INSTALL}") from None
    import jax

    from onsager_cli.export.channels import UnknownOperationError, real_function

    complex_arrays = is_complex(model)
    estimate = function(model, unrolled=True)
    shape = (*((2,) if complex_arrays else ()), model.problem.A.shape[0], "L")
    with _silent(), jax.enable_x64(False):
        try:
            graph = to_onnx(
                lambda y: real_function(estimate, y, complex_arrays), [shape], model_name=about.name,
                input_names=["y"], output_names=["x_hat"],
            )  # fmt: skip
        except UnknownOperationError as error:
            raise UserError(
                f"{about.name} cannot be exported to onnx: its operation has no real form: {error}"
            ) from error
        except Exception as error:  # whatever jax2onnx raises for an operation that it does not know
            reason = (str(error).strip().splitlines() or [""])[0][:120]
            raise UserError(f"{about.name} cannot be exported to onnx: jax2onnx says: {reason}") from error
    graph.doc_string = f"{about.title}. {about.about}"
    return {f"{about.name}.onnx": graph.SerializeToString()}


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """No warnings of libraries: jax2onnx asks for float64 and is given float32, onnx_ir skips notes on shapes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def _run(folder: Path, name: str, y: np.ndarray) -> np.ndarray:
    try:
        with _silent():
            import onnxruntime
    except ImportError:
        raise AbsentError from None
    session = onnxruntime.InferenceSession((folder / f"{name}.onnx").read_bytes(), providers=["CPUExecutionProvider"])
    if not np.iscomplexobj(y):
        return np.asarray(session.run(None, {"y": y.astype(np.float32)})[0])
    channels = np.stack([np.real(y), np.imag(y)]).astype(np.float32)
    real, imaginary = np.asarray(session.run(None, {"y": channels})[0])
    return real + 1j * imaginary


def _use(model: Model, name: str) -> str:
    lines = ["import numpy as np", "import onnxruntime", "", f'session = onnxruntime.InferenceSession("{name}.onnx")']
    if is_complex(model):
        channels = "np.stack([y.real, y.imag]).astype(np.float32)"
        lines += [f'real, imaginary = session.run(None, {{"y": {channels}}})[0]', "x_hat = real + 1j * imaginary"]
        note = f"In the graph, y is (2, {model.problem.A.shape[0]}, samples): real parts, then imaginary parts."
    else:
        lines += ['(x_hat,) = session.run(None, {"y": y.astype(np.float32)})']
        note = "The graph takes any number of samples, in float32."
    return "\n".join(["```python", *lines, "```", "", note])


ONNX = Format("onnxruntime", _write, _run, _use)
