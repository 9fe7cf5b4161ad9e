"""Whether all processes of a run are about to do the same. Nothing is asked in a run of one.

Processes speak through the key-value store of JAX's coordination service and not by a collective:
the collectives of different programs pair up without an error, and their sums are garbage. Those
that share arrays do the same in the same order, so what they say has numbers: the n-th of one is
compared with the n-th of the others. When they speak is for `execution` and `replay` to decide.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import jax

from fxgrad.errors import DisagreementError
from fxgrad.recorder import coordination

SECONDS: Final = "FXGRAD_AGREEMENT_SECONDS"
"""The environment variable that says how long a process waits for the others."""
_DEFAULT_SECONDS: Final = 300.0
# Slices of waiting: between them Python hears signals, and behind the first it says so.
_SLICE_SECONDS: Final = 10.0
_MAX_TEXT: Final = 1 << 20
_MAX_FACTS: Final = 4

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class Statement:
    """What a process says before it goes on.

    Attributes:
      topic: what it is about to do.
      key: what must be equal in all processes.
      words: the facts behind the key, by name; they are told where the keys differ.
      instead: what to write instead.
    """

    topic: str
    key: str
    words: Mapping[str, str] = field(default_factory=dict)
    instead: str = ""


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

    def __init__(self, members: frozenset[int], client: Any, seconds: float) -> None:
        self._members = sorted(members)
        self._client = client
        self._seconds = seconds
        self._me = jax.process_index()
        self._leader = self._members[0]
        self._count = 0
        self._lock = threading.Lock()
        self._failure: DisagreementError | None = None
        name = hashlib.sha256(repr(self._members).encode()).hexdigest()[:12]
        self._folder = f"fxgrad/agreement/{name}"

    def agree(self, statement: Statement, text: str = "") -> None:
        """Return when all have said the same. `text` is the program that it is about, if any.

        Raises:
          DisagreementError: another one has said something else, or nothing for too long; and
            from then on at every call.
        """
        with self._lock:
            if self._failure is not None:
                raise self._failure
            said, missing = self._exchange(statement)
            if said or missing:
                line = self._first_difference(said, text)
                self._failure = self._error(said, missing, statement, line)
                raise self._failure

    def _exchange(self, statement: Statement) -> tuple[dict[int, Statement], list[int]]:
        """What each has said and who has said nothing; nothing at all where all agree."""
        self._count += 1
        folder = f"{self._folder}/{self._count}"
        self._client.key_value_set(f"{folder}/{self._me}", json.dumps(asdict(statement)))
        if self._me == self._leader:
            verdict = self._collect(folder)
            self._client.key_value_set(f"{folder}/verdict", json.dumps(verdict))
            # Who has spoken here has read the verdict before.
            self._client.key_value_delete(f"{self._folder}/{self._count - 1}")
        else:
            # The leader has as long for the others as this process has for the leader.
            seconds = self._seconds + 2 * _SLICE_SECONDS
            found = self._get(f"{folder}/verdict", seconds, statement.topic, self._leader)
            verdict = {"said": {}, "missing": [self._leader]} if found is None else found
        return {int(r): Statement(**s) for r, s in verdict["said"].items()}, verdict["missing"]

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
        return {"said": said if missing or len(keys) > 1 else {}, "missing": missing}

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
        """The first line that differs in the programs of two processes, or the empty string."""
        other = next((r for r in said if said[r].key != said[self._leader].key), None)
        if other is None or said[other].topic != said[self._leader].topic or not text:
            return ""
        folder = f"{self._folder}/{self._count}/text"
        self._client.key_value_set(f"{folder}/{self._me}", json.dumps(text[:_MAX_TEXT]))
        pair = (self._leader, other)
        texts = [self._get(f"{folder}/{r}", _SLICE_SECONDS, "an error", r) or "" for r in pair]
        for lines in zip(*(text.splitlines() for text in texts), strict=False):
            if lines[0] != lines[1]:
                told = (f"`{line.strip()[:160]}`" for line in lines)
                return "; ".join(f"process {r}: {t}" for r, t in zip(pair, told, strict=True))
        return ""

    def _error(
        self,
        said: Mapping[int, Statement],
        missing: list[int],
        own: Statement,
        line: str,
    ) -> DisagreementError:
        if missing:
            others = tuple(missing)
            topics = dict.fromkeys(s.topic for s in said.values()) or [own.topic]
            what = (
                f"{_named(others)} did not come to {' or '.join(topics)} within "
                f"{self._seconds:g} s, so process {self._me} does not go on: there a program runs "
                f"that needs every process, with the same arguments. {SECONDS} sets the time"
            )
        else:
            others = tuple(r for r, s in said.items() if (s.topic, s.key) != (own.topic, own.key))
            what = f"the processes are not about to do the same. {_told(said)}"
            what += f". The first line that differs: {line}" if line else ""
        return DisagreementError(
            f"{what}.{own.instead and ' ' + own.instead}", process=self._me, others=others
        )


_groups: dict[tuple[int, frozenset[int]], Group] = {}
_groups_lock: Final = threading.Lock()


def agree(members: frozenset[int], statement: Statement, text: str = "") -> None:
    """Return when all `members` have said the same; this process must be one of them.

    Raises:
      DisagreementError: another one has said something else, or nothing for too long.
    """
    client = coordination()
    if client is None or len(members) < 2:
        return
    with _groups_lock:
        group = _groups.get((id(client), members))
        if group is None:
            seconds = float(os.environ.get(SECONDS) or _DEFAULT_SECONDS)
            group = _groups[id(client), members] = Group(members, client, seconds)
    group.agree(statement, text)


def _told(said: Mapping[int, Statement]) -> str:
    """What differs in what was said: the topics, or the facts, or no more than the keys."""
    topics = _by_value({process: s.topic for process, s in said.items()})
    if len(topics) > 1:
        return "; ".join(f"{_named(who)} comes to {topic}" for topic, who in topics.items())
    (topic,) = topics
    names = dict.fromkeys(name for s in said.values() for name in s.words)
    facts = []
    for name in names:
        values = _by_value({r: s.words.get(name, "left out") for r, s in said.items()})
        if len(values) > 1:
            told = ", ".join(f"{value} on {_named(who)}" for value, who in values.items())
            facts.append(f"{name}: {told}")
    more = f" (and {len(facts) - _MAX_FACTS} more)" if len(facts) > _MAX_FACTS else ""
    return f"Before {topic}: {'; '.join(facts[:_MAX_FACTS]) or 'other operations'}{more}"


def _by_value(said: Mapping[int, str]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for process, value in said.items():
        groups.setdefault(value, []).append(process)
    return groups


def _named(processes: Iterable[int]) -> str:
    numbers = sorted(processes)
    few = ", ".join(map(str, numbers[:8])) + (" …" if len(numbers) > 8 else "")
    return f"process {few}" if len(numbers) == 1 else f"processes {few}"
