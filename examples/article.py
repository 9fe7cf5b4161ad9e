"""The article's network, trained as a dynamic graph and as a static graph, from top to bottom.

The article sets PyTorch (dynamic graphs) against TensorFlow (static graphs) and trains a
784-128-10 network in each. Here one pure function is both. Run it: ``python examples/article.py``.

What the article's two listings get wrong, and this one does not repeat:

* Both networks end in softmax, and both then use a cross-entropy that expects logits and applies
  softmax itself. Two in a row flatten the scores, so that training moves with far smaller steps.
* The PyTorch loop uses a `net` that is never made.
* The TensorFlow network makes its layers inside `call`, so each call has new, untrained weights,
  and the optimizer never sees the ones that were used.
* Both frameworks are credited to Google. PyTorch came from Facebook's AI research.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import optax

import fxgrad as fx
from fxgrad import train

options = argparse.ArgumentParser(description="The article's network, in every mode.")
options.add_argument("--data-dir", type=Path, help="MNIST or Fashion-MNIST, if you have it")
options.add_argument("--epochs", type=int, default=10)
options.add_argument("--output", type=Path, help="write an HTML page with the curves here")
chosen = options.parse_args()


# A model is a pure function of its parameters. There is no object that holds them.
def init(key):
    key1, key2 = jax.random.split(key)
    return {
        "hidden": {"w": jax.random.normal(key1, (784, 128)) * 0.05, "b": jnp.zeros(128)},
        "output": {"w": jax.random.normal(key2, (128, 10)) * 0.09, "b": jnp.zeros(10)},
    }


def logits(params, images):
    pixels = images.reshape(len(images), 784)
    hidden = jax.nn.relu(pixels @ params["hidden"]["w"] + params["hidden"]["b"])
    return hidden @ params["output"]["w"] + params["output"]["b"]


# The loss takes logits: softmax is inside of it, once.
def loss(params, batch):
    scores = logits(params, batch["image"])
    return optax.softmax_cross_entropy_with_integer_labels(scores, batch["label"]).mean()


# One step: forward pass, backward pass, gradient descent. Pure: new parameters come out.
@fx.function
def step(params, batch):
    value, gradients = jax.value_and_grad(loss)(params, batch)
    return jax.tree.map(lambda p, g: p - 0.01 * g, params, gradients), value


data = train.load_images(chosen.data_dir)
batches = train.Batches(data.train, batch_size=64, seed=0)
initial = init(jax.random.key(0))


# The same function, the same weights, the same batches: first op by op, then compiled.
def train_in(mode):
    params, losses = initial, []
    with fx.mode(mode):
        for epoch in range(chosen.epochs):
            for batch in batches.epoch(epoch):
                params, value = step(params, batch)
                losses.append(value)
    accuracy = jnp.mean(logits(params, data.test["image"]).argmax(-1) == data.test["label"])
    return jnp.array(losses), accuracy


eager_losses, eager_accuracy = train_in("eager")
static_losses, static_accuracy = train_in("static")
difference = jnp.max(jnp.abs(eager_losses - static_losses) / eager_losses)

print(f"{data.name}: {len(eager_losses)} steps in each mode")
print(f"test accuracy  eager {eager_accuracy:.4f}  static {static_accuracy:.4f}")
print(f"largest relative difference of a loss: {difference:.1e}")
print(step.stats())
print(step.explain())

# What each mode cost. `compare_training` takes turns, so that both meet the same machine.
optimizer = optax.sgd(0.01)
comparison = train.compare_training(
    loss,
    optimizer,
    train.TrainState.create(initial, optimizer),
    batches,
    epochs=chosen.epochs,
    progress=False,
    title=f"784-128-10 on {data.name}",
)
print()
print(comparison)
if chosen.output:
    comparison.to_html(chosen.output)

assert difference < 1e-5
assert static_losses[-1] < static_losses[0]
