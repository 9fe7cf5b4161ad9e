"""``fxgrad``: reads the command line and calls the command."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from fxgrad.cli import compare, demo, doctor, explain, graph, train
from fxgrad.comparison.environment import version_of
from fxgrad.errors import FxError

COMMANDS = (demo, train, compare, explain, graph, doctor)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status.

    What the user got wrong is one line on standard error and status 2, not a traceback.
    """
    parser = argparse.ArgumentParser(
        prog="fxgrad", description="One pure function as a dynamic graph and as a static one."
    )
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(subparsers)
    parser.add_argument("--version", action="version", version=f"fxgrad {version_of('fxgrad')}")
    options = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal may lack "µ" or "–"
    try:
        status = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (FxError, OSError) as error:
        print(f"fxgrad: {error}", file=sys.stderr)
        return 2
    return status


if __name__ == "__main__":
    raise SystemExit(main())
