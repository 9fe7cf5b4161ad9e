"""Streams: batches read and made while the training runs, by grain, in threads or processes.

The one door to grain. Examples in memory are faster in `batches`; reading a file belongs to
`files`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any, Final, Protocol

import jax
import numpy as np

from fxgrad.data.fingerprint import fingerprint
from fxgrad.data.shard import Shard, check_rows, check_shard, rows_of
from fxgrad.data.source import Position, Source, check_start
from fxgrad.errors import DataError, MissingExtraError

_SAMPLED: Final = 64
# Attributes of grain's own objects that say how and where work is done, or what was done so far.
_NO_MATTER: Final = frozenset(
    {
        "_ctx",
        "_generator_cache",
        "_options",
        "_read_options",
        "_shard_options",
        "_stats",
        "has_child",
    }
)


class Examples(Protocol):
    """Examples by number, such as `ImageFiles`, a list, or any data source of grain."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


def stream(
    examples: Examples,
    batch_size: int,
    *,
    seed: int = 0,
    shuffle: bool = True,
    drop_last: bool = True,
    shard: Shard | None = None,
    threads: int = 4,
    processes: int = 0,
) -> Source:
    """Batches of examples that are read when they are needed, for data larger than memory.

    The order is decided by seed and epoch, as for `Batches` (but another order), and resumes at
    any batch at once. A process reads the rows of its own share only.

    Args:
      examples: ``examples[index]`` is a pytree of arrays or numbers, all of one shape.
      batch_size: examples a batch, of all processes together.
      seed: 0 to 2**32 - 1.
      shuffle: False keeps the order of `examples` in every epoch.
      drop_last: True leaves out the examples that do not fill a batch.
      shard: ``(index, count)`` for the contiguous rows of one process, as for `Batches`.
      threads: how many batches are made at the same time; 0 makes each when it is asked for.
      processes: as `threads`, in processes of their own, which take long to start and pay for
        themselves where reading holds Python's lock. `examples` travels to them.

    Returns:
      A `Source`. Its fingerprint covers the options, and of the examples their own
      ``fingerprint`` if they have one, and otherwise a sample of 64.

    Raises:
      DataError: see `from_grain`.
      MissingExtraError: grain is not installed.
    """
    grain = _import_grain()
    dataset = grain.MapDataset.source(examples)
    dataset = dataset.shuffle(seed=seed) if shuffle else dataset
    known = getattr(examples, "fingerprint", None)
    return from_grain(
        dataset,
        batch_size=batch_size,
        drop_last=drop_last,
        shard=shard,
        threads=threads,
        processes=processes,
        content=known if isinstance(known, str) else None,
    )


