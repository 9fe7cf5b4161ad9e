"""The mesh: the devices of a training as a grid with named axes.

What is split over an axis is said by `rules`; putting arrays there belongs to `place` and `batch`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import jax
import numpy as np
from jax.experimental.mesh_utils import create_device_mesh
from jax.sharding import AxisType, Mesh

from fxgrad.errors import ShardingError

BATCH_AXES: Final = ("data", "fsdp")
"""The axes over which a batch is split; over any other each device sees the same rows."""

Sizes = Mesh | Mapping[str, int]
"""A mesh, or only the sizes of its axes: enough to plan for devices that are not there."""


def mesh(
    data: int = -1,
    fsdp: int = 1,
    tensor: int = 1,
    *,
    devices: Sequence[Any] | None = None,
) -> Mesh:
    """A mesh with the axes ``data``, ``fsdp`` and ``tensor``, in this order.

    Where JAX knows how the devices are wired, each axis follows whole dimensions of the wiring if
    the sizes allow that, and parts of them if not; elsewhere the devices stay in their order, with
    neighbours along ``tensor``. The axes are JAX's automatic ones: the compiler splits the program.

    Args:
      data: over how many devices batches are split, with parameters whole on each.
      fsdp: over how many devices batches and parameters are split.
      tensor: over how many devices single layers are split.
      devices: which devices; by default all, those of other processes too.

    Returns:
      The mesh; at most one size may be -1, which takes what the others leave.

    Raises:
      ShardingError: the sizes do not multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    sizes = _filled({"data": data, "fsdp": fsdp, "tensor": tensor}, len(devices))
    return Mesh(_ordered(tuple(sizes.values()), devices), tuple(sizes), (AxisType.Auto,) * 3)


def sizes_of(mesh: Sizes) -> dict[str, int]:
    """The size of each axis by its name, in the order of the mesh."""
    return dict(mesh.shape) if isinstance(mesh, Mesh) else dict(mesh)


def batch_axes(mesh: Sizes) -> tuple[str, ...]:
    """Those axes of a mesh over which a batch is split."""
    return tuple(axis for axis in sizes_of(mesh) if axis in BATCH_AXES)


def product_of(sizes: Mapping[str, int], axes: Any) -> int:
    """Over how many devices some axes go: none, one by its name, or several in a tuple."""
    names = (axes,) if isinstance(axes, str) else axes or ()
    return math.prod(sizes[axis] for axis in names)


def _ordered(sizes: tuple[int, ...], devices: Sequence[Any]) -> np.ndarray:
    try:
        return create_device_mesh(sizes, devices)
    except NotImplementedError:  # a size is no product of the wiring's own
        return create_device_mesh(sizes, devices, allow_split_physical_axes=True)


def _filled(sizes: dict[str, int], count: int) -> dict[str, int]:
    open_axes = [axis for axis, size in sizes.items() if size == -1]
    known = math.prod(size for size in sizes.values() if size != -1)
    if len(open_axes) > 1 or any(size < 1 for size in sizes.values() if size != -1):
        raise ShardingError(
            f"{_in_words(sizes)}: a size is 1 or more, and -1 for one axis at most, which takes "
            "the devices that the others leave."
        )
    if count % known or (not open_axes and known != count):
        raise ShardingError(_misfit(sizes, known, count))
    return sizes | dict.fromkeys(open_axes, count // known)


def _misfit(sizes: dict[str, int], known: int, count: int) -> str:
    fitting = [size for size in range(1, count + 1) if count % size == 0]
    return (
        f"{_in_words(sizes)} does not fit {count} device{'s' if count > 1 else ''}: the sizes "
        f"multiply to {known}, and each must be one of {', '.join(map(str, fitting))} with all "
        f"together {count}. Write -1 for one of them, or pass devices=jax.devices()[:n]."
    )


def _in_words(sizes: Mapping[str, int]) -> str:
    return f"mesh({', '.join(f'{axis}={size}' for axis, size in sizes.items())})"
