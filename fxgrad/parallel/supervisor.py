"""Supervisor: starts the copies of a script, watches them, and takes all down when one has failed.

`fxgrad train` runs this file by its path: it imports neither JAX nor the rest of fxgrad, so it
holds no device and no memory of theirs. What runs in each copy is `rank`; how the copies come
together is `processes`.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any, Final

RESUMABLE: Final = 75
"""The exit status of a training that was told to stop, and has saved: EX_TEMPFAIL."""
_TELL: Final = getattr(signal, "SIGUSR1", signal.SIGTERM)
_POLL_SECONDS: Final = 0.2
# Who fails because another one did should say so itself, and stacks take a moment to be printed.
_SETTLE_SECONDS: Final = 0.5
_TELL_SECONDS: Final = 1.0
_KEPT_LINES: Final = 400
_TOLD_LINES: Final = 40
_FIRST_LINES: Final = 8
_COLORS: Final = (36, 33, 35, 32, 34, 31)
_HOST_DEVICES: Final = "--xla_force_host_platform_device_count="
_FRAME: Final = re.compile(r'  File "(.+)", line (\d+) in (.+)')
_UNHEALTHY: Final = re.compile(r"tasks are unhealthy")
_TRACEBACK: Final = re.compile(r"Traceback \(most recent call last\)|Fatal Python error")

_TASK: Final = re.compile(r"^\s*(?:/job:.*/task:)?(\d+)\s*$")
_STOPPED: Final = getattr(os, "WSTOPPED", 0) | os.WNOHANG | getattr(os, "WNOWAIT", 0)

_output_lock: Final = threading.Lock()


@dataclass(frozen=True)
class Plan:
    """What is to be run, and how patiently.

    Attributes:
      script: the path of a Python file.
      arguments: its command-line arguments.
      processes: how many copies of it.
      restarts: how often all are started again after a failure.
      devices_per_process: how many devices each has; None leaves it to JAX.
      hang_seconds: so long without a line from any process is a failure; None for no such limit.
      start_seconds: how much later than the first one a process may come to initialize.
      save_seconds: how long processes that are told to stop have for it.
      grace_seconds: the time between SIGTERM and SIGKILL for those that are left of a failure.
      stopped_seconds: how long a process may be stopped by a signal (SIGSTOP).
      heartbeat_seconds: after about twice as long without a sign of life JAX gives a process up.
      finish_seconds: how much later than the first one a process may come to the script's end.
    """

    script: str
    arguments: Sequence[str] = ()
    processes: int = 1
    restarts: int = 0
    devices_per_process: int | None = None
    hang_seconds: float | None = None
    start_seconds: float = 10.0
    save_seconds: float = 60.0
    grace_seconds: float = 5.0
    stopped_seconds: float = 8.0
    heartbeat_seconds: int = 10
    finish_seconds: float = 12.0


class Rank:
    """One process: its output, line by line with its number, and how it ended."""

    def __init__(
        self, number: int, plan: Plan, environment: Mapping[str, str], events: Any
    ) -> None:
        self.number = number
        self.status: int | None = None
        self.last_output = time.monotonic()
        self.errors: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)
        self._prefix = f"[{number}] " if plan.processes > 1 else ""
        start = str(Path(__file__).with_name("rank.py"))
        self._process = subprocess.Popen(
            [sys.executable, start, str(os.getpid()), plan.script, *plan.arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # what a terminal sends comes here only, and is passed on
        )
        pipes = ((self._process.stdout, sys.stdout, None), (self._process.stderr, sys.stderr, 1))
        self._readers = [threading.Thread(target=self._read, args=p, daemon=True) for p in pipes]
        waiter = threading.Thread(target=self._wait, args=(events,), daemon=True)
        for thread in (*self._readers, waiter):
            thread.start()

    def send(self, number: int) -> None:
        """Send a signal, if the process still is there."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def kill(self) -> None:
        """End the process and all that it has started, and read what it has said."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for reader in self._readers:
            reader.join(timeout=2.0)

    @property
    def is_stopped(self) -> bool:
        """Whether a signal has stopped it, and none has let it go on."""
        if self.status is not None or not hasattr(os, "waitid"):
            return False
        with contextlib.suppress(ChildProcessError):
            return os.waitid(os.P_PID, self._process.pid, _STOPPED) is not None
        return False

    @property
    def given_up(self) -> list[int]:
        """The processes that JAX, by its words here, has heard nothing from for too long."""
        lines = list(self.errors)
        starts = [n for n, line in enumerate(lines) if _UNHEALTHY.search(line)]
        told = itertools.takewhile(_TASK.match, lines[starts[-1] + 1 :] if starts else ())
        return sorted({int(n) for line in told for n in _TASK.findall(line)})

    @property
    def last_traceback(self) -> str:
        """The last traceback that it has printed, indented, or the empty string."""
        lines = list(self.errors)
        starts = [n for n, line in enumerate(lines) if _TRACEBACK.match(line)]
        told = lines[starts[-1] :] if starts else []
        if len(told) > _TOLD_LINES:
            told = [*told[:_FIRST_LINES], "…", *told[_FIRST_LINES - _TOLD_LINES :]]
        return "\n".join(f"  {line}" for line in told)

    @property
    def stands_at(self) -> str:
        """The user's line at which its main thread stands, by the stacks that it has printed."""
        frames: list[tuple[str, str, str]] = []
        for line in self.errors:
            if "(most recent call first)" in line:  # the main thread is the last one
                frames = []
            elif found := _FRAME.match(line):
                frames.append((found[1], found[2], found[3]))
        own = [frame for frame in frames if not _is_library(frame[0])]
        return next((f"{name}:{number} in {code}" for name, number, code in own or frames), "")

    def _read(self, pipe: IO[bytes], stream: IO[str], keeps: int | None) -> None:
        color = _COLORS[self.number % len(_COLORS)]
        is_colored = stream.isatty() and not os.environ.get("NO_COLOR")
        prefix = f"\x1b[{color}m{self._prefix}\x1b[0m" if is_colored else self._prefix
        for data in pipe:
            self.last_output = time.monotonic()
            line = data.decode(errors="replace").rstrip("\n")
            if keeps:
                self.errors.append(line)
            with _output_lock, contextlib.suppress(BrokenPipeError):
                print(f"{prefix}{line}", file=stream, flush=True)
        pipe.close()

    def _wait(self, events: Any) -> None:
        self.status = self._process.wait()
        events.put(self)


