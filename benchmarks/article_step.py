"""One train step of the article's network in JAX, fxgrad, PyTorch and TensorFlow.

The network is 784-128-10 with ReLU, in batches of 64, with plain SGD at 0.01. Every step is waited
for. A contender's first call is one call in one process; it includes tracing and compiling, not
imports.
"""

from __future__ import annotations

import argparse
import dataclasses

import command_line
import results
from lineup import LATE, LINEUP, ONE_THREAD, OPTIONAL
from rounds import Amount, Row, measure
from workloads import ARTICLE

WARM_UP_STEPS = 20


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
    parser = command_line.parser(__doc__, rounds=15, steps=100)
    parser.add_argument("--torch-compile", action="store_true", help=f"add {OPTIONAL}")
    chosen = parser.parse_args()
    if chosen.contenders is None:
        left_out = {LATE, *ONE_THREAD, *(() if chosen.torch_compile else (OPTIONAL,))}
        chosen.contenders = [name for name in LINEUP if name not in left_out]
    command_line.check_peers(parser, chosen.peers_python, chosen.contenders)
    return chosen


def main() -> None:
    """Measure, print the table, write the results."""
    chosen = options()
    amount = Amount(WARM_UP_STEPS, chosen.rounds, chosen.steps)
    measured = measure(ARTICLE, chosen.contenders, chosen.peers_python, amount)
    for failure in measured.failures.values():
        raise failure
    print(table(measured.rows))
    results.write(
        "article_step",
        chosen.results,
        command=command_line.repeating("article_step.py", chosen),
        versions=measured.versions,
        rows=[dataclasses.asdict(row) for row in measured.rows],
    )


if __name__ == "__main__":
    command_line.run(main)