def from_grain(
    dataset: Any,
    *,
    batch_size: int | None = None,
    drop_last: bool = True,
    shard: Shard | None = None,
    threads: int = 0,
    processes: int = 0,
    content: str | None = None,
) -> Source:
    """A source of batches from a grain ``MapDataset``, ``IterDataset`` or ``DataLoader``.

    A ``MapDataset`` is read by number: any epoch begins anywhere at once, and one that grain
    shuffles has another order in each epoch. The others are read in order: a position is grain's
    own state, taken with each batch that was given, whatever was read ahead; and every epoch is the
    same, unless `dataset` is a function ``number -> dataset`` that makes each epoch's.

    The fingerprint covers grain's operations with their seeds and sizes, the code of the
    transformations with what they close over, and of the data the length and a sample of 64
    elements. It cannot tell apart: data that differ in other elements only; functions that differ
    in what they call in a library or through objects that are looked up while they run; versions
    of libraries. Pass `content`, such as a hash of the files, to have the data told apart. A
    dataset that a process has sliced for itself (``dataset[index::count]``) has a fingerprint of
    its own; use `shard` instead.

    Args:
      dataset: its elements are batches, or examples if `batch_size` is given; pytrees of arrays.
      batch_size: makes batches of so many examples, of all processes together; of a
        ``MapDataset`` without filters.
      drop_last: with `batch_size`, leave out the examples that do not fill a batch.
      shard: ``(index, count)`` for the contiguous rows of one process, as for `Batches`. With
        `batch_size`, only these are read; without it each process reads the whole batch.
      threads: of a ``MapDataset``, how many batches are made at the same time.
      processes: as `threads`, in processes. Set these of the other kinds with grain itself.
      content: words that stand for the data in the fingerprint, instead of the sample.

    Raises:
      DataError: `dataset` is none of these or is empty; an option does not fit it or is out of
        range; the rows cannot be divided.
      MissingExtraError: grain is not installed.
    """
    grain = _import_grain()
    check_shard(shard)
    made = dataset(0) if callable(dataset) else dataset
    if isinstance(made, grain.MapDataset) and not callable(dataset):
        source = MapSource(dataset, batch_size, drop_last, shard, threads, processes, content)
        source.check()
        return source
    if not isinstance(made, grain.MapDataset | grain.IterDataset | grain.DataLoader):
        message = f"dataset is a {type(made).__name__}. Give a MapDataset, IterDataset or "
        message += "DataLoader of grain, or write train.stream(examples, batch_size)."
        raise DataError(message, path=None, field="dataset")
    for field, value in (
        ("batch_size", batch_size),
        ("threads", threads),
        ("processes", processes),
    ):
        if value:
            message = f"{field} is for a MapDataset, and this is a {type(made).__name__}"
            remedy = "Use grain's own batch, ReadOptions or mp_prefetch"
            raise DataError(f"{message}. {remedy}.", path=None, field=field)
    return IterSource(dataset if callable(dataset) else lambda number: dataset, shard, content)


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
        described = _described(self.dataset, self.content)
        return fingerprint("grain", self.batch_size, self.drop_last, described)

    def epoch(self, number: int, start: Position = 0) -> Iterator[Any]:
        """The batches of epoch `number` from `start` on, which is a number of batches.

        Raises:
          DataError: `number` is below 0, or `start` no place in an epoch.
        """
        _check_whole("epoch", number, 0)
        check_start(start, len(self))
        grain = _import_grain()
        rest = grain.MapDataset.source(_Rest(self, number, start))
        # At most so many batches are in memory as are made at the same time, and one more each.
        options = grain.ReadOptions(num_threads=self.threads, prefetch_buffer_size=2 * self.threads)
        batches = rest.to_iter_dataset(options)
        _settle_flags()
        if self.processes:
            several = grain.MultiprocessingOptions(num_workers=self.processes)
            batches = batches.mp_prefetch(several)
        return _Numbered(iter(batches), start)

    def check(self) -> None:
        """Refuse what can be known to be wrong before the first batch.

        Raises:
          DataError: naming the option.
        """
        _check_whole("threads", self.threads, 0)
        _check_whole("processes", self.processes, 0)
        if self.batch_size is not None:
            _check_whole("batch_size", self.batch_size, 1)
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
            return _share(self.dataset[base + index], self.shard)
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


class _Delivered:
    """Batches as plain arrays; what grain holds is let go at the end, and at `close`."""

    def __init__(self, iterator: Any) -> None:
        self._iterator: Any = iterator

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return jax.tree.map(_plain, next(self._iterator))
        except BaseException:  # the end too: nothing comes after it
            self.close()
            raise

    def close(self) -> None:
        # A DataLoader's iterator has no close of its own.
        inner = getattr(self._iterator, "_iterator", self._iterator)
        self._iterator = iter(())
        if hasattr(inner, "close"):
            inner.close()


class _Numbered(_Delivered):
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


@dataclass(frozen=True, eq=False)
class IterSource:
    """Batches of a grain dataset that is read in order. Made by `from_grain`."""

    dataset_of: Callable[[int], Any]
    shard: Shard | None
    content: str | None
    _: KW_ONLY

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hex; see `from_grain` for what it covers. Of the first epoch."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        return fingerprint("grain", _described(self.dataset_of(0), self.content))

    def epoch(self, number: int, start: Position = 0) -> Iterator[Any]:
        """The batches of epoch `number` from `start` on: 0, or what ``position()`` gave.

        Raises:
          DataError: `start` is neither.
        """
        _check_whole("epoch", number, 0)
        _settle_flags()
        iterator = iter(self.dataset_of(number))
        if start != 0:
            _restore(iterator, start)
        return _Stateful(iterator, self.shard)


