"""Small named programs that every mode meets. A new one is added here and nowhere else.

Each takes float arrays and returns a float scalar, so that each is run for its value and for its
gradients. `static` is False where Python decides by a value: eager runs it, and static must say
which line it is.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp


@dataclass(frozen=True)
class Program:
    """A function, the argument lists that reach all of its paths, and whether static runs it."""

    fun: Callable
    inputs: tuple
    static: bool = True

    def __str__(self):
        return self.fun.__name__


PROGRAMS = []
x = jnp.linspace(-1.0, 2.0, 6)


def program(*inputs, static=True):
    def add(fun):
        PROGRAMS.append(Program(fun, inputs, static))
        return fun

    return add


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


@program((x,))
def branch_on_a_shape(x):
    return jnp.sum(x) if x.shape[0] > 3 else jnp.prod(x)


@program((x,), (-x,))
def cond_in_the_graph(x):
    return jax.lax.cond(x[0] > 0, lambda y: jnp.sum(y), lambda y: jnp.sum(y**2), x)


@program((x,))
def scan_in_the_graph(x):
    return jax.lax.scan(lambda c, y: (c * 0.5 + y, None), jnp.zeros((), x.dtype), x)[0]


@program((x,))
def where_and_reductions(x):
    return jnp.max(x) + jnp.sum(jnp.where(x > 0, x, 0.1 * x))


@program((x,))
def gradient_inside(x):
    return jnp.sum(jax.grad(lambda y: jnp.sum(y**3))(x))


@program((x,))
def vmap_inside(x):
    return jnp.sum(jax.vmap(lambda a, b: a * b + 1)(x, x[::-1]))


@program((x,))
def jit_inside(x):
    return jax.jit(lambda y: jnp.sum(jnp.exp(y)))(x)


@program((x,))
def checkpoint_inside(x):
    return jnp.sum(jax.checkpoint(lambda y: jnp.sin(jnp.sin(y)))(x))


@jax.custom_vjp
def clipped_gradient(x):
    return x**2


clipped_gradient.defvjp(lambda x: (x**2, x), lambda x, g: (jnp.clip(2 * x * g, -1.0, 1.0),))


@program((x,))
def custom_derivative(x):
    return jnp.sum(clipped_gradient(x))


@program((x,))
def random_numbers(x):
    return jnp.sum(x * jax.random.normal(jax.random.key(0), x.shape))


@program((x,))
def softmax_cross_entropy(x):
    return -jax.nn.log_softmax(x)[2]


@program((x,), (-x,), static=False)
def if_on_a_value(x):
    if x[0] > 0:
        return jnp.sum(x)
    return jnp.sum(x**2)


@program((x,), (x * 9,), static=False)
def while_on_a_value(x):
    while jnp.max(jnp.abs(x)) > 0.5:
        x = x * 0.5
    return jnp.sum(x)


@program((x,), (x - 5,), static=False)
def early_exit(x):
    total = x[0]
    for value in x:
        if value > 1:
            break
        total = total + value**2
    return total


@program((x,), (-x,), static=False)
def exception_on_a_value(x):
    try:
        if jnp.sum(x) > 0:
            raise ValueError("positive")
        return jnp.sum(x**2)
    except ValueError:
        return jnp.sum(x**3)


@program((x,), (x * 3,), static=False)
def recursion_on_a_value(x):
    return jnp.sum(x) if jnp.max(x) < 1 else recursion_on_a_value(x / 2)


@program((x,), static=False)
def boolean_mask(x):
    return jnp.sum(x[x > 0] ** 2)


@program((x,), (x + 1,), static=False)
def index_by_a_value(x):
    return jnp.sum(x[: int(jnp.argmax(x))] ** 2) + x[0]
