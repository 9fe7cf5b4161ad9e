"""Pieces: the same operations, some in programs of their own, what lies between compiled together.

Barriers do not part what they stand between on every backend, and programs that are apart do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jax

from fxgrad.divergence.program import Program
from fxgrad.recorder import Slot


def values_in_pieces(
    program: Program, wanted: Collection[Slot], alone: Collection[int]
) -> dict[Slot, Any]:
    """The wanted values when each operation in `alone` is run as eager runs it.

    Args:
      program: the observed operations and their compiler options.
      wanted: the slots to return.
      alone: operations by their places.
    """
    stages = _stages(program, wanted, alone)
    values = dict(program.given)
    for stage in sorted(stages):
        numbers = stages[stage]
        if stage % 2:
            for number in numbers:
                program.operations[number].run_on(values)
            continue
        later = [n for other, several in stages.items() if other > stage for n in several]
        read = {slot for number in later for slot in program.slots_read(number)}
        values.update(_compiled(program, numbers, read.union(wanted), values))
    return {slot: values[slot] for slot in wanted}


def _stages(
    program: Program, wanted: Collection[Slot], alone: Collection[int]
) -> dict[int, list[int]]:
    """Operations by stages that read earlier ones or their own; those of odd stages are alone."""
    stage_of: dict[int, int] = {}
    stages: dict[int, list[int]] = defaultdict(list)
    for number in program.needed(wanted):
        makers = (program.makers.get(slot) for slot in program.slots_read(number))
        after = max((stage_of[m] for m in makers if m is not None), default=0)
        # The next odd one for what is alone, this or the next even one for the rest.
        stage = after + 1 + after % 2 if number in alone else after + after % 2
        stage_of[number] = stage
        stages[stage].append(number)
    return stages


def _compiled(
    program: Program, numbers: Sequence[int], wanted: Collection[Slot], given: Mapping[Slot, Any]
) -> dict[Slot, Any]:
    """One stage as one program."""
    made = [slot for number in numbers for slot in program.operations[number].results]
    read = [slot for number in numbers for slot in program.slots_read(number)]
    inputs = [slot for slot in dict.fromkeys(read) if slot not in set(made)]
    outputs = [slot for slot in made if slot in wanted]

    def piece(*arrays: Any) -> list[Any]:
        values = dict(zip(inputs, arrays, strict=True))
        for number in numbers:
            program.operations[number].run_on(values)
        return [values[slot] for slot in outputs]

    jitted = jax.jit(piece, compiler_options=program.options or None)
    return dict(zip(outputs, jitted(*(given[slot] for slot in inputs)), strict=True))
