"""Numerical algorithms that go on until they are good enough."""

import jax
import jax.numpy as jnp

from tests.programs.program import program, scalars, vectors


@program(*scalars(1, 2, 50), static=False)
def newton_to_a_tolerance(x):
    root = x
    while jnp.abs(root**2 - x) > 1e-2:
        root = root - (root**2 - x) / (2 * root)
    return root


@program(*scalars(0.5, 2, 7), static=False)
def bisection(x):
    low, high = jnp.zeros(()), x + 1
    while high - low > 1:
        middle = (low + high) / 2
        if middle**2 < x:
            low = middle
        else:
            high = middle
    return (low + high) / 2 * x


@program(*scalars(0.5, 2, 4, -0.6), static=False)
def secant_method_that_may_diverge(x):
    before, now = x, x + 1
    for _ in range(5):
        slope = (jnp.cos(now) - jnp.cos(before)) / (now - before)
        if jnp.abs(slope) < 0.1:
            return now * 3
        before, now = now, now - jnp.cos(now) / slope
        if jnp.abs(jnp.cos(now)) < 1e-2:
            break
    return now


@program(*scalars(0.5, 3), static=False)
def golden_section_search(x):
    low, high = x - 2, x + 3
    while high - low > 2:
        a, b = high - 0.618 * (high - low), low + 0.618 * (high - low)
        if (a - 0.6) ** 2 < (b - 0.6) ** 2:
            high = b
        else:
            low = a
    return low * high


@program(*scalars(0.3, 2, 6), static=False)
def adaptive_step_of_an_ode(rate):
    time, step, y = 0.0, 0.5, jnp.ones(())
    while time < 1:
        step = min(step, 1 - time)
        middle = y - rate * y * step / 2
        error = jnp.abs(rate**2 * y * step**2 / 2)
        if error > 0.5:
            step /= 2
            continue
        y, time = y - rate * middle * step, time + step
        if error < 0.1:
            step *= 2
    return y


@program(*vectors([1, 0], [0.1, -1], [2, 1]), static=False)
def bouncing_ball(x):
    height, speed = x
    for _ in range(4):
        height, speed = height + 0.5 * speed, speed - 2
        if height < 0:
            height, speed = -height, -0.7 * speed
    return height + speed**2


@program(*scalars(0.5, 2.5), static=False)
def adaptive_quadrature(x):
    def area(low, high):
        middle = (low + high) / 2
        rough = (high - low) * jnp.exp(-(middle**2))
        fine = (high - low) / 2 * (jnp.exp(-(low**2)) + jnp.exp(-(high**2)))
        if jnp.abs(rough - fine) < 0.1:
            return rough
        return area(low, middle) + area(middle, high)

    return area(x * 0, x)


@program(*vectors([0, 1, 5, 6], [0, 5, 5.5, 6], [0, 2, 3, 9]), static=False)
def k_means_until_nothing_moves(points):
    centers, before = points[jnp.array([0, 1])], None
    for _ in range(5):
        nearest = [int(jnp.argmin((point - centers) ** 2)) for point in points]
        if nearest == before:
            break
        groups = [[p for p, n in zip(points, nearest, strict=True) if n == k] for k in (0, 1)]
        centers = jnp.stack([sum(group) / len(group) for group in groups])
        before = nearest
    return centers[0] * centers[1] + jnp.sum(centers)


@program(*scalars(0.5, 2), static=False)
def fixed_point_and_its_speed(x):
    y, turns = x, 0
    while jnp.abs(jnp.cos(y) * x / 2 - y) > 0.05 and turns < 6:
        y, turns = jnp.cos(y) * x / 2, turns + 1
    return y + turns


@program(*vectors([12, 18], [7, 7], [9, 4]), static=False)
def greatest_common_divisor(x):
    a, b = x
    while b > 0.5:
        a, b = b, jnp.mod(a, b)
    return a * jnp.sum(x)


@program(*vectors([0.28, 0.44, 0.28], [0.6, 0.3, 0.1], [100, 0, 0]), static=False)
def page_rank_until_it_settles(x):
    links = jnp.array([[0, 0.5, 0], [1.0, 0, 1.0], [0, 0.5, 0]])
    rank = x
    for _ in range(6):
        following = 0.5 * links @ rank + 0.5 / 3
        if jnp.max(jnp.abs(following - rank)) < 0.1:
            return jnp.sum(following**2)
        rank = following
    return jnp.sum(rank)


@program(*vectors([1, 1], [0.1, -3], [4, -3]), static=False)
def damped_least_squares(v):
    def residuals(u):
        return jnp.stack([u[0] ** 2 - 2, u[0] * u[1] - 1])

    damping = 1.0
    for _ in range(3):
        jacobian, error = jax.jacfwd(residuals)(v), residuals(v)
        step = jnp.linalg.solve(jacobian.T @ jacobian + damping * jnp.eye(2), jacobian.T @ error)
        if jnp.sum(residuals(v - step) ** 2) < 0.3 * jnp.sum(error**2):
            v, damping = v - step, damping / 4
        else:
            damping *= 4
    return jnp.sum(v)
