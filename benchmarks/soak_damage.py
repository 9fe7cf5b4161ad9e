"""What is done to the files of a step, and to the disk below: trials of `soak.py`."""

from __future__ import annotations

import itertools
import random
import shutil
import subprocess
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from soak_child import digest

from fxgrad.checkpoints import writing
from fxgrad.errors import CheckpointError
from fxgrad.train import Checkpoints

Advance = Callable[[], None]
DISK_BYTES: Final = 16 * 2**20
_rng: Final = np.random.default_rng(0)
STATES: Final[list[Any]] = [
    {"w": _rng.normal(size=(512, 512)).astype(np.float32), "b": _rng.normal(size=64), "n": step}
    for step in range(3)
]


def bits(step: int) -> str:
    """The digest of the state of a step."""
    return digest({name: np.asarray(value) for name, value in STATES[step].items()})


def save(checkpoints: Checkpoints, *steps: int) -> None:
    """Save these steps and wait."""
    for step in steps:
        checkpoints.save(STATES[step], step=step, record={"step": step})
    checkpoints.wait()


def restored(folder: Path) -> int | None:
    """The step that a restore gives, or None if its bits are not those that were saved."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = Checkpoints(folder).restore(STATES[0])
    values = {name: np.asarray(value) for name, value in found.state.items()}
    is_same = digest(values) == bits(found.step) and found.record == {"step": found.step}
    return found.step if is_same else None


def flips(count: int, folder: Path, advance: Advance) -> Mapping[str, int]:
    """Flip one bit of a file, anywhere in a step, and restore."""
    with Checkpoints(folder) as checkpoints:
        save(checkpoints, 1, 2)
    files = [path for path in sorted((folder / "00000002").rglob("*")) if path.is_file()]
    rng, outcomes = random.Random(0), Counter(flips=0, files=len(files))
    for path in itertools.islice(itertools.cycle(files), max(count, len(files))):
        content = path.read_bytes()
        flipped = bytearray(content)
        flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        outcomes["flips"] += 1
        outcomes[_outcome(restored(folder))] += 1
        path.write_bytes(content)
        advance()
    return _with_outcomes(outcomes)


def files(count: int, folder: Path, advance: Advance) -> Mapping[str, int]:
    """Truncate, zero and delete every file of a step, and restore. There is no tenth of it."""
    with Checkpoints(folder / "whole") as checkpoints:
        save(checkpoints, 1, 2)
    outcomes = Counter(damages=0)
    step = folder / "whole" / "00000002"
    for path in [path for path in sorted(step.rglob("*")) if path.is_file()]:
        for damage in DAMAGES:
            copy = shutil.copytree(folder / "whole", folder / "copy")
            damage(copy / path.relative_to(folder / "whole"))
            outcomes["damages"] += 1
            outcomes[_outcome(restored(copy))] += 1
            shutil.rmtree(copy)
            advance()
    return _with_outcomes(outcomes)


def _outcome(step: int | None) -> str:
    return {None: "silent", 1: "refused"}.get(step, "harmless")


def _with_outcomes(outcomes: Counter[str]) -> Mapping[str, int]:
    return {**outcomes, **{name: outcomes[name] for name in ("refused", "harmless", "silent")}}


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


DAMAGES: Final = (_truncate, _cut, _zero, Path.unlink)


def disks(count: int, folder: Path, advance: Advance) -> Mapping[str, int]:
    """Save where there is room for a part of a step; then make room and save again."""
    disk = folder / "disk"
    disk.mkdir()
    size = f"size={DISK_BYTES}"
    mount = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        return {"skipped": 1}
    try:
        return _disks(count, disk, advance)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def _disks(count: int, disk: Path, advance: Advance) -> Mapping[str, int]:
    """From a tenth of what a step takes on the disk to a tenth more.

    Every other save does not look at the free space first, as where the disk fills up meanwhile.
    """
    outcomes = Counter(sizes=0, refused=0, refused_while_writing=0, saved=0, damaged=0)
    outcomes.update(left_behind=0, not_saved_after=0)
    before = shutil.disk_usage(disk).free
    with Checkpoints(disk / "size") as checkpoints:
        save(checkpoints, 2)
    needed = before - shutil.disk_usage(disk).free
    for number, part in enumerate(np.linspace(0.1, 1.1, count)):
        folder = disk / "c"
        with Checkpoints(folder, keep_last=3) as checkpoints:
            save(checkpoints, 1)
            free = shutil.disk_usage(disk).free
            (disk / "filler").write_bytes(bytes(free - int(part * needed)))
            outcomes["sizes"] += 1
            looks = number % 2 == 0
            refused = "refused" if looks else "refused_while_writing"
            outcomes["saved" if _is_saved(checkpoints, looks=looks) else refused] += 1
            left = {path.name for path in folder.iterdir()} - {"00000001", "00000002"}
            outcomes["left_behind"] += len(left - {"writer.lock"})
            outcomes["damaged"] += restored(folder) is None
            (disk / "filler").unlink()
            save(checkpoints, 2)
            outcomes["not_saved_after"] += restored(folder) != 2
        shutil.rmtree(folder)
        advance()
    return outcomes


def _is_saved(checkpoints: Checkpoints, *, looks: bool) -> bool:
    overhead = writing._OVERHEAD_BYTES
    writing._OVERHEAD_BYTES = overhead if looks else -DISK_BYTES
    try:
        save(checkpoints, 2)
    except CheckpointError:
        return False
    finally:
        writing._OVERHEAD_BYTES = overhead
    return True
