"""Decisions: for each line at which Python asked for values, what they were and what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from fxgrad.places import Place
from fxgrad.replay.next_turn import lines_of_loops
from fxgrad.replay.paths import value_in_words
from fxgrad.replay.promotion import Tree
from fxgrad.replay.tree import Node

Cost = Literal["nothing", "one host read for the whole call", "a host read", "Python"]

AskedFor = Literal["truth", "whole number", "number", "array"]

_SHOWN: Final = 6

# By what Python asked for, since it decides what else could be written.
_ADVICE: Final[dict[AskedFor, str]] = {
    "truth": (
        "an outcome costs nothing when every one of the line has been seen: call with arguments "
        "for the others once; or keep both sides in the graph: jax.numpy.where, jax.lax.cond"
    ),
    "whole number": (
        "keep it an array: index a jax.numpy array by it, loop with jax.lax.fori_loop, pad to a "
        "fixed size; if it is only shown, write fx.log(name, value)"
    ),
    "number": (
        "if the value is only shown, write fx.log(name, value); if it is computed with, keep it "
        "an array, x and not float(x); if Python decides by it, ask for what repeats: "
        "bool(x > limit)"
    ),
    "array": (
        "use the function of the same name in jax.numpy, and for a mask keep the size fixed: "
        "jax.numpy.where(mask, x, 0); if it is only shown, write fx.log(name, value)"
    ),
}


_NEXT_TURN: Final = (
    "the turn after the longest run that was seen is always new, so a loop that Python decides "
    "costs one host read a call at least: to have none, keep it in the graph with "
    "jax.lax.while_loop, or jax.lax.fori_loop for a number of turns that is known"
)


@dataclass(frozen=True)
class Decision:
    """One line that forces values.

    Attributes:
      place: the user's line.
      values: the first values that it was given, in words.
      count: how many different ones there were.
      on_paths: how often it stands on the recorded paths.
      cost: what it costs at each call now: the dearest of all places where it stands.
      reason: why it costs that, or the empty string.
      advice: what to write instead, or the empty string.
    """

    place: Place
    values: tuple[str, ...]
    count: int
    on_paths: int
    cost: Cost
    reason: str
    advice: str

    def to_dict(self) -> dict[str, Any]:
        """The decision as plain values."""
        return {**vars(self), "place": self.place.to_dict(), "values": list(self.values)}

    def __str__(self) -> str:
        more = ", …" if self.count > len(self.values) else ""
        lines = [
            f"{self.place}  {self.place.line}",
            f"     forced {self.on_paths} time(s) on the recorded paths, {self.count} value(s): "
            f"{', '.join(self.values)}{more}",
            f"     costs {self.cost}" + (f": {self.reason}" if self.reason else ""),
        ]
        return "\n".join([*lines, *([f"     → {self.advice}"] if self.advice else [])])


_COSTS: Final[tuple[Cost, ...]] = (
    "nothing",
    "one host read for the whole call",
    "a host read",
    "Python",
)


@dataclass
class _Line:
    """What is gathered for one line."""

    values: dict[str, None] = field(default_factory=dict)
    on_paths: int = 0
    cost: Cost = "nothing"
    reason: str = ""
    asked_for: AskedFor = "truth"
    is_next_turn: bool = False


def decisions(trees: Iterable[Tree]) -> tuple[Decision, ...]:
    """All lines that force values, in the order in which they were first met."""
    lines: dict[Place, _Line] = {}
    for tree in trees:
        loops = lines_of_loops(tree.root)
        for node in _deciding(tree.root):
            if node.place is None:
                continue
            line = lines.setdefault(node.place, _Line())
            line.on_paths += 1
            line.asked_for = _asked_for(node)
            line.is_next_turn |= node.place in loops
            line.values.update(
                (value_in_words(child), None) for child in list(node.children.values())
            )
            cost, reason = _cost(tree, node)
            if _COSTS.index(cost) >= _COSTS.index(line.cost):
                line.cost, line.reason = cost, reason
    return tuple(_decision(place, line) for place, line in lines.items())


def _decision(place: Place, line: _Line) -> Decision:
    return Decision(
        place=place,
        values=tuple(line.values)[:_SHOWN],
        count=len(line.values),
        on_paths=line.on_paths,
        cost=line.cost,
        reason=line.reason,
        advice="" if line.cost == "nothing" else _advice(line),
    )


def _advice(line: _Line) -> str:
    is_loop = line.is_next_turn and line.asked_for == "truth"
    return _NEXT_TURN if is_loop else _ADVICE[line.asked_for]


def _asked_for(node: Node) -> AskedFor:
    """What Python asked for, by the values that it was given."""
    answers = [child.answer for child in list(node.children.values())]
    if any(answer is None or answer.ndim for answer in answers):
        return "array"
    kinds = {answer.dtype.kind for answer in answers if answer is not None}
    if kinds <= {"b"}:
        return "truth"
    return "whole number" if kinds <= {"i", "u"} else "number"


def _deciding(root: Node) -> Iterator[Node]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node.guard is not None:
            yield node
        waiting.extend(list(node.children.values())[::-1])


def _cost(tree: Tree, node: Node) -> tuple[Cost, str]:
    if node.eager_from_here:
        return "Python", "it has had too many values; what follows others runs in eager"
    if tree.promoted is None:
        return "a host read", tree.served
    if tree.promoted.folded.has_code:
        return "one host read for the whole call", "not every outcome on the paths has been seen"
    return "nothing", ""
