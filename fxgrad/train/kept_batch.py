"""The batch of a step that went wrong: into an NPZ file, and back into the shape of a batch."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from fxgrad.data.npz import load_arrays
from fxgrad.errors import DataError


def save_batch(batch: Any, path: Path) -> tuple[str, ...]:
    """Save a batch as NPZ: a dict of arrays under its names, another pytree by its paths.

    Floats that NumPy does not know, such as bfloat16, become float32, which holds them exactly. On
    several processes all call it, and the first writes the whole batch.

    Returns:
      The names of the leaves that are left out, as they hold Python objects.
    """
    leaves = {_name(at): _plain(leaf) for at, leaf in jax.tree.leaves_with_path(batch)}
    arrays = {name: array for name, array in leaves.items() if not _holds_objects(array)}
    if jax.process_index() == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.part")
        _write(arrays, unfinished)
        unfinished.replace(path)
    return tuple(name for name in leaves if name not in arrays)


def load_batch(path: str | os.PathLike[str], like: Any) -> Any:
    """The batch that `fit` has saved, as ``nonfinite-step-N.npz``, with NumPy's arrays.

    Args:
      path: the file.
      like: a batch of the same source, which gives the structure and the dtypes. Leaves of Python
        objects, which no file has, are those of `like`.

    Raises:
      DataError: the file is damaged, or was not made of such a batch.
    """
    path = Path(path)
    saved = load_arrays(path)
    wanted = {_name(at): leaf for at, leaf in jax.tree.leaves_with_path(like)}
    if not saved.keys() <= wanted.keys():
        message = f"{path} holds {[*saved]}, and the batch has {[*wanted]}"
        remedy = "Pass a batch of the source that the training had"
        raise DataError(f"{message}. {remedy}.", path=path, field="batch")
    leaves = [_like(leaf, name, saved, path) for name, leaf in wanted.items()]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def not_finite_in(batch: Any) -> tuple[str, ...]:
    """The names of floats in a batch that hold NaN or infinity; on several processes all ask."""
    leaves = {_name(at): _plain(leaf) for at, leaf in jax.tree.leaves_with_path(batch)}
    return tuple(
        name
        for name, array in leaves.items()
        if array.dtype.kind in "fc" and not np.isfinite(array).all()
    )


def _write(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """As `numpy.savez`, which knows no array that is named like one of its own parameters."""
    with path.open("wb") as file:
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())


def _name(path: tuple[Any, ...]) -> str:
    if len(path) == 1 and isinstance(path[0], jax.tree_util.DictKey):
        return str(path[0].key)
    return jax.tree_util.keystr(path) or "batch"


def _plain(leaf: Any) -> np.ndarray:
    if _is_key(leaf):
        leaf = jax.random.key_data(leaf)
    if not getattr(leaf, "is_fully_addressable", True):
        leaf = multihost_utils.process_allgather(leaf, tiled=True)
    array = np.asarray(leaf)
    is_foreign = array.dtype.kind == "V" and array.dtype.names is None
    return array.astype(np.float32) if is_foreign else array


def _like(leaf: Any, name: str, saved: Mapping[str, np.ndarray], path: Path) -> Any:
    """A saved array as `leaf` is."""
    if name not in saved:
        if not _holds_objects(_plain(leaf)):
            raise DataError(f"{path} has no array {name!r}.", path=path, field=name)
        return leaf
    if _is_key(leaf):
        return jax.random.wrap_key_data(jnp.asarray(saved[name]), impl=jax.random.key_impl(leaf))
    if hasattr(leaf, "dtype"):
        return saved[name].astype(leaf.dtype)
    return saved[name].item() if saved[name].ndim == 0 else saved[name]


def _holds_objects(array: np.ndarray) -> bool:
    return array.dtype.hasobject or array.dtype.kind == "T"  # NumPy's texts of any length


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
