"""A small training that may be killed at any moment: a child of `soak.py`.

It says ``ready`` when it is about to make its first step, and at its end ``final`` and the SHA-256
of its last state. Run again on the same folder it goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fxgrad import train
from fxgrad.errors import CheckpointError

INTERRUPTED: Final = 75
REFUSED: Final = 3
LOOP: Final = "FXGRAD_SOAK_LOOP"
SAVE_EVERY: Final = 10
STEP_SECONDS: Final = 0.002


def main() -> int:
    """Train to the end, or until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--loop", choices=LOOPS, default=os.environ.get(LOOP, "fit"))
    options = parser.parse_args()
    try:
        state = LOOPS[options.loop](options.folder, options.steps)
    except CheckpointError as error:
        print("refused", error, flush=True)
        return REFUSED
    if state is None:
        return INTERRUPTED
    print("final", digest(state), flush=True)
    return 0


def digest(state: Any) -> str:
    """The SHA-256 of a state, bit for bit."""
    hashed = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(state):
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        array = np.asarray(jax.random.key_data(leaf) if is_key else leaf)
        hashed.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        hashed.update(array.tobytes())
    return hashed.hexdigest()


def problem() -> tuple[Any, train.TrainState, train.Batches]:
    """Noisy regression by a network with dropout: every step depends on all before it."""
    rng = np.random.default_rng(0)
    arrays = {
        "x": rng.normal(size=(96, 8)).astype(np.float32),
        "y": rng.normal(size=(96, 1)).astype(np.float32),
    }
    params = {
        "first": rng.normal(size=(8, 64)).astype(np.float32),
        "second": rng.normal(size=(64, 1)).astype(np.float32),
    }

    def loss(params: Any, batch: Any, key: jax.Array) -> jax.Array:
        hidden = jnp.tanh(batch["x"] @ params["first"])
        hidden = hidden * jax.random.bernoulli(key, 0.8, hidden.shape)
        return jnp.mean((hidden @ params["second"] - batch["y"]) ** 2)

    optimizer = optax.adamw(1e-2)
    state = train.TrainState.create(
        jax.tree.map(jnp.asarray, params), optimizer, key=jax.random.key(1)
    )
    step = train.make_step(loss, optimizer, mode="static", donate=True)
    return step, state, train.Batches(arrays, batch_size=16, seed=2)


def by_fit(folder: Path, steps: int) -> Any:
    """The training by `train.fit`, which ends the process itself when it is told to stop."""
    step, state, batches = problem()

    def slow_step(state: Any, batch: Any) -> Any:
        time.sleep(STEP_SECONDS)
        return step(state, batch)

    class Ready:
        def on_start(self, *_: Any) -> None:
            print("ready", flush=True)

    return train.fit(
        slow_step,
        state,
        batches,
        steps=steps,
        checkpoints=folder,
        save_every=SAVE_EVERY,
        callbacks=[Ready()],
        progress=False,
    )[0]


def by_hand(folder: Path, steps: int) -> Any:
    """The same training in a loop of its own; None when it was told to stop."""
    step, state, batches = problem()
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    with train.Checkpoints(folder) as checkpoints:
        start = 0
        if checkpoints.steps():
            restored = checkpoints.restore(state)
            state, start = restored.state, restored.step
        print("ready", flush=True)
        for number, batch in enumerate(itertools.islice(endless(batches), start, steps), start + 1):
            time.sleep(STEP_SECONDS)
            state, _ = step(state, batch)
            if number % SAVE_EVERY == 0 or told:
                checkpoints.save(state, step=number)
            if told:
                return None
    return state


def endless(batches: train.Batches) -> Any:
    """The batches of one epoch after the other."""
    return itertools.chain.from_iterable(map(batches.epoch, itertools.count()))


LOOPS: Final = {"fit": by_fit, "hand": by_hand}

if __name__ == "__main__":
    sys.exit(main())
