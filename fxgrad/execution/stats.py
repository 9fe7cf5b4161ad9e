"""What a Function has done so far, in exact counts."""

from __future__ import annotations

import dataclasses
import threading
from dataclasses import dataclass
from typing import Any

from fxgrad.compilation import Work
from fxgrad.modes import Mode


@dataclass(frozen=True)
class Stats:
    """Counts of one Function, over all modes it ran in.

    Attributes:
      calls: how often it was called.
      python_runs: how often its Python code ran: every eager call, every static trace, every run
        that replay recorded or followed.
      programs: XLA programs built during its calls. In eager mode these are programs of one
        operation each. A program built for an inner Function counts for the inner one; one that
        the persistent compilation cache had is not built. What JAX builds after a call has
        returned, such as the backward pass of `jax.grad` applied from outside, is not in it.
      compile_seconds: seconds spent on tracing, lowering and building them.
      host_reads: values that replay read back to the host to decide a path, or to know which one
        a program has taken. Eager and static have no such reads.
      misses: calls that no program built before could serve.
      compiled_share: for each call the share of its operations that ran in programs of many, and
        not one by one; the mean over all calls, from 0 to 1. 1 if there was no call.
      calls_by_mode: `calls`, for each mode it ran in.
      programs_by_mode: `programs`, for each mode it ran in.
    """

    calls: int
    python_runs: int
    programs: int
    compile_seconds: float
    host_reads: int
    misses: int
    compiled_share: float
    calls_by_mode: dict[Mode, int]
    programs_by_mode: dict[Mode, int]

    def to_dict(self) -> dict[str, Any]:
        """The counts as plain values."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        calls, programs = map(_by_mode, (self.calls_by_mode, self.programs_by_mode))
        return (
            f"{self.calls} calls{calls}, {self.python_runs} Python runs, "
            f"{self.programs} programs built{programs} in {self.compile_seconds:.2f} s, "
            f"{self.misses} misses, {self.host_reads} host reads, "
            f"{self.compiled_share:.0%} of operations compiled"
        )


def _by_mode(counts: dict[Mode, int]) -> str:
    return f" ({', '.join(f'{mode} {count}' for mode, count in counts.items())})" if counts else ""


class Counts:
    """The counts of one Function in one mode; exact under concurrent calls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.calls = 0
        self.python_runs = 0
        self.misses = 0
        self.host_reads = 0
        self.uncompiled = 0.0
        self.work = Work()

    def add_call(self) -> int:
        """One more call; returns its number, from 1."""
        with self._lock:
            self.calls += 1
            return self.calls

    def add_python_run(self) -> None:
        """The function's Python ran once more."""
        with self._lock:
            self.python_runs += 1

    def add_miss(self) -> None:
        """A call met what no program built before could serve."""
        with self._lock:
            self.misses += 1

    def add_host_reads(self, count: int) -> None:
        """So many guard values were read back."""
        if count:
            with self._lock:
                self.host_reads += count

    def add_uncompiled(self, share: float) -> None:
        """A call ran such a share of its operations one by one."""
        if share:
            with self._lock:
                self.uncompiled += share

    def add_work(self, work: Work, *, miss: bool) -> None:
        """A call compiled something, and was a miss if nothing built before could serve it."""
        with self._lock:
            self.work = self.work.plus(work)
            self.misses += miss


def total(counts: dict[Mode, Counts]) -> Stats:
    """The sum over all modes."""
    every = list(counts.values())
    calls = sum(count.calls for count in every)
    uncompiled = sum(count.uncompiled for count in every)
    return Stats(
        calls=calls,
        python_runs=sum(count.python_runs for count in every),
        programs=sum(count.work.programs for count in every),
        compile_seconds=sum(count.work.seconds for count in every),
        host_reads=sum(count.host_reads for count in every),
        misses=sum(count.misses for count in every),
        compiled_share=1 - uncompiled / calls if calls else 1.0,
        calls_by_mode={mode: count.calls for mode, count in counts.items() if count.calls},
        programs_by_mode={m: count.work.programs for m, count in counts.items() if count.calls},
    )
