"""fxgrad: one pure function, run as a dynamic graph or as a static one, on JAX."""

from fxgrad.comparison.measure import compare
from fxgrad.comparison.result import Comparison
from fxgrad.divergence.diverge import diverge
from fxgrad.divergence.result import Divergence
from fxgrad.errors import FxError
from fxgrad.execution.function import Function, function
from fxgrad.footprint.measure import memory
from fxgrad.footprint.result import Memory
from fxgrad.graphs.graph import Graph
from fxgrad.graphs.make import graph
from fxgrad.limits import assert_no_new_paths, max_programs
from fxgrad.logs import log, logs
from fxgrad.models.model import Model, from_flax
from fxgrad.modes import mode
from fxgrad.shapes.buckets import Buckets
from fxgrad.shapes.padding import mask, pad
from fxgrad.shapes.plan import plan_buckets

__all__ = [
    "Buckets",
    "Comparison",
    "Divergence",
    "Function",
    "FxError",
    "Graph",
    "Memory",
    "Model",
    "assert_no_new_paths",
    "compare",
    "diverge",
    "from_flax",
    "function",
    "graph",
    "log",
    "logs",
    "mask",
    "max_programs",
    "memory",
    "mode",
    "pad",
    "plan_buckets",
]
