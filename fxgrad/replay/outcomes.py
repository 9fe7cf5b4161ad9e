"""Outcomes: which values of a decision have been seen, and whether they are all there can be."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from fxgrad.replay.tree import Node


def nodes(root: Node) -> Iterator[Node]:
    """All nodes. Loops make deep trees, so this does not recurse."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(node.children.values())


def seen(node: Node, without: Hashable = None) -> list[Node]:
    """The children that a program can go on to, but for one."""
    return [
        child
        for child in node.children.values()
        if child.answer is not None
        and child.answer_key != without
        and (child.guard is not None or child.output is not None)
    ]


def may_miss(node: Node, without: Hashable = None) -> bool:
    """Whether Python may have to run at the end of `node`, unless the answer is `without`."""
    if node.guard is None:
        return node.output is None
    children = seen(node)
    answer = children[0].answer if children else None
    if answer is None or answer.dtype != bool:
        return True  # there are always more numbers
    known = {child.answer_key for child in children} | ({without} - {None})
    return len(known) < 2**answer.size


def longest_path(root: Node) -> int:
    """The operations of the longest path, one after the other."""
    longest, waiting = 0, [(root, 0)]
    while waiting:
        node, before = waiting.pop()
        length = before + len(node.steps)
        longest = max(longest, length)
        waiting.extend((child, length) for child in node.children.values())
    return longest
