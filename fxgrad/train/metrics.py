"""The metrics of a training: their values at each step, by name.

The steps of one run all tell of the same metrics; those of the next run may tell of others. So the
values are kept in stretches of steps that tell of the same, and no value is ever made up for a step
that told none.
"""

from __future__ import annotations

import base64
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

# The values of steps that follow one another, by name; each has as many values as the others.
Stretch = dict[str, "array[float]"]


class Metrics:
    """The metrics of each step; ``loss`` is among those of every step."""

    def __init__(self, stretches: Sequence[Stretch] = ()) -> None:
        self._stretches = list(stretches)
        self._before = sum(len(stretch["loss"]) for stretch in self._stretches[:-1])

    def __len__(self) -> int:
        """How many steps there are."""
        return self._before + len(self._stretches[-1]["loss"]) if self._stretches else 0

    def __iter__(self) -> Iterator[dict[str, float]]:
        """What each step told."""
        for stretch in self._stretches:
            for values in zip(*stretch.values(), strict=True):
                yield dict(zip(stretch, values, strict=True))

    def add(self, metrics: Mapping[str, float]) -> None:
        """One more step, and what it told."""
        if not self._stretches or self._stretches[-1].keys() != metrics.keys():
            self._before = len(self)
            self._stretches.append({name: array("d") for name in metrics})
        for name, values in self._stretches[-1].items():
            values.append(metrics[name])

    def last(self) -> dict[str, float]:
        """What the last step told; nothing before the first."""
        return {name: values[-1] for name, values in self._stretches[-1].items()} if self else {}

    def means(self, since: int) -> dict[str, float]:
        """The mean of each metric that steps from number `since` on told of, over those steps.

        Skipped steps are left out; ``skipped`` itself is their share of all these steps.
        """
        recent = self._since(since)
        skipped = [part.get("skipped", np.zeros(len(part["loss"]))) for part in recent]
        means = {}
        for name in _names(recent):
            counted = [
                part[name][was_skipped == 0]
                for part, was_skipped in zip(recent, skipped, strict=True)
                if name in part
            ]
            means[name] = _mean(skipped if name == "skipped" else counted)
        return means

    def by_name(self) -> dict[str, np.ndarray]:
        """Name -> a value for each step; NaN where the step did not tell of it."""
        return {
            name: np.concatenate(
                [part.get(name, np.full(len(part["loss"]), np.nan)) for part in self._since(0)]
            )
            for name in _names(self._stretches)
        }

    def to_record(self) -> list[dict[str, Any]]:
        """The metrics as JSON can hold them, bit for bit, values that are not finite included."""
        return [{name: packed(v) for name, v in stretch.items()} for stretch in self._stretches]

    @classmethod
    def from_record(cls, record: Sequence[Mapping[str, Any]]) -> Metrics:
        """The metrics that `to_record` told of."""
        return cls([{name: unpacked(p) for name, p in stretch.items()} for stretch in record])

    def _since(self, step: int) -> list[dict[str, np.ndarray]]:
        """The stretches from number `step` on, as arrays; the last one even if it is empty."""
        found, begin = [], 0
        for stretch in self._stretches:
            end = begin + len(stretch["loss"])
            if end > step or stretch is self._stretches[-1]:
                first = max(0, step - begin)
                found.append({name: np.array(values[first:]) for name, values in stretch.items()})
            begin = end
        return found


def packed(values: Any) -> dict[str, str]:
    """Floats as base64: half as long where float32 holds all of them exactly."""
    wide = np.asarray(values, "<f8")
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = wide.astype("<f4")
        exact = narrow.astype("<f8").tobytes() == wide.tobytes()
    kept = narrow if exact else wide
    return {"dtype": kept.dtype.str, "base64": base64.b64encode(kept.tobytes()).decode()}


def unpacked(packed: Mapping[str, str]) -> array[float]:
    """The floats that `packed` was given."""
    values = np.frombuffer(base64.b64decode(packed["base64"]), np.dtype(packed["dtype"]))
    return array("d", values.astype("<f8").tobytes())


def _names(stretches: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for stretch in stretches for name in stretch))


def _mean(parts: Sequence[np.ndarray]) -> float:
    values = np.concatenate(parts)
    return float(values.mean()) if values.size else float("nan")
