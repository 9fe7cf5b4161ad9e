"""How long each view of a function takes to make, in a new process, nothing compiled before.

The functions are those that the tests of the views look at: the article's training step, the
gradient of flax transformer blocks with some 2,000 equations, and Newton's method.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import results

import fxgrad as fx
from tests.subjects import SUBJECTS

VIEWS: Final[dict[str, Callable[..., Any]]] = {
    "graph, jaxpr": lambda *call: fx.graph(*call).to_html(),
    "graph, hlo": lambda *call: fx.graph(*call, stage="hlo").to_html(),
    "graph, paths": lambda *call: fx.graph(*call, stage="paths").to_html(),
    "memory": lambda *call: str(fx.memory(*call)),
    "diverge": lambda *call: str(fx.diverge(*call)),
    "compare, 1 call": lambda *call: str(fx.compare(*call, calls=1)),
}
PAGE: Final = "page of that"
BAR: Final = 10.0


def main() -> int:
    """Measure, print a table, write the results."""
    options = _options()
    if options.only:
        print(_seconds(*options.only))
        return 0
    medians: dict[str, dict[str, float]] = {view: {} for view in (*VIEWS, PAGE)}
    for view in medians:
        for subject in SUBJECTS:
            rounds = [_in_new_process(subject, view) for _ in range(options.rounds)]
            medians[view][subject] = round(statistics.median(rounds), 2)
    rows = [[view, *(f"{s:.1f}" for s in row.values())] for view, row in medians.items()]
    print(results.markdown(["seconds", *SUBJECTS], rows))
    command = f"PYTHONPATH=. python benchmarks/views.py --rounds {options.rounds}"
    results.write("views", options.results, command=command, median_seconds=medians)
    missed = [view for view, row in medians.items() if max(row.values()) >= BAR]
    print(f"{BAR:g} s or more: {', '.join(missed) or 'none'}")
    return 1 if missed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="new processes for each (3)")
    parser.add_argument("--results", type=Path, default=results.FOLDER, help="where to write")
    parser.add_argument("--only", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def _in_new_process(subject: str, view: str) -> float:
    command = [sys.executable, __file__, "--only", subject, view]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _seconds(subject: str, view: str) -> float:
    call = SUBJECTS[subject]()
    if view == PAGE:
        make = fx.compare(*call, calls=1).to_html
    else:
        make = functools.partial(VIEWS[view], *call)
    start = time.perf_counter()
    make()
    return time.perf_counter() - start


if __name__ == "__main__":
    raise SystemExit(main())
