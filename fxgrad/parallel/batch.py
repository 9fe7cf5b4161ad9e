"""Batches on the mesh: the rows are split over the axes ``data`` and ``fsdp``.

Which rows come belongs to `fxgrad.data`; how many processes there are belongs to `processes`.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from fxgrad.errors import ShardingError
from fxgrad.parallel.mesh import batch_axes, product_of, sizes_of


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """How a batch lies: dimension 0 over ``data`` and ``fsdp``, all else whole."""
    return NamedSharding(mesh, PartitionSpec(batch_axes(mesh)))


def batch_part(mesh: Mesh) -> tuple[int, int]:
    """Which part of every batch this process brings: its number, from 0, and how many there are.

    Processes that hold the same rows, because only ``tensor`` splits them, bring the same part.

    Raises:
      ShardingError: the devices of this process do not hold one even part.
    """
    rows = product_of(sizes_of(mesh), batch_axes(mesh))
    held = batch_sharding(mesh).addressable_devices_indices_map((rows,)).values()
    mine = sorted({row for index in held for row in range(rows)[index[0]]})  # type: ignore[index]
    first, count = mine[0], len(mine)
    if mine != list(range(first, first + count)) or rows % count or first % count:
        raise ShardingError(
            f"the devices of process {jax.process_index()} hold the parts {mine} of {rows} of a "
            "batch, which is no even part. Make a mesh in the order of jax.devices()."
        )
    return first // count, rows // count


def batch(batch: Any, mesh: Mesh) -> Any:
    """Put a batch on a mesh; arrays without dimensions lie whole on each device.

    Args:
      batch: any pytree of arrays with one row for each example; on several processes the rows of
        this process's own part (`batch_part`), of which the global batch is made.
      mesh: the mesh.

    Returns:
      The batch, as global arrays.

    Raises:
      ShardingError: the devices do not divide the rows.
    """
    parts = product_of(sizes_of(mesh), batch_axes(mesh)) // batch_part(mesh)[1]
    check_rows(batch, parts)
    split, whole = batch_sharding(mesh), NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(lambda leaf: _put(leaf, split if np.ndim(leaf) else whole), batch)


def check_rows(batch: Any, parts: int) -> None:
    """Refuse a batch whose rows cannot be split evenly.

    Raises:
      ShardingError: an array's first dimension is no multiple of `parts`.
    """
    for keys, leaf in jax.tree_util.tree_leaves_with_path(batch):
        if np.ndim(leaf) and np.shape(leaf)[0] % parts:
            path, rows = f"batch{jax.tree_util.keystr(keys)}", np.shape(leaf)[0]
            raise ShardingError(
                f"{path} has {rows} rows, which the {parts} devices that split them do not divide. "
                f"Write a batch size of {-(-rows // parts) * parts}, and drop_last=True for the "
                "last batch.",
                path=path,
            )


def _put(leaf: Any, sharding: NamedSharding) -> jax.Array:
    if sharding.is_fully_addressable:
        return jax.device_put(leaf, sharding)
    return jax.make_array_from_process_local_data(sharding, np.asarray(leaf))
