"""Roll: a chain of equal segments is the turns of a loop.

A turn is a segment whose values come from outside of the loop, from itself, or from the turn
before. The first turn stands before the loop, since its values come from anywhere.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jax.numpy as jnp
import numpy as np
from jax import lax

from fxgrad.recorder import Slot
from fxgrad.replay.choice import is_same
from fxgrad.replay.code import Block, Line, Literal, Var, of_aval
from fxgrad.replay.structure import Key, constant_key
from fxgrad.replay.tree import Node

MIN_TURNS: Final = 3
UNSEEN: Final = -1


def turns_from(first: Node) -> list[Node]:
    """The nodes that are turns of one loop, all reached by one answer; [] if there is no loop."""
    if first.guard not in first.results():
        return []
    turns = [first]
    structure: Hashable = None
    node = first.children.get(first.answer_key)
    while node is not None and node.guard is not None:
        if [step.key for step in node.steps] != [step.key for step in first.steps]:
            break
        found = _structure(node, turns[-1], first)
        if found is None or structure not in (None, found):
            break
        structure = found
        turns.append(node)
        node = node.children.get(first.answer_key)
    return turns if len(turns) >= MIN_TURNS else []


def _structure(node: Node, last: Node, first: Node) -> Hashable:
    """Where a turn has its values from; None if from a turn before the last."""
    own_results, last_results = node.results(), last.results()

    def source(operand: Any) -> Hashable:
        if not isinstance(operand, Slot):
            return "literal"
        if operand in own_results:
            return "own", own_results[operand]
        if operand in last_results:
            return "last", last_results[operand]
        if operand in node.captured:
            return "captured", id(node.captured[operand])
        is_outer = operand in first.captured or operand < min(first.results())
        return operand if is_outer else None

    sources = [source(operand) for step in node.steps for operand in step.operation.operands]
    guards = [turn.results().get(turn.guard) for turn in (node, first) if turn.guard is not None]
    return None if None in sources or guards[0] != guards[1] else tuple(sources)


def with_literals_by_turn(
    lines: Sequence[Line], turns: Sequence[Node]
) -> tuple[tuple[Line, ...], dict[Var, tuple[Literal, ...]]]:
    """`lines`, those of a turn, with a variable for each literal that the turns differ in.

    The variables are returned with what they are in each turn.
    """
    changing: dict[Var, tuple[Literal, ...]] = {}
    made = []
    for index, line in enumerate(lines):
        operands = list(line.operands)
        for number, ref in enumerate(operands):
            if not isinstance(ref, Literal):
                continue
            found = [turn.steps[index].operation.operands[number] for turn in turns]
            literals = tuple(Literal(value, ref.aval) for value in found)
            if len(set(literals)) > 1:
                operands[number] = var = Var(ref.aval)
                changing[var] = literals
        made.append(Line(line.action, tuple(operands), line.results))
    return tuple(made), changing


@dataclass(frozen=True, eq=False)
class Loop:
    """Takes turns while the guard has the answer, at most as many as have been recorded.

    The operands are the values of the first turn, then what all turns read from outside. The
    results are an index, those values as the last turn left them, and some of the turn before it.

    Attributes:
      body: a turn, from the values of the one before.
      carried: how many values a turn leaves.
      guard: which of them decides.
      answer: the value of the guard with which the loop goes on.
      kept: which of the values are also kept from the turn before the last.
      literals_by_turn: for each further parameter of the body what it is in each turn, from the
        second.
      index_by_turns: for each number of turns, from 1, what comes behind; `UNSEEN` if nothing yet.
      goes_on_behind: whether the answer after the most turns has something behind it too.
    """

    body: Block
    carried: int
    guard: int
    answer: np.ndarray
    kept: tuple[int, ...]
    literals_by_turn: tuple[tuple[Literal, ...], ...]
    index_by_turns: tuple[int, ...]
    goes_on_behind: bool

    has_effects = False

    @functools.cached_property
    def key(self) -> Key:
        """The structure of the loop."""
        return Key(
            *("loop", self.body.key, constant_key(self.answer)),
            *(self.carried, self.guard, self.kept),
            *(self.literals_by_turn, self.index_by_turns, self.goes_on_behind),
        )

    @property
    def size(self) -> int:
        """The operations of one turn."""
        return self.body.size

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """Run the loop."""
        first, outer = list(inputs[: self.carried]), inputs[self.carried :]
        most = len(self.index_by_turns)
        tables = [
            (jnp.asarray([literal.value for literal in literals], literals[0].aval.dtype), literals)
            for literals in self.literals_by_turn
        ]

        def left(turns: Any, values: Any, kept: Any) -> Any:
            goes_on = lax.bitwise_and(turns < most, is_same(values[self.guard], self.answer))
            return goes_on, turns, values, kept

        def turn(state: Any) -> Any:
            _, turns, values, _ = state
            changing = [of_aval(table[turns - 1], found[0].aval) for table, found in tables]
            return left(turns + 1, self.body.run(*values, *outer, *changing), self._kept(values))

        start = left(jnp.int32(1), first, self._kept(first))
        _, turns, values, kept = lax.while_loop(lambda state: state[0], turn, start)
        index = jnp.asarray(self.index_by_turns, jnp.int32)[turns - 1]
        if not self.goes_on_behind:
            unfinished = is_same(values[self.guard], self.answer)
            index = lax.select(unfinished, jnp.int32(UNSEEN), index)
        return [index, *values, *kept]

    def _kept(self, values: Sequence[Any]) -> list[Any]:
        return [values[number] for number in self.kept]
