"""Modes: their names, and which one wins. What each mode does belongs to `execution`."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Final, Literal, get_args

from fxgrad.errors import ModeError

Mode = Literal["eager", "static", "replay"]
MODES: Final[tuple[Mode, ...]] = get_args(Mode)
DEFAULT_MODE: Final[Mode] = "replay"
ENVIRONMENT_VARIABLE: Final = "FXGRAD_MODE"

_override: ContextVar[Mode | None] = ContextVar("fxgrad_mode", default=None)


def check_mode(name: object, *, source: str = "mode=") -> Mode:
    """Return `name` if it is a mode; raise `ModeError` that names `source` if it is not."""
    for known in MODES:
        if name == known:
            return known
    choices = " or ".join(repr(known) for known in MODES)
    raise ModeError(f"{source}{name!r} is not a mode. Write {choices}.", mode=name)


def check_modes(names: Mode | Sequence[Mode]) -> tuple[Mode, ...]:
    """One mode or several, each checked as by `check_mode`."""
    several = [names] if isinstance(names, str) else names
    return tuple(check_mode(name) for name in several)


@functools.cache
def process_mode() -> Mode | None:
    """The mode that ``FXGRAD_MODE`` names for this process, read once, or None.

    Raises:
      ModeError: the variable names no mode.
    """
    name = os.environ.get(ENVIRONMENT_VARIABLE)
    return check_mode(name, source=f"{ENVIRONMENT_VARIABLE}=") if name else None


@contextlib.contextmanager
def mode(name: Mode) -> Iterator[None]:
    """Run every `Function` called in this ``with`` block in mode `name`.

    The innermost block wins, over ``FXGRAD_MODE`` and over a function's own ``mode=``. It holds
    for this thread (and this asyncio task), not for threads started inside the block.

    Args:
      name: ``"eager"``, ``"static"`` or ``"replay"``.

    Raises:
      ModeError: `name` is not a mode.
    """
    token = _override.set(check_mode(name, source="fx.mode: "))
    try:
        yield
    finally:
        _override.reset(token)


def resolve(own: Mode | None) -> Mode:
    """The mode that a call runs in: `fx.mode` > ``FXGRAD_MODE`` > `own` > the default."""
    return _override.get() or process_mode() or own or DEFAULT_MODE
