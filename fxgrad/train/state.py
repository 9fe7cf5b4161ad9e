"""The state of a training: one pytree that a step takes and returns."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import optax


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
    """

    step: jax.Array
    params: Any
    opt_state: Any
    model_state: Any = field(default_factory=dict)
    key: Any = None

    @classmethod
    def create(
        cls,
        params: Any,
        optimizer: optax.GradientTransformation,
        *,
        model_state: Any = None,
        key: Any = None,
    ) -> TrainState:
        """The state before the first step.

        Args:
          params: the parameters, such as the first of the pair that a model's `init` returns.
          optimizer: an Optax optimizer, the one that the step uses.
          model_state: what the model itself changes: the second of that pair.
          key: a random key for the losses that take one.
        """
        return cls(
            step=jnp.zeros((), jnp.int32),
            params=params,
            opt_state=optimizer.init(params),
            model_state={} if model_state is None else model_state,
            key=key,
        )

    def replace(self, **changes: Any) -> TrainState:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)
