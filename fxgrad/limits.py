"""Limits: how much may still be recorded or compiled in a block of a program that is warmed up.

What a new path is belongs to the modes; here is whether one is welcome.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Final, Literal, get_args

from fxgrad.errors import NewPathError, OptionError

OnMiss = Literal["record", "eager", "error"]


class Limit:
    """What a block allows: programs to be built, and what a miss past that does."""

    def __init__(self, block: str, programs: int, on_miss: OnMiss) -> None:
        self._block = block
        self._programs = programs
        self._on_miss: OnMiss = on_miss
        self._built = 0

    def count(self, programs: int) -> None:
        """So many programs have been built."""
        self._built += programs

    @property
    def is_reached(self) -> bool:
        """Whether nothing more may be built."""
        return self._built >= self._programs

    def meet_miss(self, name: str, reason: Callable[[], str]) -> bool:
        """Whether a call of the function `name` that misses may be recorded; else it runs in eager.

        Raises:
          NewPathError: it may not run at all.
        """
        if not self.is_reached or self._on_miss == "record":
            return True
        if self._on_miss == "eager":
            return False
        raise NewPathError(
            f"{name} met what it has not recorded under {self._block}: {reason()}. Call it with "
            "such arguments before the block.",
            name=name,
        )


_limit: ContextVar[Limit | None] = ContextVar("fxgrad_limit", default=None)
current_limit: Final = _limit.get


@contextlib.contextmanager
def assert_no_new_paths() -> Iterator[None]:
    """Raise `NewPathError` when a `Function` called in this ``with`` block needs Python to run.

    That is when a replayed call takes a path that has not been recorded, and when a static call
    has a signature that has not been traced. A call in eager always runs Python, and is let
    through. For tests, and for a program that has been warmed up. It holds for this thread (and
    this asyncio task), not for threads started inside the block.

    Raises:
      NewPathError: from the call, before anything new of it has run. What stands before a new
        decision has run, its effects too.
    """
    with _limited(Limit("fx.assert_no_new_paths()", 0, "error")):
        yield


@contextlib.contextmanager
def max_programs(n: int, *, on_miss: OnMiss = "error") -> Iterator[None]:
    """Let the Functions called in this ``with`` block build `n` XLA programs and no more.

    A call that misses when `n` have been built does what `on_miss` says. One that started before
    that is finished, so a few more than `n` may be built. It holds for this thread (and this
    asyncio task), not for threads started inside the block.

    Args:
      n: how many programs.
      on_miss: ``"error"`` raises `NewPathError`, ``"eager"`` runs the call in eager, which compiles
        nothing of its own, and ``"record"`` goes on.

    Raises:
      OptionError: `n` is negative, or `on_miss` is something else.
      NewPathError: from the call, before anything new of it has run.
    """
    if n < 0:
        raise OptionError(f"n={n} programs make no sense. Write 0 or more.", option="n")
    if on_miss not in get_args(OnMiss):
        choices = " or ".join(repr(choice) for choice in get_args(OnMiss))
        raise OptionError(f"on_miss={on_miss!r} is unknown. Write {choices}.", option="on_miss")
    with _limited(Limit(f"fx.max_programs({n})", n, on_miss)):
        yield


@contextlib.contextmanager
def _limited(limit: Limit) -> Iterator[None]:
    token = _limit.set(limit)
    try:
        yield
    finally:
        _limit.reset(token)
