"""Why each program of a Function was compiled, against the nearest earlier one.

What to write instead stands in `advice`.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from fxgrad.compilation import Work
from fxgrad.differences import Difference, differences
from fxgrad.execution.advice import CHANGED_UNSEEN, advise
from fxgrad.execution.remade import Remade, note_first_compilation
from fxgrad.modes import Mode
from fxgrad.places import Place
from fxgrad.replay.decisions import Decision
from fxgrad.signature import CallSignature
from fxgrad.statements import NEWS

Cause = Literal["first call", "changed call", "remade function", "same call again"]

# A retrace at every call must not make the history grow without bound.
_KEPT: Final = 256
_COMPARED: Final = 32


@dataclass(frozen=True)
class Compilation:
    """One compilation and its cause.

    Attributes:
      number: 1 for the Function's first, counted over all of them.
      mode: the mode of the call.
      call: the number of the call that compiled.
      place: the user's line that made the call, if there is one.
      cause: in one word pair why there was something to compile.
      nearest: the number of the earlier compilation that it is compared with, if any.
      differences: all facts that differ from the nearest one.
      advice: what to write instead.
      traced: whether Python ran; False where JAX only compiled a traced program again.
      programs: XLA programs built; 0 where an outer transform only traced the function.
      compile_seconds: seconds spent.
    """

    number: int
    mode: Mode
    call: int
    place: Place | None
    cause: Cause
    nearest: int | None
    differences: tuple[Difference, ...]
    advice: tuple[str, ...]
    traced: bool
    programs: int
    compile_seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The compilation as plain values."""
        return {
            "number": self.number,
            "mode": self.mode,
            "call": self.call,
            "place": self.place.to_dict() if self.place else None,
            "cause": self.cause,
            "nearest": self.nearest,
            "differences": [difference.to_dict() for difference in self.differences],
            "advice": list(self.advice),
            "traced": self.traced,
            "programs": self.programs,
            "compile_seconds": self.compile_seconds,
        }

    def __str__(self) -> str:
        against = f", nearest is #{self.nearest}" if self.nearest else ""
        at = f" at {self.place}" if self.place else ""
        lines = [
            f"#{self.number} call {self.call}{at}: {self.cause}{against}; {self._what_was_done()}"
        ]
        lines += [f"     {difference}" for difference in self.differences]
        lines += [f"     → {sentence}" for sentence in self.advice]
        return "\n".join(lines)

    def _what_was_done(self) -> str:
        if self.mode == "replay":
            return f"recorded, {self.programs} program(s), {self.compile_seconds:.2f} s"
        if not self.programs:
            return f"traced into another program, {self.compile_seconds:.2f} s"
        trace = "traced" if self.traced else "from an earlier trace"
        return f"{trace}, {self.programs} program(s), {self.compile_seconds:.2f} s"


