"""`save_weights` and `load_weights`: a tree of parameters into a file, and out of one.

What a file is belongs to `file`, names to `names`, PyTorch's axes to `torch_layout`.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from fxgrad.errors import WeightsError
from fxgrad.weights.file import Described, opened_arrays, write_arrays
from fxgrad.weights.names import Layout, Named, Rename, named_leaves
from fxgrad.weights.torch_layout import is_counter

T = TypeVar("T")


def save_weights(
    path: str | Path,
    params: Any,
    *,
    layout: Layout = "flax",
    rename: Rename | None = None,
    transposed: Collection[str] = (),
) -> None:
    """Write the arrays of a tree into one safetensors file.

    The names are the paths, dotted: ``layers.0.kernel``. The file is complete or is not there: what
    stood there before is replaced in one step. It carries the SHA-256 of its content.

    Args:
      path: the file; its folder must be there.
      params: a pytree of arrays: the parameters of a Linen or NNX model, or for a model with batch
        statistics ``{"params": params, **state}``.
      layout: ``"flax"`` for names and axes as they are; ``"torch"`` for those of PyTorch's Linear,
        Conv, ConvTranspose, Embedding and norms, so that ``load_state_dict`` takes the file; the
        kernels of attention and recurrent layers stay as they are.
      rename: from the name in that layout to the name in the file: a function, or a dict whose
        keys are names or their beginnings: ``{"Dense_0": "fc1"}``; ``{"": "model"}`` puts one
        before all others.
      transposed: with ``"torch"``, the paths of the layers that are transposed convolutions, which
        their parameters do not show, with Linen's ``params`` or without; those that Linen has
        named ``ConvTranspose_0`` are known.

    Raises:
      WeightsError: two arrays would have one name, one has a dtype that the format lacks, or one
        is spread over other processes; or a name in `rename` or `transposed` fits nothing.
      OptionError: `layout` is none, or `transposed` is a single name.
    """
    file = Path(path)
    leaves = named_leaves(params, layout, rename, transposed, file)
    arrays = {named.rule.name: _described(named, file) for named in leaves}
    write_arrays(file, arrays, made_by="pt" if layout == "torch" else "flax")


def load_weights(
    path: str | Path,
    like: T,
    *,
    layout: Layout = "flax",
    rename: Rename | None = None,
    transposed: Collection[str] = (),
    cast: bool = False,
) -> T:
    """Read the arrays of a tree from a safetensors file, ours or another library's.

    File and tree must hold the same names, shapes and dtypes; PyTorch's counters of batches are
    passed over.

    Args:
      path: the file.
      like: a pytree of arrays or `jax.ShapeDtypeStruct`, such as the parameters of a new model.
        Where its arrays are committed to a sharding, the new ones are placed alike.
      layout: that of the file, as for `save_weights`.
      rename: as for `save_weights`: from the name here to the name in the file.
      transposed: as for `save_weights`.
      cast: convert to the dtypes of `like` instead of asking for equal ones: floats to floats,
        which rounds, and all else where every value stays the same.

    Returns:
      A tree like `like`.

    Raises:
      WeightsError: the file is damaged, or the first name, shape or dtype that differs; or as for
        `save_weights`.
      OptionError: as for `save_weights`.
    """
    file = Path(path)
    wanted = named_leaves(like, layout, rename, transposed, file)
    with opened_arrays(file) as arrays:
        names = [name for name in arrays.names if layout != "torch" or not is_counter(name)]
        _check_names([named.rule.name for named in wanted], names, file)
        leaves = [_loaded(named, arrays.read(named.rule.name), file, cast=cast) for named in wanted]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _described(named: Named, file: Path) -> Described:
    leaf, rule = named.leaf, named.rule
    if getattr(leaf, "is_fully_addressable", True):
        dtype = np.dtype(leaf.dtype)
        shape = rule.to_file(np.broadcast_to(np.zeros((), dtype), leaf.shape)).shape
        return Described(shape, dtype, lambda: rule.to_file(_on_host(leaf)))
    message = f"{file}: {named.path} is spread over other processes: gather it first."
    raise WeightsError(message, path=file, name=named.path)


def _on_host(leaf: Any) -> np.ndarray:
    # An array that is asked for its values keeps them; a copy of it takes them along.
    return np.asarray(leaf.copy() if isinstance(leaf, jax.Array) else leaf)


def _check_names(wanted: list[str], there: list[str], file: Path) -> None:
    missing = [name for name in wanted if name not in there]
    extra = [name for name in there if name not in set(wanted)]
    if missing:
        near = difflib.get_close_matches(missing[0], extra or there, n=1, cutoff=0)
        hint = f"; the nearest that it has is {near[0]!r}. Write rename= or layout=" if near else ""
        message = f"{file} has no {missing[0]!r}{hint}{_more(missing)}."
        raise WeightsError(message, path=file, name=missing[0])
    if extra:
        message = f"{file} has {extra[0]!r}, which nothing here is named{_more(extra)}."
        raise WeightsError(message, path=file, name=extra[0])


def _more(names: list[str]) -> str:
    return f" ({len(names) - 1} more like it)" if len(names) > 1 else ""


def _loaded(named: Named, stored: np.ndarray, file: Path, *, cast: bool) -> Any:
    """One array, in our axes and on its devices.

    Raises:
      WeightsError: its shape or its dtype is another one.
    """
    leaf, name = named.leaf, named.rule.name
    array = named.rule.from_file(stored) if stored.ndim == len(leaf.shape) else stored
    if array.shape != tuple(leaf.shape):
        hint = ""
        if array.ndim > 1 and sorted(array.shape) == sorted(leaf.shape):
            hint = " The axes are in another order: is it a file of layout='torch'?"
        message = f"{file}: {name!r} has shape {list(array.shape)}, not {list(leaf.shape)}.{hint}"
        raise WeightsError(message, path=file, name=name)
    if array.dtype != leaf.dtype and not cast:
        message = f"{file}: {name!r} is {array.dtype}, not {leaf.dtype}: write cast=True."
        raise WeightsError(message, path=file, name=name)
    return _placed(_cast(array, np.dtype(leaf.dtype), name, file), leaf)


def _cast(array: np.ndarray, dtype: np.dtype, name: str, file: Path) -> np.ndarray:
    """The values in another dtype: rounded between floats, in every other case the same.

    Raises:
      WeightsError: values would be lost.
    """
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore", invalid="ignore"):
        made = array.astype(dtype)
    if all(jnp.issubdtype(kind, jnp.inexact) for kind in (array.dtype, dtype)):
        narrows = jnp.iscomplexobj(array) and not jnp.iscomplexobj(made)
        is_kept = not narrows and np.array_equal(np.isfinite(array), np.isfinite(made))
    else:
        is_kept = np.can_cast(array.dtype, dtype) or (
            all(jnp.issubdtype(kind, jnp.integer) for kind in (array.dtype, dtype))
            and np.array_equal(made.astype(array.dtype), array)
            and np.array_equal(made < 0, array < 0)
        )
    if not is_kept:
        message = f"{file}: {name!r} is {array.dtype}, whose values {dtype} cannot hold."
        raise WeightsError(message, path=file, name=name)
    return made


def _placed(array: np.ndarray, leaf: Any) -> Any:
    sharding = getattr(leaf, "sharding", None)
    if sharding is None or not getattr(leaf, "committed", True):
        return jnp.asarray(array)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])
