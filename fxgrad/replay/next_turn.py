"""Lines at which Python decides on the next turn of a loop, by the paths that were recorded.

At such a line one outcome comes back to the line, and another leaves it. However often a loop has
been seen, the turn after its longest run has not.
"""

from __future__ import annotations

from typing import Final

from fxgrad.places import Place
from fxgrad.replay.paths import value_in_words
from fxgrad.replay.tree import Node

# A condition that comes up again once may be an `if` in a loop of two turns.
_TURNS: Final = 2


def lines_of_loops(root: Node) -> set[Place]:
    """The lines of a tree that decide on a next turn."""
    found = set()
    for place, by_value in _comes_back(root).items():
        always = [len(each) for each in by_value.values() if all(each)]
        is_left = not all(map(all, by_value.values()))
        if place.line.startswith("while ") or (is_left and max(always, default=0) >= _TURNS):
            found.add(place)
    return found


def _comes_back(root: Node) -> dict[Place, dict[str, list[bool]]]:
    """For each line and each value that it was given, whether the line came up again below."""
    order = [(root, list(root.children.values()))]
    for _, children in order:
        order.extend((child, list(child.children.values())) for child in children)
    below: dict[int, set[Place]] = {}
    found: dict[Place, dict[str, list[bool]]] = {}
    for node, children in reversed(order):
        if node.place is not None:
            values = found.setdefault(node.place, {})
            for child in children:
                is_again = node.place in below[id(child)]
                values.setdefault(value_in_words(child), []).append(is_again)
        own = set() if node.place is None else {node.place}
        below[id(node)] = own.union(*(below.pop(id(child)) for child in children))
    return found
