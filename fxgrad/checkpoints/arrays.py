"""The one door to Orbax: named arrays go to a folder and come back, each to its devices.

Orbax copies, shards and writes. That the bytes are the same when they are read belongs to
`manifest`; that all of them are there, to `writing`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np

# Dtypes that the format on disk has no name for are stored as the bytes that NumPy holds them in.
_AS_BYTES: Final = frozenset(["uint2", "uint4", "float8_e4m3"])


class ArrayWriter:
    """Writes arrays, one set at a time. The processes of a run call it together."""

    def __init__(self) -> None:
        import orbax.checkpoint as orbax  # noqa: PLC0415  (a heavy import, where it is used)

        logging.getLogger("absl").addFilter(_is_not_raised)
        self._orbax = orbax
        self._writer = orbax.AsyncCheckpointer(orbax.PyTreeCheckpointHandler())

    def begin(self, folder: Path, arrays: Mapping[str, jax.Array | np.ndarray]) -> None:
        """Copy the arrays to the host and begin to write; they may change when this returns."""
        stored = {name: _stored(array) for name, array in arrays.items() if array.size}
        if stored:  # Orbax takes no empty tree and no empty array
            self._writer.save(folder, args=self._orbax.args.PyTreeSave(stored))

    def finish(self) -> None:
        """Wait until all is written by all processes. Raises what Orbax raises."""
        self._writer.wait_until_finished()

    def close(self) -> None:
        """Let go of the threads."""
        self._writer.close()


def read_arrays(
    folder: Path,
    wanted: Mapping[str, tuple[tuple[int, ...], np.dtype]],
    shardings: Mapping[str, jax.sharding.Sharding | None],
) -> dict[str, Any]:
    """Read arrays as they were written.

    Args:
      folder: where `ArrayWriter` put them.
      wanted: shape and dtype of each array to read; others are left where they are.
      shardings: where each goes; None for a NumPy array.

    Returns:
      Each array by its name. What Orbax raises for a folder that it cannot read goes through.
    """
    import orbax.checkpoint as orbax  # noqa: PLC0415  (a heavy import, where it is used)

    found: dict[str, Any] = {
        name: np.zeros(shape, dtype) for name, (shape, dtype) in wanted.items() if 0 in shape
    }
    stored = [name for name in wanted if name not in found]
    directory: Any = folder  # Orbax's own kind of path is made of any
    how = {
        name: orbax.RestoreArgs(restore_type=np.ndarray)
        if (sharding := _direct_sharding(wanted[name][1], shardings[name])) is None
        else orbax.ArrayRestoreArgs(sharding=sharding)
        for name in stored
    }
    if stored:
        found |= orbax.PyTreeCheckpointHandler().restore(
            directory,
            args=orbax.args.PyTreeRestore(
                item=dict.fromkeys(stored, 0), restore_args=how, partial_restore=True
            ),
        )
    return {
        name: _placed(found[name], dtype, shape, shardings[name])
        for name, (shape, dtype) in wanted.items()
    }


def _is_not_raised(record: logging.LogRecord) -> bool:
    """False for what Orbax logs on its threads, pages of tracebacks: `finish` raises the same."""
    return not ("orbax" in record.pathname and record.exc_info)


def _stored(array: jax.Array | np.ndarray) -> jax.Array | np.ndarray:
    if jnp.dtype(array.dtype).name in _AS_BYTES:
        return np.asarray(array, order="C").view(np.uint8)
    if isinstance(array, jax.Array) and array.is_fully_addressable and jax.process_count() > 1:
        return np.asarray(array)  # each process has its own: that of the first is kept
    return np.asarray(array) if isinstance(array, np.generic) else array


def _direct_sharding(
    dtype: np.dtype, sharding: jax.sharding.Sharding | None
) -> jax.sharding.Sharding | None:
    """The sharding, if the array can be read straight to its devices."""
    if sharding is None or dtype.name in _AS_BYTES:
        return None
    is_one_of_many = jax.process_count() > 1 and sharding.is_fully_addressable
    return None if is_one_of_many else sharding


def _placed(
    array: Any, dtype: np.dtype, shape: tuple[int, ...], sharding: jax.sharding.Sharding | None
) -> Any:
    if isinstance(array, np.ndarray):
        if dtype.name in _AS_BYTES:
            array = array.view(dtype)
        if sharding is not None:
            array = jax.make_array_from_callback(shape, sharding, lambda index: array[index])
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"an array of {array.dtype}{array.shape} where {dtype}{shape} was written")
    return array
