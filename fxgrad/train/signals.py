"""Signals: SIGTERM and SIGINT end a training after the step that is being made, not within it.

Saving, and leaving with `Interrupted`, belongs to `loop`.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Final, TypeVar

import jax
from jax.experimental import multihost_utils

T = TypeVar("T")
INTERRUPTED: Final = 75  # EX_TEMPFAIL of sysexits.h: try again later
_HEARD: Final = (signal.SIGTERM, signal.SIGINT)


class Interrupted(SystemExit):
    """A training was told to end by a signal, and has saved. Uncaught, it ends Python with 75.

    Run the same program again to go on: the result will be that of a run that never stopped.

    Attributes:
      step: the number of steps that were made and saved.
      signal: the signal's name, such as ``SIGTERM``.
    """

    def __init__(self, step: int, signal: str) -> None:
        super().__init__(INTERRUPTED)
        self.step = step
        self.signal = signal

    def __str__(self) -> str:
        return f"{self.signal}: stopped and saved after step {self.step}; exit code {self.code}"


class _AbandonedError(BaseException):
    """Ends work from within a signal's handler; no ``except Exception`` shall keep it."""


class Signals:
    """Hears SIGTERM and SIGINT within a ``with`` block, in the main thread; elsewhere nothing.

    A second SIGINT raises KeyboardInterrupt at once. The handlers that were there before are back
    when the block ends. On several processes SIGTERM is left to JAX, whose preemption service tells
    all of them the same step to end after, and SIGINT is passed on as SIGTERM.

    Attributes:
      received: the name of the signal that was received, or None.
      is_reached: whether `reached` has ever said so.
    """

    def __init__(self, *, enabled: bool) -> None:
        self.received: str | None = None
        self.is_reached = False
        is_shared = jax.process_count() > 1
        can_agree = getattr(jax.config, "jax_enable_preemption_service", False)
        self._together = enabled and is_shared and can_agree
        in_main_thread = threading.current_thread() is threading.main_thread()
        self._enabled = enabled and in_main_thread and (can_agree or not is_shared)
        self._abandons = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Signals:
        if self._enabled:
            for number in (signal.SIGINT,) if self._together else _HEARD:
                self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, signal.SIG_DFL if before is None else before)

    def unless_received(self, work: Callable[[], T]) -> T | None:
        """What `work` returns, or None: a signal ends it at once, since the next run will do it.

        On several processes no signal ends it, for the others would wait for this one.
        """
        if self._together:
            return work()
        try:
            self._abandons = self._enabled
            try:
                return None if self.received else work()
            finally:
                self._abandons = False
        except _AbandonedError:
            self._abandons = False
            return None

    def reached(self, step: int) -> bool:
        """Whether the training ends after `step` steps; on every process the same answer."""
        if self._together and multihost_utils.reached_preemption_sync_point(step):
            self.is_reached = True
            self.received = self.received or signal.SIGTERM.name
        elif not self._together:
            self.is_reached = self.received is not None
        return self.is_reached

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received == signal.SIGINT.name:
            raise KeyboardInterrupt
        self.received = signal.Signals(number).name
        if self._abandons:
            raise _AbandonedError
        if self._together:
            os.kill(os.getpid(), signal.SIGTERM)
