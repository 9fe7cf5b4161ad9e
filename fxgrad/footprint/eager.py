"""The worst moment of a run op by op: when most bytes are held, and what they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from fxgrad.footprint.holdings import Makers
from fxgrad.footprint.inner import InnerBytes
from fxgrad.footprint.record import EagerPeak
from fxgrad.footprint.stand_in import mesh_of
from fxgrad.observed import Observed
from fxgrad.recorder import Slot


def peak_bytes(observed: Observed, inner: InnerBytes | None = None) -> int:
    """The bytes at the worst moment of a run.

    The arguments and what the function closes over are in it: see `fxgrad.memory`.
    """
    return _worst(observed, inner or InnerBytes(peak_bytes))[1]


def eager_peak(observed: Observed, makers: Makers, inner: InnerBytes) -> EagerPeak:
    """The worst moment of a run, and all that is held then."""
    number, total = _worst(observed, inner)
    operation = None if number is None else observed.operations[number]
    with mesh_of(observed):
        inner_bytes = 0 if operation is None else inner(operation)
    return EagerPeak(
        bytes=total,
        inner_bytes=inner_bytes,
        number=number,
        operations=len(observed.operations),
        operation="" if operation is None else operation.name,
        place=None if number is None else makers.place(number),
        held=makers.holdings(held_at(observed, number)),
    )


def held_at(observed: Observed, number: int | None) -> list[Slot]:
    """What is held while an operation runs, its results included; for None the inputs alone.

    The caller holds the arguments to the end.
    """
    inputs = {*observed.arguments, *observed.captured}
    lives = observed.lifetimes.items()
    return [
        slot
        for slot, life in lives
        if slot in inputs or (number is not None and life.start <= number < life.end)
    ]


def _worst(observed: Observed, inner: InnerBytes) -> tuple[int | None, int]:
    """The operation at which most is held, the first of equals, and the bytes."""
    number: int | None = None
    worst = 0
    with mesh_of(observed):
        for current, held in enumerate(_bytes_by_operation(observed)):
            total = held + (inner(observed.operations[current]) or 0)
            if number is None or total > worst:
                number, worst = current, total
    if number is None:
        worst = observed.bytes_of(held_at(observed, None))
    return number, worst


def _bytes_by_operation(observed: Observed) -> Iterator[int]:
    """For each operation the bytes held while it runs; memory that is shared counts once."""
    comes: dict[int, list[Slot]] = {}
    goes: dict[int, list[Slot]] = {}
    inputs = {*observed.arguments, *observed.captured}
    for slot, life in observed.lifetimes.items():
        comes.setdefault(max(life.start, 0), []).append(slot)
        if slot not in inputs:
            goes.setdefault(life.end, []).append(slot)
    users: Counter[int] = Counter()
    held = 0
    for number in range(len(observed.operations)):
        for slot in goes.get(number, ()):
            buffer = observed.buffers[slot]
            users[buffer.number] -= 1
            held -= 0 if users[buffer.number] else buffer.nbytes
        for slot in comes.get(number, ()):
            buffer = observed.buffers[slot]
            held += 0 if users[buffer.number] else buffer.nbytes
            users[buffer.number] += 1
        yield held
