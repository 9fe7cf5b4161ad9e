"""Agreed: a compiled function is called, and what it has to build is first compared.

A call of a known program says nothing to anybody. How processes speak belongs to `agreement`.
"""

from __future__ import annotations

import functools
import hashlib
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

import jax

from fxgrad.agreement import Statement, agree
from fxgrad.recorder import devices_of

# What differs between processes that lower the same program: numbers of channels, addresses of
# callbacks, places.
_OF_THIS_PROCESS: Final = re.compile(
    r"handle = \d+|backend_config = \"\d+\"|loc\(.*\)$", re.MULTILINE
)
_LOWERED: Final = "/jax/core/compile/jaxpr_to_mlir_module_duration"


class _NewProgramError(BaseException):
    """A program is about to be built. Nothing that a traced function catches may stop it."""


class _Watch(threading.local):
    is_on = False


_watch: Final = _Watch()
_agreed: Final[set[bytes]] = set()


def run_agreed(
    jitted: Any,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    name: str,
    words: Callable[[], Mapping[str, str]],
) -> Any:
    """Call a function of `jax.jit`; what it has to build is first compared with the others.

    What is compared is the SHA-256 of the lowered program
    with its devices, among the processes that have these: a program of one process is its own
    affair.

    Args:
      jitted: what `jax.jit` has made.
      args: the positional arguments.
      kwargs: the keyword arguments.
      name: the function, for errors.
      words: gives the facts of the call by name, for errors.

    Raises:
      DisagreementError: another process is about to run another program, or does not come.
    """
    _listen()
    _watch.is_on = True
    try:
        return jitted(*args, **kwargs)
    except _NewProgramError:
        pass
    finally:
        _watch.is_on = False
    _agree_on_program(jitted.lower(*args, **kwargs), name, words)
    return jitted(*args, **kwargs)


@functools.cache
def _listen() -> None:
    def lowered(event: str, _: float, **__: object) -> None:
        if _watch.is_on and event == _LOWERED:
            raise _NewProgramError

    jax.monitoring.register_event_duration_secs_listener(lowered)


def _agree_on_program(lowered: Any, name: str, words: Callable[[], Mapping[str, str]]) -> None:
    devices = devices_of(lowered)
    members = frozenset(device.process_index for device in devices)
    if len(members) < 2:
        return
    text = _OF_THIS_PROCESS.sub("", lowered.as_text())
    digest = hashlib.sha256(f"{[device.id for device in devices]}\n{text}".encode())
    if digest.digest() in _agreed:  # built again, because a cache has let go of it
        return
    statement = Statement(
        f"a new program of {name}",
        digest.hexdigest(),
        words(),
        "Call it with the same shapes, dtypes and Python values in every process; pad or drop a "
        "last batch that is smaller in one.",
    )
    agree(members, statement, text)
    _agreed.add(digest.digest())
