"""Held arrays by who brought or made them: an argument, a captured array, a line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import jax

from fxgrad.footprint.record import Holding, HoldingKind
from fxgrad.observed import Observed
from fxgrad.places import Place
from fxgrad.recorder import Slot, place_of

_ORDER: Final = ("argument", "captured", "result")


class Makers:
    """Tells for each value of a run who brought or made it.

    Attributes:
      number: for every result the number of the operation that made it.
    """

    def __init__(self, observed: Observed) -> None:
        self._observed = observed
        names = (name for name, _ in observed.names)
        self._names = dict(zip(observed.arguments, names, strict=True))
        self._places: dict[int, Place | None] = {}
        self.number = {
            slot: number
            for number, operation in enumerate(observed.operations)
            for slot in operation.results
        }

    def holdings(self, slots: Iterable[Slot]) -> tuple[Holding, ...]:
        """What `slots` take, the largest first. Values that share their memory count once."""
        groups: dict[tuple[HoldingKind, str, Place | None], dict[int, Slot]] = {}
        seen: set[int] = set()
        for slot in sorted(slots):
            buffer = self._observed.buffers[slot].number
            if buffer not in seen:
                seen.add(buffer)
                groups.setdefault(self._key(slot), {})[buffer] = slot
        found = [self._holding(*key, list(group.values())) for key, group in groups.items()]
        return tuple(sorted(found, key=lambda h: (-h.bytes, _ORDER.index(h.kind), h.label)))

    def place(self, number: int) -> Place | None:
        """The user's line behind an operation."""
        if number not in self._places:
            self._places[number] = place_of(self._observed.operations[number].source)
        return self._places[number]

    def _key(self, slot: Slot) -> tuple[HoldingKind, str, Place | None]:
        if slot in self._names:
            return "argument", self._names[slot], None
        if slot in self._observed.captured:
            return "captured", "captured arrays", None
        place = self.place(self.number[slot])
        return "result", "" if place else self._operation(slot), place

    def _operation(self, slot: Slot) -> str:
        return self._observed.operations[self.number[slot]].name

    def _holding(
        self, kind: HoldingKind, label: str, place: Place | None, slots: Sequence[Slot]
    ) -> Holding:
        made = dict.fromkeys(map(self._operation, slots)) if kind == "result" else {label: None}
        return Holding(
            kind=kind,
            label=", ".join(made),
            place=place,
            bytes=sum(self._observed.buffers[slot].nbytes for slot in slots),
            count=len(slots),
            shapes=tuple(dict.fromkeys(map(self._shape, slots))),
        )

    def _shape(self, slot: Slot) -> str:
        if slot not in self.number:
            return jax.typeof(self._observed.values[slot]).str_short(short_dtypes=True)
        operation = self._observed.operations[self.number[slot]]
        aval = operation.output_avals[operation.results.index(slot)]
        return aval.str_short(short_dtypes=True)
