"""`save_weights` and `load_weights`: a tree of parameters into a file, and out of one.

What a file is belongs to `file`, names to `names`, PyTorch's axes to `torch_layout`.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from fxgrad.errors import WeightsError
from fxgrad.weights.file import read_arrays, write_arrays
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
    arrays: dict[str, np.ndarray] = {}
    for named in named_leaves(params, layout, rename, transposed, file):
        changed = named.rule.to_file(_on_host(named, file))
        arrays[named.rule.name] = np.array(changed, order="C")
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
      cast: convert to the dtypes of `like` instead of asking for equal ones.

    Returns:
      A tree like `like`.

    Raises:
      WeightsError: the file is damaged, or the first name, shape or dtype that differs; or as for
        `save_weights`.
      OptionError: as for `save_weights`.
    """
    file = Path(path)
    wanted = named_leaves(like, layout, rename, transposed, file)
    arrays = read_arrays(file)
    if layout == "torch":
        arrays = {name: array for name, array in arrays.items() if not is_counter(name)}
    _check_names([named.rule.name for named in wanted], arrays, file)
    leaves = [_loaded(named, arrays[named.rule.name], file, cast=cast) for named in wanted]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _on_host(named: Named, file: Path) -> np.ndarray:
    if getattr(named.leaf, "is_fully_addressable", True):
        return np.asarray(named.leaf)
    message = f"{file}: {named.path} is spread over other processes: gather it first."
    raise WeightsError(message, path=file, name=named.path)


def _check_names(wanted: list[str], arrays: Mapping[str, np.ndarray], file: Path) -> None:
    missing = [name for name in wanted if name not in arrays]
    extra = [name for name in arrays if name not in set(wanted)]
    if missing:
        near = difflib.get_close_matches(missing[0], extra or arrays, n=1, cutoff=0)
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
    return _placed(np.array(array, leaf.dtype), leaf)


def _placed(array: np.ndarray, leaf: Any) -> Any:
    sharding = getattr(leaf, "sharding", None)
    if sharding is None or not getattr(leaf, "committed", True):
        return jnp.asarray(array)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])
