"""Derivatives taken inside the program, with decisions in them and on them."""

import jax
import jax.numpy as jnp

from tests.programs.program import matrix, program, scalars, vectors, x


@program((x,))
def gradient_inside(x):
    return jnp.sum(jax.grad(lambda y: jnp.sum(y**3))(x))


@program(*vectors([1, 1], [5, 5]), static=False)
def decision_on_a_gradient(x):
    slope = jax.grad(lambda y: jnp.sum(y**3))(x)
    return jnp.sum(slope * x) if jnp.linalg.norm(slope) < 10 else jnp.sum(jnp.tanh(slope))


@program(*scalars(2, -2), static=False)
def decision_inside_a_derivative(x):
    return jax.grad(lambda y: y**3 if y > 0 else jnp.sin(y))(x) * x


@program(*scalars(2, 0.5, -2), static=False)
def value_and_gradient_both_decide(x):
    value, slope = jax.value_and_grad(lambda y: y**3 - y)(x)
    if value > 0 and slope > 5:
        return value * slope
    return slope - value


@program(*scalars(2, -2), static=False)
def auxiliary_output_decides(x):
    def loss(y):
        return y**2, {"positive": y > 0, "half": y / 2}

    slope, aux = jax.grad(loss, has_aux=True)(x)
    return slope * aux["half"] if aux["positive"] else slope**2


@program(*vectors([1, 2], [-1, 2]), static=False)
def vjp_with_a_chosen_cotangent(x):
    y, pullback = jax.vjp(lambda v: jnp.stack([v[0] * v[1], v[0] ** 3]), x)
    (cotangent,) = pullback(y if y[0] > 0 else jnp.ones(2))
    return jnp.sum(cotangent)


@program(*vectors([1, 2], [-1, 2]), static=False)
def pullback_called_only_where_needed(x):
    y, pullback = jax.vjp(jnp.prod, x)
    return y if y > 0 else y * jnp.sum(pullback(y)[0])


@program(*scalars(1, -1), static=False)
def jvp_with_a_decision_inside(x):
    value, tangent = jax.jvp(lambda y: y**2 if y > 0 else y**3, (x,), (x * 2,))
    return value + tangent


@program(*vectors([1, 2], [2, 1]), static=False)
def jacfwd_then_a_pivot(x):
    jacobian = jax.jacfwd(lambda v: jnp.stack([v[0] * v[1], v[0] + v[1] ** 2]))(x)
    return jnp.sum(jacobian[int(jnp.argmax(x))] ** 2)


@program((x[:2] + 2,))
def jacrev_of_jacfwd(x):
    return jnp.sum(jax.jacrev(jax.jacfwd(lambda v: jnp.prod(jnp.sin(v)) ** 2))(x))


@program(*vectors([1, 1], [3, -1]), static=False)
def hessian_decides_on_the_step(x):
    def loss(v):
        return v[0] ** 4 / 4 + v[0] * v[1] ** 3

    hessian = jax.hessian(loss)(x)
    if jnp.all(jnp.linalg.eigvalsh(hessian) > 0):
        return jnp.sum(jnp.linalg.solve(hessian, x))
    return jnp.sum(jax.grad(loss)(x))


@program(*scalars(0.5, 2), static=False)
def decision_three_derivatives_deep(x):
    fourth = jax.grad(jax.grad(lambda y: y**5 if y > 1 else jnp.exp(y)))
    return jax.grad(fourth)(x) * x


@program((x,))
def product_with_a_hessian(x):
    def loss(v):
        return jnp.sum(jnp.sin(v) ** 3)

    return jnp.sum(jax.jvp(jax.grad(loss), (x,), (jnp.cos(x),))[1])


@program(*scalars(1, 2), static=False)
def linearized_then_decided(x):
    value, tangent = jax.linearize(lambda y: jnp.sin(y) * y, x)
    return tangent(x) if value > tangent(x) else tangent(value) ** 2


@jax.custom_vjp
def clipped_gradient(x):
    return x**2


clipped_gradient.defvjp(lambda x: (x**2, x), lambda x, g: (jnp.clip(2 * x * g, -1.0, 1.0),))


@program((x,))
def custom_derivative(x):
    return jnp.sum(clipped_gradient(x))


@program(*scalars(0.2, 2), static=False)
def custom_derivative_in_a_chosen_branch(x):
    y = clipped_gradient(x) if x > 1 else x**3
    return clipped_gradient(y) * x


@jax.custom_vjp
def by_sign(x):
    return x**2 if x > 0 else x**3


def _by_sign_forward(x):
    return by_sign(x), x


def _by_sign_backward(x, g):
    return (g * 10 if x > 1 else g * x,)


by_sign.defvjp(_by_sign_forward, _by_sign_backward)


@program(*scalars(2, 0.5, -2), static=False)
def decisions_in_a_custom_vjp_and_its_rules(x):
    return by_sign(x) * 3


@jax.custom_jvp
def safe_sqrt(x):
    return jnp.sqrt(jnp.maximum(x, 0))


@safe_sqrt.defjvp
def _safe_sqrt_jvp(primals, tangents):
    root = safe_sqrt(primals[0])
    return root, tangents[0] / (2 * jnp.maximum(root, 0.1))


@program((x,), (x + 3,))
def custom_jvp_rule(x):
    return jnp.sum(safe_sqrt(x))


@program((x,))
def straight_through_rounding(x):
    return jnp.sum((x + jax.lax.stop_gradient(jnp.round(x) - x)) ** 2)


@program((x[:2], matrix[:2, :2]))
def gradient_penalty(x, w):
    slope = jax.grad(lambda v: jnp.sum(jnp.tanh(v @ w)))(x)
    return (jnp.sqrt(jnp.sum(slope**2)) - 1) ** 2


@program((matrix, jnp.array([1.0, 2.0, 3.0])))
def implicit_derivative_of_a_root(a, b):
    root = jax.lax.custom_root(
        lambda y: a @ y + 0.1 * y - b,
        jnp.zeros(3),
        lambda f, y: jnp.linalg.solve(jax.jacobian(f)(y), b),
        lambda g, y: jnp.linalg.solve(jax.jacobian(g)(y), y),
    )
    return jnp.sum(root**2)


@program(*scalars(0.5, 2), static=False)
def functions_that_make_derivatives(x):
    def chain(function, order):
        return function if order == 0 else chain(jax.grad(function), order - 1)

    return chain(lambda y: jnp.sin(y) * y**2, 2 if x > 1 else 1)(x)
