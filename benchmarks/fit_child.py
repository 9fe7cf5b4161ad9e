"""One side of `fit.py`, in a process of its own: asked for a segment, it tells how long it took.

Each line asked is a number of steps; each answer is the nanoseconds for them, the last waited for,
and those that the loop's own thread was running, which do not grow while it waits for a core.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fxgrad import train

_WIDTH: Final = 256
_OPTIMIZER: Final = optax.sgd(0.01)
_NO_LOSS: Final = jnp.float32(0.0)


class Repeated:
    """One batch, over and over: an epoch of so many steps, without the cost of making batches."""

    def __init__(self, batch: Any, steps: int) -> None:
        self._batch = batch
        self._steps = steps

    def __len__(self) -> int:
        return self._steps

    def epoch(self, number: int) -> Iterator[Any]:
        return (self._batch for _ in range(self._steps))


def trained_by_hand(step: Callable[..., Any], state: Any, data: Repeated) -> None:
    """The loop that one writes: it keeps the losses, and reads them at the end."""
    losses = []
    for batch in data.epoch(0):
        state, metrics = step(state, batch)
        losses.append(metrics["loss"])
    np.array(jax.device_get(losses))
    jax.block_until_ready(state)


def trained_by_fit(step: Callable[..., Any], state: Any, data: Repeated) -> None:
    """The same with nothing asked for, which gives a history, and a line of progress elsewhere."""
    state, _ = train.fit(step, state, data, epochs=1, progress=False)
    jax.block_until_ready(state)


def trained_and_logged(step: Callable[..., Any], state: Any, data: Repeated) -> None:
    """The same with a JSON line for each step, NaNs watched for, and progress as lines."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"
        state, _ = train.fit(step, state, data, epochs=1, log_file=path, on_nonfinite="stop")
        jax.block_until_ready(state)


WAYS: Final = {
    "by hand": trained_by_hand,
    "fit": trained_by_fit,
    "fit, logged": trained_and_logged,
}


def task(depth: int) -> tuple[Callable[..., Any], Any, Any]:
    """A step, its first state and its batch: so many layers, or for 0 a step that does nothing."""
    if depth == 0:
        return lambda state, batch: (state, {"loss": _NO_LOSS}), jnp.zeros(()), 0

    def loss(params: Any, batch: Any) -> jax.Array:
        x = batch["x"]
        for matrix in params:
            x = jnp.tanh(x @ matrix)
        return jnp.mean((x - batch["y"]) ** 2)

    keys = jax.random.split(jax.random.key(0), depth + 1)
    params = [jax.random.normal(key, (_WIDTH, _WIDTH)) / _WIDTH**0.5 for key in keys[1:]]
    x = jax.random.normal(keys[0], (64, _WIDTH))
    state = train.TrainState.create(params, _OPTIMIZER)
    return train.make_step(loss, _OPTIMIZER, mode="static"), state, {"x": x, "y": x[:, ::-1]}


def main() -> None:
    """Answer until stdin closes."""
    way, (step, state, batch) = WAYS[sys.argv[1]], task(int(sys.argv[2]))
    way(step, state, Repeated(batch, 200))  # compiles, warms up
    for line in sys.stdin:
        data = Repeated(batch, int(line))
        start, running = time.perf_counter_ns(), time.thread_time_ns()
        way(step, state, data)
        print(time.perf_counter_ns() - start, time.thread_time_ns() - running, flush=True)


if __name__ == "__main__":
    main()
