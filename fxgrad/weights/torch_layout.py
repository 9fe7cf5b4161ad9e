"""PyTorch's layout: how it names and orders what Flax's layers hold. Pure, and in NumPy.

* ``Dense`` and ``Linear``: ``kernel`` [in, out] is ``weight`` [out, in].
* ``Conv``: ``kernel`` [*window, in, out] is ``weight`` [out, in, *window].
* ``ConvTranspose``: ``kernel`` [*window, in, out] is ``weight`` [in, out, *window], the window
  reversed.
* ``Embed``: ``embedding`` is ``weight``.
* Norms: ``scale``, ``bias``, ``mean``, ``var`` are ``weight``, ``bias``, ``running_mean``,
  ``running_var``.

Attention and recurrent layers are cut differently in the two, and are left as they are.
"""

from __future__ import annotations

from collections.abc import Callable
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


def torch_rule(parts: tuple[str, ...], dimensions: int, *, is_transposed: bool) -> Rule:
    """How PyTorch stores an array.

    Args:
      parts: its path. A Linen collection at its beginning, ``params`` or ``batch_stats``, is left
        out: PyTorch keeps both in one dict.
      dimensions: how many it has.
      is_transposed: whether its layer is a transposed convolution.
    """
    own, layers = parts[-1], parts[:-1]
    if layers and layers[0] in _COLLECTIONS:
        layers = layers[1:]
    name = ".".join((*layers, _NAMES.get(own, own)))
    if own != "kernel" or dimensions < 2:
        return same(name)
    return _transposed_convolution(name) if is_transposed else _product(name)


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
