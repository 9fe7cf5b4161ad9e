"""Verdict: which mode is right for a function, as far as its calls tell."""

from __future__ import annotations

from typing import Final

from fxgrad.execution.explain import Explanation
from fxgrad.execution.purity import Impurity
from fxgrad.execution.stats import Stats
from fxgrad.modes import Mode

# Where more of the calls than this are compiled anew, compiling is what they cost.
_MANY: Final = 0.5


def verdict(
    mode: Mode,
    stats: Stats,
    explanation: Explanation,
    impurity: Impurity | None,
    why_not_static: str = "",
) -> str:
    """One sentence or two; only what the calls have shown.

    Args:
      mode: the mode of the calls.
      stats: exact counts over all calls.
      explanation: compilations, decisions and fallbacks.
      impurity: how two runs differ, or None.
      why_not_static: why static cannot make these calls, or the empty string.
    """
    if impurity is not None:
        return _of_impure(mode, stats, impurity)
    compiled = len(explanation.compilations) + explanation.forgotten
    if mode != "eager" and stats.calls > 1 and compiled > _MANY * stats.calls:
        return _of_anew(mode, compiled, stats, explanation)
    if mode == "replay":
        return _of_replay(stats, explanation, why_not_static)
    if mode == "static":
        return (
            "Static runs it: nothing in it needs a value, so replay costs the same. Choose static "
            "to be told as soon as something does."
        )
    return "Eager compiles single operations. Ask in replay what would be compiled as a whole."


def _of_impure(mode: Mode, stats: Stats, impurity: Impurity) -> str:
    words = f"It is not pure: {impurity.what}. Only eager runs it as it is written; in {mode}"
    if stats.python_runs < stats.calls:
        return (
            f"{words} Python ran in {stats.python_runs} of {stats.calls} calls, and the others "
            "went on with what it had read there."
        )
    return f"{words} Python ran at each of {stats.calls} calls, so that nothing old was used."


def _of_anew(mode: Mode, compiled: int, stats: Stats, explanation: Explanation) -> str:
    words = (
        f"{compiled} of {stats.calls} calls were recorded or compiled anew: what changes from call "
        "to call is told below."
    )
    every = [fact for each in explanation.compilations for fact in each.differences]
    if mode == "replay" and every and all(fact.kind == "Python value" for fact in every):
        return words + " Static takes a Python number as an input, without another program."
    return words


def _of_replay(stats: Stats, explanation: Explanation, why_not_static: str) -> str:
    costs = {decision.cost for decision in explanation.decisions}
    if stats.compiled_share == 0:
        return "Nothing runs compiled: until the reasons below are gone, eager does the same."
    if "Python" in costs or stats.compiled_share < 1:
        return (
            f"Replay compiles {stats.compiled_share:.0%} of the operations; the rest runs as eager "
            "runs it, for the reasons below."
        )
    if not explanation.decisions and why_not_static:
        return f"Nothing forces a value, but static cannot run it: {why_not_static}"
    if not explanation.decisions:
        return "Nothing forces a value: static and replay cost the same."
    if costs == {"nothing"}:
        return (
            "Every outcome has been seen, and all decisions are inside one program: replay costs "
            "what static would, and static cannot run it as it is written."
        )
    return (
        f"Replay is right, and waits for values to decide by: {stats.host_reads} host reads in "
        f"{stats.calls} calls so far. Static cannot run it as it is written."
    )
