"""Losses and training loops with decisions in them."""

import jax
import jax.numpy as jnp

from tests.programs.program import program, scalars, vectors, x

features = jnp.sin(jnp.arange(8.0)).reshape(4, 2)
labels = jnp.array([1.0, -1.0, 0.5, 2.0])
start = {"w": jnp.array([0.5, -0.3]), "b": jnp.array(0.1)}


def squared(params, rows=features, targets=labels):
    return jnp.mean((rows @ params["w"] + params["b"] - targets) ** 2)


def scaled(number):
    """The start further out: other paths."""
    return {"w": start["w"] * number, "b": start["b"]}


def descend(params, slopes, rate):
    return jax.tree.map(lambda p, g: p - rate * g, params, slopes)


@program((start,))
def sgd_steps(params):
    for _ in range(2):
        params = descend(params, jax.grad(squared)(params), 0.1)
    return squared(params)


@program(*scalars(0.2, -0.7, 4), static=False)
def huber_loss_by_an_if(error):
    size = jnp.abs(error)
    return error**2 / 2 if size < 0.5 else 0.5 * (size - 0.25)


@program((start, jnp.float32(3)), (start, jnp.float32(0.1)), static=False)
def hard_examples_only(params, limit):
    losses = (features @ params["w"] - labels) ** 2
    hard = losses[losses > limit]
    return jnp.mean(hard) if hard.size else jnp.mean(losses)


@program((x[:2], x[2:4]), (x[:2], x[:2] + 0.1), static=False)
def triplet_loss_with_a_margin(anchor, other):
    distance = jnp.sum((anchor - other) ** 2)
    return jnp.zeros(()) if distance > 1 else 1 - distance + jnp.sum(anchor * 0)


@program((scaled(-9),), (scaled(-3),), (start,), static=False)
def inner_loop_of_meta_learning(params):
    fast = params
    for i in range(3):
        slopes = jax.grad(squared)(fast, features[i : i + 2], labels[i : i + 2])
        if jnp.sum(slopes["w"] ** 2) > 0.7:
            fast = descend(fast, slopes, 0.1)
    return squared(fast)


@program((start, jnp.float32(0.01)), (start, jnp.float32(0.4)), static=False)
def meta_gradient_to_the_rate(params, rate):
    before = squared(params)
    after = squared(descend(params, jax.grad(squared)(params), rate))
    return after if after < before * 0.9 else after + 10 * (after - before)


@program((scaled(-9),), (scaled(-3),), (scaled(5),), static=False)
def gradients_gathered_until_large(params):
    held = jax.tree.map(jnp.zeros_like, params)
    for row, target in zip(features, labels, strict=True):
        slopes = jax.grad(squared)(params, row, target)
        held = jax.tree.map(jnp.add, held, slopes)
        if jnp.abs(held["b"]) > 2:
            params = descend(params, held, 0.05)
            held = jax.tree.map(jnp.zeros_like, params)
    return squared(params)


@program((features[0], start), (features[1] * 4, start), static=False)
def adversarial_example(row, params):
    slope = jax.grad(lambda r: (r @ params["w"]) ** 2)(row)
    moved = row + 0.5 * jnp.sign(jax.lax.stop_gradient(slope))
    margin = moved @ params["w"]
    return margin**2 if margin > 0 else jnp.exp(margin)


@program((scaled(-9),), (scaled(-3),), static=False)
def average_that_follows_good_steps(params):
    average, best = params, squared(params)
    for _ in range(3):
        params = descend(params, jax.grad(squared)(params), 0.6)
        if squared(params) < best * 0.8:
            average = jax.tree.map(lambda a, p: 0.5 * a + 0.5 * p, average, params)
            best = squared(params)
    return squared(average)


@program((start, jnp.float32(0.2)), (start, jnp.float32(5)), static=False)
def penalty_added_while_a_constraint_is_broken(params, limit):
    loss = squared(params)
    for scale in (1.0, 2.0, 4.0):
        broken = jnp.sum(params["w"] ** 2) - limit
        if broken <= 0:
            break
        loss = loss + scale * broken**2
        params = jax.tree.map(lambda p: p * 0.8, params)
    return loss


@program(*vectors([1, 1], [0.1, -1]), static=False)
def two_losses_weighed_by_the_larger(v):
    first, second = jnp.sum((v - 1) ** 2), jnp.sum(v**4) + v[0]
    weight = 0.9 if first > second else 0.2
    return weight * first + (1 - weight) * second


@program((scaled(-9),), (scaled(-3),), static=False)
def epochs_until_the_loss_settles(params):
    before = jnp.inf
    for _ in range(4):
        loss, slopes = jax.value_and_grad(squared)(params)
        if before - loss < 0.15:
            break
        before, params = loss, descend(params, slopes, 0.3)
    return loss
