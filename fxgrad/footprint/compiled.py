"""What the compiler says that a program takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax

from fxgrad.errors import first_line_of
from fxgrad.execution.function import AnyFunction
from fxgrad.footprint.record import Program
from fxgrad.modes import mode as within_mode
from fxgrad.observed import Observed

THE_STATIC_PROGRAM = "the static program"
THIS_PATH = "the path that these arguments take"


def program_of(function: AnyFunction, args: Sequence[Any], of: str) -> tuple[Program | None, str]:
    """The static program of a call; where there is none, why, in words."""
    try:
        with within_mode("static"):
            lowered = function.in_mode("static").lower(*args)
    except Exception as error:  # whatever tracing raises: the function has run op by op before
        return None, first_line_of(error)
    program = _program(lowered, of)
    return program, "" if program else "the backend does not tell"


def program_of_path(observed: Observed) -> Program | None:
    """The program of one path: all that was observed, with the values that Python asked for."""

    def run(arguments: Sequence[Any], captured: Sequence[Any]) -> Any:
        values = observed.run(arguments, captured)
        return [values[slot] for slot in (*observed.returned, *observed.forced)]

    arguments = [observed.values[slot] for slot in observed.arguments]
    return _program(jax.jit(run).lower(arguments, list(observed.captured.values())), THIS_PATH)


def analysis_of(lowered: jax.stages.Lowered) -> Any:
    """The compiler's account of a program's memory, or None where the backend has none."""
    try:
        return lowered.compile().memory_analysis()
    except NotImplementedError:
        return None


def _program(lowered: jax.stages.Lowered, of: str) -> Program | None:
    analysis = analysis_of(lowered)
    if analysis is None:
        return None
    return Program(
        of=of,
        argument_bytes=analysis.argument_size_in_bytes,
        output_bytes=analysis.output_size_in_bytes,
        temporary_bytes=analysis.temp_size_in_bytes,
        aliased_bytes=analysis.alias_size_in_bytes,
        code_bytes=analysis.generated_code_size_in_bytes,
    )
