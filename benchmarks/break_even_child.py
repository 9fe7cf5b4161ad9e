"""One process of `break_even`: ``python -m break_even_child MODE SUBJECT``.

It greets as `contenders.protocol` says, then answers once: ``predict N`` with what `fx.compare`
says after N steady calls in eager and the subject's modes; or ``run N`` with the seconds of each of
N calls in MODE, in a plain loop that waits for each.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from typing import Any

import jax
from break_even_subjects import SUBJECTS, Subject
from machine import device_name

import fxgrad as fx
from fxgrad.modes import check_mode


def predict(subject: Subject, calls: int) -> dict[str, Any]:
    """The comparison's data, which holds the break-evens."""
    fun, args = subject.ready()
    modes = ("eager", *subject.modes)
    return fx.compare(fun, *args, modes=modes, calls=calls, memory=False).to_dict()


def run(subject: Subject, mode: str, calls: int) -> list[float]:
    """The seconds of each call in one mode."""
    fun, args = subject.ready()
    function = fx.function(fun, mode=check_mode(mode))
    seconds = []
    for _ in range(calls):
        start = time.perf_counter()
        jax.block_until_ready(function(*args))
        seconds.append(time.perf_counter() - start)
    return seconds


def main() -> None:
    """Greet and answer."""
    _, mode, name = sys.argv
    device = jax.devices()[0]
    versions = {package: version(package) for package in ("fxgrad", "jax", "jaxlib")}
    _say(device=device_name(device.platform, device.device_kind), versions=versions)
    command, calls = sys.stdin.readline().split()
    if command == "predict":
        _say(predict=predict(SUBJECTS[name], int(calls)))
    else:
        _say(run=run(SUBJECTS[name], mode, int(calls)))


def _say(**answer: Any) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
