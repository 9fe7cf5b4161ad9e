"""Trainings that are killed, told to stop, and started twice: trials of `soak.py`."""

from __future__ import annotations

import functools
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from soak_child import INTERRUPTED, REFUSED
from soak_damage import Advance

from fxgrad.errors import CheckpointError
from fxgrad.train import Checkpoints

HUNG_SECONDS: Final = 120
SLOW_SECONDS: Final = 10
PER_RUN: Final = 10
CHILD: Final = str(Path(__file__).with_name("soak_child.py"))


def kills(count: int, folder: Path, advance: Advance) -> Mapping[str, int]:
    """`kill -9` at random moments, ten to a run; at its end the state of a run never stopped."""
    outcomes = Counter(kills=0, steps_lost=0)
    stop = functools.partial(_killed, rng=random.Random(0), outcomes=outcomes)
    return _stopped("kills", stop, outcomes, count, folder, advance)


def signals(count: int, folder: Path, advance: Advance) -> Mapping[str, int]:
    """SIGTERM at random moments, ten to a run; the exit code, and the same state at the end."""
    outcomes = Counter(signals=0, exit_75=0, slow=0)
    stop = functools.partial(_told, rng=random.Random(1), outcomes=outcomes)
    return _stopped("signals", stop, outcomes, count, folder, advance)


def _stopped(
    counted: str,
    stop: Callable[[Path], bool],
    outcomes: Counter[str],
    count: int,
    folder: Path,
    advance: Advance,
) -> Mapping[str, int]:
    """Stop a training again and again; after ten times let it end, and begin another."""
    outcomes.update(dict.fromkeys(("runs", "same", "different", "steps_damaged"), 0))
    while outcomes[counted] < count:
        run = folder / str(outcomes["runs"])
        for _ in range(min(PER_RUN, count - outcomes[counted])):
            before = outcomes[counted]
            if not stop(run):  # it came to its end before
                break
            advance()
            assert outcomes[counted] == before + 1
        outcomes["runs"] += 1
        is_same = _final(_ended(_start(run))) == _expected()
        outcomes["same" if is_same else "different"] += 1
    return outcomes


def _killed(folder: Path, *, rng: random.Random, outcomes: Counter[str]) -> bool:
    """Kill a training: one in four while it starts, the others while it trains and saves."""
    before = _whole_steps(folder, outcomes)
    child = _start(folder)
    if rng.random() > 0.25:
        _wait_until_ready(child)
    time.sleep(rng.uniform(0, 0.8))
    child.kill()
    _ended(child)
    is_killed = child.returncode == -signal.SIGKILL
    outcomes["kills"] += is_killed
    after = _whole_steps(folder, outcomes)
    outcomes["steps_lost"] += max(after, default=-1) < max(before, default=-1)
    return is_killed


def _told(folder: Path, *, rng: random.Random, outcomes: Counter[str]) -> bool:
    """Tell a training to stop, when its loop has begun."""
    child = _start(folder)
    _wait_until_ready(child)
    time.sleep(rng.uniform(0, 0.8))
    is_running = child.poll() is None
    told = time.perf_counter()
    child.send_signal(signal.SIGTERM)
    said = _ended(child)
    is_stopped = is_running and _final(said) is None
    outcomes["signals"] += is_stopped
    outcomes["exit_75"] += is_stopped and child.returncode == INTERRUPTED
    outcomes["slow"] += is_stopped and time.perf_counter() - told > SLOW_SECONDS
    _whole_steps(folder, outcomes)
    return is_stopped


def writers(count: int, folder: Path, advance: Advance) -> Mapping[str, int]:
    """Two trainings started at once on one folder: one ends well, the other is refused."""
    outcomes = Counter(pairs=0, one_refused=0, same=0, different=0, steps_damaged=0)
    for pair in range(count):
        children = [_start(folder / str(pair), steps=60) for _ in range(2)]
        said = [_ended(child) for child in children]
        outcomes["pairs"] += 1
        outcomes["one_refused"] += sorted(c.returncode for c in children) == [0, REFUSED]
        finals = {_final(text) for text in said} - {None}
        outcomes["same" if finals == {_expected(60)} else "different"] += 1
        _whole_steps(folder / str(pair), outcomes)
        advance()
    return outcomes


def _start(folder: Path, *, steps: int = 200) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, CHILD, str(folder), "--steps", str(steps)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _wait_until_ready(child: subprocess.Popen[str]) -> None:
    assert child.stdout is not None
    child.stdout.readline()


def _ended(child: subprocess.Popen[str]) -> str:
    """What a child says until it ends. One that hangs ends the soak."""
    try:
        return child.communicate(timeout=HUNG_SECONDS)[0]
    finally:
        child.kill()


def _final(said: str) -> str | None:
    lines = [line.removeprefix("final ") for line in said.splitlines() if line.startswith("final")]
    return lines[-1] if lines else None


@functools.cache
def _expected(steps: int = 200) -> str | None:
    """The last state of a training that nothing has stopped."""
    with tempfile.TemporaryDirectory() as folder:
        found = _final(_ended(_start(Path(folder), steps=steps)))
    assert found is not None, "a training that nothing stops does not reach its end"
    return found


def _whole_steps(folder: Path, outcomes: Counter[str]) -> list[int]:
    """The steps that are there, each of whose bytes is looked at."""
    checkpoints = Checkpoints(folder)
    steps = list(checkpoints.steps())
    for step in steps:
        try:
            checkpoints.verify(step)
        except CheckpointError:
            outcomes["steps_damaged"] += 1
    return steps
