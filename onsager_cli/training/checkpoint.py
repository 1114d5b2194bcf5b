"""The state inside a stage, saved while it runs: what a kill can cost is a minute, and no bit.

Two files take turns, so that the previous state is there, whole, until the next one is; both are sealed with a
checksum. A stage that resumes from either ends with the bits of one that was never stopped.
"""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from onsager_cli.networks.base import Parameters
from onsager_cli.store.arrays import check_shapes
from onsager_cli.store.curves import CurveFolder, Json

SECONDS = 50.0  # of work that a kill may cost, with some room to the promised minute for the save itself
PIECE_SECONDS = 10.0  # of steps between two moments where the state can be saved
NAMES = ("checkpoint_0", "checkpoint_1")


@dataclass
class StageState:
    """Everything that decides how a stage continues. NMSEs in dB on the selection set."""

    params: Parameters
    optimizer: optax.OptState
    best_params: Parameters
    key: Array  # batches are drawn from it and the number of their step
    start_db: float
    best_db: float
    step: int = 0
    stale: int = 0  # checks in a row without a better NMSE
    scale: float = 1.0  # of the learning rate, halved by every rescue, less in a second pass
    rescues: int = 0
    passes: int = 1  # the present one counted
    finite: bool = True  # every loss since the last look at the selection set

    def arrays(self) -> dict[str, np.ndarray]:
        """Its arrays under dotted names: `params.B`, `optimizer.inner_states.matrix.inner_state.mu.B`, ..."""
        leaves, _ = jax.tree_util.tree_flatten_with_path(self._pytrees())
        return {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in leaves}

    def numbers(self) -> dict[str, float]:
        """Everything else, exact in JSON."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in _PYTREES}

    def restored(self, arrays: dict[str, np.ndarray], numbers: Json, source: object, depth: int) -> "StageState":
        """The stored state, in the layout of this one, of a stage that trains `depth` layers.

        It may have been saved on the way to another depth: layers beyond `depth` are as they began, so that there may
        be more or fewer of them. Raises UserError naming `source` if other shapes differ.
        """
        fresh, layers = self.arrays(), len(self.params["theta"])
        arrays = {
            name: _of_layers(array, fresh[name], depth)
            if name in fresh and np.shape(fresh[name])[:1] == (layers,)
            else array
            for name, array in arrays.items()
        }
        expected = {name: np.shape(array) for name, array in fresh.items()}
        check_shapes(arrays, expected, str(source))
        leaves = [jnp.array(arrays[name]) for name in expected]
        pytrees = jax.tree.unflatten(jax.tree.structure(self._pytrees()), leaves)
        pytrees["key"] = jax.random.wrap_key_data(pytrees["key"])
        return StageState(**pytrees, **{name: numbers[name] for name in self.numbers() if name in numbers})

    def _pytrees(self) -> Json:
        return {name: getattr(self, name) for name in _PYTREES} | {"key": jax.random.key_data(self.key)}


def _of_layers(stored: np.ndarray, fresh: np.ndarray, depth: int) -> np.ndarray:
    """A leaf with one row per layer, with as many layers as `fresh` has, of which at least `depth` are stored."""
    if stored.shape[1:] != fresh.shape[1:] or len(stored) < depth:
        return stored
    return np.concatenate([stored[: len(fresh)], fresh[len(stored) :]])


_PYTREES = ("best_params", "key", "optimizer", "params")


@dataclass
class Progress:
    """What the stages of a curve add to: steps, rescues and seconds since its start."""

    steps: int = 0
    rescues: int = 0
    spent: float = 0.0  # by earlier runs
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Time spent on the curve, by this run and the runs that it resumes."""
        return self.spent + time.monotonic() - self.began


class Checkpoint:
    """Saves the state of stage `number` of a curve when a minute of it is at stake.

    `progress` is that of the curve: its seconds are saved and restored.
    """

    def __init__(
        self, folder: CurveFolder, number: int, progress: Progress, clock: Callable[[], float] = time.monotonic
    ):
        self._folder, self._number, self._progress, self._clock = folder, number, progress, clock
        self._turn, self._step = 0, 0
        self._saved = self._offered = clock()
        self.piece = 1  # how many steps may run before the next offer; grows to PIECE_SECONDS of them

    def restore(self, state: StageState, depth: int) -> StageState:
        """The newest whole state of this stage, of `depth` layers, in the layout of `state`; `state` itself if there is none."""
        found = stored(self._folder, self._number)
        if found is None:
            return state
        turn, arrays, meta = found
        self._turn = 1 - turn
        self._progress.spent, self._step = meta["seconds"], meta["step"]
        return state.restored(arrays, meta, self._folder.path / f"{NAMES[turn]}.npz", depth)

    def start_clock(self) -> None:
        """Count the seconds of steps from now on: what was before was compiling."""
        self._offered = self._clock()

    def offer(self, state: StageState) -> None:
        """Saves the state if the work since the last save, with that up to the next offer, comes near a minute.

        Saves it in any case if `save_soon` was called.
        """
        now = self._clock()
        steps, seconds = state.step - self._step, max(now - self._offered, 1e-9)
        most = max(1, min(8 * steps, int(steps * PIECE_SECONDS / seconds)))
        self.piece = 1 << (most.bit_length() - 1)  # a power of two: curves that train together take the same pieces
        self._step, self._offered = state.step, now
        if not _asked and now - self._saved + seconds < SECONDS:
            return
        meta = {**state.numbers(), "stage": self._number, "seconds": self._progress.seconds}
        self._folder.save(NAMES[self._turn], state.arrays(), meta)
        self._turn = 1 - self._turn
        self._saved = self._offered = self._clock()
        while _asked:
            _asked.pop()()


_asked: list[Callable[[], None]] = []


def save_soon(then: Callable[[], None] = lambda: None) -> None:
    """Make the next offer save the state, however little is at stake, and call `then` after it: for signal handlers."""
    _asked.append(then)


def stored(folder: CurveFolder, number: int) -> tuple[int, dict[str, np.ndarray], Json] | None:
    """(which of NAMES, arrays, meta) of the newest whole checkpoint of stage `number`; None if there is none.

    A damaged one is reported (StoreWarning) and passed over.
    """
    found = [(turn, *loaded) for turn, name in enumerate(NAMES) if (loaded := folder.load(name)) is not None]
    of_stage = [item for item in found if item[2].get("stage") == number]
    return max(of_stage, key=lambda item: item[2]["step"], default=None)


def clear(folder: CurveFolder) -> None:
    """Removes the checkpoints of a stage that is over: its end is stored."""
    for name in NAMES:
        folder.delete(name)
