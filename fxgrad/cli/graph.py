"""``fxgrad graph``: the graph of any importable function, as a page, Graphviz, JSON or text."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, get_args

from fxgrad.cli.call import arguments_from, check_call, in_one_line
from fxgrad.cli.output import check_outputs
from fxgrad.cli.target import load_target
from fxgrad.errors import FxError
from fxgrad.execution.function import as_function
from fxgrad.graphs.graph import Graph
from fxgrad.graphs.make import graph
from fxgrad.graphs.record import Stage
from fxgrad.modes import mode

_VIEWS: Final[dict[str, Callable[[Graph], str]]] = {
    ".html": Graph.to_html,
    ".dot": Graph.to_dot,
    ".json": Graph.to_json,
}


def add_parser(subparsers: Any) -> None:
    """Declare the command and its options."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "graph", help="show what was traced, what XLA compiled, or the paths of replay"
    )
    parser.add_argument("target", help="package.module:function, or path/to/file.py:function")
    parser.add_argument(
        "--args",
        metavar="TARGET",
        action="append",
        default=[],
        help="a function without parameters that returns the arguments: a tuple, or one argument; "
        "with --stage paths several may be given, and each is called once",
    )
    parser.add_argument(
        "--stage", choices=get_args(Stage), default="jaxpr", help="which graph (jaxpr)"
    )
    parser.add_argument(
        "-o", "--output", type=Path, help="write it here: .html, .dot or .json; else a summary"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Make the graph; write it or print its summary."""
    _check_output(options.output)
    if options.stage != "paths" and len(options.args) > 1:
        raise FxError(f"--stage {options.stage} shows one call: give --args once.")
    found = load_target(options.target)
    subject = as_function(found).in_mode("replay")
    calls = [arguments_from(maker) for maker in options.args] or [()]
    for arguments in calls:
        check_call(options.target, found, arguments)
    with in_one_line(options.target), mode("replay"):
        if options.stage == "paths":
            for arguments in calls:
                subject(*arguments)
        made = graph(subject, *calls[0], stage=options.stage)
    if options.output is None:
        print(made)
        return 0
    options.output.write_text(_VIEWS[options.output.suffix](made), encoding="utf-8")
    whole = made.summary().whole
    print(f"{made.title}, {made.stage}: {whole.count} operations; written: {options.output}")
    return 0


def _check_output(path: Path | None) -> None:
    if path is None:
        return
    check_outputs(data=path)
    if path.suffix not in _VIEWS:
        raise FxError(
            f"{path}: a graph is written as {', '.join(_VIEWS)}; the suffix is {path.suffix!r}."
        )
