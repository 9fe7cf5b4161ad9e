"""A source of data: what a training reads its batches from, and how to find a place in it again.

The sources themselves are in `batches`, `bucketed` and `streams`; placing batches on devices
belongs to `prefetch`.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, cast

from fxgrad.errors import DataError

# The number of batches given in the epoch, or whatever an iterator's own position() said.
Position = Any


class Source(Protocol):
    """Batches of every epoch, each of which can be begun anywhere.

    ``len()`` is the number of batches of an epoch where it is known. The iterator may have a
    ``position()``: that of the batch that ``next()`` would give, as JSON can hold it.
    """

    def epoch(self, number: int, start: Position = 0) -> Iterator[Any]:
        """The batches of epoch `number`, from 0, from position `start` on."""
        ...

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hex, over all that decides which batches come; on every process the same."""
        ...


class EpochSource(Protocol):
    """The least that a source can be: one that begins its epochs at their beginning."""

    def epoch(self, number: int) -> Iterator[Any]:
        """The batches of epoch `number`, from 0."""
        ...


AnySource = Source | EpochSource | Iterable[Any]


def batches_from(source: AnySource, number: int, start: Position = 0) -> Iterator[Any]:
    """The batches of epoch `number`, from position `start` on.

    Args:
      source: a `Source`; or an object with ``epoch(number)`` or a collection of batches, whose
        first `start` batches are read and thrown away.
      number: the epoch, at least 0.
      start: where in the epoch; 0 is its beginning.

    Raises:
      DataError: `source` is one batch, or can be read only once and `number` is more than 0;
        `start` is not a position of this source.
    """
    if isinstance(source, Mapping):
        message = "batches is a dict, which is one batch: write train.Batches(arrays, 64)."
        raise DataError(message, path=None, field="batches")
    epoch = getattr(source, "epoch", None)
    if callable(epoch):
        if _takes_start(epoch):
            return cast("Source", source).epoch(number, start=start)
        return _after(cast("EpochSource", source).epoch(number), start)
    if number and reads_once(source):
        message = f"{source!r} can be read once, and this is epoch {number}"
        raise DataError(f"{message}. Pass a list or a Batches.", path=None, field="batches")
    return _after(iter(cast("Iterable[Any]", source)), start)


def position_of(iterator: Iterator[Any], count: int) -> Position:
    """The position of the batch that ``next(iterator)`` would give.

    Args:
      iterator: the batches of an epoch, from `batches_from`.
      count: the batches of the epoch that have been given, those before its start included; it is
        the position where the iterator knows none.
    """
    position = getattr(iterator, "position", None)
    return position() if callable(position) else count


def fingerprint_of(source: AnySource) -> str | None:
    """The fingerprint of `source`, or None where it has none."""
    found = getattr(source, "fingerprint", None)
    return found if isinstance(found, str) else None


def reads_once(source: AnySource) -> bool:
    """Whether `source` is an iterator, which has no second epoch."""
    return not hasattr(source, "epoch") and isinstance(source, Iterator)


def close(iterator: Iterator[Any]) -> None:
    """Let go of the threads, processes and files of an epoch that is not read to its end."""
    end = getattr(iterator, "close", None)
    if callable(end):
        end()


def check_whole(field: str, value: Any, least: int) -> None:
    """Refuse what is not a whole number of at least `least`.

    Raises:
      DataError: naming `field`.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        message = f"{field}={value!r}. Write a whole number of at least {least}."
        raise DataError(message, path=None, field=field)


def check_start(start: Position, batches: int) -> None:
    """Refuse a position that is not a number of batches from 0 to `batches`.

    Raises:
      DataError: naming ``start``.
    """
    if isinstance(start, bool) or not isinstance(start, int) or not 0 <= start <= batches:
        message = f"start={start!r} is no place in an epoch of {batches} batches"
        remedy = f"Write a whole number of 0..{batches}, or restore a checkpoint of this data"
        raise DataError(f"{message}. {remedy}.", path=None, field="start")


def _takes_start(epoch: Any) -> bool:
    parameters = inspect.signature(epoch).parameters.values()
    return any(p.name == "start" or p.kind is p.VAR_KEYWORD for p in parameters)


def _after(iterator: Iterator[Any], start: Position) -> Iterator[Any]:
    check_start(start, start if isinstance(start, int) and start > 0 else 0)
    skipped = sum(1 for _ in itertools.islice(iterator, start))
    if skipped < start:
        message = f"start={start}: the epoch has only {skipped} batches"
        remedy = "Give the batches that the checkpoint was made with"
        raise DataError(f"{message}. {remedy}.", path=None, field="start")
    return iterator
