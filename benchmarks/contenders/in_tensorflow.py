"""TensorFlow, on the CPU: ``python -m contenders.in_tensorflow NAME WORKLOAD``."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import tensorflow  # pyright: ignore[reportMissingImports, reportMissingModuleSource]
from contenders.protocol import Run, serve
from machine import device_name
from workloads import part

tf: Any = tensorflow  # the stubs that pyright brings know less than TensorFlow takes

WRAPS: dict[str, Callable[[Any], Any]] = {
    "tf-eager": lambda function: function,
    "tf-function": tf.function,
    "tf-xla": tf.function(jit_compile=True),
}


class TensorflowRun(Run):
    """A step that changes its variables in place. It is computed when its answer is."""

    def __init__(self, wrap: Callable[[Any], Any], module: ModuleType, task: ModuleType) -> None:
        batches = [tuple(map(tf.constant, batch)) for batch in task.batches()]
        super().__init__(batches, task.CYCLE_STEPS)
        self._initial_state = {name: tf.constant(a) for name, a in task.initial_state().items()}
        self._variables = {name: tf.Variable(a) for name, a in self._initial_state.items()}
        self._step = wrap(functools.partial(module.step, self._variables))

    def restart(self) -> None:
        for name, variable in self._variables.items():
            variable.assign(self._initial_state[name])

    def step(self, *batch: Any) -> Any:
        return self._step(*batch)

    def wait(self, answer: Any) -> None:
        for number in answer if isinstance(answer, tuple) else (answer,):
            if tf.is_tensor(number):
                number.numpy()


if __name__ == "__main__":
    _, contender, workload = sys.argv
    serve(
        TensorflowRun(WRAPS[contender], part(workload, "in_tensorflow"), part(workload, "task")),
        device=device_name("cpu"),
        packages=("tensorflow-cpu",),
    )
