"""fxgrad, in each of its modes: ``python -m contenders.fxgrad_contender NAME``."""

from __future__ import annotations

import sys

import jax
from contenders.jax_step import arguments, steps, train_step
from contenders.protocol import serve
from machine import device_name

import fxgrad as fx
from fxgrad.modes import MODES

TRAIN_STEPS = {f"fx-{mode}": fx.function(train_step, mode=mode) for mode in MODES}

if __name__ == "__main__":
    device = jax.devices()[0]
    serve(
        steps(TRAIN_STEPS[sys.argv[1]], *arguments()),
        device=device_name(device.platform, device.device_kind),
        packages=("fxgrad",),
    )
