"""Random numbers from explicit keys, and decisions on them."""

import jax
import jax.numpy as jnp

from tests.programs.program import program, scalars, x


@program((x,))
def random_numbers(x):
    return jnp.sum(x * jax.random.normal(jax.random.key(0), x.shape))


@program((x,))
def old_style_keys(x):
    first, second = jax.random.split(jax.random.PRNGKey(3))
    return jnp.sum(x * jax.random.uniform(first, (6,)) + jax.random.normal(second, (6,)))


@program((x,), (x * 0.1,), static=False)
def dropout_only_where_large(x):
    if jnp.max(x) > 1:
        kept = jax.random.bernoulli(jax.random.key(1), 0.5, x.shape)
        x = jnp.where(kept, x / 0.5, 0.0)
    return jnp.sum(x**2)


@program(*scalars(0.3, 0.5, 0.9, 0.999), static=False)
def rejection_sampling(limit):
    key, turns = jax.random.key(2), 0
    while True:
        key, draw = jax.random.split(key)
        sample = jax.random.uniform(draw)
        turns += 1
        if sample < limit:
            return sample * limit + turns


@program(*scalars(0.01, 1, 10), static=False)
def simulated_annealing(x):
    temperature = 1.0
    for i in range(4):
        move, accept = jax.random.split(jax.random.fold_in(jax.random.key(2), i))
        proposed = x + jax.random.normal(move)
        rise = proposed**2 - x**2
        if rise < 0 or jax.random.uniform(accept) < jnp.exp(-rise / temperature):
            x = proposed * 0.9
        temperature *= 0.7
    return x**2


@program((x,), (-x,), static=False)
def sampled_category_picks_the_function(x):
    drawn = int(jax.random.categorical(jax.random.key(5), x[:3] * 10))
    return jnp.sum((jnp.sin, jnp.square, jnp.exp)[drawn](x))


@program((x - 3,), (x + 1,), (x + 2,), static=False)
def shuffled_until_ordered(x):
    key = jax.random.key(0)
    for turn in range(3):
        pair = jax.random.permutation(jax.random.fold_in(key, turn), x[:2])
        if pair[0] * x[0] > pair[1]:
            return pair[0] * 3
    return pair[1] * x[0]


@program(*scalars(0, 3), static=False)
def key_folded_with_an_input(seed):
    draws = jax.random.normal(jax.random.fold_in(jax.random.key(0), int(seed)), (3,))
    return jnp.sum(draws) * seed if draws[0] > 0 else jnp.prod(draws) + seed


@program((x[:2],))
def reparametrized_sample(x):
    mean, deviation = x[0], jax.nn.softplus(x[1])
    sample = mean + deviation * jax.random.normal(jax.random.key(9))
    return sample**2 + 0.5 * (deviation**2 + mean**2 - 1) - jnp.log(deviation)
