"""The pass of each operation: forward, backward, or what is computed from the derivatives.

JAX's names tell of the passes of a derivative. What they do not tell follows from the data.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from fxgrad.graphs.record import Edge, Node, Phase


def passes(
    told: Sequence[Phase | None], nodes: Sequence[Node], edges: Iterable[Edge]
) -> list[Phase]:
    """The phase of every node, by what its name tells, what it reads, and what reads it."""
    if "backward" not in told:
        return ["forward"] * len(nodes)
    sources: dict[int, list[int]] = defaultdict(list)
    targets: dict[int, list[int]] = defaultdict(list)
    for edge in edges:
        if edge.kind == "data":
            sources[edge.target].append(edge.source)
            targets[edge.source].append(edge.target)
    found: list[Phase] = []
    for number, phase in enumerate(told):
        found.append(phase or _behind({found[s] for s in sources[number] if s < number}))
    for number in reversed(range(len(nodes))):
        is_open = told[number] is None and nodes[number].kind == "operation"
        if is_open and _feeds_updates(number, nodes, targets, found):
            found[number] = "update"
    return found


def _behind(phases: set[Phase]) -> Phase:
    return "forward" if phases <= {"forward"} else "update"


def _feeds_updates(
    number: int, nodes: Sequence[Node], targets: dict[int, list[int]], found: Sequence[Phase]
) -> bool:
    """Whether all that reads a value, outputs aside, is computed from the derivatives."""
    readers = [found[t] for t in targets[number] if nodes[t].kind != "output"]
    return bool(readers) and all(phase == "update" for phase in readers)
