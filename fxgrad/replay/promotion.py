"""Promotion: a tree of segments is folded into one program when it has been quiet for a while.

Folding again each time that a path is added would cost more than it gives. A tree is folded when
some calls have gone down it since it last grew, and after each time it waits for twice as many.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from fxgrad.replay.fold import Folded, UnfoldableError, fold
from fxgrad.replay.layout import MISS, Column
from fxgrad.replay.program import PROGRAMS
from fxgrad.replay.tree import Node

FIRST_PATIENCE: Final = 8
# A program that mostly misses costs more than it gives.
_MIN_SHARE_SERVED: Final = 0.5

MISSED: Final = object()


class Tree:
    """The recorded paths of one call signature, as segments and as one program.

    Attributes:
      root: the first segment.
      argument_count: how many arrays it takes.
      program: takes the arrays of a call and gives its output or `MISSED`; None while the tree is
        not folded.
      host_reads: how many values a call of the program reads back: 1 where it may miss or where
        paths differ in what is no array, else 0.
      refusal: why the tree was not folded when it was last tried, or the empty string.
    """

    def __init__(self, root: Node, avals: Sequence[Any], *, forwards: bool) -> None:
        self.root = root
        self.argument_count = len(avals)
        self.program: Callable[[Sequence[Any]], Any] | None = None
        self.host_reads = 0
        self.refusal = ""
        self._avals = tuple(avals)
        self._forwards = forwards
        self._folded: Folded | None = None
        self._lock = threading.Lock()
        self._calls = 0
        self._patience = FIRST_PATIENCE
        if root.output is not None:
            self._fold()

    @property
    def is_closed(self) -> bool:
        """Whether the program alone, of arrays alone, gives the output of any call."""
        if self._folded is None or self.host_reads:
            return False
        (form,) = self._folded.layout.forms
        return all(isinstance(leaf, Column) for leaf in form.leaves)

    def trace(self, arguments: Sequence[Any]) -> Any:
        """The output of any call, for a tree that is closed, within a program of the caller's."""
        assert self._folded is not None
        (form,) = self._folded.layout.forms
        return form.build(self._folded.run(arguments), ())

    def has_grown(self) -> None:
        """A path has been added."""
        self._calls = 0

    def was_walked(self) -> bool:
        """A call went down a known path by segments. Returns whether the tree has been folded."""
        self._calls += 1
        if self._calls < self._patience or not self._lock.acquire(blocking=False):
            return False
        try:
            self._calls = 0
            self._patience *= 2
            self._fold()
        finally:
            self._lock.release()
        return self.program is not None

    def _fold(self) -> None:
        try:
            if _share_served(self.root) < _MIN_SHARE_SERVED:
                raise UnfoldableError("most calls would still need Python")
            folded = fold(self.root, self._avals, forwards=self._forwards)
        except UnfoldableError as error:
            self.refusal = str(error)
            self.program = None
            return
        self.refusal = ""
        self.host_reads = int(folded.has_code)
        self._folded = folded
        self.program = _runner(folded)


def _share_served(root: Node) -> float:
    """The share of the calls so far that ended at an output where a program could follow."""
    served, waiting = 0, [root]
    while waiting:
        node = waiting.pop()
        served += node.hits if node.output is not None else 0
        waiting += [child for child in node.children.values() if child.answer is not None]
    return served / max(root.hits, 1) if root.guard is not None else 1.0


def _runner(folded: Folded) -> Callable[[Sequence[Any]], Any]:
    """What runs a folded tree for the arrays of a call."""
    program, layout, captured = PROGRAMS.get(folded.block), folded.layout, folded.captured
    picked = folded.arguments

    def run(arguments: Sequence[Any]) -> Any:
        columns = program(*[arguments[number] for number in picked], *captured)
        if not folded.has_code:
            return layout.forms[0].build(columns, arguments)
        code = columns[-1].item()
        return MISSED if code == MISS else layout.forms[code].build(columns, arguments)

    return run
