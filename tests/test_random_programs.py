"""Random programs with decisions, loops, exits and exceptions: replay agrees with plain eager.

Numbers are small integers held in floats, so every operation is exact, and a decision cannot fall
differently by rounding. ``pytest --programs 2000`` makes more of them, in about five minutes.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fxgrad as fx

NAMES = st.sampled_from(["x", "y", "z"])
INPUTS = [(2.0, -3.0), (-1.0, 4.0), (0.0, 0.0), (5.0, 5.0), (-2.0, 1.0)]
INPUTS = [tuple(map(jnp.float32, numbers)) for numbers in INPUTS]

# Each number is an array that the programs capture, so that one compiled program serves them all.
NUMBERS = {number: jnp.float32(number) for number in range(-9, 10)}
STEPS = {number: number * jnp.arange(3.0) for number in range(-2, 3)}

# Twice around for most of them. Some are called on and on, until their paths are promoted.
CALLS = [2 * len(INPUTS)] * 4 + [8 * len(INPUTS)]


def statements(depth):
    """Lists of statements: plain data that `run` interprets with Python's own control flow."""
    simple = st.one_of(
        st.tuples(st.just("set"), NAMES, st.sampled_from("+-*^"), NAMES, st.integers(-3, 3)),
        st.tuples(st.just("python"), st.integers(-3, 3)),
        st.tuples(st.just("raise"), NAMES, st.integers(-2, 6)),
        st.tuples(st.just("return"), NAMES, st.integers(-2, 6)),
        st.tuples(st.just("break"), NAMES, st.integers(-2, 4)),
        st.tuples(st.just("index"), NAMES),
        st.tuples(st.just("scan"), NAMES, st.integers(-2, 2)),
    )
    if depth == 0:
        return st.lists(simple, min_size=1, max_size=4)
    inner = statements(depth - 1)
    nested = st.one_of(
        st.tuples(st.just("if"), NAMES, st.integers(-3, 3), inner, inner),
        st.tuples(st.just("while"), NAMES, st.integers(-3, 3), inner),
        st.tuples(st.just("for"), st.integers(1, 3), inner),
        st.tuples(st.just("try"), inner, inner),
    )
    return st.lists(st.one_of(simple, nested), min_size=1, max_size=5)


class BreakError(Exception):
    pass


class ReturnError(Exception):
    pass


def run(program, x, y):
    """Interpret a program; returns arrays and a Python integer."""
    state = {"x": x, "y": y, "z": x - y, "count": 0}
    try:
        block(program, state)
    except (ReturnError, BreakError):
        state["z"] = state["z"] + 1
    return state["x"] + state["y"] * state["z"], state["count"]


@jax.jit  # without it eager JAX compiles each scan in a derivative again: most of the test's time
def added(total, steps):
    """A scan of which no value can be asked until it ends."""
    return jax.lax.scan(lambda carry, step: (carry + step, None), total, steps)[0]


def block(program, state):
    for statement in program:
        step(statement, state)


def step(statement, state):
    kind, *rest = statement
    if kind == "set":
        name, operation, other, number = rest
        a, b = state[name], state[other]
        made = {"+": a + b, "-": a - b, "*": a * b, "^": jnp.maximum(a, b)}[operation]
        state[name] = jnp.clip(made + NUMBERS[number], -9, 9)
    elif kind == "python":
        state["count"] = state["count"] * 10 + rest[0]
    elif kind == "raise":
        if state[rest[0]] > NUMBERS[rest[1]]:
            raise ArithmeticError(rest[1])
    elif kind in ("return", "break"):
        if state[rest[0]] > NUMBERS[rest[1]]:
            raise ReturnError if kind == "return" else BreakError
    elif kind == "index":
        state["z"] = NUMBERS[int(jnp.abs(state[rest[0]])) - 4]
    elif kind == "scan":
        state[rest[0]] = jnp.clip(added(state[rest[0]], STEPS[rest[1]]), -9, 9)
    elif kind == "if":
        name, number, yes, no = rest
        block(yes if state[name] > NUMBERS[number] else no, state)
    elif kind == "while":
        name, number, body = rest
        turns = 0
        while state[name] > NUMBERS[number] and turns < 4:
            try:
                block(body, state)
            except BreakError:
                break
            turns += 1
        state["count"] += turns
    elif kind == "for":
        for _ in range(rest[0]):
            try:
                block(rest[1], state)
            except BreakError:
                break
    elif kind == "try":
        try:
            block(rest[0], state)
        except ArithmeticError as error:
            state["count"] += error.args[0]
            block(rest[1], state)


def outcome(fun, *args):
    """What a call returned, or the exception that it raised."""
    try:
        return fun(*args)
    except ArithmeticError as error:
        return type(error), error.args


def check(program, calls, with_value):
    """Replay the program with all inputs in turn: each time it does what plain eager does."""

    def value(x, y):
        return run(program, x, y)

    derivative = jax.value_and_grad(value, argnums=(0, 1), has_aux=True)
    for plain in (value, derivative) if with_value else (derivative,):
        expected = [outcome(plain, *args) for args in INPUTS]
        function = fx.function(plain, mode="replay")
        cases = itertools.cycle(zip(INPUTS, expected, strict=True))
        for args, wanted in itertools.islice(cases, calls):
            assert_equal(outcome(function, *args), wanted)
        assert not function.explain().fallbacks


def assert_equal(found, wanted):
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert type(a) is type(b)  # a Python number stays one
        np.testing.assert_array_equal(a, b)


def test_random_programs_agree_with_plain_eager(request):
    @settings(
        max_examples=request.config.getoption("--programs"),
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(statements(2), st.sampled_from(CALLS), st.sampled_from([True, False, False, False]))
    def check_each(program, calls, with_value):
        check(program, calls, with_value)

    check_each()


@pytest.mark.parametrize("kind", ["if", "while", "raise", "return", "index", "scan", "try"])
def test_the_programs_reach_every_kind_of_statement(kind):
    seen = []

    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(program=statements(2))
    def look(program):
        seen.extend(str(program).split("'"))

    look()
    assert kind in seen
