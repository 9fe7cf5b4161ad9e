"""Pending: what has been heard since the last decision, until it ends and becomes a segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fxgrad.places import Place, calling_place
from fxgrad.recorder import Slot, running
from fxgrad.replay.code import block_of_steps
from fxgrad.replay.program import PROGRAMS
from fxgrad.replay.structure import Step
from fxgrad.replay.tree import Log, Node, Output, Values


class ImpureError(BaseException):
    """The function did other things than when it was recorded, on the same values.

    It is no `Exception`, so that the function's own ``except`` does not take it.
    """

    def __init__(self, what: str, place: Place | None) -> None:
        super().__init__(what)
        self.what = what
        self.place = place


class OutputError(ImpureError):
    """The function returned what no path can return again."""


@dataclass
class Pending:
    """Operations, captured arrays and logs, in order."""

    steps: list[Step] = field(default_factory=list)
    captured: dict[Slot, Any] = field(default_factory=dict)
    logs: list[Log] = field(default_factory=list)

    def decision(self, guard: Slot | None, held: set[Slot], values: Values) -> Node:
        """A segment that ends where Python asks for `guard`, and holds the slots `held`."""
        kept = {*held, guard}
        wanted = {*kept, *self._logged()}
        outputs = sorted(slot for slot in self._made() if slot in wanted)
        node = self._node(outputs, values)
        node.dead = tuple(slot for slot in (*values, *outputs) if slot not in kept)
        node.guard = guard
        node.place = calling_place()
        return node

    def end(self, output: Output, values: Values) -> Node:
        """A segment at whose end the function returns."""
        leaves = [leaf for leaf in output.leaves if isinstance(leaf, Slot)]
        made = self._made()
        outputs = dict.fromkeys(slot for slot in (*leaves, *self._logged()) if slot in made)
        node = self._node(list(outputs), values)
        node.output = output
        return node

    def exception(self, values: Values) -> Node:
        """A segment at whose end Python raises an exception."""
        made = self._made()
        return self._node([slot for slot in self._logged() if slot in made], values)

    def _made(self) -> set[Slot]:
        return {slot for step in self.steps for slot in step.operation.results}

    def _logged(self) -> list[Slot]:
        return [log.value for log in self.logs if isinstance(log.value, Slot)]

    def _node(self, outputs: Sequence[Slot], values: Values) -> Node:
        inputs, block = block_of_steps(self.steps, outputs)
        if any(slot not in values for slot in inputs):
            raise ImpureError("a value is needed that had been let go of", calling_place())
        node = Node(
            steps=tuple(self.steps),
            inputs=inputs,
            outputs=tuple(outputs),
            logs=tuple(self.logs),
            captured=self.captured,
        )
        if outputs or block.has_effects:
            with running():
                node.program, node.constants = PROGRAMS.shared(block)
        return node
