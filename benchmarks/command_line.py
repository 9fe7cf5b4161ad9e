"""The options that the benchmarks with contenders share."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import results
from child import ChildError
from lineup import LINEUP


def parser(description: str | None, *, rounds: int, steps: int) -> argparse.ArgumentParser:
    """A parser of the shared options, with these defaults."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--peers-python", help="an interpreter with tests/parity/requirements.txt")
    made.add_argument("--contenders", nargs="+", choices=LINEUP, metavar="NAME")
    made.add_argument("--rounds", type=int, default=rounds)
    made.add_argument("--steps", type=int, default=steps, help="in a round")
    made.add_argument("--results", type=Path, default=results.FOLDER)
    return made


def check_peers(
    parser: argparse.ArgumentParser, peers_python: str | None, contenders: Sequence[str]
) -> None:
    """End with a usage error if a contender needs an interpreter that is not there."""
    peers = [name for name in contenders if LINEUP[name].is_peer]
    if peers and not peers_python:
        parser.error(f"{peers[0]} needs --peers-python; --contenders can leave it out")
    if peers and peers_python and shutil.which(peers_python) is None:
        parser.error(f"--peers-python {peers_python} is not an executable file")


def run(main: Callable[[], None]) -> None:
    """Run `main`; a contender that ends early ends the program with what it said."""
    try:
        main()
    except ChildError as error:
        sys.exit(str(error))


def repeating(script: str, chosen: argparse.Namespace) -> str:
    """The command that repeats the measurement, with PATH for the peers' interpreter."""
    peers = " --peers-python PATH" if chosen.peers_python else ""
    size = f" --rounds {chosen.rounds} --steps {chosen.steps}"
    contenders = " ".join(chosen.contenders)
    return f"python benchmarks/{script}{peers}{size} --contenders {contenders}"
