"""Values become Python numbers, shapes, bounds and masks."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from tests.programs.program import program, scalars, vectors, x


@program((x,), (x - 1,), (x - 5,), static=False)
def boolean_mask(x):
    return jnp.sum(x[x > 0] ** 2)


@program((x,), (x + 1,), (-x,), static=False)
def index_by_a_value(x):
    return jnp.sum(x[: int(jnp.argmax(x))] ** 2) + x[0]


@program((x, jnp.float32(0)), (x, jnp.float32(2)), (x, jnp.float32(5)), static=False)
def int_as_a_shape(x, n):
    grid = jnp.ones((int(n), 2)) * n
    return jnp.sum(x) + jnp.sum(grid**2)


@program((x, jnp.float32(1)), (x, jnp.float32(-2)), static=False)
def int_as_both_ends_of_a_slice(x, n):
    return jnp.prod(x[int(n) : int(n) + 2]) * n


@program((x, jnp.float32(2)), (x, jnp.float32(3)), static=False)
def int_as_a_new_shape(x, n):
    return jnp.sum(jnp.prod(x.reshape(int(n), -1), axis=0)) * n


@program(*scalars(0, 1, 2, 3), static=False)
def int_as_an_exponent(x):
    return (x + 2) ** int(x)


@program((x,), (x + 1,), (jnp.zeros(6),), static=False)
def nonzero(x):
    (places,) = jnp.nonzero(x > 0.5)
    return jnp.sum(x[places] * (places + 1).astype(jnp.float32)) + x[0]


@program((x,), (x + 1,), static=False)
def where_with_one_argument(x):
    return jnp.sum(x[jnp.where(x > 0)[0][:2]]) ** 2


@program(*vectors([1, 1, 2], [1, 2, 3], [3, 3, 3]), static=False)
def unique_values(x):
    values, counts = jnp.unique(x, return_counts=True)
    return jnp.sum(values**2) * counts.max().astype(jnp.float32)


@program(*vectors([1, 0, 2], [0, 3, 1]), static=False)
def repeated_as_often_as_values_say(x):
    return jnp.mean(jnp.repeat(x**2, x.astype(jnp.int32)))


@program((x, jnp.float32(1)), (x, jnp.float32(4)), static=False)
def split_at_a_value(x, n):
    first, second = jnp.split(x, [int(n)])
    return jnp.sum(first) * jnp.sum(second)


@program(*scalars(1, 3), static=False)
def as_many_points_as_a_value(x):
    return jnp.sum(jnp.linspace(0.0, 1.0, int(x)) * x)


@program(*scalars(1.5, 2.5), static=False)
def item_of_a_value(x):
    return x * round(x.item())


@program(*scalars(0, 2), static=False)
def bool_of_a_value(x):
    return x + (3.0 if bool(x) else 5.0)


@program(*scalars(0.25, 2), static=False)
def float_of_a_constant_for_the_derivative(x):
    return x * math.floor(float(jax.lax.stop_gradient(x)) * 4)


@program(*vectors([1, 2, 3], [3, 1, 2]), static=False)
def numpy_on_a_constant_for_the_derivative(x):
    order = np.argsort(np.asarray(jax.lax.stop_gradient(x)))
    return jnp.sum(x[order] * jnp.arange(3.0))


@program(*vectors([1, 2], [2, 5]), static=False)
def tolist_of_integers(x):
    first, second = x.astype(jnp.int32).tolist()
    return x[0] * math.gcd(first * 10, second * 4)


@program(*scalars(1, 2), static=False)
def formatted_into_a_key(x):
    table = {"1": 0.5, "2": 4.0}
    return x**2 * table[f"{int(x):d}"]


@program(*scalars(3, 10), static=False)
def index_of_a_python_list(x):
    layers = [jnp.sin, jnp.cos, jnp.exp, jnp.tanh]
    return layers[x.astype(jnp.int32) % 4](x)


@program(*scalars(1, 4), static=False)
def divmod_of_python_integers(x):
    whole, rest = divmod(int(x * 10), 7)
    return x * whole + rest * x**2


@program((x,), (x * 10,), static=False)
def size_of_a_mask_decides(x):
    large = x[jnp.abs(x) > 1.5]
    return jnp.sum(large**2) if large.size > 2 else jnp.sum(x)


@program((x,), (x + 1,), static=False)
def rows_chosen_by_argwhere(x):
    rows = jnp.argwhere(x.reshape(3, 2).sum(axis=1) > 0)[:, 0]
    return jnp.sum(x.reshape(3, 2)[rows] ** 2)
