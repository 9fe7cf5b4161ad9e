"""The learning-rate finder: a short training whose learning rate grows until the loss explodes.

After L. Smith, "Cyclical learning rates for training neural networks" (WACV 2017, arXiv 2015),
section 3.3, and "A disciplined approach to neural network hyper-parameters" (2018). Smoothing and
the end are those of the fast.ai library. What is suggested belongs to `learning_rates`, the picture
to `learning_rate_plot`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fxgrad.errors import DataError, OptionError
from fxgrad.modes import Mode
from fxgrad.precision import Precision
from fxgrad.train.learning_rates import LearningRates
from fxgrad.train.state import TrainState
from fxgrad.train.step import make_step

_DECAY: Final = 0.9  # of the average of the losses
_EXPLODED: Final = 3.0  # times the size of the smallest average, above it
_PATIENCE: Final = 10  # steps before anything has exploded

MakeOptimizer = Callable[[Any], optax.GradientTransformation]


def find_learning_rate(
    loss: Callable[..., Any],
    make_optimizer: MakeOptimizer,
    state: Any,
    batches: Any,
    *,
    lowest: float = 1e-7,
    highest: float = 10.0,
    steps: int = 100,
    mode: Mode | None = None,
    precision: Precision = "f32",
) -> LearningRates:
    """Train for some steps with a learning rate that grows by the same factor at each.

    It ends early when the smoothed loss is four times its smallest value, or is not finite.
    The state that is given stays as it is.

    Args:
      loss: as for `make_step`.
      make_optimizer: a function from a learning rate, a float32 scalar, to an Optax optimizer,
        such as `optax.adam`.
      state: a `TrainState`, or parameters for a loss that needs nothing else.
      batches: as for `fit`; read again from the start when they end.
      lowest: the learning rate of the first step.
      highest: that of the last step.
      steps: how many, at least 10.
      mode: as for `fxgrad.function`.
      precision: as for `make_step`.

    Returns:
      `LearningRates`: what was tried, the losses, and a suggestion.

    Raises:
      OptionError: `steps` is too small or not whole, `lowest` and `highest` are not positive and in
        order, or `make_optimizer` is no function.
      DataError: there are no batches, or a dict, which is one batch.
    """
    _check_options(lowest, highest, steps)
    if not callable(make_optimizer):
        raise OptionError(
            "make_optimizer is an optimizer, and has to make one: write optax.sgd, or "
            "lambda rate: optax.adam(rate).",
            option="make_optimizer",
        )
    factor = (highest / lowest) ** (1 / (steps - 1))
    optimizer = _growing(make_optimizer, lowest, factor)
    step = make_step(loss, optimizer, mode=mode, precision=precision)
    training = _beginning(state, step)
    losses: list[float] = []
    smoothed: list[float] = []
    exploded = False
    for batch in itertools.islice(_endless(batches), steps):
        training, metrics = step(training, batch)
        losses.append(float(metrics["loss"]))
        smoothed.append(_average(losses))
        exploded = _has_exploded(smoothed)
        if exploded:
            break
    rates = tuple(lowest * factor**n for n in range(len(losses)))
    return LearningRates(rates, tuple(losses), tuple(smoothed), exploded)


def _check_options(lowest: float, highest: float, steps: int) -> None:
    if not 0 < lowest < highest < math.inf:
        raise OptionError(
            f"lowest={lowest} and highest={highest}: write two positive numbers, the smaller one "
            "first.",
            option="lowest",
        )
    if not isinstance(steps, int) or steps < _PATIENCE:
        message = f"steps={steps!r}: write {_PATIENCE} or more, a whole number."
        raise OptionError(message, option="steps")


def _growing(
    make_optimizer: MakeOptimizer, lowest: float, factor: float
) -> optax.GradientTransformationExtraArgs:
    """An optimizer that is made anew at each step, so that `make_optimizer` may do arithmetic."""

    def made(count: jax.Array) -> optax.GradientTransformationExtraArgs:
        rate = lowest * jnp.power(jnp.float32(factor), count.astype(jnp.float32))
        return optax.with_extra_args_support(make_optimizer(rate))

    def init(params: Any) -> tuple[jax.Array, Any]:
        count = jnp.zeros((), jnp.int32)
        return count, made(count).init(params)

    def update(
        updates: Any, state: Any, params: Any = None, **facts: Any
    ) -> tuple[Any, tuple[jax.Array, Any]]:
        count, inner = state
        updates, inner = made(count).update(updates, inner, params, **facts)
        return updates, (count + 1, inner)

    return optax.GradientTransformationExtraArgs(init, update)


def _beginning(state: Any, step: Any) -> TrainState:
    if not isinstance(state, TrainState):
        return TrainState.create(state, step)
    return TrainState.create(state.params, step, model_state=state.model_state, key=state.key)


def _endless(batches: Any) -> Iterator[Any]:
    """The batches of one epoch after the other; what can be read only once ends."""
    if isinstance(batches, Mapping):
        message = "batches is a dict, which is one batch: write [batch] or train.Batches."
        raise DataError(message, path=None, field="batches")
    for number in itertools.count():
        epoch: Iterable[Any] = batches.epoch(number) if hasattr(batches, "epoch") else batches
        is_empty = True
        for batch in epoch:
            is_empty = False
            yield batch
        if is_empty and number == 0:
            raise DataError("there are no batches.", path=None, field="batches")
        if is_empty:
            return


def _average(losses: list[float]) -> float:
    """The exponential average so far, of which the first terms are as good as the later ones."""
    weights = _DECAY ** np.arange(len(losses))[::-1]
    return float(np.average(losses, weights=weights))


def _has_exploded(smoothed: list[float]) -> bool:
    if not math.isfinite(smoothed[-1]):
        return True
    least = min(smoothed)  # below 0 for some losses
    return len(smoothed) >= _PATIENCE and smoothed[-1] > least + _EXPLODED * abs(least)
