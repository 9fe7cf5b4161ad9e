"""The tree of recorded paths: a segment, the value it is decided by, a child for each value seen.

Making it belongs to `session`; here is what it is, and how a call goes down it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import jax
import numpy as np

from fxgrad.logs import deliver
from fxgrad.places import Place
from fxgrad.recorder import Slot
from fxgrad.replay.program import Program
from fxgrad.replay.structure import Step
from fxgrad.replay.together import current

_KEPT_BYTES: Final = 64

Values = dict[Slot, Any]


@dataclass(frozen=True)
class Output:
    """What a path returns: for each leaf a slot, or a Python value as it is.

    Attributes:
      tree: the structure of the output.
      leaves: a `Slot` or a constant for each leaf.
      avals: the abstract value of each leaf that is a slot, and None for the constants.
      logs: the names of the leaves behind those of `tree`, which are observed and not returned.
    """

    tree: Any
    leaves: tuple[Any, ...]
    avals: tuple[Any, ...]
    logs: tuple[str, ...] = ()

    def build(self, values: Values) -> Any:
        """The output of a call."""
        leaves = [values[leaf] if isinstance(leaf, Slot) else fresh(leaf) for leaf in self.leaves]
        return jax.tree.unflatten(self.tree, leaves)


def own(argument: Any) -> jax.Array:
    """An argument as an array of JAX's: what the caller does to a NumPy array is the caller's."""
    return argument if isinstance(argument, jax.Array) else jax.device_put(np.array(argument))


def fresh(leaf: Any) -> Any:
    """A constant of the path; what a caller could change is a copy each time."""
    return leaf.copy() if isinstance(leaf, np.ndarray) else leaf


class Log(NamedTuple):
    """A value that a path observes: a slot with its abstract value, or a constant."""

    name: str
    value: Any
    aval: Any


@dataclass
class Node:
    """One segment of a path and what follows it.

    A node with a `guard` is a decision; one with an `output` is the end of a path. At the end of a
    path that is neither, Python runs again: it raised an exception there.

    Attributes:
      steps: what was heard since the node above.
      inputs: the slots that the program reads.
      outputs: the slots that it gives: all that Python held then, and the guard.
      constants: the last inputs of the program.
      program: the compiled segment; None when there is nothing to run.
      logs: what is observed in it.
      captured: arrays that are neither arguments nor results, by their slot.
      dead: the slots that Python has let go of by its end, whose arrays need not be kept.
      guard: the slot whose value Python asked for.
      place: the user's line that asked.
      children: the node for each value seen.
      answer: the value that led here; None at the root, and where it is too large to be kept.
      output: what the path returns.
      eager_from_here: why this decision is no longer recorded, or the empty string.
      recorded: at the root, how many operations and segments the tree has.
      hits: how many calls have come by.
    """

    steps: tuple[Step, ...] = ()
    inputs: tuple[Slot, ...] = ()
    outputs: tuple[Slot, ...] = ()
    constants: tuple[jax.Array, ...] = ()
    program: Program | None = None
    logs: tuple[Log, ...] = ()
    captured: Values = field(default_factory=dict)
    dead: tuple[Slot, ...] = ()
    guard: Slot | None = None
    place: Place | None = None
    children: dict[Hashable, Node] = field(default_factory=dict)
    answer: np.ndarray | None = None
    output: Output | None = None
    eager_from_here: str = ""
    recorded: int = 0
    hits: int = 0

    @property
    def answer_key(self) -> Hashable:
        """The key among its parent's children, where the answer is kept."""
        return None if self.answer is None else guard_key(self.answer)

    def results(self) -> dict[Slot, int]:
        """The slots that are made here, numbered in order."""
        slots = (slot for step in self.steps for slot in step.operation.results)
        return {slot: number for number, slot in enumerate(slots)}

    def run(self, values: Values) -> None:
        """Run the segment; `values` gains its outputs."""
        self.hits += 1
        values.update(self.captured)
        if self.program is not None:
            results = self.program(*[values[slot] for slot in self.inputs], *self.constants)
            values.update(zip(self.outputs, results, strict=True))
        for log in self.logs:
            deliver(log.name, values[log.value] if isinstance(log.value, Slot) else log.value)
        for slot in self.dead:
            values.pop(slot, None)


@dataclass
class Walk:
    """How far a call came down the tree without Python.

    Attributes:
      values: the value of each slot that is known.
      path: the nodes that were run, from the root.
      answers: the guard values that were read, one for each node of the path that has a guard.
      host_reads: how many values were read back.
    """

    values: Values
    path: list[Node] = field(default_factory=list)
    answers: list[np.ndarray] = field(default_factory=list)
    host_reads: int = 0

    def give_arguments(self, arguments: Sequence[Any]) -> None:
        """The first slots are the arguments."""
        self.values.update((Slot(i), own(leaf)) for i, leaf in enumerate(arguments))


def walk(root: Node, arguments: Sequence[Any]) -> Walk:
    """Go down the tree as far as values seen before lead."""
    walked = Walk({})
    walked.give_arguments(arguments)
    together = current()
    node: Node | None = root
    while node is not None:
        node.run(walked.values)
        walked.path.append(node)
        if node.guard is None:
            return walked
        answer = np.asarray(walked.values[node.guard])
        walked.answers.append(answer)
        walked.host_reads += 1
        if together is not None:
            together.also(node.captured.values())
            together.decide(walked.values[node.guard], answer, node.place)
        node = node.children.get(guard_key(answer))
    return walked


def guard_key(value: np.ndarray) -> Hashable:
    """The exact bytes of a value, or their SHA-256 when they are many."""
    data = value.tobytes()
    return data if is_kept(value) else hashlib.sha256(data).digest()


def is_kept(value: np.ndarray) -> bool:
    """Whether a guard's value is kept, and not only its hash."""
    return value.nbytes <= _KEPT_BYTES


def snapshot(root: Node, min_hits: float) -> Node:
    """The tree below `root` as it is now, in nodes of its own, without those of fewer hits.

    Its outputs hold all that their paths observe.
    """
    copy = replace(root)
    waiting: list[tuple[Node, tuple[Log, ...]]] = [(copy, ())]
    while waiting:
        node, before = waiting.pop()
        logs = (*before, *node.logs)
        if node.output is not None:
            node.output = _with_logs(node.output, logs)
        node.children = {
            key: replace(child)
            for key, child in node.children.copy().items()
            if child.hits >= min_hits
        }
        waiting.extend((child, logs) for child in node.children.values())
    return copy


def _with_logs(output: Output, logs: Sequence[Log]) -> Output:
    return Output(
        output.tree,
        (*output.leaves, *(log.value for log in logs)),
        (*output.avals, *(log.aval for log in logs)),
        tuple(log.name for log in logs),
    )
