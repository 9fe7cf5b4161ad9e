"""Whether all processes of a run are about to do the same. Nothing is asked in a run of one.

Processes speak through the key-value store of JAX's coordination service and not by a collective:
the collectives of different programs pair up without an error, and their sums are garbage. Those
that share arrays do the same in the same order, so what they say has numbers: the n-th of one is
compared with the n-th of the others. When they speak is for `execution` and `replay` to decide.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final

import jax

from fxgrad.errors import DisagreementError
from fxgrad.recorder import coordination
from fxgrad.statements import Statement, disagreement, first_difference

SECONDS: Final = "FXGRAD_AGREEMENT_SECONDS"
"""The environment variable that says how long a process waits for the others."""
_DEFAULT_SECONDS: Final = 300.0
# Slices of waiting: between them Python hears signals, and behind the first it says so.
_SLICE_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.1
_PARTING_SECONDS: Final = 3.0
_MAX_TEXT: Final = 1 << 20

_ENDED: Final = "ended"

_LOG: Final = logging.getLogger(__name__)


def are_many() -> bool:
    """Whether this process is one of several that JAX coordinates."""
    return coordination() is not None


def processes_of(values: Iterable[Any]) -> frozenset[int]:
    """The processes that hold parts of these arrays; none if all are of this process alone."""
    for value in values:
        if isinstance(value, jax.Array) and not value.is_fully_addressable:
            return _processes(value.sharding)  # arrays of one computation have the same devices
    return frozenset()


@functools.lru_cache(maxsize=256)
def _processes(sharding: Any) -> frozenset[int]:
    return frozenset(device.process_index for device in sharding.device_set)


class Group:
    """Processes that share arrays, and how often they have spoken."""

    def __init__(
        self, members: frozenset[int], process: int, client: Any, *, seconds: float
    ) -> None:
        self._members = sorted(members)
        self._client = client
        self._seconds = seconds
        self._me = process
        self._leader = self._members[0]
        self._count = 0
        self._launches = 0
        self._last = ""
        self._lock = threading.Lock()
        self._failure: DisagreementError | None = None
        self._is_ending = False
        name = hashlib.sha256(repr(self._members).encode()).hexdigest()[:12]
        self._folder = f"fxgrad/agreement/{name}"
        self._watched = 1
        self._watch_thread = threading.Thread(target=self._watch, name="agreement", daemon=True)
        self._watch_thread.start()
        # A thread that is waiting in C++ when Python ends takes the process down with it.
        atexit.register(self._end)

    def launch(self, name: str) -> None:
        """A program of the function `name` is started. All members start the same ones.

        Raises:
          DisagreementError: as `agree` has raised it before.
        """
        if self._failure is not None:
            raise self._failure
        self._last = name
        self._launches += 1

    def agree(self, statement: Statement, text: str = "") -> tuple[str, ...]:
        """Return when all have said the same. `text` is the program that it is about, if any.

        Returns:
          What each has said for itself alone, in the order of the processes.

        Raises:
          DisagreementError: another one has said something else, or nothing for too long; and
            from then on at every call.
        """
        with self._lock:
            if self._failure is not None:
                raise self._failure
            own = self._speak(statement, text)
            if self._failure is not None:
                raise self._failure
            return own

    def _speak(
        self, statement: Statement, text: str = "", *, aloud: bool = False
    ) -> tuple[str, ...]:
        said, missing, own = self._exchange(statement)
        if said or missing:
            line = self._first_difference(said, text)
            self._failure = disagreement(
                said, missing, statement, process=self._me, seconds=self._seconds, line=line
            )
            if aloud:
                print(f"fxgrad: {self._failure}", file=sys.stderr, flush=True)
            self._part(said)
        return own

    def _watch(self) -> None:
        """Answer for a process that has gone past the place where the others speak.

        They have something new there, and it does not. Its main thread may wait for them in a
        program for ever, so this one speaks, and prints what the main thread cannot raise.
        """
        while self._failure is None and not self._is_ending:
            self._watched = number = self._count + 1
            try:
                call = self._client.blocking_key_value_get(
                    f"{self._folder}/{number}/call", int(_SLICE_SECONDS * 1000)
                )
            except jax.errors.JaxRuntimeError as error:
                if "DEADLINE_EXCEEDED" in str(error):
                    continue
                return  # the run has ended
            if call == _ENDED:
                return
            while self._count < number and self._launches < int(call) and not self._is_ending:
                time.sleep(_POLL_SECONDS)
            if self._count < number and self._launches >= int(call):
                with self._lock:
                    self._speak(Statement(f"a known program of {self._last}", ""), aloud=True)

    def _end(self) -> None:
        """Wake the watching threads: a process that ends starts nothing more with the others."""
        self._is_ending = True
        end = time.monotonic() + _SLICE_SECONDS + 1  # no wait of theirs is longer than a slice
        while self._watch_thread.is_alive() and time.monotonic() < end:
            # Again and again: what is watched may just have changed.
            with contextlib.suppress(jax.errors.JaxRuntimeError):
                key = f"{self._folder}/{self._watched}/call"
                self._client.key_value_set(key, _ENDED, allow_overwrite=True)
            self._watch_thread.join(timeout=0.1)

    def _exchange(
        self, statement: Statement
    ) -> tuple[dict[int, Statement], list[int], tuple[str, ...]]:
        """What each has said, and who has said nothing; where all agree only what is their own."""
        self._count += 1
        folder = f"{self._folder}/{self._count}"
        self._client.key_value_set(f"{folder}/{self._me}", json.dumps(asdict(statement)))
        self._client.key_value_set(f"{folder}/call", str(self._launches + 1), allow_overwrite=True)
        if self._me == self._leader:
            verdict = self._collect(folder)
            self._client.key_value_set(f"{folder}/verdict", json.dumps(verdict))
            # Who has spoken here has read the verdict before.
            self._client.key_value_delete(f"{self._folder}/{self._count - 1}")
        else:
            # The leader has as long for the others as this process has for the leader.
            seconds = self._seconds + 2 * _SLICE_SECONDS
            found = self._get(f"{folder}/verdict", seconds, statement.topic, self._leader)
            nothing = {"said": {}, "missing": [self._leader], "own": []}
            verdict = nothing if found is None else found
        said = {int(r): Statement(**s) for r, s in verdict["said"].items()}
        return said, verdict["missing"], tuple(verdict["own"])

    def _collect(self, folder: str) -> dict[str, Any]:
        said: dict[int, Any] = {}
        end = time.monotonic() + self._seconds
        for member in self._members:
            topic = said[self._leader]["topic"] if said else ""
            statement = self._get(f"{folder}/{member}", end - time.monotonic(), topic, member)
            if statement is not None:
                said[member] = statement
        missing = [member for member in self._members if member not in said]
        keys = {(statement["topic"], statement["key"]) for statement in said.values()}
        own = [statement["own"] for statement in said.values()]
        return {"said": said if missing or len(keys) > 1 else {}, "missing": missing, "own": own}

    def _get(self, key: str, seconds: float, topic: str, whom: int) -> Any:
        """What stands at `key` as soon as it is there, or None if it has not come in time."""
        end = time.monotonic() + seconds
        is_told = False
        while True:
            left = max(end - time.monotonic(), 0.001)
            wait = int(min(left, _SLICE_SECONDS) * 1000) + 1
            try:
                return json.loads(self._client.blocking_key_value_get(key, wait))
            except jax.errors.JaxRuntimeError as error:
                if "DEADLINE_EXCEEDED" not in str(error):
                    raise
            if time.monotonic() >= end:
                return None
            if not is_told:
                _LOG.warning("process %d waits for process %d before %s", self._me, whom, topic)
                is_told = True

    def _first_difference(self, said: Mapping[int, Statement], text: str) -> str:
        """The first line that differs in the programs of two processes that tell the same facts."""
        first = said.get(self._leader)
        other = next((r for r in said if first and said[r].key != first.key), None)
        if first is None or other is None or not text:
            return ""
        if (said[other].topic, said[other].words) != (first.topic, first.words):
            return ""
        folder = f"{self._folder}/{self._count}/text"
        self._client.key_value_set(f"{folder}/{self._me}", json.dumps(text[:_MAX_TEXT]))
        pair = (self._leader, other)
        texts = {r: self._get(f"{folder}/{r}", _SLICE_SECONDS, "an error", r) or "" for r in pair}
        return first_difference(texts)

    def _part(self, heard: Iterable[int]) -> None:
        """Let all read what went wrong before the leader, which may hold the store, is gone."""
        folder = f"{self._folder}/{self._count}/read"
        self._client.key_value_set(f"{folder}/{self._me}", "true")
        end = time.monotonic() + _PARTING_SECONDS
        for member in heard if self._me == self._leader else ():
            self._get(f"{folder}/{member}", end - time.monotonic(), "its end", member)


_groups: dict[tuple[int, frozenset[int]], Group] = {}
_groups_lock: Final = threading.Lock()


def group_of(members: frozenset[int]) -> Group | None:
    """The one group of these processes; None where this is no run of several."""
    client = coordination()
    if client is None or len(members) < 2:
        return None
    group = _groups.get((id(client), members))
    if group is None:
        seconds = float(os.environ.get(SECONDS) or _DEFAULT_SECONDS)
        with _groups_lock:
            group = _groups.get((id(client), members))
            if group is None:
                group = Group(members, jax.process_index(), client, seconds=seconds)
                _groups[id(client), members] = group
    return group


def agree(members: frozenset[int], statement: Statement, text: str = "") -> tuple[str, ...]:
    """Return when all `members` have said the same; this process must be one of them.

    Returns:
      What each has said for itself alone.

    Raises:
      DisagreementError: another one has said something else, or nothing for too long.
    """
    group = group_of(members)
    return (statement.own,) if group is None else group.agree(statement, text)
