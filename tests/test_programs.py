"""Every program in every mode that can run it: values and gradients are plain eager JAX's."""

import jax
import numpy as np
import pytest

import fxgrad as fx
from fxgrad.errors import ValueDependenceError
from fxgrad.modes import MODES
from tests.programs import PROGRAMS

CASES = [
    pytest.param(mode, program.fun, args, id=f"{mode}-{program}-{i}")
    for mode in MODES
    for program in PROGRAMS
    if program.static or mode != "static"
    for i, args in enumerate(program.inputs)
]


@pytest.mark.parametrize(("mode", "fun", "args"), CASES)
def test_value_and_gradients_are_those_of_plain_jax(mode, fun, args):
    both = jax.value_and_grad(fun, argnums=tuple(range(len(args))))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        fx.function(both, mode=mode)(*args),
        both(*args),
    )


@pytest.mark.parametrize(("mode", "fun", "args"), CASES)
def test_transforms_from_outside_give_the_same_gradients(mode, fun, args):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        jax.grad(fx.function(fun, mode=mode))(*args),
        jax.grad(fun)(*args),
    )


@pytest.mark.parametrize("program", [p for p in PROGRAMS if not p.static], ids=str)
def test_static_names_the_line_that_needs_a_value(program):
    function = fx.function(program.fun, mode="static")
    with pytest.raises(ValueDependenceError) as caught:
        function(*program.inputs[0])
    assert caught.value.filename.endswith("programs.py")
    with open(caught.value.filename) as source:
        assert caught.value.line == source.readlines()[caught.value.lineno - 1].strip()
    for part in (str(caught.value.lineno), caught.value.line, 'mode="eager"'):
        assert part in str(caught.value)
