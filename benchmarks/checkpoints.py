"""What a save costs a training: how long `save` keeps it, and how long until the step is durable.

Ten float32 arrays of random numbers. The disk is that of the system's temporary folder.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import results

from fxgrad.train import Checkpoints

SIZES_MB = (0.2, 20, 200)


def main() -> None:
    """Measure, print a table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--results", type=Path, default=results.FOLDER)
    options = parser.parse_args()
    rows = [measure(size, options.rounds) for size in SIZES_MB]
    header = ["", "save returns, ms", "durable, ms", "restore, ms"]
    print(results.markdown(header, [_line(row) for row in rows]))
    command = f"python benchmarks/checkpoints.py --rounds {options.rounds}"
    results.write("checkpoints", options.results, command=command, rows=rows)


def measure(megabytes: float, rounds: int) -> dict[str, Any]:
    """The median milliseconds of each part; the first round is a warm-up."""
    rng = np.random.default_rng(0)
    length = int(megabytes * 1e6 / 40)
    state = [jax.device_put(rng.normal(size=length).astype(np.float32)) for _ in range(10)]
    parts: dict[str, list[float]] = {"returns_ms": [], "durable_ms": [], "restore_ms": []}
    with tempfile.TemporaryDirectory() as folder, Checkpoints(folder, keep_last=1) as checkpoints:
        for step in range(rounds + 1):
            start = time.perf_counter()
            checkpoints.save(state, step=step)
            returned = time.perf_counter()
            checkpoints.wait()
            durable = time.perf_counter()
            jax.block_until_ready(checkpoints.restore(state).state)
            ends = (returned - start, durable - start, time.perf_counter() - durable)
            for part, seconds in zip(parts.values(), ends, strict=True):
                part.append(1e3 * seconds)
    return {"megabytes": megabytes} | {
        name: statistics.median(values[1:]) for name, values in parts.items()
    }


def _line(row: dict[str, Any]) -> list[str]:
    times = (row["returns_ms"], row["durable_ms"], row["restore_ms"])
    return [f"{row['megabytes']:g} MB", *(f"{value:.0f}" for value in times)]


if __name__ == "__main__":
    main()
