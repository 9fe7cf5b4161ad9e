"""Statements: what a process says before it goes on, and in which words a difference is told.

Who speaks to whom, and when, belongs to `agreement`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from fxgrad.errors import DisagreementError

NEWS: Final = "what is new"
"""The name, among the words of a statement, of how a call differs from earlier ones."""
_ALONE: Final = (
    "To work with a shared array in one process alone, take its own copy: numpy.asarray(array), or "
    "array.addressable_data(0)."
)
_MAX_FACTS: Final = 4
_MAX_SHOWN: Final = 100


@dataclass(frozen=True)
class Statement:
    """What a process says before it goes on.

    Attributes:
      topic: what it is about to do.
      key: what must be equal in all processes.
      words: the facts behind the key, by name; they are told where the keys differ.
      instead: what to write instead.
      own: what this process alone has to say; it is compared with nothing and told to all.
    """

    topic: str
    key: str
    words: Mapping[str, str] = field(default_factory=dict)
    instead: str = ""
    own: str = ""


def disagreement(
    said: Mapping[int, Statement],
    missing: Iterable[int],
    own: Statement,
    *,
    process: int,
    seconds: float,
    line: str = "",
) -> DisagreementError:
    """The error of `process` where the others have said something else, or nothing.

    Args:
      said: what each has said.
      missing: who has said nothing.
      own: what `process` has said.
      process: this process.
      seconds: for how long the others have been waited for.
      line: the first line that differs in their programs, or the empty string.
    """
    others = tuple(missing)
    if others:
        topics = dict.fromkeys(s.topic for s in said.values()) or [own.topic]
        what = (
            f"{named(others)} did not come to {' or '.join(topics)} within {seconds:g} s, so "
            f"process {process} does not go on: there a program runs that needs every process"
        )
        instead = _ALONE
    else:
        others = tuple(r for r, s in said.items() if (s.topic, s.key) != (own.topic, own.key))
        what = f"the processes are not about to do the same: {_told(said)}"
        what += f"; the first line that differs: {line}" if line else ""
        instead = own.instead or next((s.instead for s in said.values() if s.instead), "")
    return DisagreementError(f"{what}. {instead}".rstrip(), process=process, others=others)


def _told(said: Mapping[int, Statement]) -> str:
    """What differs in what was said: the topics, or the facts, or no more than the keys."""
    topics = _by_value({process: s.topic for process, s in said.items()})
    if len(topics) > 1:
        return "; ".join(f"{named(w)} comes to {t}{_news(said[w[0]])}" for t, w in topics.items())
    (topic,) = topics
    names = dict.fromkeys(name for s in said.values() for name in s.words)
    facts = []
    for name in [name for name in names if name != NEWS]:
        values = _by_value({r: s.words.get(name, "left out") for r, s in said.items()})
        if len(values) > 1:
            told = ", ".join(f"{value} on {named(who)}" for value, who in values.items())
            facts.append(f"{name}: {told}")
    more = f" (and {len(facts) - _MAX_FACTS} more)" if len(facts) > _MAX_FACTS else ""
    return f"before {topic}, {'; '.join(facts[:_MAX_FACTS]) or 'other operations'}{more}"


def _by_value(said: Mapping[int, str]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for process, value in said.items():
        groups.setdefault(value, []).append(process)
    return groups


def first_difference(texts: Mapping[int, str]) -> str:
    """The first line that differs between two programs, by process, from where it differs on."""
    for lines in zip(*(text.splitlines() for text in texts.values()), strict=False):
        if len(set(lines)) > 1:
            equal = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(*lines, strict=False))
            start = max(len(list(equal)) - _MAX_SHOWN // 2, 0)
            shown = (line[start:].strip()[:_MAX_SHOWN] for line in lines)
            return ", ".join(f"`{s}` on {named([r])}" for r, s in zip(texts, shown, strict=True))
    return ""


def _news(statement: Statement) -> str:
    news = statement.words.get(NEWS)
    return f" ({news})" if news else ""


def named(processes: Iterable[int]) -> str:
    """``"process 1"``, ``"processes 0, 2"``."""
    numbers = sorted(processes)
    few = ", ".join(map(str, numbers[:8])) + (" …" if len(numbers) > 8 else "")
    return f"process {few}" if len(numbers) == 1 else f"processes {few}"
