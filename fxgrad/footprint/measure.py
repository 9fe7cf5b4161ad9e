"""`fx.memory`: what a function takes op by op, compiled, and for its backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fxgrad.errors import ArgumentError, first_line_of
from fxgrad.execution.function import AnyFunction, as_function, function
from fxgrad.footprint.backward import backward_of
from fxgrad.footprint.compiled import THE_STATIC_PROGRAM, program_of, program_of_path
from fxgrad.footprint.eager import eager_peak, peak_bytes
from fxgrad.footprint.holdings import Makers
from fxgrad.footprint.inner import InnerBytes
from fxgrad.footprint.record import Backward, Gradient
from fxgrad.footprint.result import Memory
from fxgrad.footprint.stand_in import mesh_of
from fxgrad.observed import Observed, observe
from fxgrad.recorder import Slot


def memory(fun: Callable[..., Any], *args: Any) -> Memory:
    """What the compiled program takes beside what eager holds at its worst moment, by user line.

    `fun` runs once op by op; a loss, which returns one real number, runs once more for its
    gradient by the first argument, so its effects, such as prints and callbacks, happen twice.
    Programs are compiled to be asked, and not run, but Python runs while they are traced; donated
    arguments stay as they are.

    Eager's figure counts the arguments and the captured arrays to the end, for the caller holds
    them, and each result as long as Python holds it, which is when a real run frees it. Values
    that share their memory count once. NumPy arguments count as if they were put on the device
    once. What JAX's allocator keeps in reserve is not in it.

    Args:
      fun: a pure function, a `Function` or a method.
      args: its arguments.

    Returns:
      A `Memory`: all figures in bytes, on the device that holds most; None where a backend is
      silent. Which lines hold the temporaries of a compiled program is nothing that JAX tells.

    Raises:
      ArgumentError: `fun` cannot be called.
      Exception: whatever `fun` raises.
    """
    if not callable(fun):
        raise ArgumentError(f"fx.memory takes a function, not {fun!r}.", path="fun")
    own = as_function(fun)
    title = getattr(fun, "__name__", repr(fun))
    eager, inner = own.in_mode("eager"), InnerBytes(peak_bytes)
    observed, makers = _observed(eager, args)
    compiled, why_not_static = program_of(own, args, THE_STATIC_PROGRAM)
    backward, gradient, why_no_gradient = backward_of(observed, makers, "the function"), None, ""
    if backward is None and _is_loss(observed, args):
        try:
            with mesh_of(observed):  # JAX takes no derivative of an explicit sharding without it
                backward, gradient = _of_loss(eager, args, inner)
        except Exception as error:  # a function that only looks like a loss need have none
            why_no_gradient = first_line_of(error)
    return Memory(
        title=title,
        device=jax.devices()[0].device_kind,
        eager=eager_peak(observed, makers, inner),
        compiled=program_of_path(observed) if why_not_static else compiled,
        why_not_static=why_not_static,
        backward=backward,
        gradient=gradient,
        notes=tuple(_notes(title, observed, inner, gradient, why_no_gradient)),
    )


def _observed(fun: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Observed, Makers]:
    observed = observe(fun, args)
    return observed, Makers(observed)


def _is_loss(observed: Observed, args: tuple[Any, ...]) -> bool:
    """Whether one real number was returned that can be derived by the first argument."""
    if len(observed.returned) != 1 or not isinstance(observed.output, Slot) or not args:
        return False
    result = observed.values[observed.output]
    first = jax.tree.leaves(args[0])
    return result.shape == () and all(map(_is_real, (result, *first))) and bool(first)


def _is_real(leaf: Any) -> bool:
    return _is_array(leaf) and bool(jnp.issubdtype(leaf.dtype, jnp.floating))


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray)


def _of_loss(
    loss: AnyFunction, args: tuple[Any, ...], inner: InnerBytes
) -> tuple[Backward | None, Gradient]:
    """What the gradient of a loss keeps, and what it takes compiled, also under `checkpoint`."""
    observed, makers = _observed(jax.grad(loss), args)
    compiled, arrays = _of_arrays_only(loss, args)
    plain, why_not = program_of(function(jax.grad(compiled)), arrays, "jax.grad(f)")
    checkpointed = None
    if plain is not None:
        again = function(jax.grad(jax.checkpoint(compiled)))
        checkpointed, why_not = program_of(again, arrays, "jax.grad(jax.checkpoint(f))")
    gradient = Gradient(
        eager=eager_peak(observed, makers, inner),
        plain=plain,
        checkpointed=checkpointed,
        why_not=why_not,
    )
    return backward_of(observed, makers, "its gradient by argument 0"), gradient


def _of_arrays_only(
    fun: Callable[..., Any], args: tuple[Any, ...]
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """`fun` of those arguments that are arrays; the others, such as static ones, as they are."""
    numbers = [n for n, arg in enumerate(args) if all(map(_is_array, jax.tree.leaves(arg)))]

    def of_arrays(*arrays: Any) -> Any:
        every = list(args)
        for number, array in zip(numbers, arrays, strict=True):
            every[number] = array
        return fun(*every)

    return of_arrays, tuple(args[number] for number in numbers)


def _notes(
    title: str,
    observed: Observed,
    inner: InnerBytes,
    gradient: Gradient | None,
    why_no_gradient: str,
) -> Iterator[str]:
    if why_no_gradient:
        yield f"It returns one real number, but has no gradient by argument 0: {why_no_gradient}"
    if not inner.is_complete:
        yield (
            "Some nested functions, loops or branches could not be asked what they take inside; "
            "eager's figure lacks that."
        )
    if [operation.name for operation in observed.operations] == [title]:
        yield (
            "Op by op it is a single compiled operation, and what it holds inside is not told by "
            "line: give the function that is inside jax.jit."
        )
    programs = None if gradient is None else (gradient.plain, gradient.checkpointed)
    if programs is not None and None not in programs:
        plain, checkpointed = programs
        assert plain is not None
        assert checkpointed is not None
        if checkpointed.bytes >= plain.bytes:
            yield (
                "jax.checkpoint around the whole loss makes everything again at once, and takes "
                "no less at the worst moment here: put it around parts."
            )
