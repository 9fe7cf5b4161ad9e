"""Small networks, and networks that decide how deep and how wide they run."""

import jax
import jax.numpy as jnp

from tests.programs.program import images, program, scalars, x

weights = jnp.cos(jnp.arange(9.0)).reshape(3, 3)
tokens = jnp.sin(jnp.arange(12.0)).reshape(4, 3)


@program(({"w": weights, "b": x[:3]}, tokens))
def mlp(params, batch):
    hidden = jax.nn.relu(batch @ params["w"] + params["b"])
    return jnp.mean((hidden @ params["w"].T - batch) ** 2)


@program((x, x[:2], x[2:4]))
def layer_norm(x, scale, shift):
    rows = x.reshape(3, 2)
    centered = rows - rows.mean(axis=1, keepdims=True)
    variance = jnp.mean(centered**2, axis=1, keepdims=True)
    return jnp.sum((centered * jax.lax.rsqrt(variance + 1e-5) * scale + shift) ** 2)


@program((tokens, weights))
def causal_attention(tokens, w):
    queries, keys = tokens @ w, tokens @ w.T
    scores = jnp.where(jnp.tri(4, dtype=bool), queries @ keys.T, -jnp.inf)
    return jnp.sum(jax.nn.softmax(scores) @ tokens)


@program((images, jnp.ones((3, 3, 1, 2)) * 0.1))
def convolution_and_pooling(image, kernel):
    made = jax.lax.conv_general_dilated(
        image, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    pooled = jax.lax.reduce_window(made, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return jnp.sum(jax.nn.gelu(pooled))


@program((tokens, weights))
def gru_over_a_sequence(tokens, w):
    hidden = jnp.zeros(3)
    for token in tokens:
        update = jax.nn.sigmoid(token @ w + hidden)
        reset = jax.nn.sigmoid(token @ w.T - hidden)
        hidden = (1 - update) * hidden + update * jnp.tanh(token + reset * hidden @ w)
    return jnp.sum(hidden**2)


@program((x[:3] * 0.1, weights), (x[:3] * 0.3, weights), static=False)
def early_exit_network(x, w):
    for depth in range(3):
        x = jnp.tanh(w @ x)
        if jnp.max(jax.nn.softmax(3 * x)) > 0.75:
            return jnp.sum(x) * (depth + 1)
    return jnp.sum(x**2)


@program((tokens, weights), (-tokens, weights), static=False)
def experts_picked_in_python(tokens, w):
    experts = [jnp.tanh, jnp.sin, jnp.square]
    total = jnp.zeros(())
    for token in tokens:
        gates = jax.nn.softmax(token @ w)
        chosen = int(jnp.argmax(gates))
        total = total + gates[chosen] * jnp.sum(experts[chosen](token))
    return total


@program(*[(some, weights) for some in (tokens[:1], tokens, tokens[:0], tokens + 1)], static=False)
def sequences_of_other_lengths(tokens, w):
    hidden = jnp.ones(3)
    for token in tokens:
        hidden = jnp.tanh(w @ hidden + token)
        if jnp.min(hidden) > 0:
            hidden = hidden * 0.5
    return jnp.sum(hidden)


@program((tokens, jnp.float32(2)), (tokens, jnp.float32(4)), static=False)
def sequence_cut_at_its_length(tokens, length):
    valid = tokens[: int(length)]
    return jnp.sum(jax.nn.softmax(valid @ valid.T) @ valid)


@program((x[:3], weights), (x[3:], weights), (x[:3], jnp.eye(3)), static=False)
def adaptive_computation_time(x, w):
    halted, output = jnp.zeros(()), jnp.zeros(3)
    for _ in range(4):
        x = jnp.tanh(w @ x)
        halt = jax.nn.sigmoid(x[0] * 3)
        if halted + halt > 1:
            return jnp.sum(output + (1 - halted) * x)
        halted, output = halted + halt, output + halt * x
    return jnp.sum(output)


@program((x[:3], weights), (-x[:3], weights), static=False)
def layers_dropped_by_a_gate(x, w):
    for i in range(3):
        residual = jax.nn.relu(jnp.roll(w, i, axis=0) @ x)
        if jnp.linalg.norm(residual) > 0.6:
            x = x + residual
    return jnp.mean(x**2)


@program((tokens, weights), (tokens * 0.1, weights), static=False)
def tree_network(tokens, w):
    def encode(span):
        if len(span) == 1:
            return span[0]
        left, right = encode(span[: len(span) // 2]), encode(span[len(span) // 2 :])
        if left @ right > 0.5:
            return jnp.tanh(w @ left + right)
        return left * right

    return jnp.sum(encode(tokens))


@program((images,), (images * 0.1,), static=False)
def resolution_chosen_by_variance(image):
    if jnp.var(image) < 0.1:
        image = jax.image.resize(image, (1, 3, 3, 1), "linear")
    return jnp.mean(jnp.diff(image, axis=1) ** 2)


@program(*scalars(0.3, 3), static=False)
def weights_shared_until_they_settle(x):
    state = jnp.zeros(3)
    for _ in range(5):
        following = jnp.tanh(0.3 * weights @ state + x * 0.2)
        if jnp.max(jnp.abs(following - state)) < 0.1:
            break
        state = following
    return jnp.sum(state)


@program((tokens, x[:3]), (tokens, -x[:3]), static=False)
def batch_norm_or_running_mean(batch, running):
    mean, variance = batch.mean(axis=0), batch.var(axis=0)
    if jnp.sum(jnp.abs(mean - running)) > 1.5:
        mean = 0.9 * running + 0.1 * mean
    return jnp.sum(((batch - mean) / jnp.sqrt(variance + 1e-3)) ** 3)
