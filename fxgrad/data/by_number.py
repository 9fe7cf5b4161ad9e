"""Batches of a grain dataset that is read by number: any epoch begins anywhere at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np

from fxgrad.data.fingerprint import fingerprint
from fxgrad.data.grain_door import Delivered, described, import_grain, settle_flags
from fxgrad.data.shard import Shard, check_rows, rows_of, share
from fxgrad.data.source import Position, check_start, check_whole
from fxgrad.errors import DataError


@dataclass(frozen=True, eq=False)
class MapSource:
    """Batches of a grain dataset that is read by number. Made by `stream` and `from_grain`."""

    dataset: Any
    batch_size: int | None
    drop_last: bool
    shard: Shard | None
    threads: int
    processes: int
    content: str | None

    def __len__(self) -> int:
        """The number of batches in an epoch; an infinite dataset has more than can be counted."""
        if self.batch_size is None:
            return len(self.dataset)
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hex; see `from_grain` for what it covers."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        made_of = described(self.dataset, self.content)
        return fingerprint("grain", self.batch_size, self.drop_last, made_of)

    def epoch(self, number: int, start: Position = 0) -> Iterator[Any]:
        """The batches of epoch `number` from `start` on, which is a number of batches.

        Raises:
          DataError: `number` is below 0, or `start` no place in an epoch.
        """
        check_whole("epoch", number, 0)
        check_start(start, len(self))
        grain = import_grain()
        rest = grain.MapDataset.source(_Rest(self, number, start))
        # Each thread makes one batch, and one waits for each.
        options = grain.ReadOptions(num_threads=self.threads, prefetch_buffer_size=2 * self.threads)
        batches = rest.to_iter_dataset(options)
        settle_flags()
        if self.processes:
            several = grain.MultiprocessingOptions(num_workers=self.processes)
            batches = batches.mp_prefetch(several)
        return _Numbered(iter(batches), start)

    def check(self) -> None:
        """Refuse what can be known to be wrong before the first batch.

        Raises:
          DataError: naming the option.
        """
        check_whole("threads", self.threads, 0)
        check_whole("processes", self.processes, 0)
        if self.batch_size is not None:
            check_whole("batch_size", self.batch_size, 1)
            remedy = "Write a batch_size that the number of processes divides"
            check_rows(self.shard, self.batch_size, "batch_size", remedy)
            if not self.drop_last:
                last = len(self.dataset) % self.batch_size
                check_rows(self.shard, last, "the last batch", "Write drop_last=True")
        if len(self) == 0:
            message = f"the dataset has {len(self.dataset)} elements, which make no batch"
            remedy = "Give more data, a smaller batch_size, or drop_last=False"
            raise DataError(f"{message}. {remedy}.", path=None, field="dataset")

    def batch(self, number: int, index: int) -> Any:
        """Batch `index` of epoch `number`; None for one that a filter has left out."""
        base = number * len(self.dataset)
        if self.batch_size is None:
            return share(self.dataset[base + index], self.shard)
        first = index * self.batch_size
        count = min(self.batch_size, len(self.dataset) - first)
        rows = range(count)[rows_of(self.shard, count)]
        return _stacked([self.dataset[base + first + row] for row in rows])


class _Rest:
    """The batches of an epoch from one on, numbered: what grain's threads and processes read."""

    def __init__(self, source: MapSource, number: int, start: int) -> None:
        self._source = source
        self._number = number
        self._start = start

    def __len__(self) -> int:
        return len(self._source) - self._start

    def __getitem__(self, index: int) -> tuple[int, Any] | None:
        place = self._start + index
        batch = self._source.batch(self._number, place)
        return None if batch is None else (place, batch)


class _Numbered(Delivered):
    """The batches of `_Rest` without their numbers, which say the position."""

    def __init__(self, iterator: Any, start: int) -> None:
        super().__init__(iterator)
        self._next = start

    def __next__(self) -> Any:
        place, batch = super().__next__()
        self._next = int(place) + 1
        return batch

    def position(self) -> int:
        return self._next


def _stacked(examples: list[Any]) -> Any:
    if any(example is None for example in examples):
        message = "the dataset has a filter, so that a batch has no fixed examples"
        remedy = "Use grain's own: dataset.to_iter_dataset().batch(batch_size)"
        raise DataError(f"{message}. {remedy}.", path=None, field="batch_size")
    return jax.tree.map(lambda *parts: np.stack(parts), *examples)
