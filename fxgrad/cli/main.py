"""``fxgrad``: reads the command line and calls the command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from fxgrad.cli import compare, demo
from fxgrad.errors import FxError

COMMANDS = (demo, compare)


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
    options = parser.parse_args(arguments)
    try:
        return options.run(options)
    except (FxError, OSError) as error:
        print(f"fxgrad: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
