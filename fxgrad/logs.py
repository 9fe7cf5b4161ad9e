"""Logs: values that are observed while a function runs; Python decides nothing by them."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from typing import Any, Final

import jax

from fxgrad.recorder import RecordedTracer, bottom_of, current_listener, is_tracer

_lock: Final = threading.Lock()
_collections: Final[list[dict[str, list[Any]]]] = []


def log(name: str, value: Any) -> None:
    """Observe `value` inside a function, in any mode, for the `fx.logs` blocks around the call.

    It is no decision: replay records no path for it, and nothing waits for it. Under a derivative
    it is the primal value, under `jax.vmap` the whole batch. In a static program, and inside
    `jax.lax.scan` and the like, it is a callback of the program, made whenever it comes by there.

    Args:
      name: what to find it by.
      value: an array of any shape and dtype, or a Python number.
    """
    bottom, listener = bottom_of(value), current_listener()
    if is_tracer(bottom) and not isinstance(bottom, RecordedTracer):
        jax.debug.callback(functools.partial(deliver, name), bottom)
    elif listener is not None:
        listener.log(name, bottom)
    else:
        deliver(name, bottom)


@contextlib.contextmanager
def logs() -> Iterator[dict[str, list[Any]]]:
    """Collect what `fx.log` observes in this ``with`` block, in all threads, by its name.

    The values are arrays that may still be computed; reading one waits for it. All have been told
    when the block ends. Outside of such a block `fx.log` keeps nothing.

    Yields:
      For each name the list of values, oldest first.
    """
    collected: dict[str, list[Any]] = {}
    with _lock:
        _collections.append(collected)
    try:
        yield collected
    finally:
        jax.effects_barrier()
        with _lock:
            _collections[:] = [other for other in _collections if other is not collected]


def deliver(name: str, value: Any) -> None:
    """Give a value to every collection that is open."""
    if _collections:
        with _lock:
            for collected in _collections:
                collected.setdefault(name, []).append(value)
