"""One mode of a comparison: its Function, and the seconds of each call that was waited for."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, TypeVar

import jax

from fxgrad.comparison.new_process import reckoned_first_seconds
from fxgrad.comparison.timing import Timing
from fxgrad.compilation import Work, heard
from fxgrad.execution.function import AnyFunction
from fxgrad.footprint.compiled import THE_STATIC_PROGRAM, program_of
from fxgrad.footprint.eager import peak_bytes
from fxgrad.modes import Mode
from fxgrad.modes import mode as within_mode
from fxgrad.observed import observe

T = TypeVar("T")


class Entrant:
    """Calls one Function in one mode and keeps the time of each call."""

    def __init__(self, mode: Mode, function: AnyFunction) -> None:
        self.mode: Mode = mode
        self.function = function
        self._seconds: list[float] = []
        self._building_calls: list[int] = []
        self._work = Work()

    @property
    def seconds(self) -> float:
        """The seconds of all calls so far."""
        return math.fsum(self._seconds)

    def call(self, *args: Any) -> Any:
        """Call once, wait for the result, and note the seconds."""
        args = jax.block_until_ready(self.function.spared(args))
        mark = heard.all_work
        with within_mode(self.mode):  # inner Functions too
            start = time.perf_counter()
            output = jax.block_until_ready(self.function(*args))
            self._seconds.append(time.perf_counter() - start)
        if heard.all_work is not mark:
            self._work = self._work.plus(heard.all_work.since(mark))
            self._building_calls.append(len(self._seconds))
        return output

    @property
    def is_to_fold(self) -> bool:
        """Whether replay has met a decision, so that after some quiet calls it will build more."""
        return self.mode == "replay" and self.function.stats().host_reads > 0

    def timing(self, *args: Any, warmup: int, settling: int, memory: bool) -> Timing:
        """What the calls so far cost.

        Args:
          args: as of a call, to ask for the program's memory.
          warmup: calls after the first that are not steady.
          settling: so many calls after the first are not steady if programs were still built.
          memory: whether to ask for it.
        """
        stats = self.function.stats()
        memory_bytes, new_first_seconds = None, None
        if memory and self.mode == "eager":
            observed = observe(self.function, args)
            memory_bytes = peak_bytes(observed)
            new_first_seconds = reckoned_first_seconds(
                observed, self._work.programs, self._seconds[0]
            )
        elif memory and "static" in stats.calls_by_mode:
            program, _ = program_of(self.function, args, THE_STATIC_PROGRAM)
            memory_bytes = program and program.bytes
        built = [number for number in self._building_calls if number <= 1 + settling]
        warmup = max([warmup, *(number - 1 for number in built)])
        return Timing(
            first_seconds=self._seconds[0],
            warmup_seconds=tuple(self._seconds[1 : 1 + warmup]),
            steady_seconds=tuple(self._seconds[1 + warmup :]) or (self._seconds[-1],),
            programs=self._work.programs,
            compile_seconds=self._work.seconds,
            stats=stats,
            memory_bytes=memory_bytes,
            new_first_seconds=new_first_seconds,
        )


def rotated(entrants: Sequence[T], turn: int) -> tuple[T, ...]:
    """All of them, beginning with another one at each turn."""
    first = turn % len(entrants)
    return (*entrants[first:], *entrants[:first])
