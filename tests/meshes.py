"""Networks for many devices: an MLP and a transformer, with their layouts on eight devices."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

import fxgrad as fx
from fxgrad import parallel, train

WIDTH, LENGTH, WORDS, ROWS = 32, 16, 64, 16
OPTIMIZER = optax.sgd(0.05, momentum=0.9)  # Adam needs a looser dtype promotion


class Mlp(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Dense(WIDTH, name="first")(x)
        x = nn.Dense(4 * WIDTH, name="up")(nn.relu(x))
        return nn.Dense(WIDTH, name="down")(nn.relu(x))


class Layer(nn.Module):
    @nn.compact
    def __call__(self, x):
        y = nn.LayerNorm(name="before")(x)
        qkv = nn.DenseGeneral((8, 3, WIDTH // 8), name="qkv")(y)  # heads first: tensor splits them
        query, key, value = (qkv[..., i, :] for i in range(3))
        y = nn.dot_product_attention(query, key, value)
        x = x + nn.DenseGeneral(WIDTH, axis=(-2, -1), name="out")(y)
        y = nn.LayerNorm(name="between")(x)
        y = nn.gelu(nn.Dense(4 * WIDTH, name="up")(y))
        return x + nn.Dense(WIDTH, name="down")(y)


class Transformer(nn.Module):
    @nn.compact
    def __call__(self, words):
        x = nn.Embed(WORDS, WIDTH, name="embed")(words)
        for i in range(2):
            x = Layer(name=f"layer_{i}")(x)
        return nn.Dense(WORDS, name="head")(nn.LayerNorm(name="last")(x))


TENSOR = parallel.tensor(columns=("*up", "*qkv"), rows=("*down", "*out"))
MLP_TENSOR = parallel.tensor(columns=["*up"], rows=["*down"])
FSDP = {"whole_below": 512}


def mlp_rules(split):
    return parallel.fsdp(MLP_TENSOR if split else None, **FSDP)


rng = np.random.default_rng(0)
MLP_BATCHES = [
    {
        "x": rng.normal(size=(ROWS, WIDTH)).astype(np.float32),
        "y": rng.normal(size=(ROWS, WIDTH)).astype(np.float32),
    }
    for _ in range(4)
]
WORD_BATCHES = [rng.integers(WORDS, size=(ROWS, LENGTH + 1)).astype(np.int32) for _ in range(4)]


def mlp_loss(params, batch):
    predicted = fx.from_flax(Mlp()).apply(params, batch["x"])
    return jnp.mean((predicted - batch["y"]) ** 2)


def word_loss(params, batch):
    logits = fx.from_flax(Transformer()).apply(params, batch[:, :-1])
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch[:, 1:])
    return jnp.mean(losses)


def mlp_state():
    params, _ = fx.from_flax(Mlp()).init(jax.random.key(0), MLP_BATCHES[0]["x"])
    return train.TrainState.create(params, OPTIMIZER)


def word_state():
    params, _ = fx.from_flax(Transformer()).init(jax.random.key(0), WORD_BATCHES[0][:, :-1])
    return train.TrainState.create(params, OPTIMIZER)
