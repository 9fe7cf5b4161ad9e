"""Three functions that every view is made for: a small network, a large one, and one that decides.

The small one is the 784-128-10 network's training step; the large one is a gradient through flax
transformer blocks, of some 2,000 equations; the last decides by values, in a loop.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

import fxgrad as fx
from fxgrad.cli.demo import init, loss


def sgd_step(params, batch):
    value, gradient = jax.value_and_grad(loss)(params, batch)
    return jax.tree.map(lambda old, slope: old - 0.1 * slope, params, gradient), value


def article():
    """The step of the 784-128-10 network with its arguments."""
    batch = {"image": jnp.ones((64, 28, 28)), "label": jnp.zeros(64, jnp.int32)}
    return sgd_step, init(jax.random.key(0)), batch


class Block(nn.Module):
    """Attention and a feed-forward network, each behind a norm and beside a residual."""

    @nn.compact
    def __call__(self, x):
        y = nn.MultiHeadDotProductAttention(4)(nn.LayerNorm()(x))
        x = x + y
        y = nn.LayerNorm()(x)
        return x + nn.Dense(64)(nn.gelu(nn.Dense(256)(y)))


class Transformer(nn.Module):
    """Blocks, one after the other."""

    depth: int

    @nn.compact
    def __call__(self, x):
        for _ in range(self.depth):
            x = Block()(x)
        return x


def transformer(depth=8):
    """The gradient of a transformer with its arguments."""
    model = Transformer(depth)
    x = jax.random.normal(jax.random.key(1), (2, 16, 64))

    def gradient(variables, x):
        return jax.grad(lambda v: jnp.mean(model.apply(v, x) ** 2))(variables)

    return gradient, model.init(jax.random.key(0), x), x


def newton():
    """A Function that decides by values, with two of its paths recorded, and arguments."""

    @fx.function
    def root(x):
        guess = x
        while jnp.abs(guess * guess - x) > 1e-3:
            guess = (guess + x / guess) / 2
        return guess if guess > 2 else -guess

    for value in (9.0, 2.0, 9.0):
        root(jnp.float32(value))
    return root, jnp.float32(9.0)


SUBJECTS = {"article": article, "transformer": transformer, "newton": newton}
