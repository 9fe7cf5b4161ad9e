"""What JAX compiles, heard as it happens: XLA programs built and seconds spent, per thread.

Whose program it was belongs to `execution`. JAX tells of every program through `jax.monitoring`,
in the thread that builds it.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

import jax

_PROGRAM_BUILT = "/jax/core/compile/backend_compile_duration"
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
    """`work` is replaced whenever something is heard: unchanged identity means no work at all."""

    work = Work()


heard = _Heard()


def count_trace(seconds: float) -> None:
    """Say that a `Function` was traced in this thread, and how long its Python code took.

    JAX tells of traces too, but nests them: the seconds of an inner one count again in the outer.
    """
    work = heard.work
    heard.work = work._replace(traces=work.traces + 1, seconds=work.seconds + seconds)


def _listen(event: str, duration_secs: float, **_: object) -> None:
    if event == _PROGRAM_BUILT:
        work = heard.work
        heard.work = work._replace(programs=work.programs + 1, seconds=work.seconds + duration_secs)
    elif event == _LOWERED:
        heard.work = heard.work._replace(seconds=heard.work.seconds + duration_secs)


jax.monitoring.register_event_duration_secs_listener(_listen)
