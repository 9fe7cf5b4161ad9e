"""Linear algebra, and algorithms on matrices that pivot and converge by values."""

import jax
import jax.numpy as jnp

from tests.programs.program import matrix, program

b = jnp.array([1.0, 2.0, 3.0])
indefinite = matrix - 3 * jnp.eye(3)


@program((matrix, b))
def solve(a, b):
    return jnp.sum(jnp.linalg.solve(a, b) ** 2)


@program((matrix,), (indefinite,), static=False)
def cholesky_with_a_fallback(a):
    factor = jnp.linalg.cholesky(a)
    if jnp.isnan(factor).any():
        return jnp.sum(jnp.linalg.eigvalsh(a) ** 2)
    return jnp.sum(jnp.log(jnp.diag(factor)))


@program((matrix,), (indefinite,), static=False)
def jitter_until_cholesky_works(a):
    jitter = 0.0
    while jnp.isnan(jnp.linalg.cholesky(a + jitter * jnp.eye(3))).any():
        jitter = jitter * 2 + 1.0
    return jnp.sum(jnp.linalg.cholesky(a + jitter * jnp.eye(3)))


@program((matrix,), (indefinite,), static=False)
def positive_part_by_eigh(a):
    values, vectors = jnp.linalg.eigh(a)
    kept = vectors[:, values > 0]
    return jnp.sum((kept.T @ a @ kept) ** 2)


@program((matrix,))
def qr_of_a_product(a):
    q, r = jnp.linalg.qr(a @ a)
    return jnp.sum(jnp.abs(r)) + jnp.trace(q)


@program((matrix,), (matrix[:, :1] * matrix[:1],), static=False)
def rank_by_svd(a):
    singular = jnp.linalg.svd(a, compute_uv=False)
    rank = int(jnp.sum(singular > 1e-3 * singular[0]))
    return jnp.sum(singular[:rank] ** 2) * rank


@program((matrix,), (-matrix,), static=False)
def sign_of_the_determinant(a):
    sign, log = jnp.linalg.slogdet(a)
    return log if sign > 0 else jnp.linalg.det(a)


@program((matrix, b))
def triangular_solve(a, b):
    lower = jnp.linalg.cholesky(a)
    return jnp.sum(jax.scipy.linalg.solve_triangular(lower, b, lower=True) ** 2)


@program((matrix, b), (matrix[::-1], b), static=False)
def elimination_with_pivots(a, b):
    rows = jnp.concatenate([a, b[:, None]], axis=1)
    for i in range(2):
        pivot = i + int(jnp.argmax(jnp.abs(rows[i:, i])))
        if pivot != i:
            rows = rows.at[jnp.array([i, pivot])].set(rows[jnp.array([pivot, i])])
        rows = rows.at[i + 1 :].add(-rows[i + 1 :, i, None] / rows[i, i] * rows[i])
    return jnp.prod(jnp.diag(rows)) + rows[2, 3]


@program((matrix,), (jnp.diag(b),), static=False)
def power_iteration(a):
    vector = jnp.ones(3)
    for _ in range(8):
        following = a @ vector / jnp.linalg.norm(a @ vector)
        if jnp.linalg.norm(following - vector) < 0.05:
            break
        vector = following
    return vector @ a @ vector


@program((matrix, b), (jnp.eye(3), b), static=False)
def conjugate_gradient_with_a_break(a, b):
    solution, residual = jnp.zeros(3), b
    direction, square = residual, residual @ residual
    for _ in range(3):
        step = square / (direction @ a @ direction)
        solution, residual = solution + step * direction, residual - step * (a @ direction)
        before, square = square, residual @ residual
        if square < 1e-4:
            break
        direction = residual + square / before * direction
    return jnp.sum(solution**2)


@program((matrix,), (jnp.stack([b, 2 * b, matrix[0]]),), static=False)
def gram_schmidt_that_drops_rows(a):
    basis = []
    for row in a:
        for unit in basis:
            row = row - (row @ unit) * unit
        if jnp.linalg.norm(row) > 1e-3:
            basis.append(row / jnp.linalg.norm(row))
    return jnp.sum(jnp.stack(basis) ** 3)


@program((matrix * 0.1,), (matrix,), static=False)
def exponential_by_scaling_and_squaring(a):
    halvings = 0
    while jnp.linalg.norm(a) > 1:
        a, halvings = a / 2, halvings + 1
    power = jnp.eye(3) + a + a @ a / 2
    for _ in range(halvings):
        power = power @ power
    return jnp.trace(power)


@program((matrix,))
def batched_inverse_of_a_stack(a):
    stack = jnp.stack([a, a + jnp.eye(3)])
    return jnp.sum(jax.vmap(jnp.linalg.inv)(stack))
