"""A small training that tests of the loop share: its loss, data, and a way to run it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fxgrad import train

rng = np.random.default_rng(0)
DATA = {
    "x": rng.normal(size=(40, 3)).astype(np.float32),
    "y": rng.normal(size=(40,)).astype(np.float32),
}
OPTIMIZER = optax.sgd(0.05, momentum=0.9)
STEPS_AN_EPOCH = 5


def loss(params, batch, key):
    noise = jax.random.normal(key, ()) * 0.1
    return jnp.mean((batch["x"] @ params["w"] + noise - batch["y"]) ** 2), {"noise": noise}


def start():
    params = {"w": jnp.zeros(3)}
    return train.TrainState.create(params, OPTIMIZER, key=jax.random.key(7))


def batches(**kwargs):
    return train.Batches(DATA, 8, **{"seed": 3, **kwargs})


def make_step(mode="static", **kwargs):
    return train.make_step(loss, OPTIMIZER, mode=mode, **kwargs)


def mean_square(state):
    return {"size": jnp.sum(state.params["w"] ** 2)}


def fit(step=None, data=None, **kwargs):
    step = make_step() if step is None else step
    data = batches() if data is None else data
    return train.fit(step, start(), data, **{"progress": False, **kwargs})


def bits(tree):
    """Every leaf's dtype and bytes."""
    leaves = [
        jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
        for x in jax.tree.leaves(tree)
    ]
    return [(str(leaf.dtype), np.asarray(leaf).tobytes()) for leaf in leaves]


def told(history):
    """All of a history but its seconds, bit for bit."""
    return (
        {name: values.tobytes() for name, values in history.metrics.items()},
        history.evaluations,
        history.evaluation_steps,
        len(history.epoch_seconds),
        history.stopped,
    )
