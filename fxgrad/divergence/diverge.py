"""`fx.diverge`: where the compiled modes leave eager, which is nearer to float64, and why."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from fxgrad.divergence.difference import Tolerance
from fxgrad.divergence.examination import Examination
from fxgrad.divergence.outcomes import run_and_watch
from fxgrad.divergence.result import Divergence
from fxgrad.errors import OptionError


def diverge(
    fun: Callable[..., Any],
    *args: Any,
    rtol: float | None = None,
    atol: float | None = None,
    masked: bool = False,
    compiler_options: Mapping[str, Any] | None = None,
) -> Divergence | None:
    """Find the first equation at which the compiled modes leave eager, and the first NaN or inf.

    `fun` runs once op by op, once in static and once in replay. Only if an output of theirs leaves
    eager's, or is not finite, the operations that eager ran are compiled and looked into. What has
    an effect, such as `jax.debug.print`, happens in the eager run only: then the other two are not
    run, and the compiled operations stand for them.

    Args:
      fun: a pure function, a `Function`, or a bound method. It is not changed.
      args: its arguments. Donated ones are copied first.
      rtol: an output may differ by this much, relative to the larger of the element and the size
        of the array, which is its largest finite magnitude. Left out, it goes by dtype: 1e-5 for
        float32, 4e-3 for float16, 1.6e-2 for bfloat16, 1e-12 for float64. Integers must be equal.
      atol: and by this much besides. Left out, it is 0, and an output that is zero in float64 and
        tiny beside the inputs may be any tiny number: it is made of rounding errors only.
      masked: report a NaN or an infinity that was made on the way even if it reaches no output,
        as when `jax.numpy.where` drops it.
      compiler_options: what you compile with, as for `jax.jit`. Then the operations that eager ran
        are compiled with these, in place of static and replay.

    Returns:
      A `Divergence`, or None if all outputs agree and hold no NaN or infinity that was made here,
      and no argument is changed in place.

    Raises:
      OptionError: a tolerance is negative or not a number.
      Exception: whatever `fun` raises in eager.
    """
    _check(rtol=rtol, atol=atol)
    observed, changed = run_and_watch(fun, args)
    examination = Examination(
        fun, args, observed, Tolerance(rtol, atol), compiler_options, masked=masked
    )
    return examination.result(changed)


def _check(**tolerances: float | None) -> None:
    for name, value in tolerances.items():
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise OptionError(
                f"{name}={value!r}: a tolerance is a number from 0 on, or None for the default "
                "of each dtype.",
                option=name,
            )
