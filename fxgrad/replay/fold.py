"""Fold: a tree of recorded paths becomes one program that takes its decisions by itself.

A decision becomes a choice among the values that Python has seen there; what all its branches end
with alike follows it once; a chain of equal segments becomes a loop. An outcome that Python has not
seen gives the code of a miss, and Python takes over.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jax
import numpy as np

from fxgrad.recorder import Slot
from fxgrad.replay.choice import Choice, Gate
from fxgrad.replay.code import Block, Code, Line, Literal, Ref, Var, Zeros, code_of_steps
from fxgrad.replay.join import join
from fxgrad.replay.layout import MISS, MISSED, Column, Layout
from fxgrad.replay.loop import UNSEEN, Ends, loop_line
from fxgrad.replay.outcomes import longest_path, may_miss, nodes, seen
from fxgrad.replay.roll import MAX_PERIOD, Turn, turns_behind
from fxgrad.replay.tree import Node, Output, Values, snapshot

# XLA's time to compile grows faster than these. A tree may have some times the operations of its
# longest path, since that has to be compiled in any case.
MAX_OPERATIONS: Final = 1000
MAX_TIMES_A_PATH: Final = 3
MAX_DEPTH: Final = 64
MAX_STEPS: Final = 100_000
# Of a tree that is too large as a whole, only what is often used: the least share of all calls.
_PRUNED_SHARES: Final = (0.0, 1 / 256, 1 / 32)

_INT32: Final = jax.typeof(np.int32(0))

Variables = Mapping[Slot, Ref]


class UnfoldableError(Exception):
    """The tree stays a tree of segments; the message is the reason."""


@dataclass(frozen=True)
class Folded:
    """A tree as one block.

    Attributes:
      block: the code. Its first outputs are the columns of `layout`; where there is a code, it is
        the last one.
      layout: the forms of the outputs.
      arguments: which arguments the block takes, in order.
      captured: the arrays that it takes behind them.
      has_code: whether its last output says which form the output has, or that it was a miss.
    """

    block: Block
    layout: Layout
    arguments: tuple[int, ...]
    captured: tuple[Any, ...]
    has_code: bool

    @property
    def is_closed(self) -> bool:
        """Whether the columns alone are the output of every call."""
        if self.has_code:
            return False
        (form,) = self.layout.forms
        return not form.logs and all(isinstance(leaf, Column) for leaf in form.leaves)

    def run(self, arguments: Sequence[Any]) -> list[Any]:
        """Run the block on the arguments of a call, under the trace that is current."""
        return self.block.run(*(arguments[number] for number in self.arguments), *self.captured)

    def build(self, columns: Sequence[Any], arguments: Callable[[], Sequence[Any]]) -> Any:
        """The output from what the block gave, or `MISSED`. Waits for the code if there is one."""
        code = columns[-1].item() if self.has_code else 0
        return MISSED if code == MISS else self.layout.forms[code].build(columns, arguments)


def fold(root: Node, avals: Sequence[Any], *, forwards: bool) -> Folded:
    """Fold the tree below `root`, whose arguments have these abstract values.

    Args:
      root: the first segment.
      avals: of all arguments.
      forwards: whether an argument that is returned is the caller's own object.

    Raises:
      UnfoldableError: it has effects, or is too large.
    """
    error: UnfoldableError | None = None
    for share in _PRUNED_SHARES:
        try:
            return _folded(snapshot(root, share * root.hits), avals, forwards)
        except UnfoldableError as refused:
            error = refused
    assert error is not None
    raise error


def _folded(root: Node, avals: Sequence[Any], forwards: bool) -> Folded:
    folding = _Fold(root, len(avals) if forwards else 0)
    parameters = {Slot(number): Var(aval) for number, aval in enumerate(avals)}
    code = folding.code((root,), parameters, depth=0).without_dead_lines()
    numbers = {var: slot.number for slot, var in parameters.items()}
    captured = {var: array for array, var in folding.captured.values()}
    free = sorted(code.free(), key=lambda var: var in captured)
    block = Block(free, code)
    if block.size > max(MAX_OPERATIONS, MAX_TIMES_A_PATH * longest_path(root)):
        raise UnfoldableError(f"it would have {block.size} operations in one program")
    return Folded(
        block=block,
        layout=folding.layout,
        arguments=tuple(numbers[var] for var in free if var in numbers),
        captured=tuple(captured[var] for var in free if var in captured),
        has_code=folding.has_code,
    )


class _Fold:
    def __init__(self, root: Node, argument_count: int) -> None:
        every = list(nodes(root))
        if sum(len(node.steps) for node in every) > MAX_STEPS:
            raise UnfoldableError(f"more than {MAX_STEPS} operations have been recorded")
        if len(every) > 1 and any(step.has_effects for node in every for step in node.steps):
            raise UnfoldableError("it has effects, which must not be run twice")
        outputs = [node.output for node in every if node.output is not None]
        self.layout = Layout(outputs, argument_count)
        self.has_code = len(self.layout.forms) > 1 or any(map(may_miss, every))
        self.captured: dict[int, tuple[Any, Var]] = {}

    def code(self, path: Sequence[Node], variables: Variables, depth: int) -> Code:
        """What is done from the last node of `path` on."""
        if depth > MAX_DEPTH:
            raise UnfoldableError(f"more than {MAX_DEPTH} decisions stand behind each other")
        node = path[-1]
        lines, known = code_of_steps(node.steps, {**variables, **self._captured(node.captured)})
        if node.output is not None:
            return Code(lines, self._outs(node.output, known))
        rest = self._decision(path, known, depth)
        return Code((*lines, *rest.lines), rest.outs).without_dead_lines()

    def _outs(self, output: Output, known: Variables) -> tuple[Ref, ...]:
        form, slots = self.layout.columns(output)
        avals = enumerate(self.layout.avals)
        columns = [known[slots[n]] if n in slots else Zeros(aval) for n, aval in avals]
        return (*columns, *self._code(form))

    def _miss(self) -> Code:
        return Code((), (*map(Zeros, self.layout.avals), *self._code(MISS)))

    def _code(self, value: int) -> tuple[Literal, ...]:
        return (Literal(np.int32(value), _INT32),) if self.has_code else ()

    def _captured(self, arrays: Values) -> dict[Slot, Ref]:
        for array in arrays.values():
            self.captured.setdefault(id(array), (array, Var(jax.typeof(array))))
        return {slot: self.captured[id(array)][1] for slot, array in arrays.items()}

    def _decision(
        self, path: Sequence[Node], known: Variables, depth: int, without: Hashable = None
    ) -> Code:
        """What follows the guard of the last node, when it does not have the answer `without`."""
        node = path[-1]
        rolled = self._loop(path, known, depth) if without is None else None
        if rolled is not None:
            return rolled
        branches = [
            (child.answer, self.code((*path[-MAX_PERIOD:], child), known, depth + 1))
            for child in seen(node, without)
        ]
        if not branches or node.guard is None:
            return self._miss()
        answers, codes = zip(*branches, strict=True)
        return self._choose(known[node.guard], answers, codes, not may_miss(node, without))

    def _choose(
        self, guard: Ref, answers: Sequence[np.ndarray], codes: Sequence[Code], is_closed: bool
    ) -> Code:
        """The code of the answer that the guard has, and a miss for another one."""
        prefixes, joints, rest = join(codes)
        if joints:
            free = _free(prefixes)
            branches = [Block(free, prefix) for prefix in prefixes]
            line = Line(Choice(answers, branches), (guard, *free), tuple(joints))
            rest = Code((line, *rest.lines), rest.outs)
        if is_closed:
            return rest
        free = rest.free()
        gate = Gate(answers, Block(free, rest), Block(free, self._miss()))
        outs = tuple(Var(ref.aval) for ref in rest.outs)
        return Code((Line(gate, (guard, *free), outs),), outs)

    def _loop(self, path: Sequence[Node], known: Variables, depth: int) -> Code | None:
        """What follows the last node, if it ends the first turn of a loop."""
        turns = turns_behind(path)
        try:
            return self._rolled(turns, known, depth) if turns else None
        except KeyError:  # Python holds values of turns before the last two: it collects them
            return None

    def _rolled(self, turns: Sequence[Turn], known: Variables, depth: int) -> Code:
        """The loop behind the first turn, and what follows where it ends.

        Raises:
          KeyError: what follows reads values of turns before the last two.
        """
        first, last = turns[0], turns[-1]
        answers = [node.answer_key for node in first.nodes]
        outer = {slot: ref for slot, ref in known.items() if slot not in first.results}
        after, before = ([Var(known[slot].aval) for slot in first.results] for _ in range(2))
        goes_on = any(child.answer_key == answers[0] for child in seen(last.nodes[-1]))
        exits: list[Code | None] = [None] * (len(answers) - 1)  # the first turn is not in the loop
        for number, turn in enumerate(turns):
            outer |= self._captured(turn.captured)
            previous = turns[number - 1] if number else None
            for at, node in enumerate(turn.nodes):
                if turn is first and node is not first.nodes[-1]:
                    continue
                is_end = node is last.nodes[-1] and goes_on
                without = None if is_end else answers[(at + 1) % len(answers)]
                variables = {**outer, **_left(turn, previous, at, after, before)}
                here = turn.nodes[: at + 1]
                is_seen = bool(seen(node, without))
                exits.append(
                    self._decision(here, variables, depth + 1, without) if is_seen else None
                )
        codes, table = _distinct(exits)
        ends = Ends(after, before, table, goes_on)
        line = loop_line(turns, {**outer, **known}, ends, _free(codes))
        if not codes:
            return self._miss()
        rest = codes[0]
        if len(codes) > 1 or UNSEEN in table or not goes_on:
            numbers = [np.asarray(number, np.int32) for number in range(len(codes))]
            is_closed = UNSEEN not in table and goes_on
            rest = self._choose(line.results[0], numbers, codes, is_closed)
        return Code((line, *rest.lines), rest.outs)


def _left(
    turn: Turn, previous: Turn | None, at: int, after: Sequence[Var], before: Sequence[Var]
) -> dict[Slot, Ref]:
    """How the values of a loop are known that has ended behind the segment `at` of `turn`.

    A turn that ends early leaves, of its later segments, what the turn before has left.
    """
    known: dict[Slot, Ref] = {}
    for slot, number in previous.results.items() if previous else ():
        is_made_again = turn.positions[number] <= at
        known[slot] = before[number] if is_made_again else after[number]
    for slot, number in turn.results.items():
        if turn.positions[number] <= at:
            known[slot] = after[number]
    return known


def _distinct(exits: Sequence[Code | None]) -> tuple[list[Code], tuple[int, ...]]:
    """The exits that differ, and for each exit which of them it is."""
    numbers: dict[Hashable, int] = {}
    codes: list[Code] = []
    table: list[int] = []
    for code in exits:
        if code is None:
            table.append(UNSEEN)
            continue
        free = code.free()
        number = numbers.setdefault((Block(free, code).key, *free), len(codes))
        if number == len(codes):
            codes.append(code)
        table.append(number)
    return codes, tuple(table)


def _free(codes: Sequence[Code]) -> list[Var]:
    return list(dict.fromkeys(var for code in codes for var in code.free()))
