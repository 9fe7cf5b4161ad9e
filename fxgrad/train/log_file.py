"""The metrics log: a JSON line for each step and each evaluation, none missing and none twice."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fxgrad.train.recording import Entry


class LogFile:
    """A log of metrics that is only added to.

    A line is ``{"step": 12, "epoch": 1, "loss": 0.5}``, or ``{"step": 12, "epoch": 1, "evaluation":
    {"accuracy": 0.9}}``, both with ``seconds``, the time trained so far. A value that is not finite
    is a string, such as ``"nan"``, for JSON has no number for it; ``float`` reads both.
    """

    def __init__(self, path: Path, recorded: Iterable[Entry] = ()) -> None:
        """Open the log of a training of which `recorded` is already made.

        Lines of steps that are not among these, and a half-written last one, are cut off; lines
        that the file lacks are written. The log of a training that begins anew takes no other's
        place: an older file is renamed, to ``metrics.1.jsonl`` for example.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        missing = list(recorded)
        if missing:
            _cut(path, _agreeing(path, missing))
        elif path.exists() and path.stat().st_size:
            path.rename(_free_name(path))
        self._file = path.open("a", encoding="utf-8")
        for entry in missing:
            self.write(entry)

    def write(self, entry: Entry, seconds: float | None = None) -> None:
        """Add a line."""
        line: dict[str, Any] = {"step": entry.step, "epoch": entry.epoch}
        line.update({"evaluation": _plain(entry.metrics)} if entry.is_evaluation else entry.metrics)
        if seconds is not None:
            line["seconds"] = round(seconds, 3)
        try:
            text = json.dumps(line, allow_nan=False)
        except ValueError:
            text = json.dumps(_plain(line))
        self._file.write(text + "\n")

    def flush(self) -> None:
        """Hand all lines to the system, so that they outlive this process."""
        self._file.flush()

    def sync(self) -> None:
        """Have all lines on the disk, so that they outlive the machine."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Write what is left, and close the file."""
        self._file.close()


def _agreeing(path: Path, entries: list[Entry]) -> int:
    """The bytes of `path` that tell of the first `entries`, which are taken from the list."""
    size, found = 0, 0
    if path.exists():
        with path.open("rb") as file:
            for line in file:
                if found == len(entries) or not _tells_of(line, entries[found]):
                    break
                size, found = size + len(line), found + 1
    del entries[:found]
    return size


def _tells_of(line: bytes, entry: Entry) -> bool:
    try:
        found = json.loads(line)
    except ValueError:
        return False
    if not line.endswith(b"\n") or not isinstance(found, dict):
        return False
    metrics = found.get("evaluation") if entry.is_evaluation else found
    named = isinstance(metrics, dict) and entry.metrics.keys() <= metrics.keys()
    return (
        named
        and found.get("step") == entry.step
        and ("evaluation" in found) == (entry.is_evaluation)
    )


def _cut(path: Path, size: int) -> None:
    if path.exists():
        with path.open("rb+") as file:
            file.truncate(size)
            os.fsync(file.fileno())


def _free_name(path: Path) -> Path:
    number = 1
    while (free := path.with_name(f"{path.stem}.{number}{path.suffix}")).exists():
        number += 1
    return free


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: str(v) if isinstance(v, float) and not math.isfinite(v) else v
        for name, v in values.items()
    }
