"""The training loop: epochs of steps, an evaluation after each, progress, and a history."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from fxgrad.errors import DataError, OptionError
from fxgrad.train.history import TrainHistory
from fxgrad.train.progress import report
from fxgrad.train.state import TrainState

Evaluate = Callable[[TrainState], Mapping[str, Any]]


@runtime_checkable
class EpochSource(Protocol):
    """Data that gives the batches of each epoch by its number, such as `Batches`."""

    def epoch(self, number: int) -> Iterator[Any]:
        """The batches of epoch `number`, from 0."""
        ...


def fit(
    step: Callable[[TrainState, Any], tuple[TrainState, Mapping[str, Any]]],
    state: TrainState,
    batches: EpochSource | Iterable[Any],
    *,
    epochs: int,
    evaluate: Evaluate | None = None,
    progress: bool | None = None,
    title: str = "train",
) -> tuple[TrainState, TrainHistory]:
    """Train for a number of epochs.

    The loop never waits for the device within an epoch: metrics are read when the epoch has ended.

    Args:
      step: from `make_step`, or any function of that shape; the metrics hold ``"loss"``.
      state: where to begin.
      batches: `Batches`, or anything with its ``epoch(number)``, or a collection of batches that
        can be read once for each epoch.
      epochs: how many, at least 1.
      evaluate: a function of the state that returns named scalars, called after each epoch.
      progress: True for a bar, False for nothing; None for a bar on a terminal and a line for each
        epoch elsewhere. It goes to standard error.
      title: the word before the bar.

    Returns:
      The last state, and a `TrainHistory`.

    Raises:
      DataError: there are no batches, or `batches` can be read only once and `epochs` is more.
      OptionError: `epochs` is less than 1.
    """
    if epochs < 1:
        raise OptionError(f"epochs={epochs}: a training has at least 1 epoch.", option="epochs")
    steps_per_epoch = len(batches) if hasattr(batches, "__len__") else None  # type: ignore[arg-type]
    metrics: list[dict[str, np.ndarray]] = []
    evaluations: list[dict[str, float]] = []
    seconds: list[float] = []
    with report(title, epochs, steps_per_epoch, progress) as reporter:
        for number in range(epochs):
            start = time.perf_counter()
            kept = []
            for batch in _epoch(batches, number, epochs):
                state, found = step(state, batch)
                kept.append({name: value for name, value in found.items() if jnp.ndim(value) == 0})
                reporter.advance()
            metrics.append(_stacked(kept, number))
            seconds.append(time.perf_counter() - start)
            evaluation = {} if evaluate is None else _floats(evaluate(state))
            evaluations.append(evaluation)
            mean = {name: float(values.mean()) for name, values in metrics[-1].items()}
            reporter.epoch(number, {**mean, **evaluation}, seconds[-1])
    return state, TrainHistory(
        metrics={name: np.concatenate([m[name] for m in metrics]) for name in metrics[0]},
        evaluations=tuple(evaluations),
        epoch_seconds=tuple(seconds),
    )


def _epoch(batches: EpochSource | Iterable[Any], number: int, epochs: int) -> Iterator[Any]:
    if isinstance(batches, EpochSource):
        return batches.epoch(number)
    iterator = iter(batches)
    if iterator is batches and epochs > 1:
        raise DataError(
            f"{batches!r} can be read once, and epochs={epochs}. Pass a list, a Batches, or an "
            "object whose epoch(number) gives the batches of each epoch.",
            path=None,
            field="batches",
        )
    return iterator


def _stacked(kept: list[dict[str, Any]], number: int) -> dict[str, np.ndarray]:
    """Read the metrics of an epoch from the device, once."""
    if not kept:
        raise DataError(f"epoch {number} has no batches.", path=None, field="batches")
    on_host = jax.device_get(kept)
    return {name: np.array([m[name] for m in on_host], np.float64) for name in on_host[0]}


def _floats(evaluation: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in evaluation.items()}
