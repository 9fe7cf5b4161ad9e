"""`fx.compare`: one function timed in every mode, in turn, every call waited for."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fxgrad.comparison.arguments import Arguments
from fxgrad.comparison.entrant import Entrant, rotated
from fxgrad.comparison.environment import this_environment
from fxgrad.comparison.record import check_planned_calls
from fxgrad.comparison.result import Comparison
from fxgrad.comparison.subject import Subject
from fxgrad.errors import FxError, OptionError
from fxgrad.execution.function import AnyFunction, as_function
from fxgrad.modes import MODES, Mode, check_modes
from fxgrad.replay.promotion import FIRST_PATIENCE


def compare(
    fun: Callable[..., Any],
    *args: Any,
    modes: Mode | Sequence[Mode] = MODES,
    calls: int = 50,
    warmup: int = 2,
    max_seconds: float = 30.0,
    memory: bool = True,
    planned_calls: int | None = None,
) -> Comparison:
    """Measure `fun` in every mode, and recommend one.

    Measured are the first call, steady calls, programs, memory and agreement.

    Each mode gets a Function of its own with an empty cache. The modes take turns call by call, in
    an order that rotates, so that a drift of the machine's speed hits all alike. Every call is
    waited for. Eager operations that this process has run before are not compiled again; the
    recommendation counts what they would cost in a new process, and says so.

    Args:
      fun: a pure function or a `Function`, whose options are kept.
      args: its arguments. They are copied once, and for each call where calls take them over.
      modes: the modes to compare.
      calls: steady calls in each mode, at least 1.
      warmup: calls between the first and the steady ones, not counted as steady; at least 8 where
        replay has met a decision, since it folds what it has recorded after so many.
      max_seconds: stop after this many seconds of steady calls, but not before the 5th of each.
      memory: ask the compiler what the static program takes, which is built once more for that,
        and run eager once more to see what it holds; the page then has a section on memory.
      planned_calls: how many calls will be made, for the recommendation; without it, that is by
        the number of calls.

    Returns:
      A `Comparison`. A mode that cannot run `fun` because Python needs a value is listed in its
      `failures`, and so is one that cannot take an argument, such as static a string.

    Raises:
      OptionError: fewer than 1 call, measured or planned, fewer than 0 to warm up, or no modes.
      ModeError: one of `modes` is not a mode.
      FxError: no mode could run `fun`; why the first of them could not.
    """
    modes = check_modes(modes)
    _check_options(modes, calls, warmup)
    check_planned_calls(planned_calls)
    own = as_function(fun)
    entrants: dict[Mode, Entrant] = {mode: Entrant(mode, own.in_mode(mode)) for mode in modes}
    arguments = Arguments(args)
    outputs, failures = _first_calls(entrants, arguments)
    running = list(entrants.values())
    settling = FIRST_PATIENCE if any(e.is_to_fold for e in running) else 0
    _take_turns(running, arguments, max(warmup, settling), max_seconds=math.inf)
    _take_turns(running, arguments, calls, max_seconds)
    return Comparison(
        title=getattr(fun, "__qualname__", repr(fun)),
        unit="call",
        timings={
            mode: entrant.timing(*args, warmup=warmup, settling=settling, memory=memory)
            for mode, entrant in entrants.items()
        },
        failures=failures,
        largest_difference=largest_difference(outputs),
        environment=this_environment(),
        planned_calls=planned_calls,
        subject=Subject(own, own.spared(args), memory, _recorded(entrants)),
    )


def _recorded(entrants: Mapping[Mode, Entrant]) -> AnyFunction | None:
    return entrants["replay"].function if "replay" in entrants else None


def _check_options(modes: Sequence[Mode], calls: int, warmup: int) -> None:
    if calls < 1 or warmup < 0 or not modes:
        raise OptionError(
            f"calls={calls}, warmup={warmup}, modes={modes!r}: a comparison has at least 1 steady "
            "call, 0 calls to warm up, and 1 mode.",
            option="calls",
        )


def largest_difference(outputs: Sequence[Any]) -> float | None:
    """The largest relative difference between a leaf of the outputs and the first output's.

    It is relative to the largest finite magnitude of the leaf. Numbers and bools are compared;
    equal infinities and NaNs are no difference, and outputs of other shapes differ infinitely.
    """
    reference, *others = [_numbers(output) for output in outputs] or [[]]
    if not others or not reference:
        return None
    return max(_difference(reference, numbers) for numbers in others)


def _numbers(output: Any) -> list[np.ndarray]:
    leaves = [leaf for leaf in jax.tree.leaves(output) if _is_number(leaf)]
    return [np.asarray(leaf, complex if jnp.iscomplexobj(leaf) else float) for leaf in leaves]


def _difference(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    if [leaf.shape for leaf in a] != [leaf.shape for leaf in b]:
        return math.inf
    return max((_leaf_difference(*leaves) for leaves in zip(a, b, strict=True)), default=0.0)


def _leaf_difference(a: np.ndarray, b: np.ndarray) -> float:
    is_same = (a == b) | (np.isnan(a) & np.isnan(b))
    if is_same.all():
        return 0.0
    if not (np.isfinite(a) == np.isfinite(b)).all():
        return math.inf
    size = np.max(np.abs(a[np.isfinite(a)]), initial=0.0)
    difference = np.max(np.abs(a - b), where=~is_same, initial=0.0)
    return float(difference / size) if size else float(difference)


def _first_calls(
    entrants: dict[Mode, Entrant], arguments: Arguments
) -> tuple[list[Any], dict[Mode, str]]:
    """The output of each first call; modes that cannot make one are taken out, with the reason."""
    outputs = []
    failures: dict[Mode, FxError] = {}
    for mode, entrant in entrants.items():
        try:
            outputs.append(entrant.call(*arguments.of_a_call()))
        except FxError as error:
            failures[mode] = error
    for mode in failures:
        del entrants[mode]
    if not entrants:
        raise next(iter(failures.values()))
    return outputs, {mode: str(error) for mode, error in failures.items()}


def _take_turns(
    entrants: Sequence[Entrant], arguments: Arguments, calls: int, max_seconds: float
) -> None:
    start = time.perf_counter()
    for turn in range(calls):
        if turn >= 5 and time.perf_counter() - start > max_seconds:
            return
        for entrant in rotated(entrants, turn):
            entrant.call(*arguments.of_a_call())


def _is_number(leaf: Any) -> bool:
    dtype = getattr(leaf, "dtype", np.dtype(type(leaf)))
    return jnp.issubdtype(dtype, jnp.number) or jnp.issubdtype(dtype, jnp.bool_)
