"""What a batch costs: `train.Batches` beside a plain NumPy loop and grain, on arrays in memory."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import grain
import numpy as np
import results
from spread import Spread, spread

from fxgrad import train

EXAMPLES: Final = 20_000
SEED: Final = 0

Arrays = dict[str, np.ndarray]
Epoch = Callable[[Arrays, int], Iterator[Any]]


@dataclass(frozen=True)
class Row:
    """One way of loading, measured: a batch's time in each block, and the way to the first batch
    of an epoch that is resumed in its middle, where it can be."""

    way: str
    batch_size: int
    batches_in_block: int
    per_batch: Spread
    resumed: Spread | None


def numpy_loop(arrays: Arrays, batch_size: int) -> Iterator[Any]:
    """What a person writes by hand."""
    order = np.random.default_rng(SEED).permutation(EXAMPLES)
    for start in range(0, EXAMPLES - batch_size + 1, batch_size):
        rows = order[start : start + batch_size]
        yield {name: array[rows] for name, array in arrays.items()}


class Records:
    """The arrays as grain wants them: one example at a time."""

    def __init__(self, arrays: Arrays) -> None:
        self._arrays = arrays

    def __len__(self) -> int:
        return EXAMPLES

    def __getitem__(self, index: int) -> Arrays:
        return {name: array[index] for name, array in self._arrays.items()}


def grain_dataset(arrays: Arrays, batch_size: int) -> Any:
    """Shuffled and batched by grain itself."""
    shuffled = grain.MapDataset.source(Records(arrays)).shuffle(seed=SEED)
    return shuffled.batch(batch_size, drop_remainder=True)


def reading(threads: int) -> Any:
    """With so many threads, and as many batches ahead; grain's own default is 16 and 500."""
    return grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)


WAYS: Final[dict[str, Epoch]] = {
    "a NumPy loop": numpy_loop,
    "`train.Batches`": lambda arrays, size: train.Batches(arrays, size, seed=SEED).epoch(0),
    "`train.prefetch` of `Batches`, a copy to the device included": lambda arrays, size: (
        train.prefetch(train.Batches(arrays, size, seed=SEED)).epoch(0)
    ),
    "`train.stream`, no threads": lambda arrays, size: train.stream(
        Records(arrays), size, seed=SEED, threads=0
    ).epoch(0),
    "grain's `MapDataset`, no threads": lambda arrays, size: iter(
        grain_dataset(arrays, size).to_iter_dataset(reading(0))
    ),
    "grain's `MapDataset`, 4 threads": lambda arrays, size: iter(
        grain_dataset(arrays, size).to_iter_dataset(reading(4))
    ),
}
RESUMED: Final[dict[str, Callable[[Arrays, int, int], Iterator[Any]]]] = {
    "a NumPy loop": lambda arrays, size, start: itertools.islice(
        numpy_loop(arrays, size), start, None
    ),
    "`train.Batches`": lambda arrays, size, start: train.Batches(arrays, size, seed=SEED).epoch(
        0, start
    ),
    "`train.stream`, no threads": lambda arrays, size, start: train.stream(
        Records(arrays), size, seed=SEED, threads=0
    ).epoch(0, start),
}


def measure(arrays: Arrays, batch_size: int, rounds: int, batches: int) -> list[Row]:
    """Rounds of a block of each way, so that drift meets all alike."""
    count = min(batches, EXAMPLES // batch_size)
    blocks: dict[str, list[float]] = {way: [] for way in WAYS}
    firsts: dict[str, list[float]] = {way: [] for way in RESUMED}
    for _ in range(rounds):
        for way, epoch in WAYS.items():
            blocks[way].append(nanoseconds_per_batch(epoch(arrays, batch_size), count))
        for way, resumed in RESUMED.items():
            start = time.perf_counter_ns()
            next(resumed(arrays, batch_size, EXAMPLES // batch_size // 2))
            firsts[way].append(time.perf_counter_ns() - start)
    return [
        Row(
            way=way,
            batch_size=batch_size,
            batches_in_block=count,
            per_batch=spread(times),
            resumed=spread(firsts[way]) if way in firsts else None,
        )
        for way, times in blocks.items()
    ]


def nanoseconds_per_batch(epoch: Iterator[Any], count: int) -> float:
    """A block of batches after the first, which starts threads and shuffles."""
    next(epoch)
    start = time.perf_counter_ns()
    (batch,) = deque(itertools.islice(epoch, count - 1), maxlen=1)
    elapsed = time.perf_counter_ns() - start
    assert len(batch["image"]) == len(batch["label"])
    close = getattr(epoch, "close", None)
    if close is not None:
        close()
    return elapsed / (count - 1)


def table(rows: list[Row]) -> str:
    """A row for each way and batch size, in microseconds."""
    header = ["µs per batch", "rows", "min", "median", "p90", "first batch when resumed half-way"]
    return results.markdown(
        header,
        [
            [
                row.way,
                str(row.batch_size),
                *(
                    f"{us:.0f}"
                    for us in (row.per_batch.min_us, row.per_batch.median_us, row.per_batch.p90_us)
                ),
                "" if row.resumed is None else f"{row.resumed.median_us:.0f}",
            ]
            for row in rows
        ],
    )


def main() -> None:
    """Measure, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--batches", type=int, default=40, help="in a block")
    parser.add_argument("--results", type=Path, default=results.FOLDER)
    options = parser.parse_args()
    generator = np.random.default_rng(SEED)
    arrays = {
        "image": generator.random((EXAMPLES, 28, 28), np.float32),
        "label": generator.integers(0, 10, EXAMPLES, np.int32),
    }
    rows = [
        row
        for batch_size in (64, 512)
        for row in measure(arrays, batch_size, options.rounds, options.batches)
    ]
    print(table(rows))
    results.write(
        "loading",
        options.results,
        command=f"python benchmarks/loading.py --rounds {options.rounds} "
        f"--batches {options.batches}",
        versions={name: version(name) for name in (*results.OWN_PACKAGES, "grain", "numpy")},
        rows=[dataclasses.asdict(row) for row in rows],
    )


if __name__ == "__main__":
    main()
