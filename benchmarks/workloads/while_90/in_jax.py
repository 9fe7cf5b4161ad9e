"""The descent, with Python's while and with lax's."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from workloads.while_90 import task

Answer = tuple[jax.Array, Any]  # where it ends, how many turns it took


def step(state: dict[str, jax.Array], x: jax.Array) -> tuple[dict[str, jax.Array], Answer]:
    turns = 0
    while jnp.linalg.norm(x) > 1:
        x = x - task.RATE * x
        turns += 1
    return state, (x, turns)


def step_by_hand(state: dict[str, jax.Array], x: jax.Array) -> tuple[dict[str, jax.Array], Answer]:
    def is_far(carry: Answer) -> jax.Array:
        return jnp.linalg.norm(carry[0]) > 1

    def descend(carry: Answer) -> Answer:
        x, turns = carry
        return x - task.RATE * x, turns + 1

    return state, lax.while_loop(is_far, descend, (x, 0))
