"""Batches: examples in memory, cut into batches in an order that seed and epoch decide.

Where the examples come from belongs to `images`, `npz` and `text`; examples that do not fit into
memory to `streams`; where batches are placed to `prefetch`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from functools import cached_property

import numpy as np

from fxgrad.data.fingerprint import fingerprint
from fxgrad.data.shard import Shard, check_rows, check_shard, rows_of
from fxgrad.data.source import check_start
from fxgrad.errors import DataError


@dataclass(frozen=True, eq=False, repr=False)
class Batches:
    """Examples, and how to cut them into batches; ``len()`` is the number of batches an epoch.

    Attributes:
      arrays: name -> array of any dtype, shape ``[examples, ...]``; kept, not copied.
      batch_size: examples a batch, at least 1; of all processes together.
      seed: decides the order together with the epoch's number; at least 0.
      shuffle: False keeps the order of `arrays` in every epoch.
      drop_last: True leaves out the examples that do not fill a batch, so that every batch has
        one shape; False ends the epoch with a smaller batch.
      shard: ``(index, count)`` gives of every batch the contiguous rows of process `index` of
        `count`, so that the processes together see the batches of one; None gives all rows.

    Raises:
      DataError: `arrays` is empty, has no examples, or differs in lengths; `batch_size` is below
        1, or above the number of examples with `drop_last`, or not divisible by the processes;
        `seed` is below 0; `shard` is no such pair. Its ``path`` is None; its ``field`` names the
        array or the argument.
    """

    arrays: dict[str, np.ndarray]
    batch_size: int
    _: KW_ONLY
    seed: int = 0
    shuffle: bool = True
    drop_last: bool = True
    shard: Shard | None = None

    def __post_init__(self) -> None:
        _check_lengths(self.arrays)
        _check_at_least("batch_size", self.batch_size, 1)
        _check_at_least("seed", self.seed, 0)
        if self.drop_last and self.batch_size > self.examples:
            message = f"batch_size={self.batch_size} is more than the {self.examples} examples"
            remedy = f"Write batch_size={self.examples} or less, or drop_last=False"
            raise DataError(f"{message}. {remedy}.", path=None, field="batch_size")
        self._check_shard()

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        full, rest = divmod(self.examples, self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    @property
    def examples(self) -> int:
        """The number of examples in `arrays`, also those that `drop_last` leaves out."""
        return len(next(iter(self.arrays.values())))

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hex, over the arrays, the batch size, the seed and the options.

        The arrays are read once. `shard` is left out: it is the same on every process.
        """
        return self._digest

    @cached_property
    def _digest(self) -> str:
        options = (self.batch_size, self.seed, self.shuffle, self.drop_last)
        return fingerprint("Batches", *options, dict(sorted(self.arrays.items())))

    def epoch(self, number: int, start: int = 0) -> Iterator[dict[str, np.ndarray]]:
        """The batches of one epoch, each a copy: name -> array, shape ``[batch_size, ...]``.

        Seed and `number` alone decide the order: one epoch is the same on every machine, and
        after a restart. (NumPy may change its generators between releases, NEP 19; a test holds
        the order fast.) No batch before `start` is made.

        Args:
          number: the epoch, at least 0.
          start: the number of batches to leave out at the beginning, at most ``len()``.

        Raises:
          DataError: `number` is below 0, or `start` no place in an epoch; at the call, not at the
            first batch.
        """
        _check_at_least("epoch", number, 0)
        check_start(start, len(self))
        order = self._order(number)
        size = self.batch_size
        firsts = range(start * size, len(self) * size, size)
        return (self._take(order[first : first + size]) for first in firsts)

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        message = "Batches has an order for each epoch. Write: for batch in batches.epoch(0)"
        raise DataError(message, path=None, field="epoch")

    def __repr__(self) -> str:
        shapes = {name: f"{a.dtype}{list(a.shape)}" for name, a in self.arrays.items()}
        return f"Batches({shapes}, batch_size={self.batch_size}, seed={self.seed})"

    def _order(self, number: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(self.examples)
        return np.random.default_rng([self.seed, number]).permutation(self.examples)

    def _check_shard(self) -> None:
        check_shard(self.shard)
        divisible = "Write a batch_size that the number of processes divides"
        check_rows(self.shard, self.batch_size, "batch_size", divisible)
        if not self.drop_last:
            last = self.examples % self.batch_size
            check_rows(self.shard, last, "the last batch", "Write drop_last=True")

    def _take(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        rows = rows[rows_of(self.shard, len(rows))]
        return {name: array[rows] for name, array in self.arrays.items()}


def _check_lengths(arrays: dict[str, np.ndarray]) -> None:
    if not isinstance(arrays, dict):
        message = f"arrays is a {type(arrays).__name__}. Give a dict: {{'image': images}}."
        raise DataError(message, path=None, field="arrays")
    if not arrays:
        message = "arrays is empty. Give at least one array: {'image': images}."
        raise DataError(message, path=None, field="arrays")
    first = next(iter(arrays))
    for name, array in arrays.items():
        if not hasattr(array, "ndim"):
            message = f"arrays[{name!r}] is a {type(array).__name__}. Write numpy.asarray of it."
            raise DataError(message, path=None, field=name)
        if array.ndim == 0 or len(array) == 0:
            message = f"arrays[{name!r}] has shape {array.shape}: no examples. Give at least one."
            raise DataError(message, path=None, field=name)
        if len(array) != len(arrays[first]):
            message = (
                f"arrays[{first!r}] has length {len(arrays[first])} and arrays[{name!r}] has "
                f"length {len(array)}. Give every array one row an example."
            )
            raise DataError(message, path=None, field=name)


def _check_at_least(field: str, value: int, least: int) -> None:
    if not isinstance(value, int | np.integer):
        message = f"{field}={value!r} is a {type(value).__name__}. Write a whole number."
        raise DataError(message, path=None, field=field)
    if value < least:
        message = f"{field}={value} is below {least}. Write {field}={least} or more."
        raise DataError(message, path=None, field=field)
