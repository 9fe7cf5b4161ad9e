"""Functions made anew: `fx.function` applied to the same code again and again, as in a loop.

Each new Function has an empty cache, so each compiles what the one before it had compiled.
"""

from __future__ import annotations

import functools
import threading
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final

from fxgrad.closures import closure_of
from fxgrad.errors import RetraceWarning
from fxgrad.places import Place, code_of, place_of_function
from fxgrad.signature import CallSignature

_WARN_AT: Final = 5
_KEPT: Final = 1024

_lock = threading.Lock()
_first_compilations: OrderedDict[Hashable, _Made] = OrderedDict()


@dataclass(frozen=True)
class _Made:
    """Functions made of one code so far: how often, and what the last one was like."""

    times: int
    fingerprint: int
    captured: tuple[Any, ...]


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

    Returns what to tell when the Function before it, of the same code and with the same captured
    objects, had compiled the same call from the same line.
    """
    code = code_of(fun)
    if code is None:
        return None
    key = (code.co_filename, code.co_firstlineno, code.co_qualname, place)
    captured, fingerprint = _captured(fun), signature.fingerprint()
    with _lock:
        last = _first_compilations.pop(key, None)
        is_remade = (
            last is not None
            and last.fingerprint == fingerprint
            and _are_same(last.captured, captured)
        )
        times = last.times + 1 if last is not None and is_remade else 1
        _first_compilations[key] = _Made(times, fingerprint, captured)
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


def _captured(fun: Any) -> tuple[Any, ...]:
    """What `fun` holds: the contents of its closure, bound arguments, the bound object."""
    if isinstance(fun, functools.partial):
        held = (*fun.args, *fun.keywords.values())
        return (*map(_token, held), *_captured(fun.func))
    if hasattr(fun, "__self__") and hasattr(fun, "__func__"):
        return (_token(fun.__self__), *_captured(fun.__func__))
    return tuple(map(_token, closure_of(fun)))


def _token(value: Any) -> Any:
    """A plain value itself, anything else by a weak reference, so that nothing is kept alive."""
    if isinstance(value, bool | int | float | complex | str | bytes | type(None)):
        return (type(value), value)
    if isinstance(value, tuple):
        return tuple(map(_token, value))
    try:
        return weakref.ref(value)
    except TypeError:
        return _NEVER_THE_SAME


_NEVER_THE_SAME: Final = float("nan")


def _are_same(before: Any, after: Any) -> bool:
    if isinstance(before, tuple) and isinstance(after, tuple):
        return len(before) == len(after) and all(map(_are_same, before, after))
    if isinstance(before, weakref.ref) and isinstance(after, weakref.ref):
        return before() is not None and before() is after()
    return before == after
