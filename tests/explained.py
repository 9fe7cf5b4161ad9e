"""Functions with one planted trouble each, and what makes their arguments; for `fxgrad explain`."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

import fxgrad as fx

_count = itertools.count()
_lengths = itertools.cycle([4, 5, 6])
_numbers = itertools.count(1)
_signs = itertools.cycle([1.0, -1.0])
_values = itertools.count()
_dtypes = itertools.cycle([jnp.float32, jnp.float16])


def clean(x):
    return jnp.sin(x) * 2


def ones():
    return jnp.ones(4)


def longer():
    return jnp.ones(5)


def of_some_length():
    return jnp.ones(next(_lengths))


def of_some_dtype():
    return jnp.ones(4, next(_dtypes))


def scaled(x, scale):
    return x * scale


def with_a_number():
    return jnp.ones(4), float(next(_numbers))


@fx.function(static_argnames="activation", donate_argnames="x")
def activated(x, activation):
    return activation(x)


def with_a_lambda():
    return jnp.ones(4), lambda x: x + 1


def shown(x):
    level = float(x[0])
    return x * level


def same():
    return jnp.full(4, 3.0)


def branching(x):
    if x[0] > 0:
        return x * 2
    return x * 3


def of_some_sign():
    return jnp.full(4, next(_signs))


def of_some_value():
    return jnp.full(4, float(next(_values)))


def counting(x):
    return x * next(_count)


_calls = 0


def counting_in_a_global(x):
    global _calls
    _calls += 1
    return x * _calls


def now_and_then(x):
    return jnp.sum(x[: 4 - next(_count) % 2])


def changing(state):
    state["calls"] = state.get("calls", 0) + 1
    return state["x"] * 2


def with_a_state():
    return {"x": jnp.ones(4)}


def generating(x):
    return (row for row in [x])


class Box:
    pass


def of_an_object(x, box):
    return x + 1


def with_an_object():
    return jnp.ones(4), Box()


def masked(x):
    return x[x > 0]


def sized(x):
    return jnp.zeros(int(x[0]))


def whole():
    return jnp.full(2, 3)


def steered(x, how):
    return getattr(jnp, how)(x)


def with_a_string():
    return jnp.ones(4), "sin"


def broken(x):
    raise RuntimeError("inside")


def random(key):
    return jax.random.normal(key, (3,))


def key():
    return jax.random.key(0)


def through_numpy(x):
    return jnp.asarray(np.asarray(x) * 2)


def with_a_constant(x):
    return x, jnp.asarray(np.arange(3))


def with_a_counted_constant(x):
    return x, jnp.asarray(next(_count))


taking_over = jax.jit(lambda x: x + 1, donate_argnums=0)
