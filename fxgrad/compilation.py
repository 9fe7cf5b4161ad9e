"""What JAX compiles, heard as it happens: XLA programs built and seconds spent, per thread.

Whose program it was belongs to `execution`. JAX tells of every program through `jax.monitoring`,
in the thread that builds it.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

import jax

_PROGRAM_BUILT = "/jax/core/compile/backend_compile_duration"
_LOADED = "/jax/compilation_cache/cache_hits"
_LOWERED = "/jax/core/compile/jaxpr_to_mlir_module_duration"


class Work(NamedTuple):
    """What has been compiled: traces of a Function, XLA programs, and the seconds for all."""

    traces: int = 0
    programs: int = 0
    seconds: float = 0.0

    def since(self, mark: Work) -> Work:
        """The work done after `mark`."""
        return Work(
            self.traces - mark.traces, self.programs - mark.programs, self.seconds - mark.seconds
        )

    def plus(self, other: Work) -> Work:
        """The sum of two pieces of work."""
        return Work(
            self.traces + other.traces,
            self.programs + other.programs,
            self.seconds + other.seconds,
        )


class _Heard(threading.local):
    """What this thread has compiled.

    `work` is replaced whenever something is heard, so unchanged identity means no work at all; who
    accounts for work takes it back. `all_work` is the same, and is never taken back.
    """

    work = Work()
    all_work = Work()
    loads = 0
    """Programs that the persistent cache has just handed over; told before they are counted."""

    def add(self, work: Work) -> None:
        self.work = self.work.plus(work)
        self.all_work = self.all_work.plus(work)


heard = _Heard()


def count_trace(seconds: float) -> None:
    """Say that a `Function` was traced in this thread, and how long its Python code took.

    JAX tells of traces too, but nests them: the seconds of an inner one count again in the outer.
    """
    heard.add(Work(traces=1, seconds=seconds))


def _listen_to_durations(event: str, duration_secs: float, **_: object) -> None:
    if event == _PROGRAM_BUILT:
        built = 1
        if heard.loads:
            heard.loads, built = heard.loads - 1, 0
        heard.add(Work(programs=built, seconds=duration_secs))
    elif event == _LOWERED:
        heard.add(Work(seconds=duration_secs))


def _listen_to_events(event: str, **_: object) -> None:
    if event == _LOADED:
        heard.loads += 1


jax.monitoring.register_event_duration_secs_listener(_listen_to_durations)
jax.monitoring.register_event_listener(_listen_to_events)
