"""Prefetch: the next batches made and placed on their devices while a step runs.

One thread, which ends with its consumer. What the batches are belongs to the source; how they are
divided over a mesh to `parallel`.
"""

from __future__ import annotations

import atexit
import contextvars
import inspect
import threading
import weakref
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sized
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, cast, overload

import jax

from fxgrad.data.fingerprint import fingerprint
from fxgrad.data.source import (
    AnySource,
    EpochSource,
    Position,
    Source,
    batches_from,
    close,
    fingerprint_of,
    position_of,
)
from fxgrad.errors import DataError

Place = jax.sharding.Sharding | jax.Device | Callable[[Any], Any] | None
# A source that hangs in a read is left to its thread, which does not keep the program from ending.
_PATIENCE_SECONDS: Final = 10.0
_PLACES: Final = (
    jax.sharding.Sharding,
    jax.sharding.Mesh,
    jax.sharding.PartitionSpec,
    jax.Device,
)


@overload
def prefetch(batches: Iterator[Any], size: int = 2, *, place: Place = None) -> Ahead: ...
@overload
def prefetch(
    batches: Source | EpochSource | Collection[Any], size: int = 2, *, place: Place = None
) -> Prefetched: ...
def prefetch(batches: AnySource, size: int = 2, *, place: Place = None) -> Ahead | Prefetched:
    """The same batches, of which the next `size` are made and placed ahead by a thread.

    JAX's settings that hold within a ``with`` block only, such as 64 bits, do not reach the thread;
    the default device does.

    Args:
      batches: a source, such as `Batches`, whose epochs are prefetched from then on; or an
        iterator of batches.
      size: the most batches that wait, at least 1; each takes the memory of a batch on the device.
      place: a `jax.sharding.Sharding` or a device for every array of a batch, or a function of
        the batch, called in the thread; None for JAX's default device. On several processes with
        a sharding, the arrays are this process's rows of a global array.

    Returns:
      A source for a source, with its length and fingerprint; an iterator for an iterator. The
      position is that of the batch given next, whatever was made ahead. Close an iterator that is
      not read to its end (``close()``, which its end and its loss do too).

    Raises:
      DataError: `size` is below 1. What the source raises comes with the batch that it was made
        for.
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        message = f"size={size!r}. Write a whole number of at least 1."
        raise DataError(message, path=None, field="size")
    if isinstance(batches, Iterator):
        return Ahead(batches, size, place, 0)
    kind = SizedPrefetched if isinstance(batches, Sized) else Prefetched
    return kind(batches, size, place)


@dataclass(frozen=True, eq=False)
class Prefetched:
    """A source whose epochs are made ahead. Made by `prefetch`."""

    source: AnySource
    size: int
    place: Place

    @property
    def fingerprint(self) -> str | None:
        """That of the source, and of a function that places; None if the source has none.

        Where the arrays go does not count: meshes, shardings and devices that it closes over.
        """
        known = fingerprint_of(self.source)
        return (
            known if known is None or self._placing is None else fingerprint(known, self._placing)
        )

    @cached_property
    def _placing(self) -> str | None:
        if self.place is None or isinstance(self.place, jax.sharding.Sharding | jax.Device):
            return None
        place = cast("Callable[[Any], Any]", self.place)
        return fingerprint(inspect.unwrap(place), instead=_without_places)

    def epoch(self, number: int, start: Position = 0) -> Ahead:
        """The batches of epoch `number` from `start` on, as the source takes it."""
        iterator = batches_from(self.source, number, start)
        return Ahead(iterator, self.size, self.place, start)


class SizedPrefetched(Prefetched):
    """A source with a length. Made by `prefetch`."""

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return len(cast("Sized", self.source))


class Ahead:
    """The batches of an iterator, made ahead by a thread. Made by `prefetch`."""

    def __init__(self, iterator: Iterator[Any], size: int, place: Place, start: Position) -> None:
        count = start if isinstance(start, int) else 0
        self._next = position_of(iterator, count)
        self._work = _Work(iterator, size, _placing(place), count)
        weakref.finalize(self, self._work.stop).atexit = False
        _running.add(self)
        context = contextvars.copy_context()
        target = (self._work.run, jax.config.jax_default_device)
        self._thread = threading.Thread(
            target=context.run, args=target, name="fxgrad-prefetch", daemon=True
        )
        self._thread.start()

    def __iter__(self) -> Ahead:
        return self

    def __next__(self) -> Any:
        batch, self._next, error = self._work.take(self._next)
        if error is not None:
            self.close()
            raise error
        return batch

    def position(self) -> Position:
        """The position of the batch that ``next()`` would give."""
        return self._next

    def close(self) -> None:
        """End the thread, and let go of the source and of the batches that wait."""
        self._work.stop()
        if threading.current_thread() is not self._thread:
            self._thread.join(_PATIENCE_SECONDS)


class _Work:
    """What the thread and its consumer share, without the consumer, whose loss ends the thread."""

    def __init__(
        self, iterator: Iterator[Any], size: int, place: Callable[[Any], Any], count: int
    ) -> None:
        self._iterator = iterator
        self._size = size
        self._place = place
        self._count = count
        self._ready: deque[tuple[Any, Position, BaseException | None]] = deque()
        self._changed = threading.Condition()
        self._ended = False

    def run(self, device: Any) -> None:
        """Make batches until the end, an error, or `stop`; in the thread."""
        try:
            with jax.default_device(device):
                while self._wait_for_room():
                    self._put(*self._make())
        finally:
            close(self._iterator)

    def take(self, position: Position) -> tuple[Any, Position, BaseException | None]:
        """The next batch, the position after it, and the error in its place."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._ended)
            if not self._ready:
                return None, position, StopIteration()
            batch, following, error = self._ready.popleft()
            self._changed.notify_all()
        return batch, (following if error is None else position), error

    def stop(self) -> None:
        """Let the thread end after the batch that it is making."""
        with self._changed:
            self._ended = True
            self._ready.clear()
            self._changed.notify_all()

    def _wait_for_room(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._ended or len(self._ready) < self._size)
            return not self._ended

    def _make(self) -> tuple[Any, Position, BaseException | None]:
        try:
            batch = self._place(next(self._iterator))
            self._count += 1
            return batch, position_of(self._iterator, self._count), None
        except BaseException as error:
            return None, None, error

    def _put(self, batch: Any, position: Position, error: BaseException | None) -> None:
        with self._changed:
            if not self._ended:
                self._ready.append((batch, position, error))
                self._ended = error is not None
            self._changed.notify_all()


def _without_places(value: Any) -> Any:
    return None if isinstance(value, _PLACES) else value


_running: weakref.WeakSet[Ahead] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    # A thread that is within JAX while the interpreter goes away can abort the process.
    for ahead in list(_running):
        ahead.close()


def _placing(place: Place) -> Callable[[Any], Any]:
    if isinstance(place, jax.sharding.Sharding) and jax.process_count() > 1:
        return lambda batch: jax.tree.map(
            lambda rows: jax.make_array_from_process_local_data(place, rows), batch
        )
    if place is None or isinstance(place, jax.sharding.Sharding | jax.Device):
        return lambda batch: jax.device_put(batch, place)
    if not callable(place):
        message = f"place={place!r} is a {type(place).__name__}"
        remedy = "Give a jax.sharding.Sharding, a device, or a function of the batch"
        raise DataError(f"{message}. {remedy}.", path=None, field="place")
    return place
