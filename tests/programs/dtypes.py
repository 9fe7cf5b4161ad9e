"""Other dtypes on the way, and the numbers that are none."""

import jax
import jax.numpy as jnp

from tests.programs.program import program, scalars, vectors, x


@program(*vectors([0.5, -2, 3], [1, 1, -8]))
def bfloat16_on_the_way(x):
    return jnp.sum((x.astype(jnp.bfloat16) ** 2).astype(jnp.float32))


@program(*scalars(3, 300), static=False)
def float16_overflow_is_seen(x):
    square = x.astype(jnp.float16) ** 2
    return square.astype(jnp.float32) * x if jnp.isfinite(square) else x**2 / 100


@program((x,), (x * 4,))
def integers_on_the_way(x):
    whole = jnp.floor(x * 3).astype(jnp.int32)
    counted = whole // 2 + whole % 3 - (whole << 1) + jnp.abs(whole) ** 2
    return jnp.sum(x * counted.astype(jnp.float32))


@program(*scalars(5, 6, 300), static=False)
def bits_of_an_unsigned_integer(x):
    byte = x.astype(jnp.int32).astype(jnp.uint8)
    if byte & 1:
        return x * (byte >> 1).astype(jnp.float32)
    return x + jax.lax.population_count(byte).astype(jnp.float32)


@program((x,), (x * 0.1 + 0.5,), static=False)
def booleans_on_the_way(x):
    inside = (x > -0.5) & ~(x > 1.5) | (x == 2)
    odd = jnp.logical_xor(inside, x > 0)
    return jnp.sum(x * inside.astype(jnp.float32)) if odd.any() & ~inside.all() else jnp.sum(x**2)


@program(*scalars(2, 3))
def power_of_an_integer(x):
    n = x.astype(jnp.int32)
    return x * (n**2 + 2**n).astype(jnp.float32)


@program((x,))
def complex_on_the_way(x):
    z = jax.lax.complex(x, 1 - x)
    return jnp.sum(jnp.abs(z * z.conj() + jnp.exp(1j * z)))


@program(*vectors([1, 0, -4], [1, 1, 4]), static=False)
def roots_may_be_complex(x):
    discriminant = x[1] ** 2 - 4 * x[0] * x[2]
    if discriminant < 0:
        return jnp.sqrt(discriminant.astype(jnp.complex64)).imag
    return (-x[1] + jnp.sqrt(discriminant)) / (2 * x[0])


@program((x,))
def fourier_filter(x):
    spectrum = jnp.fft.rfft(x)
    return jnp.sum(jnp.fft.irfft(spectrum.at[2:].set(0), n=6) ** 2) + jnp.abs(spectrum[1])


@program(*vectors([1, 4], [-1, 4]), static=False)
def nan_guard(x):
    y = jnp.log(x)
    return jnp.sum(x**2) if jnp.isnan(y).any() else jnp.nanmax(y * x)


@program(*scalars(0, 2), static=False)
def infinity_guard(x):
    return x + 1 if jnp.isinf(1 / x) else 1 / x


@program(*scalars(0.0, -0.0, 1.0), static=False)
def negative_zero(x):
    return x + 2 if jnp.signbit(x) else x * 3


@program(*scalars(float("nan"), 1.0, 2.0), static=False)
def not_a_number_takes_neither_side(x):
    safe = jnp.where(jnp.isnan(x), 5.0, x)
    if x < 1.5:
        return safe * 2
    return safe * 3 if x >= 1.5 else safe * 7


@program(*scalars(float("inf"), float("-inf"), 3.0), static=False)
def infinity_as_an_input(x):
    return jnp.tanh(x) * 2 if x > 10 else jnp.exp(jnp.clip(x, -3, 3))


@program(*scalars(1e-40, 1e-30, 1.0), static=False)
def very_small_numbers(x):
    return x * 1e30 if x < 1e-20 else jnp.log(x)


@program((x,))
def weak_types_stay_weak(x):
    one = jnp.asarray(1) + 1
    return jnp.sum(x.astype(jnp.bfloat16) * 2.0 + 1).astype(jnp.float32) * one.astype(jnp.float32)


@program(*scalars(2e9, 3.0), static=False)
def integer_overflow_wraps(x):
    doubled = x.astype(jnp.int32) * 2
    return x * 1e-9 if doubled < 0 else x * doubled.astype(jnp.float32)
