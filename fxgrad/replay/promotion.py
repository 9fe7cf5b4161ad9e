"""Promotion: a tree of segments is folded into one program when it has been quiet for a while.

Folding again each time that a path is added would cost more than it gives. A tree is folded when
some calls have gone down it since it last grew, and after each time it waits for twice as many.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import jax

from fxgrad.replay.fold import Folded, UnfoldableError, fold
from fxgrad.replay.program import PROGRAMS
from fxgrad.replay.tree import Node

FIRST_PATIENCE: Final = 8
# A program that mostly misses costs more than it gives.
_MIN_SHARE_SERVED: Final = 0.5


class Promoted:
    """A folded tree and its program, which is compiled at its first call."""

    def __init__(self, folded: Folded) -> None:
        self.folded = folded
        self._program, constants = PROGRAMS.shared(folded.block)
        self._more = (*folded.captured, *constants)

    def run(self, arguments: Sequence[Any]) -> list[Any]:
        """What the block gives for these arrays."""
        read = [arguments[number] for number in self.folded.arguments]
        return self._program(*read, *self._more)

    def __call__(self, arguments: Sequence[Any]) -> Any:
        """The output of a call with these arrays, or `MISSED`."""
        return self.folded.build(self.run(arguments), lambda: arguments)


class Tree:
    """The recorded paths of one call signature, as segments and as one program.

    `refuse` gives a reason not to fold them, or the empty string.

    Attributes:
      root: the first segment.
      argument_count: how many arrays it takes.
      promoted: the tree as one program; None while it is not folded.
      refusal: why the tree was not folded when it was last tried, or the empty string.
    """

    def __init__(
        self,
        root: Node,
        avals: Sequence[Any],
        *,
        forwards: bool,
        refuse: Callable[[Node], str] = lambda _: "",
    ) -> None:
        self.root = root
        self.argument_count = len(avals)
        self.promoted: Promoted | None = None
        self.refusal = ""
        self._avals = tuple(avals)
        self._forwards = forwards
        self._refuse = refuse
        self._lock = threading.Lock()
        self._calls = 0
        self._patience = FIRST_PATIENCE
        if root.output is not None:
            self._fold()

    @property
    def is_closed(self) -> bool:
        """Whether a program of its own serves every call, from arrays to arrays."""
        promoted = self.promoted
        return promoted is not None and promoted.folded.is_closed

    @property
    def served(self) -> str:
        """How calls are served, in words."""
        if self.promoted is None:
            why = self.refusal or "not quiet for long enough yet"
            return f"segments: {why}" if self.root.guard is not None else "Python"
        return "one program, " + (
            "one host read" if self.promoted.folded.has_code else "no host read"
        )

    def has_grown(self) -> None:
        """A path has been added."""
        self._calls = 0

    def was_walked(self) -> bool:
        """A call went down a known path by segments. Returns whether the tree was folded."""
        self._calls += 1
        if self._calls < self._patience or not self._lock.acquire(blocking=False):
            return False
        try:
            self._calls = 0
            self._patience *= 2
            self._fold()
        finally:
            self._lock.release()
        return True

    def _fold(self) -> None:
        promoted, refusal = None, ""
        try:
            if _share_served(self.root) < _MIN_SHARE_SERVED:
                raise UnfoldableError("most calls would still need Python")
            refusal = self._refuse(self.root)
            if refusal:
                raise UnfoldableError(refusal)
            folded = fold(self.root, self._avals, forwards=self._forwards)
            if self.root.guard is not None:
                _check(folded, self._avals)
            promoted = Promoted(folded)
        except UnfoldableError as error:
            refusal = str(error)
        self.promoted, self.refusal = promoted, refusal


def _check(folded: Folded, avals: Sequence[Any]) -> None:
    """Trace the program, so that one that cannot be made is no call's trouble."""
    try:
        jax.eval_shape(folded.run, [_like(aval) for aval in avals])
    except Exception as error:
        raise UnfoldableError(f"its program cannot be made: {error}") from error


def _like(aval: Any) -> jax.ShapeDtypeStruct:
    sharding = aval.sharding if not aval.sharding.mesh.empty else None
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, sharding=sharding, weak_type=aval.weak_type)


def _share_served(root: Node) -> float:
    """The share of the calls so far that ended at an output where a program could follow."""
    served, waiting = 0, [root]
    while waiting:
        node = waiting.pop()
        served += node.hits if node.output is not None else 0
        waiting += [c for c in list(node.children.values()) if c.answer is not None]
    return served / max(root.hits, 1) if root.guard is not None else 1.0
