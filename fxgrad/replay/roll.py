"""Roll: equal segments behind each other are the turns of a loop.

A turn is one segment, or a few with a decision behind each, that are reached by the same answers
each time. Its values come from outside of the loop, from itself, or from the turn before. The first
turn stands before the loop, since its values may come from anywhere.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Final

from fxgrad.recorder import Slot
from fxgrad.replay.tree import Node

MIN_TURNS: Final = 3
MAX_PERIOD: Final = 4


class Turn:
    """The segments of one turn.

    Attributes:
      nodes: the segments.
      results: the slots that are made in them, numbered in order.
      positions: for each of these numbers, which segment makes it.
      captured: the slots of captured arrays that came up in them.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = tuple(nodes)
        made = [(slot, at) for at, node in enumerate(nodes) for slot in node.results()]
        self.results = {slot: number for number, (slot, _) in enumerate(made)}
        self.positions = [at for _, at in made]
        self.captured = {slot: array for node in nodes for slot, array in node.captured.items()}

    def guards(self) -> list[int | None]:
        """Which results decide, segment by segment; None for what was made elsewhere."""
        return [None if node.guard is None else self.results.get(node.guard) for node in self.nodes]

    def keys(self) -> list[list[Hashable]]:
        """The structure of the operations, segment by segment."""
        return [[step.key for step in node.steps] for node in self.nodes]

    def following(self, answers: Sequence[Hashable]) -> Turn | None:
        """The turn behind this one by the same answers, if it has been recorded as a whole."""
        node: Node | None = self.nodes[-1]
        nodes = []
        for answer in answers:
            node = node.children.get(answer)
            if node is None or node.guard is None:
                return None
            nodes.append(node)
        return Turn(nodes)


def turns_behind(path: Sequence[Node]) -> list[Turn]:
    """The turn that `path` ends with, and those recorded behind it; [] if that is no loop."""
    for period in range(1, min(MAX_PERIOD, len(path)) + 1):
        first = path[-period:]
        if any(node.answer is None for node in first):
            break
        turns = _turns(Turn(first))
        if len(turns) >= MIN_TURNS:
            return turns
    return []


def _turns(first: Turn) -> list[Turn]:
    answers = [node.answer_key for node in first.nodes]
    guards, keys = first.guards(), first.keys()
    turns = [first]
    structure: Hashable = None
    while None not in guards:
        turn = turns[-1].following(answers)
        if turn is None or turn.guards() != guards or turn.keys() != keys:
            break
        found = _sources(turn, turns[-1], first)
        if found is None or structure not in (None, found):
            break
        structure = found
        turns.append(turn)
    return turns


def _sources(turn: Turn, last: Turn, first: Turn) -> Hashable:
    """Where a turn has its values from; None if from a turn before the last."""
    start = min(first.results)

    def source(operand: Any) -> Hashable:
        if not isinstance(operand, Slot):
            return "literal"
        if operand in turn.results:
            return "own", turn.results[operand]
        if operand in last.results:
            return "last", last.results[operand]
        if operand in turn.captured:
            return "captured", id(turn.captured[operand])
        return operand if operand < start or operand in first.captured else None

    steps = [step for node in turn.nodes for step in node.steps]
    sources = [source(operand) for step in steps for operand in step.operation.operands]
    return None if None in sources else tuple(sources)
