"""What is timed: each workload's name and what it is; a package for each, with one shape.

``task.py`` has the numbers: ``initial_state()``, ``batches()``, thresholds, ``CYCLE_STEPS`` after
which a run starts again from the initial state, and ``PATHS``, how many ways through the decisions
there are in a cycle. ``in_jax.py`` has ``step``, plain Python control flow, and ``step_by_hand``,
the same in ``lax``. ``in_torch.py`` and ``in_tensorflow.py`` have it as their users write it.
Standard library only: every environment can import it.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import NamedTuple


class Workload(NamedTuple):
    """`kind` says which bars it is held to; a static graph can hold it if there is no decision."""

    name: str
    label: str
    kind: str  # "step" or "loop"
    has_decisions: bool = True


ARTICLE = "article"

_ALL = (
    Workload(ARTICLE, "the article's train step", "step", has_decisions=False),
    Workload("two_ifs", "the article's train step with two ifs on values", "step"),
    Workload("while_90", "a Python while of 88 to 92 turns on 1,000 floats", "loop"),
    Workload("newton", "Newton's method to a tolerance, 16 unknowns", "loop"),
    Workload("early_exit", "the train step of a network with three exits", "step"),
    Workload("four_ifs", "a train step of a 64×64 matrix with four ifs in a row", "step"),
)
WORKLOADS = {workload.name: workload for workload in _ALL}


def part(workload: str, name: str) -> ModuleType:
    """A workload's ``task``, ``in_jax``, ``in_torch`` or ``in_tensorflow``."""
    return importlib.import_module(f"workloads.{workload}.{name}")
