"""A training by a hand-written loop, the same for one process and for many; faults on request."""

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

from fxgrad.parallel import processes

place = processes.initialize()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from jax.sharding import Mesh, NamedSharding, PartitionSpec  # noqa: E402

import fxgrad as fx  # noqa: E402
from fxgrad import train  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("--mode", default="static")
parser.add_argument("--steps", type=int, default=6)
parser.add_argument("--out")
parser.add_argument("--checkpoints")
parser.add_argument("--fault", default="")
parser.add_argument("--at", type=int, default=3)
parser.add_argument("--by", type=int, default=1)
parser.add_argument("--first-attempt-only", action="store_true")
options = parser.parse_args()

mesh = Mesh(np.array(jax.devices()), ("data",))
shared = NamedSharding(mesh, PartitionSpec())
spread = NamedSharding(mesh, PartitionSpec("data"))


def whole(value):
    return jax.make_array_from_callback(value.shape, shared, lambda index: value[index])


def rows(value):
    return jax.make_array_from_callback(value.shape, spread, lambda index: value[index])


def batch_of(number):
    numbers = np.random.default_rng(number)
    x = numbers.normal(size=(16, 5)).astype(np.float32)
    return {"x": x, "y": x @ np.arange(5, dtype=np.float32)}


@fx.function(mode=options.mode)
def step(w, batch):
    def loss(w):
        return jnp.mean((batch["x"] @ w - batch["y"]) ** 2)

    value, gradient = jax.value_and_grad(loss)(w)
    if options.mode == "replay" and value > 1.0:  # a decision that all processes share
        gradient = gradient * 0.5
    return w - 0.1 * gradient, value


@fx.function(mode=options.mode)
def other(w, batch):
    return w * 2, batch["x"].sum()


@fx.function(mode="replay")
def by_own_value(w, own):
    w = w * 2
    if own > 0:
        w = w + 1
    return w.sum()


def is_faulty(number):
    attempt = int(os.environ.get("FXGRAD_ATTEMPT", 0))
    is_off = options.first_attempt_only and attempt > 0
    return number == options.at and place.process == options.by and not is_off


def do_fault(number, w, batch):
    if not is_faulty(number):
        return step(w, batch)
    if options.fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if options.fault == "raise":
        raise ValueError("the loader is broken")
    if options.fault == "exit":
        sys.exit(3)
    if options.fault == "hang":
        time.sleep(1000)
    if options.fault == "shape":
        batch = {"x": rows(batch_of(0)["x"][:8]), "y": rows(batch_of(0)["y"][:8])}
    if options.fault == "function":
        return other(w, batch)
    return step(w, batch)


w, losses = whole(np.zeros(5, np.float32)), []
if options.fault == "paths":
    # The processes read equal values first, and then other ones.
    for number in range(14):
        own = jnp.float32(1 - 2 * is_faulty(number))
        by_own_value(w, own)
    sys.exit(0)
first, saves = 0, contextlib.nullcontext()
if options.checkpoints:
    saves = train.Checkpoints(options.checkpoints)
    if saves.steps():
        restored = saves.restore({"w": w})
        first, w, losses = restored.step, restored.state["w"], list(restored.record["losses"])
        print(f"resumed at {first}")
with saves:
    for number in range(first, options.steps):
        batch = {name: rows(value) for name, value in batch_of(number).items()}
        w, loss = do_fault(number, w, batch)
        losses.append(float(loss))
        if options.checkpoints:
            saves.save({"w": w}, step=number + 1, record={"losses": losses})
            if options.fault == "kill in save" and is_faulty(number):
                os.kill(os.getpid(), signal.SIGKILL)
        if place.is_first:
            print(f"step {number}: {losses[-1]:.6f}")
if place.is_first and options.out:
    stats = step.stats()
    found = {"losses": losses, "w": np.asarray(w).tolist(), "programs": stats.programs}
    Path(options.out).write_text(json.dumps(found))
