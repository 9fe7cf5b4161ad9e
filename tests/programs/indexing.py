"""Sorting, gathering, scattering and running sums."""

import jax
import jax.numpy as jnp

from tests.programs.program import program, vectors, x

mixed = jnp.array([3.0, -1.0, 2.0, 5.0, 0.5, -2.0])


@program((mixed,))
def sort_and_weigh(x):
    return jnp.sum(jnp.sort(x) * jnp.arange(6.0))


@program((mixed,), (mixed[::-1],), static=False)
def rank_of_the_first_decides(x):
    order = jnp.argsort(x)
    return jnp.sum(x[order[:3]] ** 2) if order[0] > 2 else jnp.sum(x[order[3:]])


@program((mixed,), (-mixed,), static=False)
def top_k_until_the_mass_is_reached(x):
    weights, places = jax.lax.top_k(jax.nn.softmax(x), 4)
    k = 1
    while jnp.sum(weights[:k]) < 0.8:
        k += 1
    return jnp.sum(x[places[:k]] * weights[:k])


@program((x.reshape(2, 3),))
def gather_along_an_axis(x):
    return jnp.sum(jnp.take_along_axis(x, jnp.argsort(-x, axis=1), axis=1)[:, 0] ** 2)


@program((x, mixed))
def scatter_of_every_kind(x, y):
    places = jnp.array([0, 2, 2])
    x = x.at[places].add(y[:3]).at[1].set(y[3]).at[4:].multiply(2.0)
    return jnp.sum(x.at[places].max(y[3:]) ** 2)


@program((mixed,), (-mixed,), static=False)
def scatter_to_a_place_by_a_value(x):
    return jnp.sum(x.at[int(jnp.argmin(x))].set(0.0) ** 2)


@program((mixed,), (jnp.abs(mixed),), static=False)
def set_through_a_mask(x):
    return jnp.sum(x.at[x < 0].set(0.5) ** 3)


@program((mixed,), (mixed * 0.1,), static=False)
def running_sum_until_a_limit(x):
    sums = jnp.cumsum(x**2)
    return sums[int(jnp.searchsorted(sums, 10.0)) - 1] + jnp.prod(jnp.cumprod(x)[:2])


@program((mixed,))
def segment_sums(x):
    segments = jnp.array([0, 0, 1, 1, 2, 2])
    return jnp.prod(jax.ops.segment_sum(x, segments, num_segments=3))


@program((mixed,), (-mixed,), static=False)
def segments_by_sign(x):
    means = [jnp.mean(x[x > 0]), jnp.mean(x[x <= 0])]
    return means[0] * means[1] if means[0] > -means[1] else means[0] - means[1]


@program((x, mixed))
def dynamic_slices(x, y):
    start = jnp.argmax(y)
    piece = jax.lax.dynamic_slice(x, (start,), (2,))
    return jnp.sum(jax.lax.dynamic_update_slice(y, piece, (1,)) ** 2)


@program((x.reshape(3, 2),))
def one_hot_lookup(table):
    return jnp.sum(jax.nn.one_hot(jnp.array([2, 0, 2]), 3) @ table**2)


@program((x.reshape(3, 2), jnp.array([0.2, 1.4])), (x.reshape(3, 2), jnp.array([2.0, 0.9])))
def embedding_by_rounded_floats(table, words):
    return jnp.prod(table[jnp.round(words).astype(jnp.int32)])


@program((mixed,))
def moved_padded_and_joined(x):
    wide = jnp.pad(jnp.roll(x, 2), (1, 2), constant_values=3.0)
    return jnp.sum(jnp.concatenate([wide[::-1], jnp.flip(x)]) * jnp.arange(15.0))


@program((mixed,), (mixed[:5],), static=False)
def median_of_odd_and_even(x):
    ordered, middle = jnp.sort(x), len(x) // 2
    median = ordered[middle] if len(x) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    return median**2 if median > 1 else median * 3


@program(*vectors([0.1, 0.4, 0.9], [0.6, 0.7, 0.8]), static=False)
def rows_and_columns_by_two_lists(x):
    rows = [i for i, value in enumerate(x) if value < 0.65]
    return jnp.sum(jnp.outer(x, x)[jnp.ix_(jnp.array(rows), jnp.array(rows[::-1]))])


@program((x,))
def mesh_and_triangle(x):
    a, b = jnp.meshgrid(x[:3], x[3:])
    return jnp.sum(jnp.triu(a * b, 1)) + jnp.trace(a - b)