@dataclass(frozen=True)
class Explanation:
    """All compilations of a Function, oldest first, and what was left out.

    Attributes:
      name: the function.
      defined: where it is defined.
      compilations: the newest ones, at most 256.
      forgotten: how many older ones are no longer listed.
      fallbacks: reasons for which calls did not run as the mode promises. Static has none.
      instead: for each of them what to write instead, or the empty string where the reason says it.
      decisions: the lines that force values in replay, and what each costs.
    """

    name: str
    defined: Place | None
    compilations: tuple[Compilation, ...]
    forgotten: int = 0
    fallbacks: tuple[str, ...] = ()
    decisions: tuple[Decision, ...] = ()
    instead: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The explanation as plain values."""
        return {
            "name": self.name,
            "defined": self.defined.to_dict() if self.defined else None,
            "compilations": [compilation.to_dict() for compilation in self.compilations],
            "forgotten": self.forgotten,
            "fallbacks": list(self.fallbacks),
            "decisions": [decision.to_dict() for decision in self.decisions],
            "instead": list(self.instead),
        }

    def fallbacks_with_advice(self) -> list[tuple[str, str]]:
        """Each fallback with what to write instead, where its reason does not say it."""
        return list(itertools.zip_longest(self.fallbacks, self.instead, fillvalue=""))

    def of_impure(self) -> Explanation:
        """The same of a function that is not pure: why a like call was compiled again is known."""
        return replace(
            self,
            compilations=tuple(
                replace(each, advice=(CHANGED_UNSEEN,)) if each.cause == "same call again" else each
                for each in self.compilations
            ),
        )

    def __str__(self) -> str:
        where = f" ({self.defined})" if self.defined else ""
        count = len(self.compilations) + self.forgotten
        title = f"{self.name}{where}: {count} compilation(s)"
        if self.forgotten:
            title += f", the first {self.forgotten} no longer listed"
        fallbacks = [
            f"not as it could be: {reason}" + (f"\n     → {instead}" if instead else "")
            for reason, instead in self.fallbacks_with_advice()
        ]
        forced = [f"decision at {decision}" for decision in self.decisions]
        return "\n".join([title, *map(str, self.compilations), *forced, *fallbacks])


class History:
    """Remembers the compilations of one Function; safe under concurrent calls."""

    def __init__(self, fun: Callable[..., Any], *, watch_remaking: bool) -> None:
        self._fun = fun
        self._watch_remaking = watch_remaking
        self._lock = threading.Lock()
        self._signatures: list[tuple[int, CallSignature]] = []
        self._compilations: list[Compilation] = []
        self._count = 0
        self._fallbacks: dict[str, str] = {}

    def add(
        self, signature: CallSignature, work: Work, mode: Mode, *, call: int, place: Place | None
    ) -> Compilation:
        """Explain a compilation that has just happened, and remember it."""
        with self._lock:
            self._count += 1
            remade = self._remade(signature, place)
            compilation = self._explain(signature, work, mode, call, place, remade)
            self._signatures.append((self._count, signature))
            self._compilations.append(compilation)
            del self._signatures[:-_KEPT], self._compilations[:-_KEPT]
        if remade is not None:
            remade.warn(place)
        return compilation

    def differences_from_nearest(self, signature: CallSignature) -> tuple[Difference, ...]:
        """How a call differs from the nearest earlier one; () if it does not or is the first."""
        with self._lock:
            earlier = self._signatures[-_COMPARED:]
        return _nearest(earlier, signature)[1] if earlier else ()

    def in_words(self, signature: CallSignature) -> dict[str, str]:
        """A call for other processes: its facts, and how it differs from an earlier one."""
        news = "; ".join(map(str, self.differences_from_nearest(signature)))
        return {**signature.in_words(), NEWS: news}

    def add_fallback(self, reason: str, instead: str = "") -> None:
        """Remember why calls do not run as the mode promises, and what to write instead."""
        with self._lock:
            self._fallbacks.setdefault(reason, instead)
            if len(self._fallbacks) > _KEPT:
                del self._fallbacks[next(iter(self._fallbacks))]

    def explanation(
        self, name: str, defined: Place | None, decisions: tuple[Decision, ...]
    ) -> Explanation:
        """What is remembered, and the decisions, as a value."""
        with self._lock:
            kept = tuple(self._compilations)
            forgotten = self._count - len(kept)
            fallbacks, instead = tuple(self._fallbacks), tuple(self._fallbacks.values())
        return Explanation(name, defined, kept, forgotten, fallbacks, decisions, instead)

    def _remade(self, signature: CallSignature, place: Place | None) -> Remade | None:
        if self._signatures or not self._watch_remaking:
            return None
        return note_first_compilation(self._fun, signature, place)

    def _explain(
        self,
        signature: CallSignature,
        work: Work,
        mode: Mode,
        call: int,
        place: Place | None,
        remade: Remade | None,
    ) -> Compilation:
        cause, nearest, facts, advice = self._cause(signature, remade)
        return Compilation(
            number=self._count,
            mode=mode,
            call=call,
            place=place,
            cause=cause,
            nearest=nearest,
            differences=facts,
            advice=advice,
            traced=work.traces > 0,
            programs=work.programs,
            compile_seconds=work.seconds,
        )

    def _cause(
        self, signature: CallSignature, remade: Remade | None
    ) -> tuple[Cause, int | None, tuple[Difference, ...], tuple[str, ...]]:
        if remade is not None:
            return "remade function", None, (), (remade.sentence,)
        if not self._signatures:
            return "first call", None, (), ()
        number, facts = _nearest(self._signatures[-_COMPARED:], signature)
        return ("changed call" if facts else "same call again"), number, facts, advise(facts)


def _nearest(
    earlier: Sequence[tuple[int, CallSignature]], signature: CallSignature
) -> tuple[int, tuple[Difference, ...]]:
    """The earlier signature with the fewest differences; the newest of equals."""
    compared = [(number, differences(before, signature)) for number, before in reversed(earlier)]
    return min(compared, key=lambda pair: len(pair[1]))
