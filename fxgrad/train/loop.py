"""The training loop: epochs of steps, an evaluation after each, progress, and a history."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any, Protocol, cast

import jax
import jax.numpy as jnp
import numpy as np

from fxgrad.errors import DataError, LossError, OptionError, TrainingWarning
from fxgrad.train.history import TrainHistory
from fxgrad.train.progress import report
from fxgrad.train.state import TrainState

Evaluate = Callable[[TrainState], Mapping[str, Any]]


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
      LossError: the metrics are not the same scalars at each step, or `evaluate` returns no dict.
      OptionError: `epochs` is less than 1.

    Warns:
      TrainingWarning: the mean loss of an epoch is not finite.
    """
    check_epochs(epochs)
    steps_per_epoch = count_batches(batches)
    metrics: list[dict[str, np.ndarray]] = []
    evaluations: list[dict[str, float]] = []
    seconds: list[float] = []
    with report(title, epochs, steps_per_epoch, progress) as reporter:
        for number in range(epochs):
            start = time.perf_counter()
            kept = []
            for batch in epoch_of(batches, number, epochs):
                state, found = step(state, batch)
                kept.append(_scalars(found, kept))
                reporter.advance()
            metrics.append(_stacked(kept, number))
            seconds.append(time.perf_counter() - start)
            evaluation = {} if evaluate is None else floats(evaluate(state))
            evaluations.append(evaluation)
            mean = {name: float(values.mean()) for name, values in metrics[-1].items()}
            reporter.epoch(number, {**mean, **evaluation}, seconds[-1])
            _warn_if_lost(mean["loss"], number)
    return state, TrainHistory(
        metrics={name: np.concatenate([m[name] for m in metrics]) for name in metrics[0]},
        evaluations=tuple(evaluations),
        epoch_seconds=tuple(seconds),
    )


def check_epochs(epochs: int) -> None:
    """Refuse a training without epochs.

    Raises:
      OptionError: `epochs` is less than 1.
    """
    if epochs < 1:
        raise OptionError(f"epochs={epochs}: a training has at least 1 epoch.", option="epochs")


def count_batches(batches: EpochSource | Iterable[Any]) -> int | None:
    """The number of batches in an epoch, where it is known before."""
    return len(batches) if isinstance(batches, Sized) else None


def epoch_of(batches: EpochSource | Iterable[Any], number: int, epochs: int) -> Iterator[Any]:
    """The batches of epoch `number`, from 0.

    Raises:
      DataError: `batches` is one batch, or can be read only once.
    """
    if callable(getattr(batches, "epoch", None)):
        return cast("EpochSource", batches).epoch(number)
    if isinstance(batches, Mapping):
        raise DataError(
            "batches is a dict, which is one batch: write train.Batches(arrays, batch_size=64).",
            path=None,
            field="batches",
        )
    iterator = iter(cast("Iterable[Any]", batches))
    if iterator is batches and epochs > 1:
        raise DataError(
            f"{batches!r} can be read once, and epochs={epochs}. Pass a list, a Batches, or an "
            "object whose epoch(number) gives the batches of each epoch.",
            path=None,
            field="batches",
        )
    return iterator


def floats(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """What an evaluation gave, as Python floats.

    Raises:
      LossError: it is no dict of scalars.
    """
    if not isinstance(evaluation, Mapping) or any(jnp.ndim(v) for v in evaluation.values()):
        raise LossError(
            f"evaluate must return a dict of scalars, such as {{'accuracy': …}}; it returned "
            f"{evaluation!r}."
        )
    return {name: float(value) for name, value in evaluation.items()}


def _scalars(metrics: Mapping[str, Any], before: list[dict[str, Any]]) -> dict[str, Any]:
    """The metrics of a step, if they are scalars and those of the step before."""
    if "loss" not in metrics:
        raise LossError(f"the step's metrics have no 'loss', only {[*metrics]}.")
    for name, value in metrics.items():
        if not hasattr(value, "shape") or value.shape != ():
            raise LossError(
                f"the metric {name!r} is not a scalar, so it has no place in a history: reduce it, "
                "with jax.numpy.mean for example, or leave it out."
            )
    if before and before[0].keys() != metrics.keys():
        raise LossError(f"the metrics were {[*before[0]]} and are now {[*metrics]}.")
    return dict(metrics)


def _stacked(kept: list[dict[str, Any]], number: int) -> dict[str, np.ndarray]:
    """Read the metrics of an epoch from the device, once."""
    if not kept:
        raise DataError(f"epoch {number} has no batches.", path=None, field="batches")
    on_host = jax.device_get(kept)
    return {name: np.array([m[name] for m in on_host], np.float64) for name in on_host[0]}


def _warn_if_lost(loss: float, number: int) -> None:
    if not np.isfinite(loss):
        warnings.warn(
            f"the mean loss of epoch {number + 1} is {loss}: is a label out of range, or the "
            "learning rate too high?",
            TrainingWarning,
            stacklevel=3,
        )
