"""The state of a training: one pytree that a step takes and returns."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import optax

from fxgrad.errors import LossError
from fxgrad.train.loss_scale import LossScale
from fxgrad.train.plan import Plan, plan_of

if TYPE_CHECKING:
    from fxgrad.execution.function import Function


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """All that changes from step to step. A pytree; every field may hold one.

    Attributes:
      step: how many steps were made; int32 scalar.
      params: what the optimizer changes.
      opt_state: what the optimizer remembers.
      model_state: what the model itself changes, such as batch statistics; ``{}`` for none.
      key: the random key of the training, or None. It stays the same; each step folds its own
        number into it, so a step's random numbers depend on nothing else.
      ema: an exponential moving average of `params` in float32, or None.
      loss_scale: the `LossScale` of a training in float16, or None.
    """

    step: jax.Array
    params: Any
    opt_state: Any
    model_state: Any = field(default_factory=dict)
    key: Any = None
    ema: Any = None
    loss_scale: Any = None

    @classmethod
    def create(
        cls,
        params: Any,
        optimizer: optax.GradientTransformation | Function[..., Any],
        *,
        model_state: Any = None,
        key: Any = None,
    ) -> TrainState:
        """The state before the first step.

        Args:
          params: the parameters, such as the first of the pair that a model's `init` returns.
          optimizer: the step from `make_step`, which knows its optimizer and what else it needs;
            or an Optax optimizer, for a step that needs nothing else.
          model_state: what the model itself changes: the second of that pair.
          key: a random key for the losses that take one.

        Raises:
          LossError: `optimizer` is neither.
        """
        plan = plan_of(optimizer)
        return cls(
            step=jnp.zeros((), jnp.int32),
            params=params,
            opt_state=plan.init(params),
            model_state={} if model_state is None else model_state,
            key=key,
            # Copies, because a step may take over the memory of both.
            ema=None if plan.ema is None else jax.tree.map(_copied_in_f32, params),
            loss_scale=LossScale.create() if plan.scales_loss else None,
        )

    def replace(self, **changes: Any) -> TrainState:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def averaged(self) -> TrainState:
        """The state with the average in place of the parameters, in their dtypes: to evaluate.

        Raises:
          LossError: there is no average.
        """
        if self.ema is None:
            raise LossError(
                "the state has no average of the parameters: write make_step(…, ema=0.999) and "
                "TrainState.create(params, step)."
            )
        return self.replace(
            params=jax.tree.map(lambda a, p: a.astype(p.dtype), self.ema, self.params)
        )


def check_state(state: Any, plan: Plan) -> None:
    """Refuse what is no state, or the state of another kind of step.

    Raises:
      LossError: it is.
    """
    if not isinstance(state, TrainState):
        raise LossError(
            f"a step takes a TrainState first, not a {type(state).__name__}: write "
            "TrainState.create(params, step)."
        )
    for name, is_needed, option in (
        ("ema", plan.ema is not None, "ema=0.999"),
        ("loss_scale", plan.scales_loss, "precision='f16'"),
    ):
        if is_needed and getattr(state, name) is None:
            raise LossError(
                f"the step was made with {option} or the like, and the state's {name} is None: "
                "write TrainState.create(params, step), with the step in place of the optimizer."
            )
        if not is_needed and getattr(state, name) is not None:
            raise LossError(
                f"the step would leave the state's {name} as it is: write "
                f"make_step(…, {option}), or state.replace({name}=None)."
            )


def _copied_in_f32(leaf: Any) -> jax.Array:
    is_float = jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
    return jnp.array(leaf, jnp.float32 if is_float else None)
