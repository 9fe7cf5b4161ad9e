"""Parts of a run: scopes within scopes, or lines where there are none, each time by itself.

A loop comes through the same line or scope at every turn, and each turn is a part of its own. A
scope is told by its entry. A line is come through anew when the operation that it began with comes
again. The backward pass goes through the turns in reverse; where it has not as many as the forward
pass, its operations are in no part.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fxgrad.footprint.holdings import Makers
from fxgrad.footprint.record import Grouping
from fxgrad.observed import Observed
from fxgrad.places import Place
from fxgrad.recorder import positions_of, scope_entries

Part = tuple[tuple[str, int], ...]
"""Names from the outermost to the innermost, each with the number of the time."""


class Parts:
    """The innermost part of every operation of a forward and a backward pass.

    Attributes:
      grouped_by: whether parts are scopes or lines.
    """

    def __init__(
        self, observed: Observed, makers: Makers, forward: Iterable[int], backward: Iterable[int]
    ) -> None:
        self._observed = observed
        self._makers = makers
        forward, backward = sorted(forward), sorted(backward)
        scopes = {number: self._scope(number) for number in (*forward, *backward)}
        is_scoped = any(scopes[number] for number in forward)
        self.grouped_by: Grouping = "scope" if is_scoped else "line"
        self._innermost = scopes if is_scoped else dict(self._by_line(forward, backward))

    def __call__(self, number: int, depth: int | None = None) -> Part:
        """The part of an operation, at most so deep; () for none."""
        return self._innermost.get(number, ())[:depth]

    def _scope(self, number: int) -> Part:
        return tuple(scope_entries(self._observed.operations[number].source))

    def _by_line(
        self, forward: Sequence[int], backward: Sequence[int]
    ) -> Iterator[tuple[int, Part]]:
        there, back = self._lines(forward), self._lines(backward)
        for place, numbers in there.items():
            turns = self._turns(place, numbers)
            last = turns[-1]
            yield from self._named(place, zip(numbers, turns, strict=True))
            returns = self._turns(place, back.get(place, []))
            if not last:
                yield from self._named(place, ((n, 0) for n in back.get(place, [])))
            elif returns and returns[-1] == last:
                yield from self._named(
                    place, ((n, last - t) for n, t in zip(back[place], returns, strict=True))
                )

    def _lines(self, numbers: Sequence[int]) -> dict[Place, list[int]]:
        found: dict[Place, list[int]] = {}
        for number in numbers:
            place = self._makers.place(number)
            if place is not None:
                found.setdefault(place, []).append(number)
        return found

    def _turns(self, place: Place, numbers: Sequence[int]) -> list[int]:
        """For each operation of a line the turn in which it was, from 0."""
        # All that one operation is differentiated to has the very traceback of that.
        tracebacks = itertools.groupby(numbers, lambda n: id(self._source(n).traceback))
        turns: list[int] = []
        turn, first = -1, None
        for _, group in tracebacks:
            alike = list(group)
            began_with = self._positions(place, alike[0])
            first = first or began_with
            turn += began_with == first
            turns += [turn] * len(alike)
        return turns

    def _positions(self, place: Place, number: int) -> tuple[Any, ...]:
        """The code behind an operation from JAX's up to that of its line."""
        positions = positions_of(self._source(number))
        own = next(
            (i for i, (code, _) in enumerate(positions) if code.co_filename == place.filename),
            len(positions),
        )
        return positions[: own + 1]

    def _source(self, number: int) -> Any:
        return self._observed.operations[number].source

    def _named(self, place: Place, turns: Iterable[tuple[int, int]]) -> Iterator[tuple[int, Part]]:
        label = f"{place}  {place.line}"
        for number, turn in turns:
            yield number, ((label, turn),)