@dataclass(frozen=True)
class End:
    """How a round ended: the exit status for all, and what has failed, or the empty string."""

    status: int
    failure: str = ""
    was_told: bool = False


class Round:
    """All processes, started once."""

    def __init__(self, plan: Plan, attempt: int, events: SimpleQueue[Any], folder: Path) -> None:
        self._plan = plan
        self._events = events
        self._folder = folder
        self._told: int | None = None
        self._end_by = float("inf")
        self._stopped_since: dict[Rank, float] = {}
        for name in ("arrivals", "ends"):
            (folder / name).mkdir()
        environment = _environment(plan, attempt, folder)
        self._ranks = [
            Rank(n, plan, {**environment, "FXGRAD_PROCESS": str(n)}, events)
            for n in range(plan.processes)
        ]

    def run(self) -> End:
        """Wait until all have ended or one has failed. None is left behind."""
        try:
            failure = self._watch()
            if failure is None:
                return self._result()
            self._take_down()
            return failure()
        finally:
            for rank in self._ranks:
                rank.kill()

    def _watch(self) -> Callable[[], End] | None:
        """What makes the end of a failure, once all are down; None if there is none."""
        while any(rank.status is None for rank in self._ranks):
            try:
                event = self._events.get(timeout=_POLL_SECONDS)
            except Empty:
                event = None
            if isinstance(event, int):
                self._tell_all(event)
            elif event not in self._ranks:  # nothing has come, or the end of an earlier round
                pass
            elif event.status not in (0, RESUMABLE):
                return lambda: self._failed(event)
            elif event.status == RESUMABLE:
                self._end_by = min(self._end_by, time.monotonic() + self._plan.save_seconds)
            problem = self._problem()
            if problem:
                status = 1 if self._told is None else 128 + self._told
                return lambda: End(status, problem(), self._told is not None)
        failed = next((r for r in self._ranks if r.status not in (0, RESUMABLE)), None)
        return None if failed is None else lambda: self._failed(failed)

    def _tell_all(self, number: int) -> None:
        """Pass a signal on; the second one ends all."""
        is_second, self._told = self._told is not None, number
        self._end_by = time.monotonic() + (0 if is_second else self._plan.save_seconds)
        for rank in self._running():
            rank.send(number)

    def _problem(self) -> Callable[[], str] | None:
        """What makes the words for processes that do not end, do not come, or hang; or None."""
        now, plan = time.monotonic(), self._plan
        left = _named(self._running())
        if now > self._end_by:
            return lambda: f"{left} did not end in time after it was told to, or others had"
        missing = self._missing()
        if missing:
            return lambda: (
                f"{_named(missing)} did not come to parallel.initialize() within "
                f"{plan.start_seconds:g} s of the others{self._places(missing)}"
            )
        if problem := self._unfinished() or self._stopped(now):
            return problem
        silent = now - max(rank.last_output for rank in self._ranks)
        if plan.hang_seconds is not None and silent > plan.hang_seconds and self._told is None:
            return lambda: (
                f"no process has printed a line for {plan.hang_seconds:g} s"
                f"{self._places(self._ranks)}"
            )
        return None

    def _missing(self) -> list[Rank]:
        """The processes that others have been waiting for at the start for too long."""
        times = self._arrivals()
        is_late = times and time.time() - min(times.values()) > self._plan.start_seconds
        return [rank for rank in self._ranks if is_late and rank.number not in times]

    def _arrivals(self) -> dict[int, float]:
        """When each process has come to initialize."""
        return {int(p.name): p.stat().st_mtime for p in (self._folder / "arrivals").iterdir()}

    def _ends(self, how: str) -> dict[int, float]:
        """When each process's script has ended so, `finished` or `raised`."""
        found = (self._folder / "ends").glob(f"{how}-*")
        return {int(path.name.partition("-")[2]): path.stat().st_mtime for path in found}

    def _unfinished(self) -> Callable[[], str] | None:
        """Words for processes that others have been waiting for at the end for too long, or None.

        Those that have never come together end when they like, and those that were told to have
        their own time.
        """
        arrived, ended = self._arrivals(), self._ends("finished")
        first = min((ended[number] for number in ended if number in arrived), default=None)
        seconds = self._plan.finish_seconds
        is_late = first is not None and time.time() - first > seconds
        left = [rank for rank in self._running() if rank.number not in ended]
        if not is_late or not left or self._end_by < float("inf"):
            return None
        done = _named([rank for rank in self._ranks if rank.number in ended])
        return lambda: (
            f"{done} came to the end of the script, and {_named(left)} did not within "
            f"{seconds:g} s: were there as many batches in each?{self._places(left)}"
        )

    def _stopped(self, now: float) -> Callable[[], str] | None:
        """Words for processes that a signal has stopped for too long, or None."""
        since = self._stopped_since
        self._stopped_since = {r: since.get(r, now) for r in self._ranks if r.is_stopped}
        seconds = self._plan.stopped_seconds
        found = [rank for rank, start in self._stopped_since.items() if now - start > seconds]
        if not found:
            return None
        return lambda: f"{_named(found)} has been stopped by a signal (SIGSTOP) for {seconds:g} s"

    def _running(self) -> list[Rank]:
        return [rank for rank in self._ranks if rank.status is None]

    def _take_down(self) -> None:
        """Let the others fail by themselves, tell where they stand, and end."""
        self._wait(_SETTLE_SECONDS)
        if all(rank.status in (None, 0, RESUMABLE) for rank in self._ranks):
            for rank in self._running():
                rank.send(_TELL)
            self._wait(_TELL_SECONDS)
        for rank in self._running():
            rank.send(signal.SIGTERM)
        self._wait(self._plan.grace_seconds)
        for rank in self._ranks:
            rank.kill()

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self._running() and time.monotonic() < end:
            time.sleep(_POLL_SECONDS / 4)

    def _failed(self, rank: Rank) -> End:
        assert rank.status is not None
        how = f"exited with status {rank.status}"
        if rank.status < 0:
            how = f"was killed by {signal.Signals(-rank.status).name}"
        status = 128 - rank.status if rank.status < 0 else rank.status
        words = self._given_up() or f"process {rank.number} {how}{self._trace(rank)}"
        return End(status, words, self._told is not None)

    def _given_up(self) -> str:
        """Words for processes that JAX has given up, and has ended the others for; or nothing."""
        aborted = [rank for rank in self._ranks if rank.status == -signal.SIGABRT]
        numbers = {number for rank in aborted for number in rank.given_up}
        lost = [rank for rank in self._ranks if rank.number in numbers]
        if not lost:
            return ""
        return (
            f"{_named(lost)} gave no sign of life, so JAX ended {_named(aborted)}"
            f"{self._places([*lost, *aborted])}"
        )

    def _trace(self, rank: Rank) -> str:
        """The traceback behind an end, so far as that is known; a SIGKILL leaves none."""
        trace = rank.last_traceback
        if not trace or rank.status == -signal.SIGKILL:
            return ""
        is_its_own = rank.number in self._ends("raised") or "Fatal Python error" in trace
        which = "Its last traceback" if is_its_own else "The last traceback that it printed"
        return f". {which}:\n{trace}"

    def _result(self) -> End:
        status = max(rank.status or 0 for rank in self._ranks)
        if len(self._ranks) > 1 and not self._arrivals():
            _say(
                f"the {len(self._ranks)} processes ended well, each for itself: none has called "
                "parallel.initialize(), so this was no run of several. Call it first in the script."
            )
            status = 1
        return End(status, "", self._told is not None)

    def _places(self, ranks: Sequence[Rank]) -> str:
        told = [
            f"process {rank.number} stands at {rank.stands_at}" for rank in ranks if rank.stands_at
        ]
        return "".join(f"\n  {line}" for line in told)


