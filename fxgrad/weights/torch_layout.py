"""PyTorch's layout: how it names and orders what Flax's layers hold. Pure, and in NumPy.

* ``Dense`` and ``Linear``: ``kernel`` [in, out] is ``weight`` [out, in].
* ``Conv``: ``kernel`` [*window, in, out] is ``weight`` [out, in, *window].
* ``ConvTranspose``: ``kernel`` [*window, in, out] is ``weight`` [in, out, *window], the window
  reversed.
* ``Embed``: ``embedding`` is ``weight``.
* Norms: ``scale``, ``bias``, ``mean``, ``var`` are ``weight``, ``bias``, ``running_mean``,
  ``running_var``.

Attention and recurrent layers are cut differently in the two, and their kernels are left as they
are, name and axes. They are known by the names of the layers beside them, and any other kernel that
is none of the above by a bias of another shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np

Change = Callable[[np.ndarray], np.ndarray]

_NAMES: Final = {
    "kernel": "weight",
    "embedding": "weight",
    "scale": "weight",
    "mean": "running_mean",
    "var": "running_var",
}
_COLLECTIONS: Final = frozenset(["params", "batch_stats"])
# The layers inside of Flax's attention (whose kernels have three dimensions there, and two in one
# that is written with `Dense`), and inside of its recurrent cells: Linen's, then NNX's.
_ATTENTION: Final = frozenset(["query", "key", "value", "out"])
_CELLS: Final = tuple(
    frozenset(layers.split())
    for layers in (
        *("ii if ig io hi hf hg ho", "ir iz in hr hz hn", "if in hf hn", "i h", "ih hh"),
        *("ii if_ ig io hi hf hg ho", "dense_i dense_h"),
    )
)
_COUNTER: Final = "num_batches_tracked"


class Rule(NamedTuple):
    """How one array is stored.

    Attributes:
      name: in the file.
      to_file: from our axes to the file's.
      from_file: back.
    """

    name: str
    to_file: Change
    from_file: Change


def same(name: str) -> Rule:
    """An array that is stored as it is."""
    return Rule(name, lambda array: array, lambda array: array)


def torch_rule(
    parts: tuple[str, ...], dimensions: int, *, is_transposed: bool, is_other: bool
) -> Rule:
    """How PyTorch stores an array.

    Args:
      parts: its path. A Linen collection at its beginning, ``params`` or ``batch_stats``, is left
        out: PyTorch keeps both in one dict.
      dimensions: how many it has.
      is_transposed: whether its layer is a transposed convolution.
      is_other: whether it is a kernel of none of PyTorch's layers, and stored as it is.
    """
    own, layers = parts[-1], layer_of(parts)
    if is_other:
        return same(".".join((*layers, own)))
    name = ".".join((*layers, _NAMES.get(own, own)))
    if own != "kernel" or dimensions < 2:
        return same(name)
    return _transposed_convolution(name) if is_transposed else _product(name)


def layer_of(parts: tuple[str, ...]) -> tuple[str, ...]:
    """The layer of an array by its path, without Linen's collection."""
    return parts[1 if parts[0] in _COLLECTIONS and len(parts) > 1 else 0 : -1]


def other_kernels(shapes: Mapping[tuple[str, ...], tuple[int, ...]]) -> set[tuple[str, ...]]:
    """The kernels of a tree that are neither of a linear layer nor of a convolution.

    Args:
      shapes: of all arrays, by their paths.
    """
    beside: dict[tuple[str, ...], set[str]] = {}
    for path in shapes:
        for end in range(len(path)):
            beside.setdefault(path[:end], set()).add(path[end])
    return {
        path
        for path, shape in shapes.items()
        if path[-1] == "kernel"
        and min(len(path), len(shape)) > 1
        and _is_other(path, shape, shapes.get((*path[:-1], "bias")), beside[path[:-2]])
    }


def _is_other(
    path: tuple[str, ...],
    shape: tuple[int, ...],
    bias: tuple[int, ...] | None,
    layers: set[str],
) -> bool:
    if bias is not None and bias != shape[-1:]:
        return True
    if len(shape) == 3 and path[-2] in _ATTENTION and layers >= _ATTENTION:
        return True
    return any(path[-2] in cell and layers >= cell for cell in _CELLS)


def is_transposed_convolution(layer: str) -> bool:
    """Whether Linen has named a layer so by itself."""
    return layer.startswith("ConvTranspose_")


def is_counter(name: str) -> bool:
    """Whether PyTorch counts batches in it, which Flax does not."""
    return name.rpartition(".")[2] == _COUNTER


def _product(name: str) -> Rule:
    """[*window, in, out] to [out, in, *window]; a linear layer has no window."""
    return Rule(
        name,
        lambda array: np.moveaxis(array, (-1, -2), (0, 1)),
        lambda array: np.moveaxis(array, (0, 1), (-1, -2)),
    )


def _transposed_convolution(name: str) -> Rule:
    """[*window, in, out] to [in, out, *window], with the window reversed."""
    return Rule(
        name,
        lambda array: np.moveaxis(_reversed(array, 0, -2), (-2, -1), (0, 1)),
        lambda array: _reversed(np.moveaxis(array, (0, 1), (-2, -1)), 0, -2),
    )


def _reversed(array: np.ndarray, start: int, end: int) -> np.ndarray:
    return np.flip(array, tuple(range(array.ndim))[start:end])
