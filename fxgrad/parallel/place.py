"""Arrays on the mesh: a state is put there, or made there, as the rules say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from fxgrad.agreed import agree_on_program
from fxgrad.execution.function import copied
from fxgrad.parallel.layout import explain
from fxgrad.parallel.rules import Rules
from fxgrad.same import agree_on_values

_INSTEAD: Final = "Use the same seed in every process, and the same values in what it calls."


def shardings(tree: Any, mesh: Mesh, rules: Rules, *, params: Any = None) -> Any:
    """The `NamedSharding` of each array of a tree, in a tree like it.

    Args:
      tree: as for `explain`.
      mesh: the mesh.
      rules: the rules of its parameters.
      params: as for `explain`.

    Raises:
      ShardingError: a rule does not fit.
    """
    layout = explain(tree, mesh, rules, params=params)
    found = [NamedSharding(mesh, PartitionSpec(*p.spec)) for p in layout.placements]
    return jax.tree.unflatten(jax.tree.structure(tree), found)


def place(tree: Any, mesh: Mesh, rules: Rules, *, params: Any = None) -> Any:
    """Put a tree on a mesh: parameters as the rules say, and all else as its parameter lies.

    The arrays are new, so a step may take over those of the placed state. On several processes
    each must hold the same values, which are compared, and keeps its own part.

    Args:
      tree: parameters, or a `TrainState`.
      mesh: the mesh.
      rules: the rules of its parameters.
      params: as for `explain`.

    Raises:
      DisagreementError: another process has another value; it is named.
      ShardingError: a rule does not fit.
    """
    wanted = shardings(tree, mesh, rules, params=params)
    agree_on_values(_processes_of(mesh), tree, topic="placing the tree", instead=_INSTEAD)
    return jax.tree.map(_put, tree, wanted)


def create(fun: Callable[..., Any], *args: Any, mesh: Mesh, rules: Rules) -> Any:
    """What ``fun(*args)`` returns, made on the mesh: no device ever holds it whole.

    On several processes the arguments are compared, and the program with the arrays in it.

    Args:
      fun: a pure function that JAX can trace, such as one that makes a `TrainState`.
      args: its arguments, by position.
      mesh: the mesh.
      rules: the rules of its parameters.

    Raises:
      DisagreementError: another process has another argument, or another function.
      ShardingError: a rule does not fit.
    """
    made = jax.jit(fun, out_shardings=shardings(jax.eval_shape(fun, *args), mesh, rules))
    processes = _processes_of(mesh)
    if len(processes) > 1:
        agree_on_values(processes, args, topic="making the state", instead=_INSTEAD)
        agree_on_program(made.lower(*args), getattr(fun, "__name__", "it"), dict)
    return made(*args)


def _processes_of(mesh: Mesh) -> frozenset[int]:
    return frozenset(device.process_index for device in mesh.devices.flat)


def _put(leaf: Any, sharding: NamedSharding) -> jax.Array:
    if sharding.is_fully_addressable:
        # What is put on several devices may be the source itself on one of them.
        return jax.device_put(
            copied(leaf) if isinstance(leaf, jax.Array) else np.array(leaf), sharding
        )
    if jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key):
        data = _put(jax.random.key_data(leaf), NamedSharding(sharding.mesh, PartitionSpec()))
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    values = np.asarray(leaf)
    return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])
