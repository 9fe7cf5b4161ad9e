"""The training loop by hand: what `train.fit` does, in thirty lines that are yours to change.

It stops in the middle, goes on from its checkpoint, and gets the bits of a run that never stopped.
Run it: ``python examples/loop.py``.
"""

import json
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fxgrad import train

SEED = train.Seed(0)
x = np.random.default_rng(SEED.integer("examples")).normal(size=(512, 8)).astype(np.float32)
batches = train.Batches({"x": x, "y": x.sum(axis=1) ** 2}, 32, seed=SEED.integer("order"))
optimizer = optax.adam(0.01)


def init(key):
    key1, key2 = jax.random.split(key)
    return {"w": jax.random.normal(key1, (8, 32)) * 0.3, "v": jax.random.normal(key2, (32,)) * 0.2}


def loss(params, batch):
    return jnp.mean((jax.nn.relu(batch["x"] @ params["w"]) @ params["v"] - batch["y"]) ** 2)


def train_to(last_step, folder):
    step = train.make_step(loss, optimizer, mode="static", donate=True)
    state, made = train.TrainState.create(init(SEED.key("init")), optimizer), 0
    with train.Checkpoints(folder) as checkpoints, (folder / "metrics.jsonl").open("a+") as log:
        if checkpoints.steps():
            restored = checkpoints.restore(state)
            state, made = restored.state, restored.step
        log.seek(0)
        for _ in range(made):
            log.readline()
        log.truncate(log.tell())  # a run that was killed has logged more than it has saved
        kept = []
        while made < last_step:
            epoch, place = divmod(made, len(batches))
            for batch in batches.epoch(epoch, place):
                state, metrics = step(state, batch)
                made += 1
                kept.append(metrics)
                if made % 20 == 0 or made == last_step:
                    for number, found in enumerate(jax.device_get(kept), made - len(kept) + 1):
                        print(json.dumps({"step": number, "loss": float(found["loss"])}), file=log)
                    log.flush()  # what is saved is logged
                    checkpoints.save(state, step=made, metrics={"loss": float(metrics["loss"])})
                    kept = []
                if made == last_step:
                    break
    return state


with tempfile.TemporaryDirectory() as temporary:
    stopped, whole = Path(temporary, "stopped"), Path(temporary, "whole")
    stopped.mkdir()
    whole.mkdir()
    train_to(50, stopped)
    resumed = train_to(120, stopped)  # a new step and a new state: only the folder is the same
    straight = train_to(120, whole)
    logs = [(folder / "metrics.jsonl").read_text() for folder in (stopped, whole)]

losses = [json.loads(line)["loss"] for line in logs[0].splitlines()]
print(f"{len(losses)} steps, loss {losses[0]:.3f} -> {losses[-1]:.3f}")
assert logs[0] == logs[1]
assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), resumed, straight))
assert losses[-1] < losses[0] / 2
