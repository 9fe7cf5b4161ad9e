"""Planning buckets: the sizes that make padding, and compiling, cost the least.

One dimension, exact: a dynamic programme over the sizes that were seen. The cost of giving sizes
``i < … <= j`` the edge ``j`` meets the quadrangle inequality as long as a larger size does not cost
less, so the best last edge never moves back, and halving finds it (F. F. Yao, "Efficient dynamic
programming using quadrangle inequalities", 1980).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import pairwise

import numpy as np

from fxgrad.errors import OptionError
from fxgrad.shapes.buckets import Buckets


def plan_buckets(
    sizes: Iterable[int],
    *,
    max_buckets: int = 8,
    step_cost: Callable[[int], float] | None = None,
    compile_seconds: float | None = None,
    repeats: int = 1,
) -> Buckets:
    """The buckets with the least total cost for `sizes`, each padded to the next edge.

    Args:
      sizes: the lengths that will come, or a sample of them; at least 1.
      max_buckets: the most edges, at least 1: each is a program to compile.
      step_cost: what one array of a size costs, never less for a larger one; None takes the size
        itself, which fits work that grows with the length.
      compile_seconds: what each edge costs once. With it, no more edges are taken than pay for
        themselves; `step_cost` is to be in seconds too.
      repeats: how often each of `sizes` will come, such as the number of epochs; it weighs
        against `compile_seconds`.

    Returns:
      `Buckets`; the last edge is the largest of `sizes`. Of several plans of one cost, that with
      the fewest edges.

    Raises:
      OptionError: an argument is out of its range; `step_cost` falls, or is not finite.
    """
    if max_buckets < 1 or repeats < 1:
        option = "max_buckets" if max_buckets < 1 else "repeats"
        raise OptionError(f"{option} is below 1: write {option}=1 or more.", option=option)
    seen, counts = _counted(sizes)
    costs = _costs(seen, step_cost)
    compiling = _compile_cost(compile_seconds, step_cost)
    ends, totals = _best_ends(counts * repeats, costs, min(max_buckets, len(seen)))
    price = [total + (number + 1) * compiling for number, total in enumerate(totals)]
    edges = seen[ends[price.index(min(price))]]
    return Buckets(tuple(edges.tolist()), padding=_padding(seen, counts, costs, edges))


def _counted(sizes: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
    found = np.asarray(sizes if isinstance(sizes, np.ndarray) else list(sizes))
    if found.ndim != 1 or found.size == 0 or found.dtype.kind not in "iu" or found.min() < 1:
        message = "sizes must be whole numbers of at least 1, and one of them at the least"
        raise OptionError(f"{message}: write [len(x) for x in examples].", option="sizes")
    return np.unique(found.astype(np.int64), return_counts=True)


def _costs(seen: np.ndarray, step_cost: Callable[[int], float] | None) -> np.ndarray:
    if step_cost is None:
        return seen.astype(np.float64)
    costs = [float(step_cost(int(size))) for size in seen]
    wrong = next((c for c in costs if not math.isfinite(c) or c < 0), None)
    if wrong is not None:
        raise OptionError(f"step_cost gave {wrong}: it is to be 0 or more.", option="step_cost")
    for (size, cost), (larger, less) in pairwise(zip(seen, costs, strict=True)):
        if less < cost:
            message = f"step_cost({larger}) = {less} is less than step_cost({size}) = {cost}"
            remedy = "Smooth it, with numpy.maximum.accumulate of the measured costs for example"
            raise OptionError(f"{message}. {remedy}.", option="step_cost")
    return np.asarray(costs)


def _compile_cost(seconds: float | None, step_cost: Callable[[int], float] | None) -> float:
    if seconds is None:
        return 0.0
    if step_cost is None:
        message = "compile_seconds is weighed against step_cost, which is to be given in seconds"
        raise OptionError(f"{message}: step_cost=lambda size: 1e-6 * size.", option="step_cost")
    if not math.isfinite(seconds) or seconds < 0:
        message = f"compile_seconds={seconds}: write 0 or more."
        raise OptionError(message, option="compile_seconds")
    return float(seconds)


def _best_ends(
    counts: np.ndarray, costs: np.ndarray, most: int
) -> tuple[list[list[int]], list[float]]:
    """For 1, 2, … `most` edges: the indices of the best edges, and what they cost."""
    through = np.concatenate([[0.0], np.cumsum(counts)])  # through[j]: arrays among the first j
    best = np.concatenate([[0.0], np.full(len(costs), np.inf)])  # of the first j, with no edge
    choices: list[np.ndarray] = []
    totals: list[float] = []
    for _ in range(most):
        best, chosen = _one_more_edge(best, through, costs)
        choices.append(chosen)
        totals.append(float(best[-1]))
    return [_trace(choices[: number + 1]) for number in range(most)], totals


def _one_more_edge(
    best: np.ndarray, through: np.ndarray, costs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The least cost of the first j sizes with one edge more, for each j; and where it begins."""
    total = np.full(len(best), np.inf)
    chosen = np.zeros(len(best), np.int64)
    # A range of j, and the range in which their best beginnings lie.
    waiting = [(1, len(costs), 0, len(costs) - 1)]
    while waiting:
        first, last, low, high = waiting.pop()
        if first > last:
            continue
        middle = (first + last) // 2
        until = min(high, middle - 1) + 1
        found = best[low:until] + (through[middle] - through[low:until]) * costs[middle - 1]
        where = int(np.argmin(found))
        total[middle], chosen[middle] = found[where], low + where
        waiting += [(first, middle - 1, low, low + where), (middle + 1, last, low + where, high)]
    return total, chosen


def _trace(choices: list[np.ndarray]) -> list[int]:
    end = len(choices[0]) - 1
    ends = []
    for chosen in reversed(choices):
        ends.append(end - 1)
        end = int(chosen[end])
    return ends[::-1]


def _padding(seen: np.ndarray, counts: np.ndarray, costs: np.ndarray, edges: np.ndarray) -> float:
    needed = float(counts @ costs)
    spent = float(counts @ costs[np.searchsorted(seen, edges)][np.searchsorted(edges, seen)])
    return 1 - needed / spent if spent else 0.0
