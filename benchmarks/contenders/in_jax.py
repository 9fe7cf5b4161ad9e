"""JAX alone and fxgrad: ``python -m contenders.in_jax NAME WORKLOAD``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
from contenders.protocol import Run, serve
from machine import device_name
from workloads import part

import fxgrad as fx
from fxgrad.modes import MODES

Step = Callable[..., tuple[Any, Any]]


class JaxRun(Run):
    """A pure step, which takes a state and a batch, and the state that it has come to."""

    def __init__(self, step: Step, task: ModuleType) -> None:
        batches = [tuple(map(jnp.asarray, batch)) for batch in task.batches()]
        super().__init__(batches, task.CYCLE_STEPS)
        self._step = step
        self._initial_state = jax.tree.map(jnp.asarray, task.initial_state())

    def restart(self) -> None:
        self._state = self._initial_state

    def step(self, *batch: jax.Array) -> Any:
        self._state, answer = self._step(self._state, *batch)
        return answer

    def wait(self, answer: Any) -> None:
        jax.block_until_ready((self._state, answer))

    def facts(self) -> dict[str, Any]:
        if not isinstance(self._step, fx.Function):
            return {}
        counts = self._step.stats().to_dict()
        return {name: count for name, count in counts.items() if not isinstance(count, dict)}


def _late(step: Step) -> Step:
    """The step, begun 2 µs after it is called."""

    def called(*args: Any) -> Any:
        begin = time.perf_counter_ns() + 2000
        while time.perf_counter_ns() < begin:
            pass
        return step(*args)

    return called


def wrapped(contender: str, workload: ModuleType) -> Step:
    """The workload's step as the contender of this name runs it."""
    steps = {
        "jax-eager": workload.step,
        "jax-jit": jax.jit(workload.step_by_hand),
        "jax-jit-late": _late(jax.jit(workload.step_by_hand)),
        **{f"fx-{mode}": fx.function(workload.step, mode=mode) for mode in MODES},
    }
    return steps[contender]


if __name__ == "__main__":
    _, contender, workload = sys.argv
    device = jax.devices()[0]
    serve(
        JaxRun(wrapped(contender, part(workload, "in_jax")), part(workload, "task")),
        device=device_name(device.platform, device.device_kind),
        packages=("fxgrad", "jax", "jaxlib", "optax"),
    )
