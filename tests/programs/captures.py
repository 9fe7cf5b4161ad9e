"""What a program captures: NumPy and JAX arrays, Python numbers, tables, keys."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.programs.program import program, scalars, x

numpy_table = np.array([0.5, -2.0, 3.0], np.float32)
jax_table = jnp.array([1.0, 4.0, 9.0])
weights = {"a": jnp.arange(6.0), "b": [jnp.ones(6), 0.25]}
key = jax.random.key(7)
rate = 0.125


@program((x,))
def captured_numpy_array(x):
    return jnp.sum(x[:3] * numpy_table)


@program((x,), (-x,), static=False)
def captured_arrays_chosen_by_a_value(x):
    return jnp.sum(x[:3] * (numpy_table if x[0] > 0 else jax_table))


@program((x,))
def captured_tree(x):
    return jnp.sum(weights["a"] * x + weights["b"][0]) * weights["b"][1]


@program((x,), (-x,), static=False)
def captured_numbers(x):
    scale = rate if x[0] > 0 else np.float32(3.5)
    return jnp.sum(x**2) * scale


@program(*scalars(0, 2), static=False)
def numpy_table_read_by_python(x):
    return x * float(numpy_table[int(x)])


@program((x,), (x + 5,), static=False)
def captured_array_decides(x):
    return jnp.sum(x) if jax_table[1] > jax_table[0] + x[0] else jnp.sum(x**2)


@program((x,), (-x,), static=False)
def captured_key(x):
    noise = jax.random.normal(key, (6,))
    return jnp.sum(x * noise) if x[0] > noise[0] else jnp.sum(x + noise)


@program((x,))
def numpy_array_made_inside(x):
    return jnp.sum(x * np.hanning(6).astype(np.float32)) * np.float32(2.5)


@program(*scalars(1, 3), static=False)
def numpy_array_changed_after_its_use(x):
    table = np.zeros(4, np.float32)
    table[int(x)] = 2.0
    before = jnp.sum(table * jnp.arange(4.0)) * x
    table[int(x)] = 7.0
    return before + jnp.sum(table * x)


def _make_layer(scale):
    offset = scale * jnp.ones(6)
    return lambda y: jnp.tanh(y * scale + offset)


layers = [_make_layer(scale) for scale in (0.5, 1.0, 2.0)]


@program((x,), (-x,), (x + 6,), static=False)
def captured_closures_in_a_list(x):
    for layer in layers:
        if x[0] > 0.9:
            x = layer(x)
    return jnp.sum(x)
