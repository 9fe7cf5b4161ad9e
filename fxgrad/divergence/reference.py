"""The reference: the same operations in float64, to judge whose rounding is nearer to the truth.

Inputs, captured arrays and constants keep the values they have; every result of fewer bits is
computed, and kept, in float64. What cannot be widened, such as random bits that become a float, is
computed in its own dtype, and noted where that rounds something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np

from fxgrad.divergence.bodies import Body, Equation
from fxgrad.divergence.difference import is_inexact, is_key
from fxgrad.divergence.equations import (
    bind_as_is,
    bind_with,
    evaluate,
    run_equation,
)
from fxgrad.divergence.program import Program
from fxgrad.recorder import Operation, Slot, is_jaxpr

# Their results depend on the bits of what they read, or on how many bits are drawn.
_OWN_DTYPE: Final = frozenset(["bitcast_convert_type", "random_gamma", "rng_uniform"])
_ROUNDS_ONLY: Final = frozenset(["reduce_precision"])
# What a primitive, its lowering or its kernel raises that has no form in float64.
_NO_WIDE_FORM: Final = (
    *(TypeError, ValueError, NotImplementedError, AssertionError, KeyError),
    jax.errors.JaxRuntimeError,
)
_EXACT: Final = {"xla_allow_excess_precision": False}


@dataclass(frozen=True)
class Reference:
    """Values in float64.

    Attributes:
      values: float64 or complex128 for each wanted slot of floats; others keep their dtype.
      rounded_from: the first operation, by its place, that read rounded values because it cannot
        be computed in float64; None if there is none.
    """

    values: dict[Slot, np.ndarray]
    rounded_from: int | None


def reference_values(program: Program, wanted: Sequence[Slot]) -> Reference:
    """Compute the wanted slots in float64, the path through Python's decisions being eager's."""
    widener = _Widener(program)
    with jax.enable_x64(True):
        try:
            values = program.compiled_values(wanted, run=widener.run, options=_EXACT)
        except _NO_WIDE_FORM:  # an operation whose lowering knows its own dtype only
            widener = _Widener(program, careful=True)
            values = program.eager_values(wanted, widener.run)
        return Reference(
            {slot: np.asarray(value) for slot, value in values.items()}, widener.rounded_from
        )


class _Widener:
    """Binds equations with floats of 64 bits, and knows where it had to round."""

    def __init__(self, program: Program, *, careful: bool = False) -> None:
        self.rounded_from: int | None = None
        self._program = program
        self._number = 0
        self._careful = careful

    def run(self, operation: Operation, inputs: Sequence[Any]) -> Sequence[Any]:
        """The results of an operation, in float64."""
        self._number = self._program.number_of(operation)
        with operation.context.manager, jax.enable_x64(True):  # the context has eager's setting
            avals = operation.input_avals
            arrays = [_array(v, aval) for v, aval in zip(inputs, avals, strict=True)]
            return run_equation(operation, [_wide(array) for array in arrays], self.bind)

    def bind(self, equation: Equation, inputs: Sequence[Any]) -> Sequence[Any]:
        """The results of an equation that holds no others, in float64."""
        inputs = [_wide(value) for value in inputs]
        if equation.primitive.name in _ROUNDS_ONLY:
            return inputs
        if _is_bound_to_its_dtype(equation):
            return self._in_own_dtype(equation, inputs)
        try:
            params = self._wide_params(equation.params)
            results = bind_with(equation.primitive, params, inputs)
            if self._careful:
                jax.block_until_ready(results)
        except _NO_WIDE_FORM:
            return self._in_own_dtype(equation, inputs)
        return [_wide(result) for result in results]

    def _in_own_dtype(self, equation: Equation, inputs: Sequence[Any]) -> Sequence[Any]:
        narrow = [_of(v, aval) for v, aval in zip(inputs, equation.input_avals, strict=True)]
        if any(is_inexact(value) for value in inputs) and self.rounded_from is None:
            self.rounded_from = self._number
        return [_wide(result) for result in bind_as_is(equation, narrow)]

    def _wide_params(self, params: dict[str, Any]) -> dict[str, Any]:
        return jax.tree.map(self._wide_param, params, is_leaf=is_jaxpr)

    def _wide_param(self, value: Any) -> Any:
        if is_jaxpr(value):
            return self._wide_jaxpr(value)
        if isinstance(value, np.dtype):
            return _wide_dtype(value)
        algorithms = (jax.lax.DotAlgorithm, jax.lax.DotAlgorithmPreset)
        return None if isinstance(value, algorithms) else value

    def _wide_jaxpr(self, jaxpr: Any) -> Any:
        """The same equations, traced anew in float64."""
        body = Body(jaxpr)
        avals = [
            jax.ShapeDtypeStruct(var.aval.shape, _wide_dtype(var.aval.dtype)) for var in body.inputs
        ]
        traced = jax.make_jaxpr(lambda *values: evaluate(body, values, self.bind))(*avals)
        return traced if isinstance(traced, type(jaxpr)) else traced.jaxpr


def _is_bound_to_its_dtype(equation: Equation) -> bool:
    if equation.primitive.name in _OWN_DTYPE:
        return True
    has_keys = any(is_key(aval) for aval in equation.input_avals)
    return has_keys and any(is_inexact(aval) for aval in equation.output_avals)


def _array(value: Any, aval: Any) -> Any:
    """A Python number as the array that the program makes of it."""
    return value if isinstance(value, jax.Array) else np.asarray(value, aval.dtype)


def _of(value: Any, aval: Any) -> Any:
    """A float in the dtype that the program has it in; anything else as it is."""
    if not is_inexact(aval) or is_key(value):
        return value
    return jax.lax.convert_element_type(value, aval.dtype)


def _wide(value: Any) -> Any:
    if not is_inexact(value):
        return value
    return jax.lax.convert_element_type(value, _wide_dtype(value.dtype))


def _wide_dtype(dtype: Any) -> Any:
    if jnp.issubdtype(dtype, jnp.complexfloating):
        return np.dtype(np.complex128)
    return np.dtype(np.float64) if jnp.issubdtype(dtype, jnp.floating) else dtype
