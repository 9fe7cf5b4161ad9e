"""Arrays and no decisions: what a static graph has always run."""

import jax
import jax.numpy as jnp

from tests.programs.program import program, x


@program((x,))
def polynomial(x):
    return jnp.sum(x**3 - 2 * x)


@program((x.reshape(2, 3), x.reshape(3, 2)))
def product(a, b):
    return jnp.sum(jnp.tanh(a @ b))


@program(({"w": x, "b": [x, (x,)]},))
def nested_containers(tree):
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree))


@program((x,))
def python_loop(x):
    for i in range(5):
        x = jnp.sin(x) + i
    return jnp.mean(x)


@program((x,), (x[:2],))
def branch_on_a_shape(x):
    return jnp.sum(x) if x.shape[0] > 3 else jnp.prod(x)


@program((x,))
def where_and_reductions(x):
    return jnp.max(x) + jnp.sum(jnp.where(x > 0, x, 0.1 * x))


@program((x,))
def softmax_cross_entropy(x):
    return -jax.nn.log_softmax(x)[2]


@program((x.reshape(2, 3), x.reshape(2, 3), x[:3]))
def einsum_of_three(a, b, c):
    return jnp.einsum("ij,ik,k->", a, b, c)


@program((x,))
def an_argument_is_the_output_too(x):
    return x[0]


@program((x, x))
def an_argument_is_not_used(x, y):
    return jnp.sum(x)


@program((x, {"empty": None, "nothing": ()}))
def containers_without_leaves(x, tree):
    return jnp.sum(x) if tree["empty"] is None else jnp.prod(x)


@program((x,), (x + 1,))
def running_statistics(x):
    mean = jnp.mean(x)
    return jnp.mean((x - mean) ** 3) / (jnp.std(x) + 1e-3)


@program((x.reshape(2, 3), x[:3], x[3]))
def broadcasting(a, b, c):
    return jnp.mean(a * b[None] + c - b)


@program((jnp.zeros((0,)), x[:1]), (x, x[:1]))
def an_empty_array(maybe_empty, y):
    return jnp.sum(maybe_empty) + jnp.prod(maybe_empty) * y[0]
