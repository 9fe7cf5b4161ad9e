"""Many devices and many processes: one mesh, sharding by parameter path, one program for all."""

from fxgrad.parallel import processes
from fxgrad.parallel.batch import batch, batch_part, batch_sharding
from fxgrad.parallel.collectives import collectives
from fxgrad.parallel.layout import Layout, explain
from fxgrad.parallel.mesh import mesh
from fxgrad.parallel.place import create, place, shardings
from fxgrad.parallel.processes import Place, initialize
from fxgrad.parallel.rules import Rules, fsdp, tensor
from fxgrad.parallel.sharded import sharded
from fxgrad.parallel.theory import expected
from fxgrad.parallel.traffic import Collective, Traffic

__all__ = [
    "Collective",
    "Layout",
    "Place",
    "Rules",
    "Traffic",
    "batch",
    "batch_part",
    "batch_sharding",
    "collectives",
    "create",
    "expected",
    "explain",
    "fsdp",
    "initialize",
    "mesh",
    "place",
    "processes",
    "sharded",
    "shardings",
    "tensor",
]
