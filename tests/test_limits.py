"""Limits: nothing new in a block, or so many programs and no more."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fxgrad as fx
from fxgrad.errors import NewPathError, OptionError


def sign(x):
    return x * 2 if x[0] > 0 else x * 3


UP, DOWN = jnp.ones(2), -jnp.ones(2)


def test_a_new_path_is_an_error_that_names_the_function_and_the_line():
    function = fx.function(sign)
    function(UP)
    with fx.assert_no_new_paths():
        np.testing.assert_array_equal(function(UP), [2.0, 2.0])
        with pytest.raises(NewPathError, match=r"sign met .*a new value at .*test_limits.py:") as e:
            function(DOWN)
    assert e.value.name == "sign"
    np.testing.assert_array_equal(function(DOWN), [-3.0, -3.0])


def test_a_folded_tree_that_misses_is_an_error_too():
    function = fx.function(sign)
    for _ in range(30):
        function(UP)
    with fx.assert_no_new_paths(), pytest.raises(NewPathError):
        function(DOWN)


@pytest.mark.parametrize("mode", ["static", "replay"])
def test_a_new_signature_is_an_error(mode):
    function = fx.function(lambda x: x + 1, mode=mode)
    function(UP)
    with fx.assert_no_new_paths():
        function(UP)
        with pytest.raises(NewPathError, match="new signature"):
            function(jnp.ones(3))
    assert function.stats().python_runs == 1
    function(jnp.ones(3))


def test_eager_calls_are_let_through():
    with fx.assert_no_new_paths(), fx.mode("eager"):
        fx.function(sign)(UP)


@pytest.mark.parametrize("mode", ["static", "replay"])
def test_programs_past_the_limit_are_not_built(mode):
    function = fx.function(lambda x: x + 1, mode=mode)
    with fx.max_programs(2):
        for size in (1, 2, 1, 2):
            function(jnp.ones(size))
        with pytest.raises(NewPathError, match=r"fx.max_programs\(2\)"):
            function(jnp.ones(3))
    assert function.stats().programs == 2


@pytest.mark.parametrize("mode", ["static", "replay"])
def test_past_the_limit_calls_may_run_in_eager(mode):
    function = fx.function(lambda x: x + 1, mode=mode)
    with fx.max_programs(1, on_miss="eager"):
        for size in (1, 2, 3, 1):
            np.testing.assert_array_equal(function(jnp.ones(size)), np.full(size, 2.0))
    assert function.stats().programs_by_mode == {mode: 1} or function.stats().python_runs == 3
    assert function.stats().compiled_share == 0.5


def test_past_the_limit_calls_may_be_recorded():
    function = fx.function(lambda x: x + 1)
    with fx.max_programs(1, on_miss="record"):
        for size in (1, 2, 3):
            function(jnp.ones(size))
    assert function.stats().programs == 3


def test_nothing_is_folded_past_the_limit():
    function = fx.function(sign)
    function(UP), function(DOWN)
    with fx.assert_no_new_paths():
        for _ in range(40):
            function(UP), function(DOWN)
    assert function.tree().segments[0].served.startswith("segments")


def test_the_innermost_block_holds_and_ends_with_it():
    function = fx.function(lambda x: x + 1)
    with fx.assert_no_new_paths():
        with fx.max_programs(1):
            function(UP)
        with pytest.raises(NewPathError):
            function(jnp.ones(5))
    function(jnp.ones(5))


@pytest.mark.parametrize("wrong", [{"n": -1}, {"n": 1, "on_miss": "ignore"}])
def test_a_limit_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(OptionError), fx.max_programs(**wrong):
        pass


@pytest.mark.parametrize("calls", [1, 30])
def test_past_the_limit_nothing_is_run_twice(calls):
    told = []

    def fun(x):
        jax.debug.callback(lambda value: told.append(float(value)), x[0])
        fx.log("x", x[0])
        return x + 1 if x[0] > 0 else x - 1

    function = fx.function(fun)
    for _ in range(calls):
        function(UP)
    jax.effects_barrier()
    told.clear()
    with fx.logs() as logs, fx.max_programs(0, on_miss="eager"):
        np.testing.assert_array_equal(function(DOWN), [-2.0, -2.0])
    assert (told, len(logs["x"])) == ([-1.0], 1)


def test_a_tree_is_compiled_when_it_is_folded_and_not_later():
    function = fx.function(sign)
    programs = []
    for _ in range(12):
        function(UP), function(DOWN)
        programs.append(function.stats().programs)
    with fx.max_programs(0):
        function(UP), function(DOWN)
    assert function.stats().programs == programs[-1] == programs[5]
