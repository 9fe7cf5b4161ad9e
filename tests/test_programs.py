"""Every program in every mode that can run it: values and gradients are plain eager JAX's."""

import functools
import inspect
import itertools
import sys

import jax
import numpy as np
import pytest

import fxgrad as fx
from fxgrad.errors import ValueDependenceError
from fxgrad.modes import MODES
from tests.programs import PROGRAMS

# A tree of paths that has long met nothing new is compiled into one program: call until then.
REPLAY_CALLS = 36

CASES = [
    pytest.param(mode, program, i, id=f"{mode}-{program}-{i}")
    for mode in MODES
    for program in PROGRAMS
    if program.static or mode != "static"
    for i in range(len(program.inputs))
]
ONE_CALL_EACH = [case for case in CASES if case.values[0] != "replay"]  # which has its own test


def derivative(program):
    """The program's value and its gradients, by plain JAX."""
    return jax.value_and_grad(program.fun, argnums=tuple(range(len(program.inputs[0]))))


@functools.cache
def expected(program, i):
    """What plain eager JAX gives for the i-th inputs."""
    return derivative(program)(*program.inputs[i])


def assert_same(found, wanted):
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("mode", "program", "i"), ONE_CALL_EACH)
def test_value_and_gradients_are_those_of_plain_jax(mode, program, i):
    function = fx.function(derivative(program), mode=mode)
    assert_same(function(*program.inputs[i]), expected(program, i))


@pytest.mark.parametrize(("mode", "program", "i"), CASES)
def test_transforms_from_outside_give_the_same_gradients(mode, program, i):
    argnums = tuple(range(len(program.inputs[i])))
    gradients = jax.grad(fx.function(program.fun, mode=mode), argnums=argnums)
    assert_same(gradients(*program.inputs[i]), expected(program, i)[1])


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_replay_gives_them_in_any_order_and_runs_python_once_for_each_path(program):
    function = fx.function(derivative(program), mode="replay")
    forth = list(range(len(program.inputs)))

    def call(order):
        for i in order:
            assert_same(function(*program.inputs[i]), expected(program, i))

    call([*forth, *forth, *reversed(forth)])
    runs = function.stats().python_runs
    assert 1 <= runs <= len(forth)
    assert program.static or runs >= min(2, len(forth)), "its inputs take one path"
    call(itertools.islice(itertools.cycle(forth), REPLAY_CALLS))
    assert function.stats().python_runs == function.stats().misses == runs
    assert not function.explain().fallbacks


def lines_of(code):
    """The lines of a function and of those inside of it."""
    inner = (constant for constant in code.co_consts if inspect.iscode(constant))
    own = {line for _, _, line in code.co_lines() if line not in (None, code.co_firstlineno)}
    return own.union(*map(lines_of, inner))


def lines_run(program):
    """The lines of its file that plain eager runs, over all inputs."""
    filename, run = program.fun.__code__.co_filename, set()

    def trace(frame, event, _):
        if frame.f_code.co_filename != filename:
            return None
        run.add(frame.f_lineno)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for inputs in program.inputs:
            program.fun(*inputs)
    finally:
        sys.settrace(before)
    return run


@pytest.mark.parametrize("program", [p for p in PROGRAMS if not p.static], ids=str)
def test_the_inputs_reach_every_line(program):
    assert lines_of(program.fun.__code__) <= lines_run(program)


@pytest.mark.parametrize("program", [p for p in PROGRAMS if not p.static], ids=str)
def test_static_names_the_line_that_needs_a_value(program):
    function = fx.function(program.fun, mode="static")
    with pytest.raises(ValueDependenceError) as caught:
        function(*program.inputs[0])
    assert caught.value.filename == inspect.getfile(program.fun)
    with open(caught.value.filename) as source:
        assert caught.value.line == source.readlines()[caught.value.lineno - 1].strip()
    for part in (str(caught.value.lineno), caught.value.line, 'mode="eager"'):
        assert part in str(caught.value)


def test_there_are_many_programs_and_each_has_a_name_of_its_own():
    names = [str(program) for program in PROGRAMS]
    assert len(names) >= 250
    assert len(set(names)) == len(names)
