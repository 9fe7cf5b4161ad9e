"""Random programs with decisions, loops, exits and exceptions: every mode agrees with plain eager.

Numbers are small integers held in floats, so every operation is exact, and a decision cannot fall
differently by rounding. ``pytest --programs 2000`` makes more of them.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fxgrad as fx

NAMES = st.sampled_from(["x", "y", "z"])
INPUTS = [(2.0, -3.0), (-1.0, 4.0), (0.0, 0.0), (5.0, 5.0), (2.0, -3.0)]


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


def block(program, state):
    for statement in program:
        step(statement, state)


def step(statement, state):
    kind, *rest = statement
    if kind == "set":
        name, operation, other, number = rest
        a, b = state[name], state[other]
        made = {"+": a + b, "-": a - b, "*": a * b, "^": jnp.maximum(a, b)}[operation]
        state[name] = jnp.clip(made + number, -9, 9)
    elif kind == "python":
        state["count"] = state["count"] * 10 + rest[0]
    elif kind == "raise":
        if state[rest[0]] > rest[1]:
            raise ArithmeticError(rest[1])
    elif kind in ("return", "break"):
        if state[rest[0]] > rest[1]:
            raise ReturnError if kind == "return" else BreakError
    elif kind == "index":
        state["z"] = jnp.arange(10.0)[int(jnp.abs(state[rest[0]]))] - 4
    elif kind == "scan":
        steps = jnp.arange(3.0)
        made, _ = jax.lax.scan(lambda c, i: (c + i * rest[1], None), state[rest[0]], steps)
        state[rest[0]] = jnp.clip(made, -9, 9)
    elif kind == "if":
        name, number, yes, no = rest
        block(yes if state[name] > number else no, state)
    elif kind == "while":
        name, number, body = rest
        turns = 0
        while state[name] > number and turns < 4:
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
    """What a call returned, or the exception that it raised, as plain values."""
    try:
        return jax.tree.map(np.asarray, fun(*args))
    except ArithmeticError as error:
        return type(error), error.args


def test_random_programs_agree_with_plain_eager(request):
    @settings(
        max_examples=request.config.getoption("--programs"),
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(program=statements(2))
    def check(program):
        def value(x, y):
            return run(program, x, y)

        derivative = jax.value_and_grad(value, argnums=(0, 1), has_aux=True)
        replayed = fx.function(value, mode="replay"), fx.function(derivative, mode="replay")
        for numbers in INPUTS:
            args = [jnp.float32(number) for number in numbers]
            for plain, function in zip((value, derivative), replayed, strict=True):
                expected, found = outcome(plain, *args), outcome(function, *args)
                assert jax.tree.structure(found) == jax.tree.structure(expected)
                jax.tree.map(np.testing.assert_array_equal, found, expected)
        assert all(not function.explain().fallbacks for function in replayed)

    check()


@pytest.mark.parametrize("kind", ["if", "while", "raise", "return", "index", "scan", "try"])
def test_the_programs_reach_every_kind_of_statement(kind):
    seen = []

    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(program=statements(2))
    def look(program):
        seen.extend(str(program).split("'"))

    look()
    assert kind in seen
