"""Stand-ins: what programs are lowered with in place of arrays, where there are none.

An array on a mesh whose axes are explicit has its sharding in its type, and a program that takes
such arrays is lowered with the mesh around it.
"""

from __future__ import annotations

import contextlib
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding

from fxgrad.observed import Observed
from fxgrad.recorder import zeros_of_aval


def stand_in(aval: Any) -> jax.ShapeDtypeStruct:
    """Shape, dtype and explicit sharding of a value."""
    sharding = _explicit_sharding(aval)
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type, sharding=sharding)


def zeros(aval: Any) -> jax.Array:
    """Zeros of the shape, the dtype and the explicit sharding of a value."""
    made, sharding = zeros_of_aval(aval), _explicit_sharding(aval)
    return made if sharding is None else jax.sharding.reshard(made, sharding)


def mesh_of(observed: Observed) -> contextlib.AbstractContextManager[Any]:
    """The mesh to be around the programs of a run: that of an input whose sharding is explicit."""
    for slot in (*observed.arguments, *observed.captured):
        sharding = getattr(observed.values[slot], "sharding", None)
        mesh = sharding.mesh if isinstance(sharding, NamedSharding) else None
        if isinstance(mesh, Mesh) and AxisType.Explicit in mesh.axis_types:
            return jax.set_mesh(mesh)
    return contextlib.nullcontext()


def _explicit_sharding(aval: Any) -> NamedSharding | None:
    sharding = getattr(aval, "sharding", None)
    return sharding if sharding and AxisType.Explicit in sharding.mesh.axis_types else None
