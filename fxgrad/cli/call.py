"""Calls that the command line names: a target, what makes its arguments, and errors in one line."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from fxgrad.cli.target import load_target
from fxgrad.errors import FxError, TargetError, first_line_of
from fxgrad.paths import call_shape_of
from fxgrad.places import raising_place


def arguments_from(target: str | None) -> tuple[Any, ...]:
    """What the function `target` makes: a tuple of arguments, or one argument; none for None.

    Raises:
      TargetError: it is no function without parameters, it fails, or it returns a list.
    """
    if target is None:
        return ()
    function = load_target(target)
    check_call(target, function, ())
    with in_one_line(target):
        made = function()
    if isinstance(made, list):
        raise TargetError(f"{target} returned a list: return a tuple of the arguments.")
    return made if isinstance(made, tuple) else (made,)


def check_call(target: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Refuse a call that does not fit the function's parameters.

    Raises:
      TargetError: it does not fit.
    """
    call_shape = call_shape_of(function)
    try:
        if call_shape is not None:
            call_shape.bind(*arguments)
    except TypeError as error:
        given = f"{len(arguments)} argument(s)"
        raise TargetError(
            f"{target}{call_shape} cannot be called with {given}: {error}. Name a function that "
            "makes its arguments: --args package.module:make_args."
        ) from error


@contextlib.contextmanager
def in_one_line(target: str) -> Iterator[None]:
    """What the user's function raises is told in one line, with the line that raised it."""
    try:
        yield
    except FxError:
        raise
    except Exception as error:
        place = raising_place(error.__traceback__)
        words = f"{target} failed: {first_line_of(error)}"
        raise TargetError(f"{words} ({place})" if place else words) from error
