"""One thing at a time in a background thread; its error waits for whoever asks next.

The end of the interpreter waits for it too.
"""

from __future__ import annotations

import concurrent.futures.thread
import contextlib
import logging
import threading
import weakref
from collections.abc import Callable
from typing import Final

_log: Final = logging.getLogger(__name__)


class Background:
    """A place for one job at a time."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        _all.add(self)

    def start(self, job: Callable[[], None]) -> None:
        """Wait for the job before, then start this one.

        Raises:
          Exception: what the job before raised; then this one is not started.
        """
        self.wait()
        self._thread = threading.Thread(target=self._run, args=(job,), name="fxgrad checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Wait until nothing is running.

        Raises:
          Exception: what the job raised, once.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception as error:
            self._error = error


_all: Final[weakref.WeakSet[Background]] = weakref.WeakSet()


def _wait_for_all() -> None:
    for background in list(_all):
        try:
            background.wait()
        except Exception:
            _log.exception("A save failed, and nobody has waited for it.")


# The thread pools of `concurrent.futures`, which a save needs, end before `atexit` and before the
# wait for threads. This hook, which they use themselves, runs last come, first served. Without it
# a save that is on its way at the end is lost, and the step before it stays the newest.
with contextlib.suppress(AttributeError, RuntimeError):
    assert concurrent.futures.thread  # its hook comes first, so it runs last
    threading._register_atexit(_wait_for_all)  # pyright: ignore[reportAttributeAccessIssue]
