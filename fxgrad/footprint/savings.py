"""Where `jax.checkpoint` would save most: module scopes, or lines where there are none.

A part under `jax.checkpoint` keeps its inputs and makes the rest again for its backward pass.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from fxgrad.footprint.holdings import Makers
from fxgrad.footprint.record import Grouping, Saving
from fxgrad.observed import Observed
from fxgrad.recorder import Slot, scope_of

MAX_SHOWN: Final = 8
_TRANSFORM: Final = re.compile(r"\w+\(|\)")
_NUMBER: Final = re.compile(r"\d+$")

Part = tuple[str, ...]


def savings(
    observed: Observed, makers: Makers, forward: set[int], readers: Mapping[Slot, Sequence[int]]
) -> tuple[Saving, ...]:
    """What each part would save, the greatest gain first.

    Args:
      observed: a run with a backward pass.
      makers: who made its values.
      forward: the numbers of the operations of the forward pass.
      readers: for each value that is kept, the operations of the backward pass that read it.
    """
    parts = _Parts(observed, makers, forward, readers)
    alike: dict[Part, list[Part]] = {}
    for part in parts.all():
        alike.setdefault(tuple(_NUMBER.sub("*", name) for name in part), []).append(part)
    found = [_saving(parts, shared, several) for shared, several in alike.items()]
    worth = [saving for saving in found if saving.saved_bytes > 0]
    worth.sort(key=lambda saving: (-saving.gain_bytes, -saving.saved_bytes, saving.label))
    return tuple(worth[:MAX_SHOWN])


def _saving(parts: _Parts, shared: Part, several: Sequence[Part]) -> Saving:
    kept = [parts.kept_bytes(part) for part in several]
    label = several[0] if len(several) == 1 else shared
    return Saving(
        label="/".join(label),
        grouped_by=parts.grouped_by,
        count=len(several),
        kept_bytes=sum(kept),
        saved_bytes=sum(kept) - sum(map(parts.input_bytes, several)),
        made_again_bytes=max(kept),
    )


class _Parts:
    """The parts of a forward pass: each scope within each other scope, or each line."""

    def __init__(
        self,
        observed: Observed,
        makers: Makers,
        forward: set[int],
        readers: Mapping[Slot, Sequence[int]],
    ) -> None:
        self._observed = observed
        self._makers = makers
        self._forward = forward
        self._kept = set(readers)
        self._innermost = {number: self._scope(number) for number in forward}
        self.grouped_by: Grouping = "scope" if any(self._innermost.values()) else "line"
        if self.grouped_by == "line":
            self._innermost = {number: self._line(number) for number in forward}
        self._own: dict[Part, list[Slot]] = {}
        for slot, numbers in readers.items():
            common = self._common([makers.number[slot], *numbers])
            for part in _around(common):
                self._own.setdefault(part, []).append(slot)
        self._inputs = self._read_from_outside()

    def all(self) -> list[Part]:
        """Every part that keeps something that is its own."""
        return list(self._own)

    def kept_bytes(self, part: Part) -> int:
        """What is kept that no other part's backward pass reads."""
        return self._observed.bytes_of(self._own[part])

    def input_bytes(self, part: Part) -> int:
        """What would be kept instead, and is not kept now."""
        return self._observed.bytes_of(self._inputs.get(part, ()))

    def _read_from_outside(self) -> dict[Part, set[Slot]]:
        found: dict[Part, set[Slot]] = {}
        for number in self._forward:
            for slot in self._observed.operations[number].operands:
                maker = self._makers.number.get(slot) if isinstance(slot, Slot) else None
                if maker not in self._forward or slot in self._kept:
                    continue
                inside = set(_around(self._innermost[maker]))
                for part in _around(self._innermost[number]):
                    if part not in inside:
                        found.setdefault(part, set()).add(slot)
        return found

    def _common(self, numbers: Sequence[int]) -> Part:
        """The innermost part that operations of both passes are all in."""
        make = self._scope if self.grouped_by == "scope" else self._line
        first, *others = [self._innermost.get(number) or make(number) for number in numbers]
        for other in others:
            same = 0
            while same < min(len(first), len(other)) and first[same] == other[same]:
                same += 1
            first = first[:same]
        return first

    def _scope(self, number: int) -> Part:
        scope = _TRANSFORM.sub("", scope_of(self._observed.operations[number].source))
        return tuple(name for name in scope.split("/") if name)

    def _line(self, number: int) -> Part:
        place = self._makers.place(number)
        return () if place is None else (f"{place}  {place.line}",)


def _around(part: Part) -> list[Part]:
    return [part[:depth] for depth in range(1, len(part) + 1)]
