"""The subject of a comparison: what more views of the same function are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fxgrad.execution.function import AnyFunction


@dataclass(frozen=True)
class Subject:
    """What was compared, for more views of it: the function, and the arguments of a call.

    Arguments that a call may take over are copies, which no call has had yet.

    Attributes:
      fun: the function.
      args: its arguments.
      memory: whether its memory is to be looked at, which runs it more often.
      recorded: the Function that replay has served with such arguments; None if it was not.
    """

    fun: Callable[..., Any]
    args: tuple[Any, ...]
    memory: bool = True
    recorded: AnyFunction | None = None