class _Stateful(_Delivered):
    """Batches with grain's state, as JSON can hold it."""

    def __init__(self, iterator: Any, shard: Shard | None) -> None:
        super().__init__(iterator)
        self._shard = shard
        self._last: Any = None  # the state when it was closed

    def __next__(self) -> Any:
        return _share(super().__next__(), self._shard)

    def position(self) -> Position:
        state = self._iterator.get_state() if self._last is None else self._last
        position = {"bytes": state.decode()} if isinstance(state, bytes) else {"state": state}
        try:
            same = json.loads(json.dumps(position)) == position
        except TypeError:
            same = False
        if not same:
            message = f"the state of a {type(self._iterator).__name__} is no JSON: {state!r:.200}"
            remedy = "Save such a dataset as a MapDataset, or without that transformation"
            raise DataError(f"{message}. {remedy}.", path=None, field="position")
        return position

    def close(self) -> None:
        if self._last is None:
            self._last = self._iterator.get_state()
        super().close()


def _restore(iterator: Any, position: Position) -> None:
    try:
        ((kind, state),) = position.items()
        iterator.set_state(state.encode() if kind == "bytes" else state)
    # Each kind of iterator raises errors of its own on a state that is not its own.
    except Exception as error:
        message = f"start={position!r:.200} is no position of this dataset ({error})"
        remedy = "Write 0, or restore a checkpoint of this data"
        raise DataError(f"{message}. {remedy}.", path=None, field="start") from error


def _described(dataset: Any, content: str | None) -> str:
    """The fingerprint of a dataset: its operations, and its data by length and sample."""
    grain = _import_grain()

    def instead(value: Any) -> Any:
        if isinstance(value, grain.MapDataset) and not value.parents:
            return [type(value), len(value), _sample(value) if content is None else content]
        if isinstance(value, grain.DataLoader):
            data = value._data_source
            sample = _sample(data) if content is None else content
            operations = [value._operations, value._sampler, value.multiprocessing_options]
            return [*operations, type(data), len(data), sample]
        return value

    return fingerprint(dataset, without=_NO_MATTER, instead=instead)


def _sample(data: Any) -> list[Any]:
    places = (
        np.unique(np.linspace(0, len(data) - 1, _SAMPLED).astype(np.int64)) if len(data) else []
    )
    return [data[int(place)] for place in places]


def _share(batch: Any, shard: Shard | None) -> Any:
    if shard is None or batch is None:
        return batch
    rows = {len(leaf) for leaf in jax.tree.leaves(batch)}
    for count in rows:
        remedy = "Batch with a size that the number of processes divides, and drop_remainder=True"
        check_rows(shard, count, "a batch", remedy)
    return jax.tree.map(lambda leaf: leaf[rows_of(shard, len(leaf))], batch)


def _stacked(examples: list[Any]) -> Any:
    if any(example is None for example in examples):
        message = "the dataset has a filter, so that a batch has no fixed examples"
        remedy = "Use grain's own: dataset.to_iter_dataset().batch(batch_size)"
        raise DataError(f"{message}. {remedy}.", path=None, field="batch_size")
    return jax.tree.map(lambda *parts: np.stack(parts), *examples)


def _plain(leaf: Any) -> Any:
    """A copy of an array that a process has left in shared memory; anything else as it is."""
    shared = isinstance(leaf, np.ndarray) and type(leaf) is not np.ndarray
    return np.array(leaf, subok=False) if shared else leaf


def _check_whole(field: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        message = f"{field}={value!r}. Write a whole number of at least {least}."
        raise DataError(message, path=None, field=field)


def _import_grain() -> Any:
    try:
        import grain  # noqa: PLC0415  (an extra, and half a second)
    except ModuleNotFoundError as error:
        raise MissingExtraError("grain", extra="data", purpose="train.from_grain") from error
    return grain


def _settle_flags() -> None:
    """Let grain start processes in a program that is no absl app: it asks absl for its flags."""
    from absl import flags  # noqa: PLC0415  (comes with grain)

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
