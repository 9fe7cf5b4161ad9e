"""Newton's method, with Python's while and with lax's."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from workloads.newton import task

System = dict[str, jax.Array]


def step(system: System, b: jax.Array) -> tuple[System, jax.Array]:
    a, x = system["a"], jnp.zeros_like(b)
    residual = _residual(a, x, b)
    while jnp.max(jnp.abs(residual)) > task.TOLERANCE:
        x = x - jnp.linalg.solve(_jacobian(a, x), residual)
        residual = _residual(a, x, b)
    return system, x


def step_by_hand(system: System, b: jax.Array) -> tuple[System, jax.Array]:
    a, start = system["a"], jnp.zeros_like(b)

    def is_far(carry: tuple[jax.Array, jax.Array]) -> jax.Array:
        return jnp.max(jnp.abs(carry[1])) > task.TOLERANCE

    def improve(carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        x, residual = carry
        x = x - jnp.linalg.solve(_jacobian(a, x), residual)
        return x, _residual(a, x, b)

    x, _ = lax.while_loop(is_far, improve, (start, _residual(a, start, b)))
    return system, x


def _residual(a: jax.Array, x: jax.Array, b: jax.Array) -> jax.Array:
    return a @ x + x**3 - b


def _jacobian(a: jax.Array, x: jax.Array) -> jax.Array:
    return a + jnp.diag(3 * x**2)
