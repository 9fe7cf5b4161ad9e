"""``fxgrad compare``: any importable function, measured in every mode."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fxgrad.cli.call import arguments_from, check_call, in_one_line
from fxgrad.cli.output import check_outputs, positive, write
from fxgrad.cli.target import load_target
from fxgrad.comparison.measure import compare
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
    arguments = arguments_from(options.args)
    check_call(options.target, function, arguments)
    with in_one_line(options.target):
        comparison = compare(
            function,
            *arguments,
            modes=options.modes,
            calls=options.calls,
            planned_calls=options.planned_calls,
        )
    write(comparison, page=options.html, data=options.json, plot=options.plot)
    return 0
