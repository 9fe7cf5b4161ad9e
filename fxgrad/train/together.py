"""Together: what the processes of one training must decide alike, or all would wait for each other.

The loop tells where they meet: at steps that do not depend on time. In a run of one process
nothing is asked. How processes speak belongs to `fxgrad.agreement`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import jax
import numpy as np

from fxgrad.agreement import agree, are_many, processes_of
from fxgrad.data.source import AnySource, fingerprint_of
from fxgrad.errors import ShardingError
from fxgrad.execution.function import Function
from fxgrad.same import agree_on_values
from fxgrad.statements import Statement

_ONE_TRAINING: Final = (
    "Give every process the same options, and as many batches: drop_last=True, and shard= for its "
    "part of each."
)
_ONE_NUMBER: Final = (
    "evaluate must return the same number on all processes: compute it from arrays that all share, "
    "or take the mean of what jax.experimental.multihost_utils.process_allgather gives."
)
_ONE_DATA: Final = (
    "Give every process the same arrays, seed and options, and shard= for its part of each batch."
)
_ONE_STATE: Final = "Begin with the same seed in every process."


class Together:
    """Why a training ends before its last step: on every process the same, at the same step.

    Attributes:
      reason: why it ends, or None.
      is_lost: whether its state is worth nothing then.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self.is_lost = False
        self._are_many = are_many()
        self._asked: str | None = None
        self._has_begun = not self._are_many

    def ask(self, reason: str, *, is_lost: bool = False) -> None:
        """Ask for an end; with other processes it comes where all meet the next time."""
        self._asked = self._asked or reason
        self.is_lost = self.is_lost or is_lost
        if not self._are_many:
            self.reason = self._asked

    def meet(self, state: Any, place: str) -> None:
        """Hear what the processes that share `state` have asked for; one that asks ends all.

        Args:
          state: that of the training.
          place: where in the training this is, the same on all.

        Raises:
          DisagreementError: another process is at another place, or does not come.
        """
        if not self._are_many:
            return
        own = json.dumps([self._asked, self.is_lost])
        members = processes_of(jax.tree.leaves(state))
        all_own = agree(members, Statement(place, "", {}, _ONE_TRAINING, own))
        said = [json.loads(each) for each in all_own]
        self.reason = self.reason or next((reason for reason, _ in said if reason), None)
        self.is_lost = any(is_lost for _, is_lost in said)

    def compare(self, state: Any, place: str, evaluation: Mapping[str, float]) -> None:
        """Return if all have got the same evaluation.

        Raises:
          DisagreementError: a number differs.
        """
        if self._are_many:
            members = processes_of(jax.tree.leaves(state))
            words = {name: repr(value) for name, value in evaluation.items()}
            topic = f"using the evaluation of {place}"
            agree(members, Statement(topic, json.dumps(words, sort_keys=True), words, _ONE_NUMBER))

    def begin(self, step: Any, state: Any, batch: Any, batches: AnySource) -> None:
        """Return if all begin with the same data, order and state; after the first step at once.

        Args:
          step: makes the steps. A plain function may place the batch itself.
          state: before the first step; what processes share of it already is not read.
          batch: the first one; arrays that are shared tell which processes train together.
          batches: where it is from; a source without a fingerprint is not compared.

        Raises:
          DisagreementError: something differs.
          ShardingError: the state is shared, and the batch is this process's own.
        """
        if self._has_begun:
            return
        self._has_begun = True
        members = processes_of(jax.tree.leaves((state, batch)))
        if len(members) > 1:
            if isinstance(step, Function):
                _check_is_shared(batch)
            data = {"fingerprint": fingerprint_of(batches)}
            agree_on_values(members, data, topic="training on the data", instead=_ONE_DATA)
            agree_on_values(members, state, topic="training the state", instead=_ONE_STATE)


def _check_is_shared(batch: Any) -> None:
    """Refuse rows of one process alone: a program takes them as if all processes had the same."""
    for keys, leaf in jax.tree_util.tree_leaves_with_path(batch):
        is_shared = isinstance(leaf, jax.Array) and not leaf.is_fully_addressable
        if np.ndim(leaf) and not is_shared:
            path = f"batch{jax.tree_util.keystr(keys)}"
            raise ShardingError(
                f"{path} holds the rows of this process alone, and the step runs on all. Write "
                "train.prefetch(batches, place=parallel.batch_sharding(mesh)).",
                path=path,
            )
