"""Ownership: which decisions hang on arrays that belong to one process alone.

Such decisions are compared among the processes; inside one program they cannot be. A decision of
arrays that all processes share is the same everywhere: one program has computed it.
"""

from __future__ import annotations

from collections.abc import Sequence

from fxgrad.agreement import are_many, processes_of
from fxgrad.recorder import Slot
from fxgrad.replay.outcomes import nodes
from fxgrad.replay.tree import Node


def own_decision(root: Node, owners: Sequence[frozenset[int]]) -> str:
    """A decision that hangs on arrays of one process alone, in words, or the empty string.

    `owners` are the processes that share each argument, none for one of this process alone. Where
    no array is shared, no decision has to be.
    """
    captured = (value for node in nodes(root) for value in node.captured.values())
    if not are_many() or not (any(owners) or processes_of(captured)):
        return ""
    own = {Slot(number) for number, shared in enumerate(owners) if not shared}
    waiting = [(root, own)]
    while waiting:
        node, before = waiting.pop()
        own = before | {slot for slot, v in node.captured.items() if not processes_of([v])}
        for step in node.steps:
            if own.intersection(o for o in step.operation.operands if isinstance(o, Slot)):
                own.update(step.operation.results)
        if node.guard in own:
            return f"the decision at {node.place} hangs on arrays of one process alone"
        waiting.extend((child, own) for child in node.children.values())
    return ""
