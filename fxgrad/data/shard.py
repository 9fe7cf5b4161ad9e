"""A process's share of a batch: its contiguous rows, so that the run is that of one process."""

from __future__ import annotations

from typing import Any

import jax

from fxgrad.errors import DataError

Shard = tuple[int, int]


def check_shard(shard: Shard | None) -> None:
    """Refuse what is not ``(index, count)`` with ``0 <= index < count``.

    Raises:
      DataError: naming ``shard``.
    """
    if shard is None:
        return
    if not (isinstance(shard, tuple) and len(shard) == 2 and all(type(n) is int for n in shard)):
        message = f"shard={shard!r} is not a pair of whole numbers"
        remedy = "Write shard=(jax.process_index(), jax.process_count())"
        raise DataError(f"{message}. {remedy}.", path=None, field="shard")
    index, count = shard
    if not 0 <= index < count:
        message = f"shard={shard}: process {index} is not one of {count}, which are 0..{count - 1}"
        remedy = "Write shard=(jax.process_index(), jax.process_count())"
        raise DataError(f"{message}. {remedy}.", path=None, field="shard")


def rows_of(shard: Shard | None, rows: int) -> slice:
    """The rows of a batch of `rows` that belong to this process; `rows` must divide evenly."""
    if shard is None:
        return slice(0, rows)
    index, count = shard
    share = rows // count
    return slice(index * share, (index + 1) * share)


def check_rows(shard: Shard | None, rows: int, field: str, remedy: str) -> None:
    """Refuse a batch whose rows cannot be divided among the processes.

    Raises:
      DataError: naming `field`, with `remedy` as what to write instead.
    """
    if shard is not None and rows % shard[1]:
        message = f"{field} has {rows} rows, which {shard[1]} processes cannot share evenly"
        raise DataError(f"{message}. {remedy}.", path=None, field=field)


def share(batch: Any, shard: Shard | None) -> Any:
    """The rows of a whole batch that belong to this process; `batch` may be None.

    Raises:
      DataError: the rows cannot be divided.
    """
    if shard is None or batch is None:
        return batch
    rows = {len(leaf) for leaf in jax.tree.leaves(batch)}
    for count in rows:
        remedy = "Batch with a size that the number of processes divides, and drop_remainder=True"
        check_rows(shard, count, "a batch", remedy)
    return jax.tree.map(lambda leaf: leaf[rows_of(shard, len(leaf))], batch)
