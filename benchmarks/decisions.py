"""Which ways a workload's decisions go, counted in plain eager JAX."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from unittest import mock

import jax
import jax.numpy as jnp
from contenders.in_jax import JaxRun
from workloads import part


def paths_of_cycle(workload: str) -> dict[str, int]:
    """How many steps of a cycle go each way, such as ``{"yes no": 8, "3×yes no": 8}``.

    Raises:
      ValueError: these are not as many ways as the workload's task says.
    """
    task = part(workload, "task")
    run = JaxRun(part(workload, "in_jax").step, task)
    paths: Counter[str] = Counter()
    for batch in run.batches(task.CYCLE_STEPS):
        with _decisions() as taken:
            run.step(*batch)
        paths[_in_words(taken)] += 1
    if len(paths) != task.PATHS:
        raise ValueError(
            f"{workload} went {len(paths)} ways, not {task.PATHS}: {dict(paths)}. "
            "Choose thresholds or batches that take each."
        )
    return dict(paths)


@contextlib.contextmanager
def _decisions() -> Iterator[list[bool]]:
    """What Python is told, in order, when it asks an array for a truth value."""
    array_type = type(jnp.zeros(()))
    taken: list[bool] = []
    answer = array_type.__bool__

    def answer_and_note(array: jax.Array) -> bool:
        taken.append(answer(array))
        return taken[-1]

    with mock.patch.object(array_type, "__bool__", answer_and_note):
        yield taken


def _in_words(taken: list[bool]) -> str:
    runs = ((("no", "yes")[outcome], len(list(run))) for outcome, run in groupby(taken))
    return " ".join(word if count == 1 else f"{count}×{word}" for word, count in runs)
