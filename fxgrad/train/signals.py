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
U = TypeVar("U")
INTERRUPTED: Final = 75  # EX_TEMPFAIL of sysexits.h: try again later
_HEARD: Final = (signal.SIGTERM, signal.SIGINT)
_AGAIN_SECONDS: Final = 1.0  # enough for what the work does on its way out


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
    """Ends work from within a signal's handler; no ``except Exception`` shall keep it.

    A bare ``except`` can, and so does a callback of the garbage collector, which happens to run.
    """


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

    @property
    def may_abandon(self) -> bool:
        """Whether a signal ends the work of `unless_received`; no, if others would wait for it."""
        return self._enabled and not self._together

    def unless_received(self, work: Callable[[], T], otherwise: U) -> T | U:
        """What `work` returns; `otherwise` if a signal came before it had returned.

        The signal ends the work, by an exception that is raised again each second for as long as
        something in the work keeps it. What such work returns or raises may come of the signal, so
        that counts for nothing: the next run does the work again.
        """
        if not self.may_abandon:
            return work()
        found: T | U = otherwise
        try:
            self._abandons = self.received is None
            try:
                if self._abandons:
                    found = work()
            finally:
                self._abandons = False
        except (Exception, _AbandonedError):
            self._abandons = False
            if self.received is None:
                raise
        finally:
            if signal.SIGALRM in self._before:
                signal.setitimer(signal.ITIMER_REAL, 0)
        return otherwise if self.received else found

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
        if number in _HEARD:
            self.received = signal.Signals(number).name
        if self._abandons:
            self._raise_again_later()
            raise _AbandonedError
        if self._together:
            os.kill(os.getpid(), signal.SIGTERM)

    def _raise_again_later(self) -> None:
        """Have the alarm call `_hear`, unless the program uses the alarm for itself."""
        if signal.SIGALRM not in self._before:
            is_free = signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
            if not is_free or any(signal.getitimer(signal.ITIMER_REAL)):
                return
            self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._hear)
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