def supervise(plan: Plan) -> int:
    """Run the processes of `plan`, again after a failure as often as it says.

    SIGTERM and SIGINT are passed on to all processes, once; a second one ends them.

    Returns:
      0 when all have ended well, 75 when they were told to stop and have saved, else the status of
      the process that failed first: 128 and the signal's number if one killed it.
    """
    events: SimpleQueue[Any] = SimpleQueue()
    with _signals_to(events):
        for attempt in range(plan.restarts + 1):
            with tempfile.TemporaryDirectory(prefix="fxgrad-train-") as folder:
                end = Round(plan, attempt, events, Path(folder)).run()
            if not end.failure:
                return end.status
            _say(f"{end.failure}\nAll {plan.processes} processes are down.")
            if end.was_told or attempt == plan.restarts:
                return end.status
            _say(f"starting again: restart {attempt + 1} of {plan.restarts}")
    return 1


@contextlib.contextmanager
def _signals_to(events: SimpleQueue[Any]) -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(n, lambda number, _: events.put(number)) for n in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _environment(plan: Plan, attempt: int, folder: Path) -> dict[str, str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # JAX may wait longer than the supervisor, which says who is missing.
    start, finish = int(plan.start_seconds) + 20, int(plan.finish_seconds) + 20
    environment = {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "FXGRAD_COORDINATOR": f"127.0.0.1:{port}",
        "FXGRAD_PROCESSES": str(plan.processes),
        "FXGRAD_ATTEMPT": str(attempt),
        "FXGRAD_ARRIVALS": str(folder / "arrivals"),
        "FXGRAD_ENDS": str(folder / "ends"),
        "FXGRAD_TIMEOUTS": f"{plan.heartbeat_seconds},{finish},{start}",
    }
    if plan.devices_per_process:
        flags = [f for f in os.environ.get("XLA_FLAGS", "").split() if _HOST_DEVICES not in f]
        flags.append(f"{_HOST_DEVICES}{plan.devices_per_process}")
        environment["XLA_FLAGS"] = " ".join(flags)
        environment["FXGRAD_DEVICES_PER_PROCESS"] = str(plan.devices_per_process)
    return environment


def _is_library(filename: str) -> bool:
    own = str(Path(__file__).parent.parent) + os.sep
    return "site-packages" in filename or filename.startswith((sys.base_prefix, "<", own))


def _named(ranks: Sequence[Rank]) -> str:
    numbers = ", ".join(str(rank.number) for rank in ranks)
    return f"process {numbers}" if len(ranks) == 1 else f"processes {numbers}"


def _say(words: str) -> None:
    with _output_lock:
        print(
            "\n".join(f"fxgrad: {line}" for line in words.splitlines()), file=sys.stderr, flush=True
        )


if __name__ == "__main__":
    sys.exit(supervise(Plan(**json.loads(sys.argv[1]))))
