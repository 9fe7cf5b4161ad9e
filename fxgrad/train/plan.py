"""What a step was made with, and so what its state must hold. What it computes is `step`'s."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import jax
import optax

from fxgrad.errors import LossError, OptionError
from fxgrad.precision import Precision, check_precision


@dataclass(frozen=True)
class Plan:
    """The optimizer and the options of a step.

    Attributes:
      optimizer: an Optax optimizer.
      precision: of the loss's products.
      skip_nonfinite: whether a step that is not finite changes nothing.
      ema: the decay of the average of the parameters, or None for no average.
      gradient_norm: whether the norm of the gradients is a metric.

    Raises:
      LossError: `optimizer` is none.
      OptionError: `precision` is none, or `ema` is not between 0 and 1.
    """

    optimizer: optax.GradientTransformation
    precision: Precision = "f32"
    skip_nonfinite: bool = False
    ema: float | None = None
    gradient_norm: bool = False

    def __post_init__(self) -> None:
        check_precision(self.precision)
        if not callable(getattr(self.optimizer, "update", None)):
            raise LossError(
                f"{self.optimizer!r} is not an optimizer: write optax.sgd(0.01) or another."
            )
        if self.ema is not None and not 0 < self.ema < 1:
            raise OptionError(
                f"ema={self.ema}: the decay of an average is between 0 and 1, such as 0.999.",
                option="ema",
            )

    # Optax mixes dtypes (`adam` has ``0.9 ** int32``), so JAX's strictness ends before it.

    def init(self, params: Any) -> Any:
        """What the optimizer remembers before the first step."""
        with jax.numpy_dtype_promotion("standard"):
            return self.optimizer.init(params)

    def update(self, gradients: Any, opt_state: Any, params: Any, **facts: Any) -> Any:
        """The updates of the parameters, and what the optimizer remembers from now on."""
        with jax.numpy_dtype_promotion("standard"):
            optimizer = optax.with_extra_args_support(self.optimizer)
            return optimizer.update(gradients, opt_state, params, **facts)

    @property
    def scales_loss(self) -> bool:
        """Whether gradients would be lost without a factor: those in float16."""
        return self.precision == "f16"

    @property
    def may_skip(self) -> bool:
        """Whether a step may change nothing."""
        return self.skip_nonfinite or self.scales_loss


def plan_of(optimizer: Any) -> Plan:
    """The plan of a step from `make_step`, or one of an optimizer alone.

    Raises:
      LossError: it is neither.
    """
    made = inspect.unwrap(optimizer) if callable(optimizer) else optimizer
    plan = getattr(made, "__dict__", {}).get("plan")
    if isinstance(plan, Plan):
        return plan
    if not callable(getattr(optimizer, "init", None)):
        raise LossError(
            f"{optimizer!r} is neither an Optax optimizer nor a step of train.make_step: write "
            "TrainState.create(params, optimizer) or TrainState.create(params, step)."
        )
    return Plan(cast("optax.GradientTransformation", optimizer))


def remember(step: Callable[..., Any], plan: Plan) -> None:
    """Let `plan_of` find the plan of a plain function, also through what wraps it."""
    step.__dict__["plan"] = plan
