"""What a replayed function is held to, and whether it was reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from lineup import BASELINE
from workloads import Workload

HELD = "fx-replay"


class Bar(NamedTuple):
    """At most `limit` times the median step of the fastest of `contenders`."""

    text: str
    contenders: tuple[str, ...]
    limit: float


_BY_KIND = {
    "step": Bar("within 1.1x of hand-written jit", (BASELINE,), 1.1),
    "loop": Bar("within 2x of hand-written lax.while_loop", (BASELINE,), 2.0),
}
_ALWAYS = (
    Bar("ahead of PyTorch eager", ("torch-eager", "torch-eager-1"), 1.0),
    Bar("ahead of torch.compile", ("torch-compile", "torch-compile-1"), 1.0),
)


@dataclass(frozen=True)
class Verdict:
    """A bar, and replay's median over that of the fastest other; None if either cannot."""

    bar: str
    ratio: float | None
    is_reached: bool

    def __str__(self) -> str:
        ratio = "one cannot" if self.ratio is None else f"{self.ratio:.2f}"
        return f"{self.bar}: {'yes' if self.is_reached else 'no'} ({ratio})"


def verdicts(workload: Workload, medians_us: Mapping[str, float | None]) -> list[Verdict]:
    """A verdict for each bar whose contenders took part; a median of None says: it cannot."""
    if HELD not in medians_us:
        return []
    verdicts = []
    for bar in (_BY_KIND[workload.kind], *_ALWAYS):
        took_part = [medians_us[name] for name in bar.contenders if name in medians_us]
        if took_part:
            timed = [median for median in took_part if median is not None]
            verdicts.append(_verdict(bar, medians_us[HELD], min(timed, default=None)))
    return verdicts


def _verdict(bar: Bar, held_us: float | None, fastest_us: float | None) -> Verdict:
    if held_us is None or fastest_us is None:
        return Verdict(bar.text, None, is_reached=held_us is not None)
    ratio = held_us / fastest_us
    return Verdict(bar.text, ratio, is_reached=ratio <= bar.limit)
