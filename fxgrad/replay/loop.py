"""Loops: the turns of a chain of equal segments as one `lax.while_loop`."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fxgrad.recorder import Slot, of_aval
from fxgrad.replay.choice import is_same
from fxgrad.replay.code import Block, Code, Line, Literal, Ref, Var, code_of_steps
from fxgrad.replay.roll import Turn
from fxgrad.replay.structure import Key, constant_key
from fxgrad.replay.tree import Node

UNSEEN: Final = -1


@dataclass(frozen=True, eq=False)
class Loop:
    """Takes turns while the guard has the answer, at most as many as have been recorded.

    The operands are the values that the first turn has left, then what all turns read from outside.
    The results are an index, those values as the last turn left them, and some of the turn before.

    Attributes:
      segments: what a turn does, segment by segment. Each takes all values as the turn before left
        them, all values as they are now, what is read from outside, and this turn's literals.
      positions: for each value which segment makes it.
      guards: for each segment which value decides behind it.
      answers: for each segment the value of the guard that leads to it.
      kept: which of the values are also kept from the turn before the last.
      literals: for each literal that turns differ in, what it is from the second turn on.
      exits: for each turn, and each segment at which it may end, what comes behind; `UNSEEN` where
        nothing has been recorded.
      goes_on_behind: whether the first answer after the most turns has something behind it too.
    """

    segments: tuple[Block, ...]
    positions: tuple[int, ...]
    guards: tuple[int, ...]
    answers: tuple[np.ndarray, ...]
    kept: tuple[int, ...]
    literals: tuple[tuple[Literal, ...], ...]
    exits: tuple[int, ...]
    goes_on_behind: bool

    has_effects = False

    @functools.cached_property
    def key(self) -> Key:
        """The structure of the loop."""
        return Key(
            *("loop", *(block.key for block in self.segments), *map(constant_key, self.answers)),
            *(self.positions, self.guards, self.kept, self.literals, self.exits),
            self.goes_on_behind,
        )

    @property
    def size(self) -> int:
        """The operations of one turn."""
        return sum(block.size for block in self.segments)

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """Run the loop."""
        count, period = len(self.positions), len(self.segments)
        first, outer = list(inputs[:count]), inputs[count:]
        most = len(self.exits) // period
        tables = [
            jnp.asarray([literal.value for literal in literals], literals[0].aval.dtype)
            for literals in self.literals
        ]

        def is_unfinished(ended: Any, values: Sequence[Any]) -> Any:
            is_whole = ended == period - 1
            return lax.bitwise_and(is_whole, is_same(values[self.guards[-1]], self.answers[0]))

        def left(turns: Any, ended: Any, values: Sequence[Any], kept: Sequence[Any]) -> Any:
            goes_on = lax.bitwise_and(turns < most, is_unfinished(ended, values))
            return goes_on, turns, ended, list(values), list(kept)

        def turn(state: Any) -> Any:
            _, turns, _, values, _ = state
            found = [
                of_aval(table[turns - 1], literals[0].aval)
                for table, literals in zip(tables, self.literals, strict=True)
            ]
            ended, *current = self._turn(0, values, values, [*outer, *found])
            return left(turns + 1, ended, current, self._kept(values))

        start = left(jnp.int32(1), jnp.int32(period - 1), first, self._kept(first))
        _, turns, ended, values, kept = lax.while_loop(lambda state: state[0], turn, start)
        index = jnp.asarray(self.exits, jnp.int32)[(turns - 1) * period + ended]
        if not self.goes_on_behind:
            index = lax.select(is_unfinished(ended, values), jnp.int32(UNSEEN), index)
        return [index, *values, *kept]

    def _turn(
        self, at: int, entering: Sequence[Any], current: Sequence[Any], outer: Sequence[Any]
    ) -> list[Any]:
        """The segment at which the turn ends that has come to `at`, and the values then."""
        made = iter(self.segments[at].run(*entering, *current, *outer))
        values = [
            next(made) if position == at else value
            for position, value in zip(self.positions, current, strict=True)
        ]
        if at == len(self.segments) - 1:
            return [jnp.int32(at), *values]
        return lax.cond(
            is_same(values[self.guards[at]], self.answers[at + 1]),
            lambda values: self._turn(at + 1, entering, values, outer),
            lambda values: [jnp.int32(at), *values],
            values,
        )

    def _kept(self, values: Sequence[Any]) -> list[Any]:
        return [values[number] for number in self.kept]


class Ends(NamedTuple):
    """What stands behind a loop knows its values by.

    Attributes:
      after: the values that the last turn left.
      before: those that the turn before it left.
      exits: see `Loop`.
      goes_on_behind: see `Loop`.
    """

    after: Sequence[Var]
    before: Sequence[Var]
    exits: tuple[int, ...]
    goes_on_behind: bool


def loop_line(
    turns: Sequence[Turn], outer: Mapping[Slot, Ref], ends: Ends, read_behind: Sequence[Var]
) -> Line:
    """The loop behind the first of `turns`. Its first result is an index, the others are `ends`.

    `outer` has all variables before the loop, the first turn's too; `read_behind` are those of the
    ends that are read.
    """
    first, second = turns[0], turns[1]
    read = set(read_behind)
    entering, current = ([Var(var.aval) for var in ends.after] for _ in range(2))
    guards = [number for number in first.guards() if number is not None]
    kept = [number for number, var in enumerate(ends.before) if var in read]
    wanted = {*guards, *kept, *(n for n, var in enumerate(ends.after) if var in read)}
    variables = {
        **outer,
        **dict(zip(first.results, entering, strict=True)),
        **dict(zip(second.results, current, strict=True)),
    }
    literals: dict[Var, tuple[Literal, ...]] = {}
    codes: list[Code] = []
    for at, node in enumerate(second.nodes):
        lines, known = code_of_steps(node.steps, variables)
        lines, found = _literals_by_turn(lines, [turn.nodes[at] for turn in turns[1:]])
        literals |= found
        made = [slot for slot, n in second.results.items() if second.positions[n] == at]
        codes.append(Code(lines, tuple(known[slot] for slot in made)))
    while True:
        carried = sorted(wanted)
        needed = [_needed(code, first.positions, at, wanted) for at, code in enumerate(codes)]
        free = list(dict.fromkeys(var for code in needed for var in code.free()))
        more = {n for vars in (entering, current) for n, var in enumerate(vars) if var in free}
        if more <= wanted:
            break
        wanted |= more
    inner = {*entering, *current, *literals}
    constant = [var for var in free if var not in inner]
    parameters = [vars[number] for vars in (entering, current) for number in carried]
    parameters += [*constant, *literals]
    loop = Loop(
        segments=tuple(Block(parameters, code) for code in needed),
        positions=tuple(first.positions[number] for number in carried),
        guards=tuple(carried.index(number) for number in guards),
        answers=tuple(node.answer for node in first.nodes if node.answer is not None),
        kept=tuple(carried.index(number) for number in kept),
        literals=tuple(literals.values()),
        exits=ends.exits,
        goes_on_behind=ends.goes_on_behind,
    )
    left = list(first.results)
    operands = (*(outer[left[number]] for number in carried), *constant)
    results = (*(ends.after[n] for n in carried), *(ends.before[n] for n in kept))
    return Line(loop, operands, (Var(jax.typeof(np.int32(0))), *results))


def _needed(code: Code, positions: Sequence[int], at: int, wanted: set[int]) -> Code:
    """The code of the segment `at` with those of its results that are wanted."""
    numbers = [number for number, position in enumerate(positions) if position == at]
    outs = [out for number, out in zip(numbers, code.outs, strict=True) if number in wanted]
    return Code(code.lines, tuple(outs)).without_dead_lines()


def _literals_by_turn(
    lines: Sequence[Line], nodes: Sequence[Node]
) -> tuple[tuple[Line, ...], dict[Var, tuple[Literal, ...]]]:
    """`lines`, those of a segment, with a variable for each literal that the turns differ in.

    The variables are returned with what they are in each turn.
    """
    changing: dict[Var, tuple[Literal, ...]] = {}
    made = []
    for index, line in enumerate(lines):
        operands = list(line.operands)
        for number, ref in enumerate(operands):
            if not isinstance(ref, Literal):
                continue
            found = [node.steps[index].operation.operands[number] for node in nodes]
            literals = tuple(Literal(value, ref.aval) for value in found)
            if len(set(literals)) > 1:
                operands[number] = var = Var(ref.aval)
                changing[var] = literals
        made.append(Line(line.action, tuple(operands), line.results))
    return tuple(made), changing
