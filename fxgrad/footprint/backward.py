"""What a run op by op keeps from the forward for the backward pass, and what it would cost less."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from fxgrad.footprint.holdings import Makers
from fxgrad.footprint.record import Backward
from fxgrad.footprint.savings import savings
from fxgrad.footprint.stand_in import mesh_of, stand_in
from fxgrad.graphs.make import graph
from fxgrad.observed import Observed
from fxgrad.recorder import Slot, scope_of


def backward_of(observed: Observed, makers: Makers, of: str) -> Backward | None:
    """What is kept; None for a run without a backward pass."""
    passes = Passes(observed, makers)
    if not passes.backward:
        return None
    kept = passes.kept_at_once()
    return Backward(
        of=of,
        bytes=observed.bytes_of(kept),
        kept=makers.holdings(kept),
        savings=savings(observed, makers, passes.forward, passes.backward, passes.readers(kept)),
        recompute_flops=_flops(observed, makers, passes.forward, kept),
    )


class Passes:
    """The operations of a run by their pass, told by JAX's names of transforms around them.

    Attributes:
      forward: the numbers of the operations of what is differentiated.
      backward: the numbers of the operations of the backward pass.
    """

    def __init__(self, observed: Observed, makers: Makers) -> None:
        self._observed = observed
        self._makers = makers
        scopes = [scope_of(operation.source) for operation in observed.operations]
        self.backward = {number for number, scope in enumerate(scopes) if "transpose(" in scope}
        self.forward = {
            number
            for number, scope in enumerate(scopes)
            if "jvp(" in scope and number not in self.backward
        }

    def readers(self, slots: Iterable[Slot]) -> dict[Slot, list[int]]:
        """For each of `slots` the operations of the backward pass that read it."""
        found: dict[Slot, list[int]] = {slot: [] for slot in slots}
        for number in sorted(self.backward):
            for slot in self._observed.operations[number].operands:
                if isinstance(slot, Slot) and slot in found:
                    found[slot].append(number)
        return found

    def kept_at_once(self) -> list[Slot]:
        """The values of the forward pass that the backward pass reads, when most are kept.

        A step may take several derivatives, one after the other.
        """
        last_read = {s: numbers[-1] for s, numbers in self.readers(self._made()).items() if numbers}
        start = {slot: self._makers.number[slot] for slot in last_read}
        moments = sorted(set(start.values()))
        every = (
            [slot for slot in last_read if start[slot] <= moment < last_read[slot]]
            for moment in _peaks(moments, list(last_read.values()))
        )
        return max(every, key=self._observed.bytes_of, default=[])

    def _made(self) -> list[Slot]:
        """What the forward pass made in memory of its own."""
        observed = self._observed
        inputs = (*observed.arguments, *observed.captured)
        taken = {observed.buffers[slot].number for slot in inputs}
        return [
            slot
            for number in sorted(self.forward)
            for slot in observed.operations[number].results
            if observed.buffers[slot].number not in taken
        ]


def _peaks(starts: Sequence[int], ends: Sequence[int]) -> list[int]:
    """The last start before each end: only there the sum can be at its most."""
    events = sorted([(start, 0) for start in starts] + [(end, 1) for end in ends])
    pairs = itertools.pairwise(events)
    return [moment for (moment, is_end), (_, ends_next) in pairs if ends_next and not is_end]


def _flops(
    observed: Observed, makers: Makers, forward: set[int], kept: Sequence[Slot]
) -> float | None:
    """Floating-point operations of all that leads from the inputs of the loss to what is kept.

    They are counted by the graph, which multiplies a loop's by its turns; XLA's own cost analysis
    has one turn only.
    """
    needed = _leading_to(observed, makers, forward, kept)
    operations = [observed.operations[number] for number in sorted(needed)]
    made = {slot for operation in operations for slot in operation.results}
    inputs = {
        slot: stand_in(aval)
        for operation in operations
        for slot, aval in zip(operation.operands, operation.input_avals, strict=True)
        if isinstance(slot, Slot) and slot not in made
    }

    def run(values: Sequence[Any]) -> list[Any]:
        known = dict(zip(inputs, values, strict=True))
        for operation in operations:
            operation.run_on(known)
        return [known[slot] for slot in kept]

    with mesh_of(observed):
        return graph(run, list(inputs.values())).summary().whole.flops


def _leading_to(
    observed: Observed, makers: Makers, forward: set[int], kept: Sequence[Slot]
) -> set[int]:
    needed: set[int] = set()
    waiting = list(kept)
    while waiting:
        number = makers.number.get(waiting.pop())
        if number in forward and number not in needed:
            needed.add(number)
            operands = observed.operations[number].operands
            waiting.extend(slot for slot in operands if isinstance(slot, Slot))
    return needed
