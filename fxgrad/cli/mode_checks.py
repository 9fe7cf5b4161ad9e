"""Whether each mode works here: one tiny function is run in it, and what came out is looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import jax
import jax.numpy as jnp
import numpy as np

from fxgrad.errors import first_line_of
from fxgrad.execution.function import Function, function
from fxgrad.modes import MODES, Mode
from fxgrad.modes import mode as within_mode
from fxgrad.replay.self_check import self_check

State = Literal["works", "off", "wrong"]

_INPUT: Final = np.array([1.0, -2.0, 3.0], np.float32)
_GRADIENT: Final = 3 * _INPUT**2
_GUARDS: Final = (
    "jax_transfer_guard",
    "jax_transfer_guard_host_to_device",
    "jax_transfer_guard_device_to_host",
)
_TOLERANCE: Final = 0.02  # bfloat16 is right too


@dataclass(frozen=True)
class ModeCheck:
    """One mode on this machine.

    Attributes:
      mode: the mode.
      state: ``"works"``; ``"off"``: it cannot run, or runs as eager; ``"wrong"``: it gives wrong
        numbers or fails.
      why: the reason in words, empty if it works.
    """

    mode: Mode
    state: State
    why: str

    def to_dict(self) -> dict[str, Any]:
        """The check as plain values."""
        return dict(vars(self))


def check_every_mode() -> tuple[ModeCheck, ...]:
    """Each mode, run on the default device."""
    return tuple(_check(mode) for mode in MODES)


def _check(mode: Mode) -> ModeCheck:
    if mode == "replay" and (why := self_check()):
        return ModeCheck(mode, "off", why)
    gradient: Function[..., Any] = function(jax.grad(_cubes), mode=mode)
    absolute: Function[..., Any] = function(_with_a_decision, mode=mode)
    try:
        wrong = _wrong(mode, gradient, _GRADIENT)
        if mode != "static":
            wrong = wrong or _wrong(mode, absolute, -_INPUT)
    except Exception as error:
        words = first_line_of(error)
        guard = _guard() if "transfer" in words else ""
        return ModeCheck(mode, "off" if guard else "wrong", guard or words)
    if wrong:
        return ModeCheck(mode, "wrong", wrong)
    why = _why_uncompiled(gradient) if mode != "eager" else ""
    return ModeCheck(mode, "off" if why else "works", why)


def _cubes(x: jax.Array) -> jax.Array:
    return jnp.sum(x**3)


def _with_a_decision(x: jax.Array) -> jax.Array:
    return -x if jnp.sum(x) > 0 else x


def _wrong(mode: Mode, fun: Callable[..., Any], expected: np.ndarray) -> str:
    """What is wrong with the results of two calls, the second of which may be a compiled one."""
    with within_mode(mode):
        # What is moved by name passes a transfer guard that forbids moving unawares.
        results = [jax.device_get(fun(jax.device_put(_INPUT))) for _ in range(2)]
    for result in (np.asarray(each, np.float64) for each in results):
        if not np.allclose(result, expected, rtol=_TOLERANCE):
            return f"it gives {result.tolist()} instead of {expected.tolist()}"
    return ""


def _guard() -> str:
    """The setting that forbids transfers between host and device, or the empty string."""
    for name in _GUARDS:
        value = getattr(jax.config, name)
        if value and value.startswith("disallow"):
            return (
                f"{name} is {value}, and forbids to move Python's numbers to the device or values "
                "to Python"
            )
    return ""


def _why_uncompiled(fun: Function[..., Any]) -> str:
    """Why two equal calls ran Python twice, or the empty string."""
    if fun.stats().python_runs == 1:
        return ""
    for name in ("jax_disable_jit", "jax_debug_nans"):
        if getattr(jax.config, name):
            return f"{name} is on, so Python runs at every call"
    return "Python ran again in a second, equal call"
