"""Dynamic loss scaling: float16 ends at 6e-8, and gradients are kept above it by a factor.

After Micikevicius et al., "Mixed precision training" (ICLR 2018), section 3.2, with the factors
and the interval of PyTorch's ``torch.amp.GradScaler``. Which steps are skipped belongs to `step`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Final

import jax
import jax.numpy as jnp

from fxgrad.errors import OptionError

_FIRST: Final = 2.0**16
_FACTOR: Final = 2.0
_INTERVAL: Final = 2000
_LEAST: Final = 1.0


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LossScale:
    """The factor of the loss, and how long it has done well. A pytree.

    Attributes:
      scale: what the loss is multiplied by before it is differentiated; float32 scalar. A power of
        two, so that dividing the gradients by it again rounds nothing.
      good_steps: finite steps since it was last changed; int32 scalar.
      interval: after so many finite steps it is doubled.
    """

    scale: jax.Array
    good_steps: jax.Array
    interval: int = field(default=_INTERVAL, metadata={"static": True})

    @classmethod
    def create(cls, scale: float = _FIRST, *, interval: int = _INTERVAL) -> LossScale:
        """The scale before the first step.

        Raises:
          OptionError: `scale` is below 1, or `interval` is.
        """
        for option, value in (("scale", scale), ("interval", interval)):
            if value < 1:
                raise OptionError(f"{option}={value}: write 1 or more.", option=option)
        zero = jnp.zeros((), jnp.int32)
        return cls(scale=jnp.asarray(scale, jnp.float32), good_steps=zero, interval=interval)

    def multiply(self, loss: jax.Array) -> jax.Array:
        """The loss times the scale, in the loss's dtype."""
        return loss * self.scale.astype(loss.dtype)

    def divide(self, gradients: Any) -> Any:
        """The gradients divided by the scale, each in its dtype."""
        return jax.tree.map(lambda g: g / self.scale.astype(g.dtype), gradients)

    def after(self, is_finite: jax.Array) -> LossScale:
        """The scale after one step: halved after an overflow, doubled after `interval` others."""
        good_steps = self.good_steps + 1
        is_due = good_steps >= self.interval
        grown = jnp.where(is_due, self.scale * _FACTOR, self.scale)
        shrunk = jnp.maximum(self.scale / _FACTOR, _LEAST)
        return dataclasses.replace(
            self,
            scale=jnp.where(is_finite, grown, shrunk),
            good_steps=jnp.where(is_finite & ~is_due, good_steps, jnp.zeros_like(good_steps)),
        )
