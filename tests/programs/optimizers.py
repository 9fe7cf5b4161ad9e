"""Steps that look at values: how far, whether at all, and whether to go on."""

import jax
import jax.numpy as jnp
import optax

from tests.programs.program import program, scalars, vectors


def bowl(v):
    return jnp.sum(jnp.array([1.0, 4.0]) * v**2) + v[0] * v[1]


@program(*vectors([0.1, 0.1], [3, -2]), static=False)
def gradient_clipped_by_an_if(v):
    slope = jax.grad(bowl)(v)
    norm = jnp.linalg.norm(slope)
    if norm > 1:
        slope = slope / norm
    return bowl(v - 0.1 * slope)


@program(*vectors([1, 1], [1, -1]), static=False)
def step_skipped_on_nan(v):
    slope = jax.grad(lambda u: jnp.sum(jnp.sqrt(u)))(v)
    if not jnp.isfinite(slope).all():
        return jnp.sum(v**2)
    return jnp.sum((v - 0.1 * slope) ** 2)


@program(*vectors([0.05, 0.0], [1, 1], [3, -2]), static=False)
def backtracking_line_search(v):
    slope, rate = jax.grad(bowl)(v), 1.0
    while bowl(v - rate * slope) > bowl(v) - 0.5 * rate * jnp.sum(slope**2):
        rate /= 2
    return bowl(v - rate * slope)


@program(*vectors([0.1, -3], [0.5, -0.2], [0.5, 0.3], [1, 0.3]), static=False)
def rate_that_drops_on_a_plateau(v):
    rate, best = 0.24, bowl(v) * 0.5
    for _ in range(4):
        v = v - rate * jax.grad(bowl)(v)
        loss = bowl(v)
        if loss < best * 0.5:
            best = loss
        else:
            rate /= 4
    return loss


@program(*vectors([0.01, 0.01], [1, 1], [4, 4]), static=False)
def early_stopping(v):
    for turn in range(4):
        slope = jax.grad(bowl)(v)
        if jnp.max(jnp.abs(slope)) < 0.5:
            return bowl(v) + turn
        v = v - 0.1 * slope
    return bowl(v)


@program(*vectors([3, -2], [1, -0.2]), static=False)
def momentum_restarted_uphill(v):
    speed = jnp.zeros(2)
    for _ in range(4):
        slope = jax.grad(bowl)(v)
        if speed @ slope > 0:
            speed = jnp.zeros(2)
        speed = 0.9 * speed - 0.12 * slope
        v = v + speed
    return bowl(v)


@program(*vectors([1, 1], [0.1, -4]), static=False)
def optax_update_with_a_switch(v):
    optimizer = optax.adam(0.1, eps_root=1e-6) if bowl(v) < 10 else optax.sgd(0.05, momentum=0.9)
    state = optimizer.init(v)
    for _ in range(2):
        with jax.numpy_dtype_promotion("standard"):  # Adam takes a float to an integer's power
            updates, state = optimizer.update(jax.grad(bowl)(v), state, v)
        v = optax.apply_updates(v, updates)
    return bowl(v)


@program(*vectors([1, 1], [30, -40]), static=False)
def optax_count_decides(v):
    optimizer = optax.chain(optax.clip_by_global_norm(5.0), optax.sgd(0.1))
    state = optimizer.init(v)
    while bowl(v) > 1 and optax.tree.norm(v) < 45:
        updates, state = optimizer.update(jax.grad(bowl)(v) * 2, state)
        v = optax.apply_updates(v, updates) * 0.8
    return bowl(v)


@program(*vectors([1, 1], [0.5, -3]), static=False)
def trust_region(v):
    radius = 0.5
    for _ in range(3):
        slope, value = jax.grad(bowl)(v), bowl(v)
        step = -jnp.linalg.solve(jax.hessian(bowl)(v) + jnp.eye(2), slope)
        if jnp.linalg.norm(step) > radius:
            step = step * radius / jnp.linalg.norm(step)
        if value - bowl(v + step) > 0.4 * value:
            v, radius = v + step, radius * 2
        else:
            v, radius = v + step / 2, radius / 2
    return bowl(v)


@program(*scalars(0.5, 200, 3000, 1e6), static=False)
def loss_scale_in_float16(x):
    def scaled_square(y, scale):
        return (y.astype(jnp.float16) ** 2 * scale).astype(jnp.float32)

    scale = 64.0
    for _ in range(3):
        slope = jax.grad(scaled_square)(x, scale)
        if jnp.isfinite(slope):
            return x - 0.1 * slope / scale
        scale /= 64
    return x * 0.5


@program(*vectors([0.1, -3], [0.1, -0.2], [4, -1], [1, -0.2]), static=False)
def coordinate_descent_on_the_steepest(v):
    for _ in range(3):
        slope = jax.grad(bowl)(v)
        steepest = int(jnp.argmax(jnp.abs(slope)))
        v = v.at[steepest].add(-0.1 * slope[steepest])
    return bowl(v)
