"""Several curves as one program: on an accelerator, one network leaves most of the chip idle.

Each curve trains in a thread of its own, as if it were alone. Its calls of compiled programs meet those of the other
curves of its group, and one vectorized program answers all of them. What decides a curve (learning rates after a
rescue, checkpoints, bootstraps) stays its own; its numbers are those of the curve alone up to rounding.
"""

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

import jax
import jax.numpy as jnp

from onsager_cli.training.engine import Engine

PROGRAMS = ("begin", "steps", "errors")


@dataclass
class Call:
    """A call that waits for the others of its group."""

    engine: Engine
    name: str
    arguments: tuple[Any, ...]
    result: Any = None
    error: BaseException | None = None
    done: bool = False


@dataclass
class Group:
    """The curves that meet. `members` is how many of them still train."""

    members: int = 0
    waiting: list[Call] = field(default_factory=list)
    turn: threading.Condition = field(default_factory=threading.Condition)

    def join(self) -> None:
        """One more curve trains."""
        with self.turn:
            self.members += 1

    def leave(self) -> None:
        """A curve has ended: the others do not wait for it."""
        with self.turn:
            self.members -= 1
            self._answer_if_all_wait()

    def call(self, engine: Engine, name: str, arguments: tuple[Any, ...]) -> Any:
        """The result of a program, computed together with the calls of the other curves."""
        call = Call(engine, name, arguments)
        with self.turn:
            self.waiting.append(call)
            self._answer_if_all_wait()
            while not call.done:
                self.turn.wait()
        if call.error is not None:
            raise call.error
        return call.result

    def _answer_if_all_wait(self) -> None:
        if not self.waiting or len(self.waiting) < self.members:
            return
        calls, self.waiting = self.waiting, []
        same: dict[Hashable, list[Call]] = {}
        for call in calls:
            same.setdefault((call.engine, call.name, _shapes(call.arguments)), []).append(call)
        for together in same.values():
            try:
                _run(together)
            except BaseException as error:  # it is that of every curve whose call this was
                for call in together:
                    call.error = error
        for call in calls:
            call.done = True
        self.turn.notify_all()


def _shapes(arguments: tuple[Any, ...]) -> Hashable:
    leaves, structure = jax.tree.flatten(arguments)
    return structure, tuple((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)


def _run(calls: list[Call]) -> None:
    """Answer calls of one program on arguments of the same shapes."""
    first = calls[0]
    if len(calls) == 1:
        first.result = getattr(first.engine, first.name)(*first.arguments)
        return
    _, structure = jax.tree.flatten(first.arguments)
    columns = list(zip(*(jax.tree.leaves(call.arguments) for call in calls), strict=True))
    # A number that is the same for all, such as the depth, stays one number: loops of one length need no masks.
    shared = tuple(all(isinstance(leaf, int | float) and leaf == column[0] for leaf in column) for column in columns)
    leaves = [column[0] if one else jnp.stack(column) for column, one in zip(columns, shared, strict=True)]
    results = _vectorized(first.engine, first.name, structure, shared)(*leaves)
    for number, call in enumerate(calls):
        call.result = jax.tree.map(lambda leaf, number=number: leaf[number], results)


@lru_cache(maxsize=100)
def _vectorized(engine: Engine, name: str, structure: Hashable, shared: tuple[bool, ...]) -> Callable[..., Any]:
    """The program on leaves with a leading axis of curves, but for those that they share."""
    program = getattr(type(engine), name).__wrapped__

    def of_leaves(*leaves: Any) -> Any:
        return program(engine, *jax.tree.unflatten(cast(Any, structure), leaves))

    return jax.jit(jax.vmap(of_leaves, in_axes=tuple(None if one else 0 for one in shared)))


class Meeting:
    """An engine whose programs are those of a group."""

    def __init__(self, engine: Engine, group: Group):
        self._engine, self._group = engine, group
        self._begun: set[Hashable] = set()

    def is_new(self, *arguments: Any) -> bool:
        """As that of `Engine`, for this curve: all curves of a group compile at once."""
        shapes = (self._engine, _shapes(arguments))
        new = shapes not in self._begun
        self._begun.add(shapes)
        return new

    def __getattr__(self, name: str) -> Any:
        if name in PROGRAMS:
            return lambda *arguments: self._group.call(self._engine, name, arguments)
        return getattr(self._engine, name)

    def with_optimizer(self, kind: str) -> "Meeting":
        """The same with another optimizer of the matrices."""
        made = Meeting(self._engine.with_optimizer(kind), self._group)
        made._begun = self._begun
        return made


_here = threading.local()


def meet_in(group: Group | None) -> None:
    """The curves that this thread trains from now on meet in `group`."""
    _here.group = group


def meeting(engine: Engine) -> "Engine | Meeting":
    """The engine, or one that meets others if this thread belongs to a group."""
    group = getattr(_here, "group", None)
    return engine if group is None else Meeting(engine, group)
