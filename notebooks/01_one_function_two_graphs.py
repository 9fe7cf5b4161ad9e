# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # One function, two graphs
#
# After this notebook you can run one pure function as a dynamic graph and as a static graph, see
# what each costs, read why something was compiled again, and know what to write when a static
# graph needs a value that it does not have.

# %%
from tempfile import TemporaryDirectory

import jax
import jax.numpy as jnp
import optax
from IPython.display import Image, display

import fxgrad as fx
from fxgrad import train

# %% [markdown]
# ## The function
#
# A network with one hidden layer, as a pure function of its parameters, and its loss. Nothing in
# it says how it will run.


# %%
def init(key):
    first, second = jax.random.split(key)
    return {
        "w1": jax.random.normal(first, (784, 128)) * 0.05,
        "b1": jnp.zeros(128),
        "w2": jax.random.normal(second, (128, 10)) * 0.09,
        "b2": jnp.zeros(10),
    }


def logits(params, images):
    hidden = jax.nn.relu(images.reshape(len(images), 784) @ params["w1"] + params["b1"])
    return hidden @ params["w2"] + params["b2"]


@fx.function
def loss(params, batch):
    scores = logits(params, batch["image"])
    return optax.softmax_cross_entropy_with_integer_labels(scores, batch["label"]).mean()


data = train.load_images()
params = init(jax.random.key(0))
batch = next(train.Batches(data.train, batch_size=64).epoch(0))
batch["image"].shape, batch["label"][:10]

# %% [markdown]
# ## Twice the same number
#
# `eager` runs every operation as Python meets it. `static` traces the function once and compiles
# one program.

# %%
with fx.mode("eager"):
    dynamic = loss(params, batch)
with fx.mode("static"):
    static = loss(params, batch)
print(dynamic, static)
print(loss.stats())

# %% [markdown]
# ## What the compiler was given
#
# The static graph can be read. Two matrix products, a `max` for ReLU, and the cross-entropy.

# %%
print(loss.lower(params, batch).as_text()[:1500])

# %% [markdown]
# ## What each costs
#
# `compare_training` makes each step in every mode, in turn, so that both meet the same machine, and
# waits for every step.

# %%
optimizer = optax.sgd(0.01)
comparison = train.compare_training(
    loss.__wrapped__,
    optimizer,
    train.TrainState.create(params, optimizer),
    train.Batches(data.train, batch_size=64, seed=0),
    epochs=5,
    evaluate=lambda state: {
        "test accuracy": jnp.mean(
            logits(state.params, data.test["image"]).argmax(-1) == data.test["label"]
        )
    },
    progress=False,
    title="784-128-10 on handwritten digits",
)
print(comparison)

# %%
with TemporaryDirectory() as folder:
    comparison.plot(f"{folder}/curves.png")
    picture = Image(f"{folder}/curves.png")
display(picture)

# %% [markdown]
# ## Why was it compiled again?
#
# The last batch of an epoch is often smaller. A static graph is compiled again for it, and says so.

# %%
smaller = jax.tree.map(lambda array: array[:17], batch)
loss(params, smaller)
print(loss.explain())

# %% [markdown]
# ## When Python needs a value
#
# A dynamic graph may decide by a value. A static one cannot: there are no values yet. The error
# names the line.


# %%
@fx.function
def clipped(gradient):
    if jnp.linalg.norm(gradient) > 1:
        return gradient / jnp.linalg.norm(gradient)
    return gradient


with fx.mode("eager"):
    print(clipped(jnp.array([3.0, 4.0])))

try:
    clipped(jnp.array([3.0, 4.0]))
except fx.FxError as error:
    print(error)

# %% [markdown]
# Written with both sides in the graph, it runs in every mode, and so do its derivatives.


# %%
@fx.function
def clipped_in_the_graph(gradient):
    norm = jnp.linalg.norm(gradient)
    return jnp.where(norm > 1, gradient / norm, gradient)


print(clipped_in_the_graph(jnp.array([3.0, 4.0])))
print(jax.jacobian(clipped_in_the_graph)(jnp.array([3.0, 4.0])))
