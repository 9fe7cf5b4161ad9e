"""``fxgrad compare``: any importable function, measured in every mode."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fxgrad.cli.output import check_outputs, positive, write
from fxgrad.cli.target import load_target
from fxgrad.comparison.measure import compare
from fxgrad.errors import FxError, TargetError
from fxgrad.modes import MODES
from fxgrad.paths import call_shape_of
from fxgrad.places import raising_place


def add_parser(subparsers: Any) -> None:
    """Declare the command and its options."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "compare", help="measure a function in every mode"
    )
    parser.add_argument("target", help="package.module:function, or path/to/file.py:function")
    parser.add_argument(
        "--args",
        metavar="TARGET",
        help="a function without parameters that returns the arguments: a tuple, or one argument",
    )
    parser.add_argument(
        "--modes", nargs="+", choices=MODES, default=list(MODES), help="which ones (all)"
    )
    parser.add_argument("--calls", type=positive, default=50, help="steady calls in each mode (50)")
    parser.add_argument("--planned-calls", type=positive, help="recommend a mode for so many calls")
    parser.add_argument("--html", type=Path, help="write an HTML page here")
    parser.add_argument("--json", type=Path, help="write all that was measured here")
    parser.add_argument("--plot", type=Path, help="draw the curves here: .png, .svg or .pdf")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure, print the table, write what was asked for."""
    check_outputs(page=options.html, data=options.json, plot=options.plot)
    function = load_target(options.target)
    arguments = _arguments(options.args)
    _check_call(options.target, function, arguments)
    with _one_line(options.target):
        comparison = compare(
            function,
            *arguments,
            modes=options.modes,
            calls=options.calls,
            planned_calls=options.planned_calls,
        )
    write(comparison, page=options.html, data=options.json, plot=options.plot)
    return 0


def _arguments(target: str | None) -> tuple[Any, ...]:
    if target is None:
        return ()
    function = load_target(target)
    _check_call(target, function, ())
    with _one_line(target):
        made = function()
    if isinstance(made, list):
        raise TargetError(f"{target} returned a list: return a tuple of the arguments.")
    return made if isinstance(made, tuple) else (made,)


def _check_call(target: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    call_shape = call_shape_of(function)
    try:
        if call_shape is not None:
            call_shape.bind(*arguments)
    except TypeError as error:
        given = f"{len(arguments)} argument(s)"
        raise TargetError(
            f"{target}{call_shape} cannot be called with {given}: {error}. Name a function that "
            "makes its arguments: --args package.module:make_args."
        ) from error


@contextlib.contextmanager
def _one_line(target: str) -> Iterator[None]:
    """What the user's function raises is told in one line, with the line that raised it."""
    try:
        yield
    except FxError:
        raise
    except Exception as error:
        place = raising_place(error.__traceback__)
        words = f"{type(error).__name__}: {error}".splitlines()[0]
        raise TargetError(f"{target} failed: {words}" + (f" ({place})" if place else "")) from error
