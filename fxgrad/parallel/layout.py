"""The layout: how each array of a training state lies on the mesh, planned without any device.

Rules speak of parameters; here an optimizer's arrays, averages and all else follow them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from fxgrad.parallel.mesh import Sizes, product_of, sizes_of
from fxgrad.parallel.rules import Rules, Spec, axes_in
from fxgrad.quantities import in_bytes
from fxgrad.signature import array_in_words


@dataclass(frozen=True)
class Placement:
    """How one array lies.

    Attributes:
      path: where it is in the tree, with slashes.
      shape: the whole array's.
      dtype: its name.
      spec: for each dimension the axis or axes that split it.
      bytes: the whole array's.
      device_bytes: those on each device.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    spec: Spec
    bytes: int
    device_bytes: int


@dataclass(frozen=True, repr=False)
class Layout:
    """How every array of a tree lies on a mesh. It prints as a table.

    Attributes:
      sizes: the sizes of the mesh's axes.
      placements: one for each array, in the order of the tree.
    """

    sizes: Mapping[str, int]
    placements: tuple[Placement, ...]

    @property
    def bytes(self) -> int:
        """The bytes of all arrays, each counted once."""
        return sum(placement.bytes for placement in self.placements)

    @property
    def device_bytes(self) -> int:
        """The bytes on each device."""
        return sum(placement.device_bytes for placement in self.placements)

    def to_dict(self) -> dict[str, Any]:
        """The layout as plain values."""
        return {
            "sizes": dict(self.sizes),
            "placements": [dict(vars(placement)) for placement in self.placements],
            "bytes": self.bytes,
            "device_bytes": self.device_bytes,
        }

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        rows = [("path", "array", "split", "on each device")]
        rows += [(p.path, _in_words(p), _split(p.spec), _bytes(p)) for p in self.placements]
        rows += [("all", in_bytes(self.bytes), _grid(self.sizes), in_bytes(self.device_bytes))]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["   ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join(lines)


def explain(tree: Any, mesh: Sizes, rules: Rules, *, params: Any = None) -> Layout:
    """How a tree would lie on a mesh, without using any device.

    Args:
      tree: parameters, or a state with a field ``params``, of arrays or `jax.ShapeDtypeStruct`
        (`jax.eval_shape` makes these).
      mesh: the mesh, or the sizes of its axes: ``{"data": 64, "fsdp": 16}``.
      rules: those of its parameters. An array elsewhere in the tree, such as an optimizer's
        moment, lies as the parameter whose path its own path ends with, if the shapes are equal;
        all else lies whole on each device.
      params: the parameters, where `tree` has none, such as an optimizer's state alone.

    Raises:
      ShardingError: a rule does not fit.
    """
    sizes = sizes_of(mesh)
    whole = getattr(tree, "params", tree) if params is None else params
    shapes = {path: tuple(array.shape) for path, array in _arrays(whole)}
    specs = rules.specs(shapes, sizes)
    return Layout(
        sizes,
        tuple(
            _placement(path, array, _followed(path, array.shape, shapes, specs), sizes)
            for path, array in _arrays(tree)
        ),
    )


def _arrays(tree: Any) -> list[tuple[str, jax.ShapeDtypeStruct]]:
    """Shape and dtype of each array of a tree, with its path."""
    leaves = jax.tree_util.tree_leaves_with_path(jax.eval_shape(lambda same: same, tree))
    return [(jax.tree_util.keystr(p, simple=True, separator="/"), leaf) for p, leaf in leaves]


def _followed(
    path: str,
    shape: tuple[int, ...],
    shapes: Mapping[str, tuple[int, ...]],
    specs: Mapping[str, Spec],
) -> Spec:
    """The spec of the parameter whose path is the longest end of `path`, of an equal shape."""
    parts = path.split("/")
    for start in range(len(parts) + 1):
        end = "/".join(parts[start:])
        if shapes.get(end) == tuple(shape):
            return specs[end]
    return (None,) * len(shape)


def _placement(
    path: str, array: jax.ShapeDtypeStruct, spec: Spec, sizes: Mapping[str, int]
) -> Placement:
    count = _bytes_of(array)
    parts = product_of(sizes, axes_in(spec))
    return Placement(path, tuple(array.shape), str(array.dtype), spec, count, count // parts)


def _bytes_of(array: jax.ShapeDtypeStruct) -> int:
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.eval_shape(jax.random.key_data, array)
    return math.prod(array.shape) * array.dtype.itemsize


def _in_words(placement: Placement) -> str:
    return array_in_words(placement.shape, placement.dtype)


def _split(spec: Spec) -> str:
    if not axes_in(spec):
        return "whole"
    entries = [(entry,) if isinstance(entry, str) else entry or ("–",) for entry in spec]
    return ", ".join("×".join(entry) for entry in entries)


def _bytes(placement: Placement) -> str:
    return in_bytes(placement.device_bytes)


def _grid(sizes: Mapping[str, int]) -> str:
    return " × ".join(f"{axis} {size}" for axis, size in sizes.items())
