"""The metrics log: a JSON line for each step and each evaluation, none missing and none twice."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from fxgrad.train.recording import Entry

_BEGINNING: Final = b'{"step": '


class LogFile:
    """A log of metrics that is only added to.

    A line is ``{"step": 12, "epoch": 1, "loss": 0.5}``, or ``{"step": 12, "epoch": 1, "evaluation":
    {"accuracy": 0.9}}``, both with ``seconds``, the time trained so far. A value that is not finite
    is a string, such as ``"nan"``, for JSON has no number for it; ``float`` reads both.
    """

    def __init__(self, path: Path, recorded: Iterable[Entry] = ()) -> None:
        """Open the log of a training of which `recorded` is already made.

        What follows these in the training's own log, and a half-written last line, is cut off;
        lines that the file lacks are written. No other file is taken: the log of another training,
        which told of other values, or of one that begins anew, or whatever else has the name, is
        renamed, to ``metrics.1.jsonl`` for example.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        missing = list(recorded)
        if path.exists() and path.stat().st_size:
            own = _own_bytes(path, missing) if missing else None
            if own is None:
                path.rename(_free_name(path))
            else:
                _cut(path, own)
        self._file = path.open("a", encoding="utf-8")
        for entry in missing:
            self.write(entry)

    def write(self, entry: Entry, seconds: float | None = None) -> None:
        """Add a line."""
        line = _line(entry)
        if seconds is not None:
            line["seconds"] = round(seconds, 3)
        self._file.write(json.dumps(line, allow_nan=False) + "\n")

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


def _own_bytes(path: Path, entries: list[Entry]) -> int | None:
    """How much of `path` tells of the first `entries`, which are taken from the list.

    None if the file holds what this training has not written.
    """
    size, found, last = 0, 0, entries[-1].step
    with path.open("rb") as file:
        for line in file:
            if found == len(entries):
                if not _follows(line, last):
                    return None
            elif _tells_of(line, entries[found]):
                size, found = size + len(line), found + 1
            elif _begins(line, entries[found]):
                break  # half-written, and so the last
            else:
                return None
    del entries[:found]
    return size


def _line(entry: Entry) -> dict[str, Any]:
    """What the log says of an entry, but for the seconds."""
    told = _plain(entry.metrics)
    own = {"step": entry.step, "epoch": entry.epoch}
    return {**own, "evaluation": told} if entry.is_evaluation else {**own, **told}


def _tells_of(line: bytes, entry: Entry) -> bool:
    found = _parsed(line)
    return found is not None and {n: v for n, v in found.items() if n != "seconds"} == _line(entry)


def _follows(line: bytes, step: int) -> bool:
    """Whether a line, or what is there of it, tells of what came after `step` steps."""
    found = _parsed(line)
    if found is None:
        return not line.endswith(b"\n") and _BEGINNING.startswith(line[: len(_BEGINNING)])
    return isinstance(found.get("step"), int) and found["step"] >= step


def _begins(line: bytes, entry: Entry) -> bool:
    """Whether a line that has no end is the beginning of the one that tells of `entry`."""
    text = json.dumps(_line(entry)).encode()[:-1]
    return not line.endswith(b"\n") and text.startswith(line[: len(text)])


def _parsed(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _cut(path: Path, size: int) -> None:
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
