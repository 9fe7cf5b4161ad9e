"""`fit` in several processes, of which one does otherwise than the others."""

import argparse
import json
from pathlib import Path

from fxgrad import parallel

place = parallel.initialize()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402

from fxgrad import train  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("--out", type=Path)
parser.add_argument("--fault", default="")
options = parser.parse_args()
is_other = place.process == 1

x = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
arrays = {"x": x, "y": x @ np.arange(3, dtype=np.float32)}
mesh, rules = parallel.mesh(), parallel.Rules([("*", ())])
optimizer = optax.sgd(0.01)


def init(key):
    return train.TrainState.create(jax.random.normal(key, (3,)), optimizer)


def loss(params, batch):
    return jnp.mean((batch["x"] @ params - batch["y"]) ** 2)


def fit(*callbacks, number=0, **arguments):
    """Train for at most 10 epochs of 8 steps; `number` is the order's seed."""
    rows = 48 if options.fault == "fewer batches" and is_other else 64
    held = {name: array[:rows] for name, array in arrays.items()}
    data = train.Batches(held, 8, seed=number, shard=parallel.batch_part(mesh))
    batches = train.prefetch(data, place=parallel.batch_sharding(mesh))
    if options.fault == "not placed":
        batches = data
    if options.fault == "fewer batches":
        batches = [*batches.epoch(0)]  # has no fingerprint
    step = train.make_step(loss, optimizer, mode="static")
    return train.fit(
        step, state, batches, epochs=10, callbacks=callbacks, progress=False, **arguments
    )


class Stop:
    """Stops in one process, after a step, or when metrics are read."""

    def __init__(self, hook):
        setattr(self, hook, self.stop)

    def stop(self, training, *_):
        if is_other and training.step >= 5:
            training.stop("this process has had enough")


key = jax.random.key(place.process if options.fault == "another key" else 0)
if options.fault == "a key within":
    own = jax.random.key(place.process)
    state = parallel.create(lambda: init(own), mesh=mesh, rules=rules)
elif options.fault == "another value":
    values = jnp.full(3, float(place.process))
    state = parallel.place(train.TrainState.create(values, optimizer), mesh, rules)
else:
    state = parallel.create(init, key, mesh=mesh, rules=rules)


def evaluate(state):
    return {"error": float(is_other) if options.fault == "own evaluation" else 0.0}


told = []
if options.fault == "another order":
    fit(number=place.process)
elif options.fault == "own evaluation":
    fit(train.EarlyStopping("error", patience=3), evaluate=evaluate)
elif options.fault:
    fit()
else:
    for hook in ("on_start", "on_step_end", "on_metrics", "on_epoch_end", "on_evaluation"):
        trained, history = fit(Stop(hook), evaluate=evaluate, evaluate_every=6)
        told.append((hook, history.steps, history.stopped))
    options.out.with_name(f"{place.process}.json").write_text(json.dumps(told))
