"""Causes: each suspect is taken away in turn, and the first whose absence restores eager is named.

What is taken away is always a setting or a freedom of the compiler's; eager is only run anew where
the suspect is a parameter of the operations themselves.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jax
import jax.numpy as jnp

from fxgrad.divergence.bodies import Equation, primitives_in
from fxgrad.divergence.difference import Tolerance, gap_between
from fxgrad.divergence.equations import (
    bind_as_is,
    bind_with,
    run_equation,
)
from fxgrad.divergence.locate import Sighting
from fxgrad.divergence.pieces import values_in_pieces
from fxgrad.divergence.program import Program, Run
from fxgrad.divergence.record import Cause, Kind, Trial
from fxgrad.divergence.words import ADVICE
from fxgrad.recorder import Operation, Slot

ACCUMULATES: Final = frozenset(
    [
        *("reduce_sum", "reduce_prod", "reduce", "reduce_window_sum", "reduce_window"),
        *("dot_general", "ragged_dot_general", "conv_general_dilated"),
        *("cumsum", "cumprod", "cumlogsumexp", "scatter-add", "scatter_add", "scatter-mul"),
        *("select_and_scatter_add", "psum"),
    ]
)
_PRODUCTS: Final = frozenset(["dot_general", "ragged_dot_general", "conv_general_dilated"])
_EXCESS: Final = "xla_allow_excess_precision"
_DISABLED: Final = "xla_disable_hlo_passes"
_FAST_MATH: Final = "xla_cpu_enable_fast_math"
_FAST_MIN_MAX: Final = "xla_cpu_enable_fast_min_max"
# Each gives away something that IEEE arithmetic promises, if it has this value.
_FAST: Final[Mapping[str, bool]] = {
    _FAST_MATH: True,
    _FAST_MIN_MAX: True,
    "xla_gpu_enable_fast_min_max": True,
}


def find_cause(program: Program, found: Sighting, tolerance: Tolerance) -> Cause:
    """Take the suspects away, from the most special to the most general, until one was it."""
    bench = _Bench.of(program, found, tolerance)
    trials: list[Trial] = []
    for trial in _trials(bench):
        trials.append(trial)
        if trial.vanished:
            return Cause(trial.kind, tuple(trials), ADVICE[trial.kind])
    return Cause("unknown", tuple(trials), ADVICE["unknown"])


@dataclass(frozen=True)
class _Bench:
    """A program in which the difference is seen, and what eager has there."""

    program: Program
    slot: Slot
    eager: Any
    watched: tuple[Slot, ...]
    tolerance: Tolerance

    @classmethod
    def of(cls, program: Program, found: Sighting, tolerance: Tolerance) -> _Bench:
        """With a program of few outputs if the difference is seen there too."""
        few = tuple(dict.fromkeys([*program.outputs, found.slot]))
        small = cls(program, found.slot, found.eager, few, tolerance)
        if found.seen == "all" and not small.remaining()[1]:
            return small
        return cls(program, found.slot, found.eager, found.watched, tolerance)

    @property
    def operation(self) -> Operation:
        """The one that makes the slot."""
        return self.program.operations[self.program.makers[self.slot]]

    def remaining(self, *, eager: Any = None, **changes: Any) -> tuple[float, bool]:
        """The relative difference under a change of the program, and whether it is gone."""
        value = self.program.compiled_values(self.watched, **changes)[self.slot]
        gap = gap_between(self.eager if eager is None else eager, value, self.tolerance)
        return gap.relative, not gap.diverges

    def needed(self) -> list[tuple[int, Operation]]:
        """The operations behind the slot."""
        return [(n, self.program.operations[n]) for n in self.program.needed([self.slot])]


def _trials(bench: _Bench) -> Iterator[Trial]:
    yield from _without_fast_math(bench)
    yield from _without_excess_precision(bench)
    yield from _with_exact_products(bench)
    yield from _with_sums_apart(bench)
    everything = range(len(bench.program.operations))
    parted = "every equation behind barriers, and no fusion"
    yield _trial(bench, "fusion", parted, alone=everything, options=_without_fusion(bench.program))
    yield _on_its_own(bench)


def _with_sums_apart(bench: _Bench) -> Iterator[Trial]:
    """Every accumulation in a program of its own, so that nothing else decides its order."""
    accumulating = [n for n, o in bench.needed() if primitives_in(o) & ACCUMULATES]
    if not accumulating:
        return
    value = values_in_pieces(bench.program, [bench.slot], accumulating)[bench.slot]
    gap = gap_between(bench.eager, value, bench.tolerance)
    which = f"each of the {len(accumulating)} equations that sum up"
    if len(accumulating) == 1:
        which = f"equation {accumulating[0] + 1}, which sums up,"
    removed = f"{which} in a program of its own"
    yield Trial("reduction order", removed, gap.relative, not gap.diverges)


def _on_its_own(bench: _Bench) -> Trial:
    """The equation as eager runs it, on what the compiled program gives it to read."""
    program, operation = bench.program, bench.operation
    read = program.slots_read(program.makers[bench.slot])
    values = program.compiled_values([*bench.watched, *read])
    value = operation.run(operation.inputs_from(values))[operation.results.index(bench.slot)]
    gap = gap_between(bench.eager, value, bench.tolerance)
    removed = "the equation in a program of its own"
    return Trial("fusion", removed, gap.relative, not gap.diverges)


def _without_fusion(program: Program) -> dict[str, Any]:
    """The program's options, and the compiler's pass that fuses left out."""
    others = program.options.get(_DISABLED)
    return {**program.options, _DISABLED: f"{others},fusion" if others else "fusion"}


def _without_fast_math(bench: _Bench) -> Iterator[Trial]:
    given = {**_environment_options(), **bench.program.options}
    fast = {name: not value for name, value in _FAST.items() if _is_set(given.get(name), value)}
    if fast:
        options = {**bench.program.options, **fast}
        yield _trial(bench, "fast-math", _as_words(fast), options=options)


def _without_excess_precision(bench: _Bench) -> Iterator[Trial]:
    if not any(map(_is_narrow, (aval for _, o in bench.needed() for aval in _avals(o)))):
        return
    options = {**bench.program.options, _EXCESS: False}
    yield _trial(bench, "excess precision", _as_words({_EXCESS: False}), options=options)


def _with_exact_products(bench: _Bench) -> Iterator[Trial]:
    """Eager and compiled anew, every product in the highest precision."""
    if not any(primitives_in(o) & _PRODUCTS for _, o in bench.needed()):
        return
    eager = bench.program.eager_values([bench.slot], in_highest_precision)[bench.slot]
    yield _trial(
        bench,
        "matmul precision",
        "every product in precision 'highest', in eager too",
        run=in_highest_precision,
        eager=eager,
    )


def in_highest_precision(operation: Operation, inputs: Sequence[Any]) -> Sequence[Any]:
    """Run an operation with every product in it in the highest precision."""
    if not primitives_in(operation) & _PRODUCTS:
        return operation.run(inputs)
    with operation.context.manager:
        return run_equation(operation, inputs, _bind_exactly)


def _bind_exactly(equation: Equation, inputs: Sequence[Any]) -> Sequence[Any]:
    if equation.primitive.name not in _PRODUCTS:
        return bind_as_is(equation, inputs)
    highest = (jax.lax.Precision.HIGHEST, jax.lax.Precision.HIGHEST)
    return bind_with(equation.primitive, {**equation.params, "precision": highest}, inputs)


def _trial(
    bench: _Bench,
    kind: Kind,
    removed: str,
    *,
    eager: Any = None,
    run: Run | None = None,
    **changes: Any,
) -> Trial:
    if run is not None:
        changes["run"] = run
    remaining, vanished = bench.remaining(eager=eager, **changes)
    return Trial(kind, removed, remaining, vanished)


def _environment_options() -> dict[str, str]:
    """The options in ``XLA_FLAGS``, which are the compiler's defaults in this process."""
    words = re.findall(r"--(\w+)(?:=(\S+))?", os.environ.get("XLA_FLAGS", ""))
    return {name: value or "true" for name, value in words}


def _is_set(value: Any, fast: bool) -> bool:
    if value is None:
        return False
    return (str(value).lower() in ("true", "1")) is fast


def _is_narrow(aval: Any) -> bool:
    if not jnp.issubdtype(getattr(aval, "dtype", bool), jnp.floating):
        return False
    return jnp.finfo(aval.dtype).bits < 32


def _avals(operation: Operation) -> tuple[Any, ...]:
    return (*operation.input_avals, *operation.output_avals)


def _as_words(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items())
