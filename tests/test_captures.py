"""Captures: a name given another value is noticed, however the function is wrapped."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

import fxgrad as fx

SCALE = 2.0
COUNT = 0
x = jnp.ones(2)


def scaled(y):
    return y * SCALE


def decorated(fun):
    @functools.wraps(fun)
    def wrapper(y):
        return fun(y) * SCALE

    return wrapper


class Scaler:
    def scale(self, y):
        return y * SCALE

    def __call__(self, y):
        return y * SCALE


@pytest.mark.parametrize(
    "fun",
    [
        scaled,
        decorated(scaled),
        functools.partial(scaled),
        functools.partial(decorated(lambda y: y)),
        Scaler().scale,
        Scaler(),
    ],
    ids=["function", "wraps", "partial", "partial of wraps", "method", "callable"],
)
def test_a_global_given_another_value_is_noticed(fun, monkeypatch):
    function = fx.function(fun)
    for value in (2.0, 2.0, 10.0, 2.0):
        monkeypatch.setattr("tests.test_captures.SCALE", value)
        np.testing.assert_array_equal(function(x), fun(x))


def test_a_number_made_anew_is_the_same_and_a_new_one_is_no_new_program(monkeypatch):
    function = fx.function(scaled)
    for _ in range(20):
        monkeypatch.setattr("tests.test_captures.SCALE", float("0.5"))
        np.testing.assert_array_equal(function(x), [0.5, 0.5])
    assert function.stats().python_runs == 1
    for i in range(60):
        monkeypatch.setattr("tests.test_captures.SCALE", float(i))
        np.testing.assert_array_equal(function(x), [i, i])
    assert function.stats().programs <= 8


def test_a_function_that_changes_what_it_reads_does_what_eager_does():
    made = []

    @fx.function
    def count(y):
        global COUNT
        COUNT += 1
        return y * COUNT

    @fx.function
    def lazy(y):
        nonlocal made
        made = made or [3.0]
        return y * made[0]

    for i in range(1, 5):
        np.testing.assert_array_equal(count(x), [i, i])
        np.testing.assert_array_equal(lazy(x), [3.0, 3.0])


@pytest.mark.parametrize("odd", ["name", jnp.bfloat16, np.dtype("int8"), 10**12, None, len, 1 + 2j])
def test_arguments_that_are_no_arrays_are_told_and_explained(odd):
    def fun(y, option):
        return (y * 2, str(option)) if y[0] > 0 else (y, str(option))

    function = fx.function(fun)
    for value in (odd, odd, "another", odd):
        result, option = function(x, value)
        np.testing.assert_array_equal(result, [2.0, 2.0])
        assert option == str(value)
    assert function.stats().python_runs == 2
    (fact,) = function.explain().compilations[1].differences
    assert (fact.kind, fact.path) == ("Python value", "option")


def test_another_python_number_is_told_with_what_to_pass_instead():
    function = fx.function(lambda y, rate: y * rate)
    function(x, 0.1), function(x, 0.2)
    (fact,) = function.explain().compilations[1].differences
    assert (fact.kind, fact.path) == ("Python value", "rate")
    assert "jnp.asarray" in str(function.explain())
    with fx.assert_no_new_paths(), pytest.raises(fx.FxError, match=r"rate: 0\.[12] .*→ 0\.3"):
        function(x, 0.3)
