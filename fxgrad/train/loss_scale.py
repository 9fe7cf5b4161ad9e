"""Dynamic loss scaling: float16 ends at 6e-8, and gradients are kept above it by a factor.

After Micikevicius et al., "Mixed precision training" (ICLR 2018), section 3.2, with the factors
and the interval of PyTorch's ``torch.amp.GradScaler``. Which steps are skipped belongs to `step`.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Final

import jax
import jax.numpy as jnp

from fxgrad.errors import OptionError

_FIRST: Final = 2.0**16
_FACTOR: Final = 2.0
_INTERVAL: Final = 2000
_LEAST: Final = 1.0
_MOST: Final = 2.0**127  # the largest power of two in float32


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
          OptionError: `scale` is no power of two from 1 to 2**127, or `interval` no number of
            steps.
        """
        if not (_LEAST <= scale <= _MOST and math.frexp(scale)[0] == 0.5):
            message = f"scale={scale}: write a power of two, from 1 to 2.0**127."
            raise OptionError(message, option="scale")
        if not isinstance(interval, int) or interval < 1:
            message = f"interval={interval!r}: write a whole number of steps, 1 or more."
            raise OptionError(message, option="interval")
        zero = jnp.zeros((), jnp.int32)
        return cls(scale=jnp.asarray(scale, jnp.float32), good_steps=zero, interval=interval)

    def multiply(self, loss: jax.Array) -> jax.Array:
        """The loss times the scale, in the loss's dtype."""
        return loss * self.scale.astype(loss.dtype)

    def divide(self, gradients: Any) -> Any:
        """The gradients divided by the scale, each in its dtype."""
        return jax.tree.map(self._divided, gradients)

    def _divided(self, gradient: jax.Array) -> jax.Array:
        # In float16 a scale of 2**16 would be infinite, and each gradient 0.
        wide = jnp.float32 if jnp.finfo(gradient.dtype).bits < 32 else gradient.dtype
        return (gradient.astype(wide) / self.scale.astype(wide)).astype(gradient.dtype)

    def after(self, is_finite: jax.Array) -> LossScale:
        """The scale after one step: halved after an overflow, doubled after `interval` others.

        It stays from 1 to 2**127: an infinite one could not be halved.
        """
        good_steps = self.good_steps + 1
        is_due = good_steps >= self.interval
        grown = jnp.where(is_due, self.scale * _FACTOR, self.scale)
        scale = jnp.where(is_finite, grown, self.scale / _FACTOR)
        return dataclasses.replace(
            self,
            scale=jnp.clip(scale, _LEAST, _MOST),
            good_steps=jnp.where(is_finite & ~is_due, good_steps, jnp.zeros_like(good_steps)),
        )
