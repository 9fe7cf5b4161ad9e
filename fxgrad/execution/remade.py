"""Functions made anew: `fx.function` applied to the same code again and again, as in a loop.

Each new Function has an empty cache, so each compiles what the one before it had compiled.
"""

from __future__ import annotations

import functools
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final

from fxgrad.differences import differences
from fxgrad.errors import RetraceWarning
from fxgrad.places import Place, code_of, place_of_function
from fxgrad.signature import CallSignature

_WARN_AT: Final = 5
_KEPT: Final = 1024

_lock = threading.Lock()
_first_compilations: OrderedDict[Hashable, tuple[int, CallSignature]] = OrderedDict()


@dataclass(frozen=True)
class Remade:
    """That the same code has been made into a Function again and again, and compiled again."""

    sentence: str
    times: int

    def warn(self, place: Place | None) -> None:
        """Warn at the user's `place`, at the fifth time and not again."""
        if self.times == _WARN_AT and place is not None:
            warnings.warn_explicit(self.sentence, RetraceWarning, place.filename, place.lineno)


def note_first_compilation(
    fun: Callable[..., Any], signature: CallSignature, place: Place | None
) -> Remade | None:
    """Remember that a new Function of `fun` compiled `signature` for a call at `place`.

    Returns what to tell when an earlier Function of the same code, with the same captured objects,
    had compiled the same call from the same line.
    """
    code = code_of(fun)
    if code is None:
        return None
    key = (code.co_filename, code.co_firstlineno, code.co_qualname, _captured(fun), place)
    with _lock:
        times, earlier = _first_compilations.pop(key, (0, signature))
        times = 1 if differences(earlier, signature) else times + 1
        _first_compilations[key] = (times, signature)
        while len(_first_compilations) > _KEPT:
            _first_compilations.popitem(last=False)
    if times == 1:
        return None
    return Remade(
        f"{code.co_qualname} ({place_of_function(fun)}) has been made into a Function {times} "
        "times, and each compiled this same call: make the Function once, outside the loop, and "
        "call that one",
        times,
    )


def forget() -> None:
    """Forget all Functions made so far."""
    with _lock:
        _first_compilations.clear()


def _captured(fun: Any) -> tuple[int, ...]:
    """The identities of what `fun` holds: closure cells, bound arguments, the bound object.

    They are only compared with those of a later function of the same code; an object that has been
    freed and whose identity returns was, like the function, made anew.
    """
    if isinstance(fun, functools.partial):
        held = (*fun.args, *fun.keywords.values())
        return (*map(id, held), *_captured(fun.func))
    if hasattr(fun, "__self__"):
        return (id(fun.__self__), *_captured(fun.__func__))
    cells = getattr(fun, "__closure__", None) or ()
    return tuple(id(cell.cell_contents) for cell in cells if _is_filled(cell))


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True
