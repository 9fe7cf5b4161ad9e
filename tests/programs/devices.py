"""Several devices: sharded inputs, shard_map, and decisions on what came together."""

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from tests.programs.program import program

mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
by_rows = NamedSharding(mesh, PartitionSpec("data"))
rows = jnp.linspace(-1.0, 2.0, 16).reshape(8, 2)
sharded = jax.device_put(rows, by_rows)


def _mapped(body, out):
    return jax.shard_map(body, mesh=mesh, in_specs=PartitionSpec("data"), out_specs=out)


@program((rows,), (rows * 3,))
def shard_map_with_a_sum_of_all(x):
    def body(part):
        return jax.lax.psum(jnp.sum(part**2), "data")

    return _mapped(body, PartitionSpec())(x)


@program((sharded,), (sharded * 0.5,), static=False)
def decision_after_a_shard_map(x):
    parts = _mapped(lambda part: jnp.sin(part) * 2, PartitionSpec("data"))(x)
    return jnp.sum(parts) if jnp.max(parts) > 1.9 else jnp.sum(parts**2)


@program((sharded,), (sharded + 4,), static=False)
def sharded_input_decides(x):
    while jnp.max(jnp.abs(x)) > 1.5:
        x = x / 2
    return jnp.sum(x**2)


@program((rows, jnp.ones(2)), (rows, -jnp.ones(2)), static=False)
def one_of_two_shardings_inside(x, w):
    if w[0] > 0:
        x = jax.device_put(x, by_rows)
    return jnp.sum(jnp.tanh(x @ w))


@program((sharded, jnp.ones(2)))
def sharded_rows_and_replicated_weights(x, w):
    return jnp.mean((x @ w - 1) ** 2)
