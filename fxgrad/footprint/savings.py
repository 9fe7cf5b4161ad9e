"""Where `jax.checkpoint` would save most: module scopes, or lines where there are none.

A part under `jax.checkpoint` keeps its inputs and makes the rest again for its backward pass.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from fxgrad.footprint.holdings import Makers
from fxgrad.footprint.parts import Part, Parts
from fxgrad.footprint.record import Saving
from fxgrad.observed import Observed
from fxgrad.recorder import Slot

MAX_SHOWN: Final = 8
_NUMBER: Final = re.compile(r"\d+$")


def savings(
    observed: Observed,
    makers: Makers,
    forward: set[int],
    backward: set[int],
    readers: Mapping[Slot, Sequence[int]],
) -> tuple[Saving, ...]:
    """What each part would save, the greatest gain first.

    Args:
      observed: a run with a backward pass.
      makers: who made its values.
      forward: the numbers of the operations of the forward pass.
      backward: the numbers of those of the backward pass.
      readers: for each value that is kept, the operations of the backward pass that read it.
    """
    kept = _Kept(observed, makers, forward, backward, readers)
    alike: dict[tuple[str, ...], list[Part]] = {}
    for part in kept.parts_with_own():
        alike.setdefault(tuple(_NUMBER.sub("*", name) for name, _ in part), []).append(part)
    found = [kept.saving(shared, several) for shared, several in alike.items()]
    worth = [saving for saving in found if saving.saved_bytes > 0]
    worth.sort(key=lambda saving: (-saving.gain_bytes, -saving.saved_bytes, saving.label))
    return tuple(worth[:MAX_SHOWN])


class _Kept:
    """What is kept now, and what would be if some parts were under `jax.checkpoint`."""

    def __init__(
        self,
        observed: Observed,
        makers: Makers,
        forward: set[int],
        backward: set[int],
        readers: Mapping[Slot, Sequence[int]],
    ) -> None:
        self._observed = observed
        self._makers = makers
        self._forward = forward
        self._readers = readers
        self._part = Parts(observed, makers, forward, backward)
        inputs = (*observed.arguments, *observed.captured)
        self._inputs = {observed.buffers[slot] for slot in inputs}

    def parts_with_own(self) -> list[Part]:
        """Every part that keeps something that no other part's backward pass reads."""
        found = {
            part[:depth]: None
            for slot in self._readers
            for part in [self._common(slot)]
            for depth in range(1, len(part) + 1)
        }
        return list(found)

    def saving(self, shared: tuple[str, ...], several: Sequence[Part]) -> Saving:
        """What these parts would save, each checkpointed by itself."""
        names = {tuple(name for name, _ in part) for part in several}
        bytes_of = self._observed.bytes_of
        own = [s for s in self._readers if self._common(s)[: len(shared)] in several]
        return Saving(
            label="/".join(*names) if len(names) == 1 else "/".join(shared),
            grouped_by=self._part.grouped_by,
            count=len(several),
            kept_bytes=bytes_of(own),
            saved_bytes=bytes_of(self._readers) - bytes_of(self._kept_without(set(several))),
            made_again_bytes=max(bytes_of(self._made_again(part)) for part in several),
        )

    def _common(self, slot: Slot) -> Part:
        """The innermost part that makes a value and has all that reads it."""
        numbers = [self._makers.number[slot], *self._readers[slot]]
        first, *others = [self._part(number) for number in numbers]
        same = len(first)
        for other in others:
            while first[:same] != other[:same]:
                same -= 1
        return first[:same]

    def _kept_without(self, several: set[Part]) -> set[Slot]:
        """What is kept then: what other parts read, and the inputs of these."""
        depth = len(next(iter(several)))
        kept: set[Slot] = set()
        for slot, numbers in self._readers.items():
            maker = self._part(self._makers.number[slot], depth)
            parts = {self._part(number, depth) for number in numbers}
            if maker not in several or parts != {maker}:
                kept.add(slot)
        for number in self._forward:
            part = self._part(number, depth)
            if part in several:
                kept.update(s for s in self._read_by(number) if self._made_in(s, depth) != part)
        return kept

    def _read_by(self, number: int) -> list[Slot]:
        """What an operation reads that the forward pass made in memory of its own."""
        operands = self._observed.operations[number].operands
        return [
            slot
            for slot in operands
            if isinstance(slot, Slot)
            and self._makers.number.get(slot) in self._forward
            and self._observed.buffers[slot] not in self._inputs
        ]

    def _made_in(self, slot: Slot, depth: int) -> Part:
        return self._part(self._makers.number[slot], depth)

    def _made_again(self, part: Part) -> list[Slot]:
        """What the backward pass of a part reads of what the part makes."""
        depth = len(part)
        return [
            slot
            for slot, numbers in self._readers.items()
            if self._made_in(slot, depth) == part
            and any(self._part(number, depth) == part for number in numbers)
        ]
