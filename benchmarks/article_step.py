"""One train step of the article's network in JAX, fxgrad, PyTorch and TensorFlow.

The network is 784-128-10 with ReLU, in batches of 64, with plain SGD at 0.01. Every step is waited
for. A contender's first call is one call in one process; it includes tracing and compiling, not
imports.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import math
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import results
from child import Child, ChildError, running
from lineup import BASELINE, LINEUP, OPTIONAL
from spread import Spread, spread

WARM_UP_STEPS = 20
# Thread pools spin for a while after their last work; the next contender shall not pay for it.
PAUSE_SECONDS = 0.3


@dataclass(frozen=True)
class Row:
    """One contender, measured. `ratio` is its median over that of `jax.jit`, if that took part."""

    contender: str
    label: str
    device: str
    first_call_ms: float
    steady: Spread
    medians_by_round_us: list[float]
    ratio: float | None


def measure(children: Mapping[str, Child], rounds: int, steps: int) -> list[Row]:
    """First calls, a warm-up, then rounds of `steps` steps of every child, one child at a time."""
    first = {name: _run(child, 1)[0][0] for name, child in children.items()}
    _check_losses({name: _run(child, WARM_UP_STEPS)[1] for name, child in children.items()})
    timings: dict[str, list[list[int]]] = {name: [] for name in children}
    for _ in range(rounds):
        for name, child in children.items():
            timings[name].append(_run(child, steps)[0])
    return _rows(children, first, timings)


def _run(child: Child, steps: int) -> tuple[list[int], float]:
    time.sleep(PAUSE_SECONDS)
    return child.run(steps)


def _check_losses(losses: Mapping[str, float]) -> None:
    """The same work has been done only if the same loss came out."""
    name, expected = next(iter(losses.items()))
    for other, loss in losses.items():
        if not math.isclose(loss, expected, rel_tol=1e-4):
            raise ValueError(
                f"after the same steps the loss of {other} is {loss}, that of {name} {expected}"
            )


def _rows(
    children: Mapping[str, Child],
    first: Mapping[str, int],
    timings: Mapping[str, list[list[int]]],
) -> list[Row]:
    steady = {name: spread([t for turn in turns for t in turn]) for name, turns in timings.items()}
    baseline = steady[BASELINE].median_us if BASELINE in steady else None
    return [
        Row(
            contender=name,
            label=LINEUP[name].label,
            device=child.device,
            first_call_ms=first[name] / 1e6,
            steady=steady[name],
            medians_by_round_us=[spread(turn).median_us for turn in timings[name]],
            ratio=steady[name].median_us / baseline if baseline else None,
        )
        for name, child in children.items()
    ]


def table(rows: list[Row]) -> str:
    """A row for each contender; times per step in microseconds."""
    header = ["", "first call, ms", "median, µs", "p10–p90, µs", "ratio to `jax.jit`", "device"]
    return results.markdown(header, [_line(row) for row in rows])


def _line(row: Row) -> list[str]:
    return [
        row.label,
        f"{row.first_call_ms:.0f}",
        f"{row.steady.median_us:.0f}",
        f"{row.steady.p10_us:.0f}–{row.steady.p90_us:.0f}",
        "" if row.ratio is None else f"{row.ratio:.2f}",
        row.device,
    ]


def options() -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers-python", help="an interpreter with tests/parity/requirements.txt")
    parser.add_argument("--contenders", nargs="+", choices=LINEUP, metavar="NAME")
    parser.add_argument("--torch-compile", action="store_true", help=f"add {OPTIONAL}")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=100, help="in a round")
    parser.add_argument("--results", type=Path, default=results.FOLDER)
    chosen = parser.parse_args()
    if chosen.contenders is None:
        chosen.contenders = [n for n in LINEUP if n != OPTIONAL or chosen.torch_compile]
    peers = [name for name in chosen.contenders if LINEUP[name].is_peer]
    if peers and not chosen.peers_python:
        parser.error(f"{peers[0]} needs --peers-python; --contenders can leave it out")
    if peers and shutil.which(chosen.peers_python) is None:
        parser.error(f"--peers-python {chosen.peers_python} is not an executable file")
    return chosen


def command(chosen: argparse.Namespace) -> str:
    """What repeats the measurement, with PATH for the peers' interpreter."""
    peers = " --peers-python PATH" if chosen.peers_python else ""
    size = f" --rounds {chosen.rounds} --steps {chosen.steps}"
    return f"python benchmarks/article_step.py{peers}{size} --contenders " + " ".join(
        chosen.contenders
    )


def main() -> None:
    """Measure, print the table, write the results."""
    chosen = options()
    with contextlib.ExitStack() as stack:
        children = {
            contender.name: stack.enter_context(
                running(contender, chosen.peers_python if contender.is_peer else sys.executable)
            )
            for contender in map(LINEUP.__getitem__, chosen.contenders)
        }
        rows = measure(children, chosen.rounds, chosen.steps)
        versions = {name: v for child in children.values() for name, v in child.versions.items()}
    print(table(rows))
    path = results.write(
        "article_step",
        chosen.results,
        command=command(chosen),
        versions=versions,
        rows=[dataclasses.asdict(row) for row in rows],
    )
    print(f"\nWritten to {path.name}.")


if __name__ == "__main__":
    try:
        main()
    except ChildError as error:
        sys.exit(str(error))
