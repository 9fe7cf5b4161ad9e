"""Networks for many devices: an MLP and a transformer, with their layouts on eight devices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
    width: int
    heads: int

    @nn.compact
    def __call__(self, x):
        y = nn.LayerNorm(name="before")(x)
        # Heads come first, so that splitting them splits query, key and value alike.
        qkv = nn.DenseGeneral((self.heads, 3, self.width // self.heads), name="qkv")(y)
        query, key, value = (qkv[..., i, :] for i in range(3))
        y = nn.dot_product_attention(query, key, value)
        x = x + nn.DenseGeneral(self.width, axis=(-2, -1), name="out")(y)
        y = nn.LayerNorm(name="between")(x)
        y = nn.gelu(nn.Dense(4 * self.width, name="up")(y))
        return x + nn.Dense(self.width, name="down")(y)


class Transformer(nn.Module):
    words: int = WORDS
    width: int = WIDTH
    heads: int = 8
    layers: int = 2

    @nn.compact
    def __call__(self, words):
        x = nn.Embed(self.words, self.width, name="embed")(words)
        for i in range(self.layers):
            x = Layer(self.width, self.heads, name=f"layer_{i}")(x)
        return nn.Dense(self.words, name="head")(nn.LayerNorm(name="last")(x))


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


def loss_of(network):
    """The mean cross-entropy of the next word."""

    def word_loss(params, batch):
        logits = fx.from_flax(network).apply(params, batch[:, :-1])
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch[:, 1:])
        return jnp.mean(losses)

    return word_loss


def mlp_state():
    params, _ = fx.from_flax(Mlp()).init(jax.random.key(0), MLP_BATCHES[0]["x"])
    return train.TrainState.create(params, OPTIMIZER)


def word_state():
    params, _ = fx.from_flax(Transformer()).init(jax.random.key(0), WORD_BATCHES[0][:, :-1])
    return train.TrainState.create(params, OPTIMIZER)


@dataclass(frozen=True)
class Network:
    """A loss with its state and batches, and what theory needs to know of it."""

    loss: Callable[..., Any]
    start: Callable[[], train.TrainState]
    batches: list[Any]
    forward_only: tuple[str, ...]
    tensor_blocks: int
    activation_bytes: int
    """Those between two blocks, of the whole batch."""


NETWORKS = {
    "mlp": Network(mlp_loss, mlp_state, MLP_BATCHES, ("first/*",), 1, ROWS * WIDTH * 4),
    "transformer": Network(
        *(
            loss_of(Transformer()),
            word_state,
            WORD_BATCHES,
            ("embed/*",),
            4,
            ROWS * LENGTH * WIDTH * 4,
        )
    ),
}
TENSOR = parallel.tensor(columns=["*up", "*qkv"], rows=["*down", "*out"])
LAYOUTS = {
    "data": {"data": 8},
    "fsdp": {"data": 1, "fsdp": 8},
    "tensor": {"data": 1, "tensor": 8},
    "fsdp and tensor": {"data": 1, "fsdp": 4, "tensor": 2},
    "all three": {"data": 2, "fsdp": 2, "tensor": 2},
}


def rules_for(network, sizes):
    """Those of a layout; small parameters, and beside `tensor` those outside blocks, stay whole."""
    rules = parallel.Rules()
    if sizes.get("tensor", 1) > 1:
        rules = TENSOR if network == "transformer" else parallel.tensor(["*up"], ["*down"])
    if sizes.get("fsdp", 1) > 1:
        rules = parallel.fsdp(rules, whole_below=2049 if rules.rows else 512)
    return rules


@dataclass(frozen=True)
class Training:
    """A network on a mesh: its step, and where it begins."""

    network: Network
    mesh: jax.sharding.Mesh
    rules: parallel.Rules
    state: train.TrainState
    step: Any

    def batch(self, number=0):
        return parallel.batch(self.network.batches[number], self.mesh)

    def expected(self):
        """What theory says, for a compiler without reduce-scatter."""
        sizes = dict(self.mesh.shape)
        return parallel.expected(
            parallel.explain(self.state.params, self.mesh, self.rules),
            forward_only=self.network.forward_only,
            activation_bytes=self.network.activation_bytes // (sizes["data"] * sizes["fsdp"]),
            tensor_blocks=self.network.tensor_blocks,
        ).without_reduce_scatter()


def training(network, layout, *, mode="static", donate=False):
    """A network on eight devices in one of the layouts."""
    mesh = parallel.mesh(**LAYOUTS[layout])
    rules, parts = rules_for(network, LAYOUTS[layout]), NETWORKS[network]
    return Training(
        network=parts,
        mesh=mesh,
        rules=rules,
        state=parallel.place(parts.start(), mesh, rules),
        step=train.make_step(
            parallel.sharded(parts.loss, mesh, rules), OPTIMIZER, mode=mode, donate=donate
        ),
    )


def losses_on_one_device(network):
    parts = NETWORKS[network]
    step = train.make_step(parts.loss, OPTIMIZER, mode="static")
    state, losses = parts.start(), []
    for batch in parts.batches:
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    return losses
