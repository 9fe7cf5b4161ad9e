"""Locating: the first equation whose compiled value leaves eager's.

To look at a value inside of a compiled program changes the program: a value that is returned cannot
be fused away. So one program first returns them all; if the outputs agree there, programs that
return one value beside the outputs close in on it by halves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from fxgrad.divergence.difference import Gap, Tolerance, gap_between, is_bitwise_equal
from fxgrad.divergence.program import Program
from fxgrad.divergence.ways import origin
from fxgrad.recorder import Slot

MOST_BYTES: Final = 2**31
"""A program that would return more than this is not asked for all its values at once."""
_MOST_PROBES: Final = 40


@dataclass(frozen=True)
class Sighting:
    """The first slot that diverges.

    Attributes:
      number: the operation that makes it, by its place.
      slot: the slot.
      gap: how far its values are apart.
      eager: its value in eager.
      compiled: its value in the compiled program.
      watched: the slots that the program returned in which it was seen.
      seen: ``"all"`` or ``"one"``, as in `record.Found`.
      first_bits: the first operation on the way whose value differs in any bit, by its place.
    """

    number: int
    slot: Slot
    gap: Gap
    eager: Any
    compiled: Any
    watched: tuple[Slot, ...]
    seen: Literal["all", "one"]
    first_bits: int | None = None


def locate(
    program: Program, outputs: Sequence[Slot], tolerance: Tolerance, *, most_bytes: int = MOST_BYTES
) -> Sighting | None:
    """The first slot on a diverging way to one of `outputs`; None if they do not diverge here.

    Args:
      program: the observed operations.
      outputs: the slots to begin from: outputs that some mode got otherwise than eager.
      tolerance: what is allowed.
      most_bytes: skip the program that returns every value if they take more.
    """
    needed = program.needed(outputs)
    slots = [slot for number in needed for slot in program.operations[number].results]
    if program.bytes_of(slots) <= most_bytes:
        seen = _among_all(program, outputs, slots, tolerance)
        if seen is not None:
            return seen
    return _by_halves(program, outputs, needed, tolerance)


def _among_all(
    program: Program, outputs: Sequence[Slot], slots: Sequence[Slot], tolerance: Tolerance
) -> Sighting | None:
    watched = tuple(dict.fromkeys([*program.outputs, *slots]))
    compiled = program.compiled_values(watched)
    diverged: set[Slot] = set()
    first_bits: int | None = None
    for number, made in program.eagerly(outputs):
        for slot, value in made.items():
            if gap_between(value, compiled[slot], tolerance).diverges:
                diverged.add(slot)
            elif first_bits is None and not is_bitwise_equal(value, compiled[slot]):
                first_bits = number
    if diverged.isdisjoint(outputs):
        return None
    wiring = [(program.slots_read(n), o.results) for n, o in enumerate(program.operations)]
    number = origin(wiring, outputs, diverged)
    assert number is not None
    slot = next(slot for slot in program.operations[number].results if slot in diverged)
    eager = program.eager_values([slot])[slot]
    gap = gap_between(eager, compiled[slot], tolerance)
    before = first_bits if first_bits is not None and first_bits < number else None
    return Sighting(number, slot, gap, eager, compiled[slot], watched, "all", before)


def _by_halves(
    program: Program, outputs: Sequence[Slot], needed: Sequence[int], tolerance: Tolerance
) -> Sighting | None:
    eager = program.eager_values(outputs)
    compiled = program.compiled_values(program.outputs)
    gone = [s for s in outputs if gap_between(eager[s], compiled[s], tolerance).diverges]
    if not gone:
        return None
    slot = min(gone, key=lambda s: program.makers[s])
    found = Sighting(
        number=program.makers[slot],
        slot=slot,
        gap=gap_between(eager[slot], compiled[slot], tolerance),
        eager=eager[slot],
        compiled=compiled[slot],
        watched=program.outputs,
        seen="one",
    )
    search = _Search(program, tolerance)
    while search.probes < _MOST_PROBES:
        found = _bisect(search.at, program.needed([found.slot]), found)
        earlier = _earlier_operand(search, found)
        if earlier is None:
            break
        found = earlier
    return found


class _Search:
    """Looks at one operation at a time, in a program that returns it beside the outputs."""

    def __init__(self, program: Program, tolerance: Tolerance) -> None:
        self.program = program
        self.probes = 0
        self._tolerance = tolerance

    def at(self, number: int, more: Sequence[Slot] = ()) -> Sighting | None:
        """The first result of an operation that diverges, or None."""
        self.probes += 1
        results = self.program.operations[number].results
        watched = tuple(dict.fromkeys([*self.program.outputs, *results, *more]))
        compiled = self.program.compiled_values(watched)
        eager = self.program.eager_values(results)
        for slot in results:
            gap = gap_between(eager[slot], compiled[slot], self._tolerance)
            if gap.diverges:
                values = eager[slot], compiled[slot]
                return Sighting(number, slot, gap, *values, watched, "one")
        return None


def _bisect(
    look: Callable[[int], Sighting | None], numbers: Sequence[int], found: Sighting
) -> Sighting:
    """The earliest of the operations behind a find that halving sees diverge."""
    low, high = -1, len(numbers) - 1
    while high - low > 1:
        middle = (low + high) // 2
        seen = look(numbers[middle])
        if seen is None:
            low = middle
        else:
            high, found = middle, seen
    return found


def _earlier_operand(search: _Search, found: Sighting) -> Sighting | None:
    """An operand of the find that diverges itself, when it is looked at."""
    makers = search.program.makers
    for number in {makers[s] for s in search.program.slots_read(found.number) if s in makers}:
        seen = search.at(number)
        if seen is not None:
            return seen
    return None
