"""Ways: which equation is the first on a way of marked values to an output."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from typing import Any


def origin(
    equations: Sequence[tuple[Collection[Any], Collection[Any]]],
    outputs: Collection[Hashable],
    marked: Collection[Hashable],
    made: Collection[int] | None = None,
) -> int | None:
    """The first equation that makes a marked value, on a marked way to an output.

    Args:
      equations: what each reads and makes.
      outputs: where the ways end.
      marked: what is followed.
      made: the equations, by their places, that make it; if not given, those that make a marked
        value of unmarked ones.
    """
    ahead = {name for name in outputs if name in marked}
    found = None
    for number in reversed(range(len(equations))):
        reads, makes = equations[number]
        if ahead.isdisjoint(makes):
            continue
        before = {name for name in reads if name in marked}
        ahead |= before
        if not before if made is None else number in made:
            found = number
    return found
