"""JAX's own control flow and transforms, with Python's decisions around them."""

import functools

import jax
import jax.numpy as jnp

from tests.programs.program import program, scalars, vectors, x


@program((x,), (-x,))
def cond_in_the_graph(x):
    return jax.lax.cond(x[0] > 0, lambda y: jnp.sum(y), lambda y: jnp.sum(y**2), x)


@program((x,), (x + 1,), (x + 2,))
def switch_in_the_graph(x):
    branches = [jnp.sum, jnp.prod, lambda y: jnp.max(y) * 2]
    return jax.lax.switch(x[0].astype(jnp.int32) + 1, branches, x)


@program((x,))
def scan_in_the_graph(x):
    return jax.lax.scan(lambda c, y: (c * 0.5 + y, None), jnp.zeros((), x.dtype), x)[0]


@program((x,), (x * 5,), static=False)
def scan_whose_carry_decides(x):
    last, seen = jax.lax.scan(lambda c, y: (c * 0.5 + y, c), jnp.zeros(()), x)
    return jnp.sum(seen**2) if last > 5 else last


@program((x,))
def scan_from_behind_over_a_tree(x):
    def body(carry, item):
        return carry + item["a"] * item["b"], carry * 2

    last, seen = jax.lax.scan(body, x[0], {"a": x, "b": x[::-1]}, reverse=True)
    return last + jnp.sum(seen)


@program((x,))
def fori_loop_with_a_fixed_bound(x):
    return jnp.sum(jax.lax.fori_loop(0, 3, lambda i, y: jnp.sin(y) + i, x))


@program(*scalars(0, 1, 4), static=False)
def fori_loop_with_a_bound_by_a_value(x):
    return jax.lax.fori_loop(0, int(x), lambda i, y: y * 0.5 + x, x)


@program(*scalars(0.5, 3, 30))
def while_loop_on_a_constant_for_the_derivative(x):
    start = jax.lax.stop_gradient(x)
    turns = jax.lax.while_loop(lambda s: s[0] > 1, lambda s: (s[0] / 2, s[1] + 1), (start, 0))[1]
    return x * turns.astype(jnp.float32)


@program((x,))
def associative_scan_of_products(x):
    return jnp.sum(jax.lax.associative_scan(jnp.multiply, x + 1.5))


@program((x,))
def map_in_the_graph(x):
    return jnp.sum(jax.lax.map(lambda y: jnp.sin(y) * y, x))


@program((x,))
def vmap_inside(x):
    return jnp.sum(jax.vmap(lambda a, b: a * b + 1)(x, x[::-1]))


@program((x.reshape(2, 3), x[:3]))
def vmap_in_vmap_over_other_axes(a, b):
    inner = jax.vmap(lambda p, q: jnp.sin(p) * q, in_axes=(0, 0))
    return jnp.sum(jax.vmap(inner, in_axes=(1, None), out_axes=1)(a.T @ a, b) ** 2)


@program((x,))
def sum_over_a_named_axis(x):
    return jnp.sum(jax.vmap(lambda y: y / jax.lax.psum(jnp.exp(y), "i"), axis_name="i")(x))


@program((x[:3], x.reshape(2, 3)), (x[:3] * 0.01, x.reshape(2, 3)), static=False)
def per_example_gradients(w, rows):
    slopes = jax.vmap(jax.grad(lambda w, row: jnp.tanh(w @ row) ** 2), in_axes=(None, 0))(w, rows)
    norms = jnp.linalg.norm(slopes, axis=1)
    return jnp.sum(slopes) if jnp.max(norms) > 0.1 else jnp.sum(norms)


@program((x,), (x - 5,), static=False)
def vmap_of_a_function_that_was_chosen(x):
    return jnp.sum(jax.vmap(jnp.sin if x[-1] > 0 else jnp.tanh)(x))


@program((x,))
def jit_inside(x):
    return jax.jit(lambda y: jnp.sum(jnp.exp(y)))(x)


@functools.partial(jax.jit, static_argnames="power")
def powered(y, power):
    return jnp.sum(y**power)


@program((x,), (-x,), static=False)
def static_argument_of_a_jit_by_a_value(x):
    return powered(x, power=2 if x[0] > 0 else 3)


@program(*scalars(0.5, 3, 9), static=False)
def jit_called_in_a_loop(x):
    @jax.jit
    def step(y):
        return y / 2 + jnp.sin(y) * 0.1

    y = x
    while y > 1:
        y = step(y)
    return y


@program((x,))
def checkpoint_inside(x):
    return jnp.sum(jax.checkpoint(lambda y: jnp.sin(jnp.sin(y)))(x))


@program((x,), (-x,), static=False)
def checkpoint_of_a_chosen_block(x):
    block = jax.checkpoint(lambda y: jnp.sin(jnp.exp(y)) if y.ndim else y)
    return jnp.sum(block(x)) if x[0] > 0 else jnp.sum(block(x[1]))


@program(*scalars(2, -2), static=False)
def cond_in_one_branch_only(x):
    if x > 0:
        return jax.lax.cond(x > 1, jnp.sin, jnp.cos, x)
    return x**2


@program(*vectors([1, 2, 3], [3, 2, 1]), static=False)
def scan_over_rows_that_were_kept(x):
    kept = jnp.outer(x, x)[x > 1.5]
    return jnp.sum(jax.lax.scan(lambda c, row: (c * 0.5 + row, None), x, kept)[0])


@program((x,))
def transposed_linear_function(x):
    transposed = jax.linear_transpose(lambda y: jnp.stack([y.sum(), y[0] * 2]), x)
    return jnp.sum(transposed(x[:2])[0] * x)


@program((x,), (x * 3,))
def callback_to_python(x):
    largest = jax.pure_callback(
        lambda y: y.max(), jax.ShapeDtypeStruct((), x.dtype), jax.lax.stop_gradient(x)
    )
    return jnp.sum(x) * largest


@program((x,), (-x,), static=False)
def zeros_as_a_chosen_function_would_make(x):
    like = jax.eval_shape(jnp.sum if x[0] > 0 else jnp.exp, x)
    return jnp.sum(jnp.ones_like(like)) * x[1]
