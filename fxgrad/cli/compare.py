"""``fxgrad compare``: any importable function, measured in every mode."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fxgrad.cli.output import check_writable, positive, write
from fxgrad.cli.target import load_target
from fxgrad.comparison.measure import compare
from fxgrad.errors import TargetError
from fxgrad.modes import MODES


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
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES), help="which")
    parser.add_argument("--calls", type=positive, default=50, help="steady calls in each mode (50)")
    parser.add_argument("--html", type=Path, help="write an HTML page here")
    parser.add_argument("--json", type=Path, help="write all that was measured here")
    parser.add_argument("--plot", type=Path, help="draw the curves here: .png, .svg or .pdf")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure, print the table, write what was asked for."""
    check_writable(options.html, options.json, options.plot)
    function = load_target(options.target)
    arguments = _arguments(options.args)
    try:
        comparison = compare(function, *arguments, modes=options.modes, calls=options.calls)
    except TypeError as error:
        raise TargetError(
            f"{options.target} cannot be called with the arguments that "
            f"{options.args or '--args (not given: none)'} makes: {error}"
        ) from error
    write(comparison, page=options.html, data=options.json)
    if options.plot is not None:
        comparison.plot(options.plot)
        print(f"plot: {options.plot}")
    return 0


def _arguments(target: str | None) -> tuple[Any, ...]:
    if target is None:
        return ()
    made = load_target(target)()
    return made if isinstance(made, tuple) else (made,)
