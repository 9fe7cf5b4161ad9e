"""Streams: batches read and made while the training runs, by grain, in threads or processes.

What can be asked for, and what is refused. Examples in memory are faster in `batches`; reading a
file belongs to `files`.
"""

from __future__ import annotations

from typing import Any, Protocol

from fxgrad.data.by_number import MapSource
from fxgrad.data.grain_door import import_grain
from fxgrad.data.in_order import IterSource
from fxgrad.data.shard import Shard, check_shard
from fxgrad.data.source import Source
from fxgrad.errors import DataError


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
    grain = import_grain()
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
    grain = import_grain()
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
