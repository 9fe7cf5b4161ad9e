"""``fxgrad explain``: any importable function called some times: what that cost, and why."""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jax

from fxgrad.cli.call import arguments_from, check_call, in_one_line
from fxgrad.cli.output import check_outputs, positive
from fxgrad.cli.target import load_target
from fxgrad.errors import ImpureWarning, RetraceWarning, first_line_of
from fxgrad.execution.explain import Explanation
from fxgrad.execution.function import AnyFunction, as_function
from fxgrad.execution.purity import Impurity, impurity_of
from fxgrad.execution.stats import Stats
from fxgrad.execution.verdict import verdict
from fxgrad.modes import MODES, Mode
from fxgrad.modes import mode as within_mode
from fxgrad.replay.paths import PathTree

_SHOWN: Final = 6


@dataclass(frozen=True)
class Report:
    """What some calls of one function cost, and why.

    Attributes:
      target: what was called.
      mode: the mode of the calls.
      stats: exact counts over all calls.
      explanation: compilations, decisions and fallbacks.
      tree: the paths that replay has recorded.
      impurity: in what two runs on the same arguments differ; None if in nothing, or in eager.
      verdict: which mode is right, as far as the calls tell.
    """

    target: str
    mode: Mode
    stats: Stats
    explanation: Explanation
    tree: PathTree
    impurity: Impurity | None
    verdict: str

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values."""
        return {
            "target": self.target,
            "mode": self.mode,
            "stats": self.stats.to_dict(),
            "explanation": self.explanation.to_dict(),
            "tree": self.tree.to_dict(),
            "impurity": self.impurity.to_dict() if self.impurity else None,
            "verdict": self.verdict,
        }

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        explanation = self.explanation
        where = f" ({explanation.defined})" if explanation.defined else ""
        yield f"{explanation.name}{where} in {self.mode}"
        yield str(self.stats)
        yield self.verdict
        yield from _listed("compilations", explanation.compilations, explanation.forgotten)
        yield from _listed("lines that force values", explanation.decisions)
        reasons = [f"{why}{_arrow(what)}" for why, what in explanation.fallbacks_with_advice()]
        yield from _listed("not as it could be", reasons)
        yield from _listed("not pure", [self.impurity] if self.impurity else [])


def add_parser(subparsers: Any) -> None:
    """Declare the command and its options."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "explain", help="say why calls of a function were compiled, forced or not compiled"
    )
    parser.add_argument("target", help="package.module:function, or path/to/file.py:function")
    parser.add_argument(
        "--args",
        metavar="TARGET",
        action="append",
        default=[],
        help="a function without parameters that returns the arguments: a tuple, or one argument; "
        "it is called for each call, and several take turns",
    )
    parser.add_argument("--calls", type=positive, default=20, help="how many (20)")
    parser.add_argument("--mode", choices=MODES, default="replay", help="which one (replay)")
    parser.add_argument("--json", type=Path, help="write all that was found here")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Call, print what was found, write what was asked for."""
    check_outputs(data=options.json)
    report = explain(options.target, options.args, calls=options.calls, mode=options.mode)
    if options.json is not None:
        text = json.dumps(report.to_dict(), indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")
    print(report)
    if options.json is not None:
        print(f"data: {options.json}")
    return 0


def explain(target: str, makers: Sequence[str], *, calls: int, mode: Mode) -> Report:
    """Call the function that `target` names, with fresh arguments each time.

    Args:
      target: the function.
      makers: what makes its arguments; several take turns.
      calls: how often it is called.
      mode: the mode of the calls.

    Raises:
      TargetError: a target cannot be used, or what it names fails.
      ValueDependenceError: the function needs values in static.
    """
    found = load_target(target)
    called = as_function(found).in_mode(mode)
    with warnings.catch_warnings():
        for category in (ImpureWarning, RetraceWarning):  # what they say is in the report
            warnings.simplefilter("ignore", category)
        for turn in range(calls):
            _call(
                target, called, mode, arguments_from(makers[turn % len(makers)] if makers else None)
            )
        impurity, why_not_static = None, ""
        if mode != "eager":
            args = arguments_from(makers[0] if makers else None)
            with in_one_line(target):
                impurity = impurity_of(called.in_mode("eager"), args)
        if mode == "replay":
            args = arguments_from(makers[0] if makers else None)
            why_not_static = _why_not_static(called, args)
    stats, explanation = called.stats(), called.explain()
    if impurity is not None:
        explanation = explanation.of_impure()
    return Report(
        target=target,
        mode=mode,
        stats=stats,
        explanation=explanation,
        tree=called.tree(),
        impurity=impurity,
        verdict=verdict(mode, stats, explanation, impurity, why_not_static),
    )


def _why_not_static(called: AnyFunction, args: tuple[Any, ...]) -> str:
    """Why such a call cannot be traced, in one line, or the empty string."""
    try:
        with within_mode("static"):
            called.in_mode("static").trace(*args)
    except Exception as error:  # whatever tracing raises: replay has run the function before
        return first_line_of(error)
    return ""


def _call(target: str, called: Callable[..., Any], mode: Mode, args: tuple[Any, ...]) -> None:
    check_call(target, called, args)
    with in_one_line(target), within_mode(mode):
        jax.block_until_ready(called(*args))


def _listed(title: str, items: Sequence[Any], forgotten: int = 0) -> Iterator[str]:
    """A heading and the first items; how many more there are."""
    if not items:
        return
    yield f"\n{title}: {len(items) + forgotten}"
    yield from map(str, items[:_SHOWN])
    more = len(items) + forgotten - _SHOWN
    if more > 0:
        yield f"… and {more} more"


def _arrow(instead: str) -> str:
    return f"\n     → {instead}" if instead else ""
