"""Batches of examples of different lengths, each padded to one of a few.

Which lengths those are belongs to `fxgrad.plan_buckets`; examples of one length to `batches`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from fxgrad.data.fingerprint import fingerprint
from fxgrad.data.shard import Shard, check_rows, check_shard, rows_of
from fxgrad.data.source import check_start
from fxgrad.errors import DataError
from fxgrad.shapes.buckets import Buckets, too_long
from fxgrad.shapes.padding import mask
from fxgrad.shapes.plan import plan_buckets

_OURS: Final = ("length", "mask")


@dataclass(frozen=True, eq=False, repr=False)
class BucketedBatches:
    """Examples of different lengths, cut into batches of one padded length each.

    A batch is ``{name: array, "length": int32[rows], "mask": bool[rows, bucket]}``. Entries with a
    length become ``[rows, bucket, ...]``, filled up with `value`; numbers become ``[rows]``. A
    batch that an epoch cannot fill gets rows of length 0, whose mask is False throughout, so that
    a training compiles at most one program for each bucket.

    Attributes:
      examples: name -> one array or number an example. The arrays of an example have one length,
        their first axis, and all examples the same dtype and other axes.
      batch_size: rows in a batch, of all processes together; or None, with
      tokens_per_batch: rows times bucket, at most: short examples come in larger batches.
      buckets: `fxgrad.Buckets`; None plans at most 8 for these examples.
      seed: decides the order together with the epoch's number; at least 0.
      shuffle: False keeps the order of the examples, as far as their buckets allow.
      drop_last: True leaves out, in each epoch, the examples that do not fill a batch of their
        bucket.
      multiple_of: every batch's rows are a multiple of it, such as the number of devices.
      value: what the arrays are padded with.
      shard: ``(index, count)`` for the contiguous rows of one process, as for `Batches`.

    Raises:
      DataError: the examples do not fit together, or an option is out of range; its ``field``
        names which.
      BucketError: an example is longer than the largest bucket.
    """

    examples: Mapping[str, Sequence[Any]]
    batch_size: int | None = None
    _: KW_ONLY
    tokens_per_batch: int | None = None
    buckets: Buckets | None = None
    seed: int = 0
    shuffle: bool = True
    drop_last: bool = False
    multiple_of: int = 1
    value: float = 0
    shard: Shard | None = None

    def __post_init__(self) -> None:
        self._check_options()
        planned = self.buckets or plan_buckets(np.maximum(self.lengths, 1))
        object.__setattr__(self, "buckets", planned)
        check_shard(self.shard)
        for edge in self._members:
            remedy = "Write multiple_of=, a number that the number of processes divides"
            check_rows(self.shard, self.rows(edge), f"a batch of bucket {edge}", remedy)
        if len(self) == 0:
            message = "drop_last=True leaves no batch: no bucket has the examples for one"
            remedy = "Write drop_last=False, or a smaller batch"
            raise DataError(f"{message}. {remedy}.", path=None, field="drop_last")

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return sum(self._count(edge) for edge in self._members)

    def __repr__(self) -> str:
        return f"BucketedBatches({len(self.lengths)} examples, {self.buckets}, seed={self.seed})"

    @cached_property
    def lengths(self) -> np.ndarray:
        """The length of each example; int64, shape ``[examples]``."""
        return _lengths(self.examples)

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hex, over the examples, the buckets and the options, less `shard`."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        sizes = (self.batch_size, self.tokens_per_batch, self.multiple_of, *self._edges)
        options = (self.seed, self.shuffle, self.drop_last, self.value)
        examples = dict(sorted(self.examples.items()))
        return fingerprint("BucketedBatches", sizes, options, examples)

    def rows(self, edge: int) -> int:
        """The rows of each batch of a bucket."""
        if self.batch_size is not None:
            return self.batch_size
        fitting = (self.tokens_per_batch or 0) // edge
        return max(fitting // self.multiple_of, 1) * self.multiple_of

    def epoch(self, number: int, start: int = 0) -> Iterator[dict[str, np.ndarray]]:
        """The batches of epoch `number`, from 0, without the first `start`.

        Raises:
          DataError: `number` is below 0, or `start` no place in an epoch; at the call.
        """
        if number < 0:
            raise DataError(
                f"epoch={number} is below 0. Write 0 or more.", path=None, field="epoch"
            )
        check_start(start, len(self))
        return (self._take(edge, rows) for edge, rows in self._plan(number)[start:])

    @property
    def _edges(self) -> tuple[int, ...]:
        return self.buckets.edges if self.buckets else ()

    @cached_property
    def _members(self) -> dict[int, np.ndarray]:
        """The examples of each bucket that has any."""
        longest = int(np.argmax(self.lengths))
        size, largest = int(self.lengths[longest]), self._edges[-1]
        if size > largest:
            name = next(name for name, column in self.examples.items() if np.ndim(column[longest]))
            remedy = f"Add a bucket of at least {size}, or cut the example"
            raise too_long(
                f"examples[{name!r}][{longest}]", size, largest, "the largest bucket", remedy
            )
        places = np.searchsorted(self._edges, self.lengths)
        found = {edge: np.flatnonzero(places == i) for i, edge in enumerate(self._edges)}
        return {edge: members for edge, members in found.items() if len(members)}

    def _count(self, edge: int) -> int:
        full, rest = divmod(len(self._members[edge]), self.rows(edge))
        return full + (rest > 0 and not self.drop_last)

    def _plan(self, number: int) -> list[tuple[int, np.ndarray]]:
        """The bucket and the examples of each batch of an epoch."""
        generator = np.random.default_rng([self.seed, number])
        batches = []
        for edge, members in self._members.items():
            order = generator.permutation(members) if self.shuffle else members
            size = self.rows(edge)
            firsts = range(0, self._count(edge) * size, size)
            batches += [(edge, order[first : first + size]) for first in firsts]
        if self.shuffle:
            return [batches[place] for place in generator.permutation(len(batches))]
        return sorted(batches, key=lambda batch: int(batch[1][0]))

    def _take(self, edge: int, rows: np.ndarray) -> dict[str, np.ndarray]:
        share = rows_of(self.shard, self.rows(edge))
        count, rows = share.stop - share.start, rows[share]
        batch = {name: self._column(name, edge, rows, count) for name in self.examples}
        length = np.zeros(count, np.int32)
        length[: len(rows)] = self.lengths[rows]
        return {**batch, "length": length, "mask": mask(length, edge)}

    def _column(self, name: str, edge: int, rows: np.ndarray, count: int) -> np.ndarray:
        column = self.examples[name]
        first = np.asarray(column[0])
        if first.ndim == 0:
            filled = np.zeros(count, first.dtype)
            filled[: len(rows)] = [column[row] for row in rows]
            return filled
        filled = np.full((count, edge, *first.shape[1:]), self.value, first.dtype)
        for place, row in enumerate(rows):
            filled[place, : self.lengths[row]] = column[row]
        return filled

    def _check_options(self) -> None:
        if (self.batch_size is None) == (self.tokens_per_batch is None):
            message = "Write either batch_size or tokens_per_batch."
            raise DataError(message, path=None, field="batch_size")
        sizes = {"batch_size": 1, "tokens_per_batch": 1, "multiple_of": 1, "seed": 0}
        for field, least in sizes.items():
            value = getattr(self, field)
            if value is not None and (not isinstance(value, int) or value < least):
                message = f"{field}={value!r}. Write a whole number of at least {least}."
                raise DataError(message, path=None, field=field)
        if self.batch_size is not None and self.batch_size % self.multiple_of:
            message = f"batch_size={self.batch_size} is no multiple of {self.multiple_of}"
            remedy = f"Write batch_size={self.multiple_of} or a multiple of it"
            raise DataError(f"{message}. {remedy}.", path=None, field="batch_size")


def _lengths(examples: Mapping[str, Sequence[Any]]) -> np.ndarray:
    _check_columns(examples)
    known: tuple[str, np.ndarray] | None = None
    for name, column in examples.items():
        found = _column_lengths(name, column)
        if found is None:
            continue
        if known is not None and (differ := np.flatnonzero(found != known[1])).size:
            row = int(differ[0])
            message = (
                f"examples[{known[0]!r}][{row}] has length {known[1][row]} and "
                f"examples[{name!r}][{row}] has length {found[row]}"
            )
            remedy = "Give the arrays of an example one length"
            raise DataError(f"{message}. {remedy}.", path=None, field=name)
        known = known or (name, found)
    if known is None:
        message = "no entry of examples has a length, only numbers. Write train.Batches."
        raise DataError(message, path=None, field="examples")
    return known[1]


def _check_columns(examples: Mapping[str, Sequence[Any]]) -> None:
    if not isinstance(examples, Mapping) or not examples:
        message = "examples is no dict of lists: write {'tokens': [array, …]}."
        raise DataError(message, path=None, field="examples")
    counts = {name: len(column) for name, column in examples.items()}
    if len(set(counts.values())) > 1 or 0 in counts.values():
        message = f"examples have the lengths {counts}. Give each name one entry an example."
        raise DataError(message, path=None, field="examples")
    for name in _OURS:
        if name in examples:
            message = f"examples[{name!r}] has the name of what is added. Give it another name."
            raise DataError(message, path=None, field=name)


def _column_lengths(name: str, column: Sequence[Any]) -> np.ndarray | None:
    """The lengths of a column's entries; None for one of numbers."""
    first = np.asarray(column[0])
    for row, entry in enumerate(column):
        found = np.asarray(entry)
        if found.ndim != first.ndim or (found.dtype, found.shape[1:]) != (
            first.dtype,
            first.shape[1:],
        ):
            message = (
                f"examples[{name!r}][{row}] is {found.dtype}{list(found.shape)} and the first is "
                f"{first.dtype}{list(first.shape)}"
            )
            remedy = "Give all the same dtype and the same axes after the first"
            raise DataError(f"{message}. {remedy}.", path=None, field=name)
    return np.array([len(entry) for entry in column], np.int64) if first.ndim else None
