"""``fxgrad train``: copies of a script as the processes of one run, started and watched."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

from fxgrad.cli.output import positive
from fxgrad.errors import TargetError
from fxgrad.parallel import supervisor
from fxgrad.parallel.supervisor import Plan


def add_parser(subparsers: Any) -> None:
    """Declare the command and its options."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "train", help="run a script in several processes, and take all down when one fails"
    )
    parser.add_argument("script", help="a Python file that calls parallel.initialize() first")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="its own arguments")
    parser.add_argument("--processes", type=positive, default=1, help="how many (1)")
    parser.add_argument(
        "--restarts", type=_count, default=0, help="start all again after so many failures (0)"
    )
    parser.add_argument("--devices-per-process", type=positive, help="of this machine (all)")
    parser.add_argument(
        "--hang-seconds", type=float, help="so long without a line of output is a failure (never)"
    )
    parser.add_argument(
        "--start-seconds",
        type=float,
        default=Plan.start_seconds,
        help="how much later than the first a process may come to initialize (%(default)g)",
    )
    parser.add_argument(
        "--finish-seconds",
        type=float,
        default=Plan.finish_seconds,
        help="how much later than the first a process may come to the script's end (%(default)g)",
    )
    parser.add_argument(
        "--save-seconds",
        type=float,
        default=Plan.save_seconds,
        help="how long processes have to save and end when they are told to (%(default)g)",
    )
    parser.set_defaults(run=run)


def _count(text: str) -> int:
    return positive(str(int(text) + 1)) - 1


def run(options: argparse.Namespace) -> int:
    """Become the supervisor, which has nothing of JAX in it."""
    if not Path(options.script).is_file():
        raise TargetError(f"there is no script {options.script}.")
    names = {field.name for field in dataclasses.fields(Plan)}
    chosen = {name: value for name, value in vars(options).items() if name in names}
    if chosen["arguments"][:1] == ["--"]:
        chosen["arguments"] = chosen["arguments"][1:]
    sys.stdout.flush()
    path = str(Path(supervisor.__file__))
    os.execv(sys.executable, [sys.executable, "-P", path, json.dumps(chosen)])
