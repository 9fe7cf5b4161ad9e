"""Agreed: what is lowered to be compared, and which calls are told apart. One process suffices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fxgrad.agreed import Agreed


class Counted:
    """A jitted function that counts how often it is lowered from without."""

    def __init__(self):
        self.lowered = 0
        self._jitted = jax.jit(lambda x: x)

    def __call__(self, x):
        return self._jitted(x)

    def lower(self, x):
        self.lowered += 1
        return self._jitted.lower(x)


def called(*arguments):
    counted, agreed = Counted(), Agreed()
    for argument in arguments:
        agreed(counted, (argument,), {}, name="it", words=dict)
    return counted.lowered


def test_a_program_with_an_array_that_is_bound_to_this_process_is_not_lowered_to_be_compared():
    bound = jax.device_put(np.ones(2), jax.devices()[0])
    assert called(bound) == 0
    assert called({"a": bound, "b": np.ones(2)}) == 0
    # Without one, what the function has captured may be spread over all processes.
    assert called(np.ones(2)) == called(jnp.ones(2)) == called(1.0) == 1


@pytest.mark.parametrize(
    "other",
    [
        np.ones(3, np.float32),
        np.ones(2, np.int32),
        np.ones((2, 1), np.float32),
        jnp.ones(2),
        jnp.asarray(1.0),
        1.0,
    ],
)
def test_calls_of_another_shape_dtype_or_place_are_told_apart_and_equal_ones_are_not(other):
    assert called(np.ones(2, np.float32), np.zeros(2, np.float32)) == 1
    assert called(np.ones(2, np.float32), other, other) == 2


def test_weak_types_and_kinds_of_keys_are_told_apart():
    weak = jnp.asarray(1.0)
    strong = jnp.asarray(np.float32(1.0))
    assert weak.weak_type
    assert not strong.weak_type
    assert called(weak, strong) == 2
    assert called(jax.random.key(0, impl="rbg"), jax.random.key(0, impl="threefry2x32")) == 2
