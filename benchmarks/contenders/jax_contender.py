"""JAX alone: ``python -m contenders.jax_contender NAME``."""

from __future__ import annotations

import sys

import jax
from contenders.jax_step import arguments, steps, train_step
from contenders.protocol import serve
from machine import device_name

TRAIN_STEPS = {"jax-eager": train_step, "jax-jit": jax.jit(train_step)}

if __name__ == "__main__":
    device = jax.devices()[0]
    serve(
        steps(TRAIN_STEPS[sys.argv[1]], *arguments()),
        device=device_name(device.platform, device.device_kind),
        packages=("jax", "jaxlib", "optax"),
    )
