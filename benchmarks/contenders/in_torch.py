"""PyTorch, on the CPU: ``python -m contenders.in_torch NAME WORKLOAD``."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch  # pyright: ignore[reportMissingImports]
from contenders.protocol import Run, serve
from machine import device_name
from workloads import part


def _as_it_is(function: Any) -> Any:
    return function


WRAPS: dict[str, Callable[[Any], Any]] = {
    "torch-eager": _as_it_is,
    "torch-eager-1": _as_it_is,
    "torch-compile": torch.compile,
    "torch-compile-1": torch.compile,
}


class TorchRun(Run):
    """A step that changes its model in place. On the CPU it has been computed when it returns."""

    def __init__(self, wrap: Callable[[Any], Any], module: ModuleType, task: ModuleType) -> None:
        batches = [tuple(map(_tensor, batch)) for batch in task.batches()]
        super().__init__(batches, task.CYCLE_STEPS)
        self._model = module.model()
        self._initial_state = copy.deepcopy(self._model.state_dict())
        self._step = module.make_step(self._model, wrap)

    def restart(self) -> None:
        self._model.load_state_dict(self._initial_state)

    def step(self, *batch: Any) -> Any:
        return self._step(*batch)

    def wait(self, answer: Any) -> None:
        pass

    def facts(self) -> dict[str, Any]:
        counters = torch._dynamo.utils.counters
        return {
            "graphs": counters["stats"]["unique_graphs"],
            "graph_breaks": dict(counters["graph_break"]),
            "recompile_limits": dict(counters["recompile_limit"]),
        }


def _tensor(array: Any) -> Any:
    tensor = torch.from_numpy(array)
    return tensor.long() if tensor.dtype == torch.int32 else tensor  # labels must be long


if __name__ == "__main__":
    _, contender, workload = sys.argv
    serve(
        TorchRun(WRAPS[contender], part(workload, "in_torch"), part(workload, "task")),
        device=device_name("cpu"),
        packages=("torch",),
    )
