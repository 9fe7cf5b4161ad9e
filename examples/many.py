"""The article's network on any number of devices and processes, stopped and resumed at will.

The same script runs alone, on all devices of a machine, and in many processes:

    python examples/many.py --checkpoint-dir runs/digits
    fxgrad train --processes 2 --restarts 1 examples/many.py --checkpoint-dir runs/digits

``--kill-at 40`` kills the last process after that step, the first time, to see what happens then:
``--restarts 1`` starts both again, and they go on from the newest checkpoint to the same weights.
"""

import argparse
import hashlib
import os
import signal
from pathlib import Path

from fxgrad import parallel

place = parallel.initialize()

import jax  # noqa: E402  (after `initialize`: the devices are counted when JAX begins)
import jax.numpy as jnp  # noqa: E402
import optax  # noqa: E402
from jax.experimental import multihost_utils  # noqa: E402

from fxgrad import train  # noqa: E402

options = argparse.ArgumentParser(description="One network on many devices and processes.")
options.add_argument("--data-dir", type=Path, help="MNIST or Fashion-MNIST, if you have it")
options.add_argument("--checkpoint-dir", type=Path, help="save here, and go on from here")
options.add_argument("--epochs", type=int, default=10)
options.add_argument("--batch-size", type=int, default=64, help="over all devices")
options.add_argument("--fsdp", type=int, default=1, help="split parameters over so many devices")
options.add_argument("--kill-at", type=int, help="kill the last process after this step, once")
chosen = options.parse_args()


def init(key):
    key1, key2 = jax.random.split(key)
    params = {
        "hidden": {"w": jax.random.normal(key1, (784, 128)) * 0.05, "b": jnp.zeros(128)},
        "output": {"w": jax.random.normal(key2, (128, 10)) * 0.09, "b": jnp.zeros(10)},
    }
    return train.TrainState.create(params, optimizer)


def logits(params, images):
    pixels = images.reshape(len(images), 784)
    hidden = jax.nn.relu(pixels @ params["hidden"]["w"] + params["hidden"]["b"])
    return hidden @ params["output"]["w"] + params["output"]["b"]


def loss(params, batch):
    scores = logits(params, batch["image"])
    return optax.softmax_cross_entropy_with_integer_labels(scores, batch["label"]).mean()


# One mesh of all devices of all processes; every process brings its own rows of each batch.
seed = train.Seed(0)
optimizer = optax.sgd(0.05, momentum=0.9)
mesh = parallel.mesh(fsdp=chosen.fsdp)
rules = parallel.fsdp()
state = parallel.create(init, seed.key("init"), mesh=mesh, rules=rules)
step = train.make_step(parallel.sharded(loss, mesh, rules), optimizer, mode="static")

data = train.load_images(chosen.data_dir)
part = parallel.batch_part(mesh)
batches = train.prefetch(
    train.Batches(data.train, chosen.batch_size, seed=seed.integer("order"), shard=part),
    place=parallel.batch_sharding(mesh),
)
test = train.Batches(data.test, len(data.test["label"]) // 8 * 8, shuffle=False, shard=part)


@jax.jit
def accuracy(params, batch):
    return jnp.mean(logits(params, batch["image"]).argmax(-1) == batch["label"])


def evaluate(state):
    found = [accuracy(state.params, parallel.batch(batch, mesh)) for batch in test.epoch(0)]
    return {"accuracy": sum(map(float, found)) / len(found)}


class Kill:
    """A machine that fails, as if somebody had pulled its plug."""

    def on_step_end(self, training):
        is_first_attempt = os.environ.get("FXGRAD_ATTEMPT", "0") == "0"
        is_last_process = place.process == place.processes - 1
        if training.step == chosen.kill_at and is_first_attempt and is_last_process:
            os.kill(os.getpid(), signal.SIGKILL)


state, history = train.fit(
    step,
    state,
    batches,
    epochs=chosen.epochs,
    evaluate=evaluate,
    checkpoints=chosen.checkpoint_dir,
    callbacks=[Kill()] if chosen.kill_at else [],
    title=f"{data.name} on {mesh.size} devices of {place.processes} processes",
)
whole = multihost_utils.process_allgather(state.params, tiled=True)
if place.is_first:
    digest = hashlib.sha256(b"".join(leaf.tobytes() for leaf in jax.tree.leaves(whole)))
    reached = history.evaluations[-1]["accuracy"]
    print(f"{history.steps} steps, test accuracy {reached:.4f}, weights {digest.hexdigest()[:16]}")
    assert reached > 0.8
