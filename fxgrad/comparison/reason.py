"""Reasons: why a mode was chosen, in sentences that are true of what was measured."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from fxgrad.comparison.break_even import BreakEven, break_evens
from fxgrad.comparison.cheapest import Stage
from fxgrad.comparison.choice import Choice
from fxgrad.modes import Mode
from fxgrad.quantities import in_seconds

FEW_CALLS: Final = 5
_STAGES_TOLD: Final = 3
_AT_A_LINE: Final = re.compile(r"(.*(?::|, line )\d+): (.*)")


def reason(
    choice: Choice, failures: Mapping[Mode, str], unit: str, compiled_before: Sequence[Mode] = ()
) -> str:
    """The choice, where its limits are, what ties with it, and what could not run.

    Args:
      choice: the choice.
      failures: the reason of each mode that could not run.
      unit: what a call is.
      compiled_before: the modes whose first call is reckoned, and not as it was measured.
    """
    return " ".join(
        [
            _chosen(choice, failures, unit),
            *_tie(choice, unit),
            *_doubt(choice, unit),
            *(_reckoned(choice, mode, unit) for mode in compiled_before),
            *(f"{mode} cannot run it: {_asked_at(why)}." for mode, why in failures.items()),
        ]
    )


def _chosen(choice: Choice, failures: Mapping[Mode, str], unit: str) -> str:
    if len(choice.timings) == 1:
        what = "of those asked for that can run it" if failures else "that was measured"
        return f"{choice.mode}, the only mode {what}."
    crossings = [b for b in break_evens(choice.timings) if _is_of(b, choice)]
    if choice.planned_calls is None:
        return _by_number(choice, crossings, unit)
    return " ".join([_totals(choice, choice.planned_calls, unit), *_ahead(choice, crossings, unit)])


def _is_of(crossing: BreakEven, choice: Choice) -> bool:
    """Whether it is between the chosen mode and one that costs more."""
    modes = {crossing.mode, crossing.over}
    return choice.mode in modes and not modes.isdisjoint(choice.others)


def _by_number(choice: Choice, crossings: Sequence[BreakEven], unit: str) -> str:
    start = max((c.call or 1 for c in crossings if not c.is_tie), default=1)
    if start == 1:
        return f"{choice.mode} from the first {unit} on."
    return f"{choice.mode} from {unit} {start} on; {_before(choice, start, unit)}."


def _before(choice: Choice, start: int, unit: str) -> str:
    """Which mode is the cheapest for fewer calls than `start`."""
    earlier = [stage for stage in choice.stages if stage.start < start]
    if len(earlier) == 1:
        return f"{earlier[0].mode} for fewer"
    if len(earlier) > _STAGES_TOLD:
        return f"for fewer, now {' and now '.join(dict.fromkeys(s.mode for s in earlier))}"
    ends = [*(stage.start - 1 for stage in earlier[1:]), start - 1]
    return ", ".join(_up_to(stage, end, unit) for stage, end in zip(earlier, ends, strict=True))


def _up_to(stage: Stage, end: int, unit: str) -> str:
    return f"{stage.mode} for 1 {unit}" if end == 1 else f"{stage.mode} up to {unit} {end}"


def _totals(choice: Choice, planned_calls: int, unit: str) -> str:
    seconds = {m: in_seconds(t.seconds_of(planned_calls)) for m, t in choice.timings.items()}
    others = " and ".join(f"{seconds[m]} in {m}" for m in seconds if m != choice.mode)
    calls = f"{planned_calls} {unit}{'s' if planned_calls > 1 else ''}"
    return f"{choice.mode} for {calls}: {seconds[choice.mode]}, against {others}."


def _ahead(choice: Choice, crossings: Sequence[BreakEven], unit: str) -> Iterator[str]:
    """Where it overtakes the others, and where they overtake it, if that is what decides."""
    for crossing in crossings:
        call, is_own = crossing.call, crossing.mode == choice.mode
        if call is None or crossing.is_tie or is_own != (call <= (choice.planned_calls or 0)):
            continue
        if call == 1:
            yield f"{crossing.mode} is ahead of {crossing.over} from the first {unit} on."
        else:
            only = "" if is_own else "only "
            yield f"{crossing.mode} overtakes {crossing.over} {only}at {unit} {call}."


def _tie(choice: Choice, unit: str) -> Iterator[str]:
    if not choice.ties:
        return
    what = f"a steady {unit}"
    if choice.planned_calls is not None:
        what = f"{choice.planned_calls} {unit}{'s' if choice.planned_calls > 1 else ''}"
    *modes, last = (choice.mode, *choice.ties)
    is_static = choice.mode == "static" and "replay" in choice.ties
    more = "; replay also runs Python decisions" if is_static else ""
    yield f"{', '.join(modes)} and {last} cost the same for {what}, within their spread{more}."


def _doubt(choice: Choice, unit: str) -> Iterator[str]:
    count = len(choice.timings[choice.mode].steady_seconds)
    if count <= FEW_CALLS and len(choice.timings) > 1:
        calls = f"{count} steady {unit}s" if count > 1 else f"1 steady {unit}"
        yield f"That is by {calls} only."


def _reckoned(choice: Choice, mode: Mode, unit: str) -> str:
    first = in_seconds(choice.timings[mode].first_seconds)
    return (
        f"{mode}'s operations were compiled before in this process; in a new process its first "
        f"{unit} costs more, about {first}, and that is counted here."
    )


def _asked_at(failure: str) -> str:
    """The line at which Python needs a value, if a failure begins with one; else its first line."""
    first = failure.splitlines()[0] if failure else "it does not say why"
    found = _AT_A_LINE.fullmatch(first)
    if found is None:
        return first.removesuffix(".")
    place, line = found.groups()
    return f"Python asks for a value at {place}" + (f" ({line})" if line else "")
