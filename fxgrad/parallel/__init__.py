"""Many devices and many processes: one mesh, sharding by parameter path, one program for all."""

from fxgrad.parallel import processes
from fxgrad.parallel.processes import Place, initialize

__all__ = ["Place", "initialize", "processes"]
