"""Logs: values are observed in every mode, in order, without a decision or a wait."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fxgrad as fx
from fxgrad.modes import MODES


def loss(x):
    value = jnp.sum(x**2)
    fx.log("loss", value)
    return value


def numbers(values):
    return [np.asarray(value).tolist() for value in values]


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_tells_the_same_values_in_order(mode):
    step = fx.function(jax.grad(loss), mode=mode)
    with fx.logs() as logs:
        for i in range(30):
            step(jnp.full(2, float(i)))
            jax.effects_barrier()
    assert numbers(logs["loss"]) == [2.0 * i * i for i in range(30)]


def test_a_log_is_no_decision_and_reads_nothing():
    step = fx.function(jax.grad(loss))
    for i in range(100):
        step(jnp.full(2, float(i)))
    stats = step.stats()
    assert (stats.host_reads, stats.python_runs, stats.programs) == (0, 1, 1)


@pytest.mark.parametrize("mode", ["eager", "replay"])
def test_each_path_tells_its_own_logs_folded_or_not(mode):
    @fx.function(mode=mode)
    def fun(x):
        fx.log("x", x[0])
        if x[0] > 0:
            fx.log("up", 1)
            y = x * 2
        else:
            y = x * 3
            fx.log("down", y[0])
        return y

    with fx.logs() as logs:
        for i in range(60):
            fun(jnp.full(2, float(i % 3 - 1)))
    assert numbers(logs["x"]) == [float(i % 3 - 1) for i in range(60)]
    assert numbers(logs["up"]) == [1] * 20
    assert numbers(logs["down"]) == [3.0 * (i % 3 - 1) for i in range(60) if i % 3 < 2]


@pytest.mark.parametrize("mode", ["eager", "replay"])
def test_a_loop_tells_every_turn(mode):
    @fx.function(mode=mode)
    def halve(x):
        while x > 1:
            x = x / 2
            fx.log("x", x)
        return x

    with fx.logs() as logs:
        for _ in range(20):
            halve(jnp.float32(5))
    assert numbers(logs["x"]) == [2.5, 1.25, 0.625] * 20


@pytest.mark.parametrize("mode", MODES)
def test_under_vmap_the_whole_batch_is_told(mode):
    def one(x):
        fx.log("x", x)
        return x * 2

    with fx.logs() as logs:
        fx.function(jax.vmap(one), mode=mode)(jnp.arange(3.0))
    assert numbers(logs["x"]) == [[0.0, 1.0, 2.0]]


@pytest.mark.parametrize("mode", MODES)
def test_inside_of_scan_each_turn_is_told(mode):
    def turn(total, x):
        fx.log("x", x)
        return total + x, None

    function = fx.function(lambda xs: jax.lax.scan(turn, 0.0, xs)[0], mode=mode)
    with fx.logs() as logs:
        function(jnp.arange(3.0)), function(jnp.arange(3.0))
    assert sorted(numbers(logs["x"])) == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]


def test_a_call_that_raises_has_told_what_came_before():
    @fx.function
    def fun(x):
        fx.log("x", x)
        if x > 0:
            raise ValueError("positive")
        return x

    with fx.logs() as logs:
        for _ in range(3):
            with pytest.raises(ValueError, match="positive"):
                fun(jnp.float32(2))
    assert numbers(logs["x"]) == [2.0] * 3


def test_where_eager_takes_over_logs_go_on():
    @fx.function
    def fun(x):
        fx.log("before", x)
        text = str(float(x))
        fx.log("after", x * 2)
        return text

    with fx.logs() as logs:
        for i in range(50):
            assert fun(jnp.float32(i)) == str(float(i))
    assert numbers(logs["before"]) == [float(i) for i in range(50)]
    assert numbers(logs["after"]) == [2.0 * i for i in range(50)]


def test_blocks_nest_and_nothing_is_kept_outside():
    loss(jnp.ones(2))
    with fx.logs() as outer:
        loss(jnp.ones(2))
        with fx.logs() as inner:
            loss(jnp.ones(3))
    loss(jnp.ones(2))
    assert numbers(outer["loss"]) == [2.0, 3.0]
    assert numbers(inner["loss"]) == [3.0]
