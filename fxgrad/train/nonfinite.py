"""Losses that are not finite: what becomes of the training, and of the batch that did it."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from fxgrad.errors import NonFiniteError, OptionError, TrainingWarning

OnNonFinite = Literal["warn", "skip", "stop", "raise"]

_ADVICE: Final = (
    "Restore the last checkpoint, make the steps up to this one, and ask where it came from: "
    "fx.diverge(step, state, batch)."
)


class NonFinite:
    """What `fit` does about losses that are not finite.

    Attributes:
      keeps_batches: whether a step's batch is needed until its loss is known.
    """

    def __init__(self, policy: OnNonFinite, folder: Path | None) -> None:
        if policy not in get_args(OnNonFinite):
            names = ", ".join(map(repr, get_args(OnNonFinite)))
            raise OptionError(f"on_nonfinite={policy!r}: write {names}.", option="on_nonfinite")
        self._policy = policy
        self._folder = folder
        self.keeps_batches = policy in ("stop", "raise")

    def check_step(self, metrics: Mapping[str, Any]) -> None:
        """Refuse a step that cannot skip where it should.

        Raises:
          OptionError: its metrics do not say whether it was skipped.
        """
        if self._policy == "skip" and "skipped" not in metrics:
            raise OptionError(
                "on_nonfinite='skip', and the step cannot skip: make it with "
                "train.make_step(loss, optimizer, skip_nonfinite=True).",
                option="on_nonfinite",
            )

    def look(self, step: int, metrics: Mapping[str, float], batch: Any) -> str | None:
        """Look at a step's metrics; returns why the training ends, if it does.

        Args:
          step: the number of the step, from 0.
          metrics: what the step told.
          batch: its batch, if batches are kept.

        Raises:
          NonFiniteError: the loss is not finite, and the policy is to raise.
        """
        is_harmless = math.isfinite(metrics["loss"]) or metrics.get("skipped")
        if is_harmless or not self.keeps_batches:
            return None
        return self._end(f"the loss of step {step} is {metrics['loss']}", step, batch)

    def tell_of_state(self, made: int, batch: Any) -> str | None:
        """Act on a bad state after `made` steps; returns why the training ends, if it does.

        Raises:
          NonFiniteError: the policy is to raise.
        """
        if self.keeps_batches:
            return self._end(f"step {made - 1} has made parameters NaN", made - 1, batch)
        text = f"the state after {made} steps is not saved: its loss or its parameters are NaN."
        warnings.warn(text, TrainingWarning, stacklevel=2)
        return None

    def _end(self, fact: str, step: int, batch: Any) -> str:
        saved = self._folder and save_batch(batch, self._folder / f"nonfinite-step-{step}.npz")
        where = "Pass checkpoints or log_file to have its batch saved."
        where = f"Its batch is in {saved}." if saved else where
        message = f"{fact}. {where} {_ADVICE}"
        if self._policy == "raise":
            raise NonFiniteError(message, step=step, saved=saved or None)
        warnings.warn(message, TrainingWarning, stacklevel=2)
        return fact

    def warn_of_epoch(self, number: int, means: Mapping[str, float], steps: int) -> None:
        """Warn of an epoch, by its number from 0, whose mean loss is lost or had skipped steps."""
        skipped = round(means.get("skipped", 0) * steps)
        is_searching = "loss_scale" in means and skipped < steps  # skips are how it finds its scale
        if skipped and not is_searching:
            text = f"{skipped} of {steps} steps of epoch {number + 1} were skipped: not finite."
            warnings.warn(text, TrainingWarning, stacklevel=2)
        elif not math.isfinite(means["loss"]):
            warnings.warn(
                f"the mean loss of epoch {number + 1} is {means['loss']}: is a label out of range, "
                "or the learning rate too high?",
                TrainingWarning,
                stacklevel=2,
            )


def is_good(state: Any, last: Mapping[str, float]) -> bool:
    """Whether a state may be saved: its last loss is finite, and its parameters hold no NaN.

    Args:
      state: a `TrainState`, or any pytree, of which every float is looked at.
      last: the metrics of the last step; the loss of a skipped step does not count.
    """
    if last and not math.isfinite(last["loss"]) and not last.get("skipped"):
        return False
    floats = [
        leaf
        for leaf in jax.tree.leaves(getattr(state, "params", state))
        if hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.inexact)
    ]
    # Leaf by leaf, since they need not be on the same devices.
    return not any(jax.device_get([_has_nan(leaf) for leaf in floats]))


@jax.jit
def _has_nan(leaf: Any) -> jax.Array:
    return jnp.any(jnp.isnan(leaf))


def save_batch(batch: Any, path: Path) -> Path:
    """Save a batch as NPZ: a dict of arrays under its names, another pytree by its paths.

    Floats that NumPy does not know, such as bfloat16, become float32, which holds them exactly. On
    several processes all call it, and the first writes the whole batch.
    """
    leaves = {_name(at): _plain(leaf) for at, leaf in jax.tree.leaves_with_path(batch)}
    if jax.process_index() != 0:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    with unfinished.open("wb") as file:
        np.savez(file, allow_pickle=False, **leaves)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    return path


def _name(path: tuple[Any, ...]) -> str:
    if len(path) == 1 and isinstance(path[0], jax.tree_util.DictKey):
        return str(path[0].key)
    return jax.tree_util.keystr(path) or "batch"


def _plain(leaf: Any) -> np.ndarray:
    if hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    if not getattr(leaf, "is_fully_addressable", True):
        leaf = multihost_utils.process_allgather(leaf, tiled=True)
    array = np.asarray(leaf)
    return array.astype(np.float32) if array.dtype.kind == "V" else array
