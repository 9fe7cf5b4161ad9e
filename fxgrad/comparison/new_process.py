"""What eager's first call would cost in a new process, where this one knew its operations already.

JAX keeps the programs of single operations for the whole process. A function whose operations have
been run before, by other code or by another comparison, has a first call in eager that compiles
nothing, and looks cheaper than it will be.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Mapping
from typing import Final

import jax
import numpy as np

from fxgrad.comparison.timing import Timing
from fxgrad.modes import Mode
from fxgrad.observed import Observed
from fxgrad.replay.structure import Step

# Below this share of the programs that eager needs, its first call was not one of a new process.
_BUILT: Final = 0.5
_TRIALS: Final = 3


def reckoned_first_seconds(observed: Observed, programs: int, first_seconds: float) -> float:
    """The first call with all programs that eager builds in a new process; as it was if it did.

    Args:
      observed: a run of the function: eager builds one program for each kind of its operations.
      programs: how many were built.
      first_seconds: the first call as it was.
    """
    kinds = len({Step(operation).key for operation in observed.operations})
    if programs >= _BUILT * kinds:
        return first_seconds
    return first_seconds + (kinds - programs) * _seconds_for_a_program()


def in_a_new_process(timings: Mapping[Mode, Timing]) -> dict[Mode, Timing]:
    """The timings, with a first call as reckoned where it had been compiled before.

    Where the operations were not counted, it is taken to be no less than the others' first calls.
    """
    found = dict(timings)
    for mode in compiled_before(timings):
        reckoned = timings[mode].new_first_seconds
        if reckoned is None:
            reckoned = max(timing.first_seconds for timing in timings.values())
        found[mode] = dataclasses.replace(timings[mode], first_seconds=reckoned)
    return found


def compiled_before(timings: Mapping[Mode, Timing]) -> tuple[Mode, ...]:
    """The modes whose operations this process knew, while it built programs for others.

    Where no mode built any, JAX compiles nothing here, or keeps programs on disk.
    """
    if not any(timing.programs for timing in timings.values()):
        return ()
    return tuple(m for m, timing in timings.items() if m == "eager" and _was_compiled(timing))


def _was_compiled(timing: Timing) -> bool:
    if timing.new_first_seconds is None:
        return not timing.programs
    return timing.new_first_seconds > timing.first_seconds


def _seconds_for_a_program() -> float:
    """How long this machine takes to trace, lower and build the smallest program."""
    return statistics.median(_seconds_to_build(number) for number in range(1, 1 + _TRIALS))


def _seconds_to_build(number: int) -> float:
    start = time.perf_counter()
    # A new constant each time: no program that is there already is found.
    jax.jit(lambda x: x + number).lower(jax.ShapeDtypeStruct((number,), np.float32)).compile()
    return time.perf_counter() - start
