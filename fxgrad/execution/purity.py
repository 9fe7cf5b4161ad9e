"""Purity: whether two runs on the same arguments do the same; where not, at which operation.

Replay and static run Python once and believe it. A function that reads a counter or a clock goes on
with the first value, and no later call can tell.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from fxgrad.execution.advice import LEAVE_ARGUMENTS, PURE
from fxgrad.execution.watched import Watched
from fxgrad.observed import Observed, observe
from fxgrad.places import Place
from fxgrad.recorder import Operation, Slot, place_of
from fxgrad.replay.code import operands_of
from fxgrad.replay.structure import Step, is_same_array, params_key


@dataclass(frozen=True)
class Impurity:
    """The first thing in which two runs on the same arguments differ, or what a run changes.

    Attributes:
      what: what differs, in words.
      place: the user's line, if it is known.
      advice: what to write instead.
    """

    what: str
    place: Place | None
    advice: str = PURE

    def to_dict(self) -> dict[str, Any]:
        """The difference as plain values."""
        place = self.place.to_dict() if self.place else None
        return {"what": self.what, "place": place, "advice": self.advice}

    def __str__(self) -> str:
        at = f" at {self.place}  {self.place.line}" if self.place else ""
        return f"{self.what}{at}\n     → {self.advice}"


def impurity_of(fun: Callable[..., Any], args: tuple[Any, ...]) -> Impurity | None:
    """Run `fun` twice on the same arguments, op by op, and compare; None if they are alike.

    Args:
      fun: a function, or a Function in the mode ``"eager"``.
      args: its arguments.

    Raises:
      Exception: whatever `fun` raises.
    """
    watched = Watched(fun)
    first, second = (observe(watched, args) for _ in range(2))
    return (
        _different_operation(first, second)
        or _different_input(first, second)
        or _changed_argument(watched)
    )


def _changed_argument(watched: Watched) -> Impurity | None:
    for path in watched.changed:
        return Impurity(f"the call changes its argument: {path}", None, LEAVE_ARGUMENTS)
    return None


def _different_operation(first: Observed, second: Observed) -> Impurity | None:
    longer = max(first.operations, second.operations, key=len)
    pairs = itertools.zip_longest(first.operations, second.operations)
    for number, (a, b) in enumerate(pairs):
        if a is None or b is None:
            return _happens_once(longer[number])
        before, after = Step(a), Step(b)
        if before.followed_key != after.followed_key:
            if a.name == b.name:
                what = f"{a.name} has other parameters in the next run"
                return Impurity(what, place_of(b.source))
            if _count(first, longer[number].name) != _count(second, longer[number].name):
                return _happens_once(longer[number])
            return Impurity(f"{a.name} in one run is {b.name} in the next", place_of(b.source))
        if operands_of(before) != operands_of(after):
            return Impurity(
                f"{a.name} gets other values of Python's in the next run",
                place_of(b.source),
            )
    return None


def _count(observed: Observed, name: str) -> int:
    return sum(operation.name == name for operation in observed.operations)


def _happens_once(operation: Operation) -> Impurity:
    return Impurity(
        f"{operation.name} does not happen in one of the runs", place_of(operation.source)
    )


def _different_input(first: Observed, second: Observed) -> Impurity | None:
    """What differs although the operations are alike: captured arrays, or what is returned."""
    for slot, before in first.captured.items():
        if not is_same_array(before, second.captured[slot]):
            readers = (op for op in second.operations if slot in op.operands)
            place = next((place_of(operation.source) for operation in readers), None)
            return Impurity("another captured array is read in the next run", place)
    if not _is_same_output(first.output, second.output):
        return Impurity("another value of Python's is returned by the next run", None)
    return None


def _is_same_output(before: Any, after: Any) -> bool:
    def is_slot(leaf: Any) -> bool:
        return isinstance(leaf, Slot)

    (leaves, structure), (others, other) = (
        jax.tree.flatten(output, is_leaf=is_slot) for output in (before, after)
    )
    return structure == other and all(map(_is_same_leaf, leaves, others))


def _is_same_leaf(before: Any, after: Any) -> bool:
    if isinstance(before, Slot):
        return before == after
    if isinstance(before, jax.Array):  # made of what Python knew, and anew in each run
        return isinstance(after, jax.Array) and is_same_array(before, after)
    return type(before) is type(after) and (
        type(before).__eq__ is object.__eq__ or params_key(before) == params_key(after)
    )
