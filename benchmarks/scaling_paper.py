"""Scaling on paper: what a step of a large transformer sends and how long that takes at the least.

The bytes come from `fxgrad.parallel.expected`, as those that are compared with compiled programs;
here are only the networks, the chips, and seconds from bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np

import fxgrad as fx
from fxgrad import parallel
from tests.meshes import TENSOR, Transformer

LENGTH: Final = 2048
SEQUENCES: Final = 1024

NETWORKS: Final = {
    "1B": Transformer(words=32768, width=2048, heads=16, layers=16),
    "7B": Transformer(words=32768, width=4096, heads=32, layers=32),
}
GRIDS: Final[tuple[dict[str, int], ...]] = (
    {"data": 1024, "fsdp": 1, "tensor": 1},
    {"data": 1, "fsdp": 1024, "tensor": 1},
    {"data": 4, "fsdp": 256, "tensor": 1},
    {"data": 1, "fsdp": 128, "tensor": 8},
    {"data": 4, "fsdp": 32, "tensor": 8},
)


@dataclass(frozen=True)
class Chip:
    """A chip and its network, by their makers' figures.

    Attributes:
      flops: bfloat16 products and sums a second, dense.
      memory: bytes.
      island: how many chips the fast network joins.
      inside: bytes a second that a chip sends in it.
      outside: bytes a second that an island sends to others.
    """

    flops: float
    memory: float
    island: int
    inside: float
    outside: float


CHIPS: Final = {
    # cloud.google.com/tpu/docs/v5e: 197 TFLOP/s, 16 GB, pods of 256 chips, 1,600 Gbit/s a chip,
    # data-center network 6.4 Tbit/s a pod.
    "TPU v5e": Chip(197e12, 16e9, 256, 200e9, 800e9),
    # NVIDIA H100 SXM data sheet: 989 TFLOP/s dense, 80 GB, NVLink 900 GB/s for both directions;
    # DGX H100 data sheet: 8 GPUs, each with a 400 Gbit/s port.
    "H100": Chip(989e12, 80e9, 8, 450e9, 8 * 50e9),
}


def rules_of(sizes: Mapping[str, int]) -> parallel.Rules:
    """The rules of one grid."""
    rules = TENSOR if sizes["tensor"] > 1 else parallel.Rules()
    return parallel.fsdp(rules) if sizes["fsdp"] > 1 else rules


def parameters_of(network: Transformer) -> Any:
    """Shapes and dtypes of its parameters, float32."""
    words = jax.ShapeDtypeStruct((1, LENGTH), jnp.int32)
    return jax.eval_shape(fx.from_flax(network).init, jax.random.key(0), words)[0]


def expected(network: Transformer, sizes: Mapping[str, int]) -> parallel.Traffic:
    """What one step on `SEQUENCES` sequences must send, all in float32."""
    rows = SEQUENCES // (sizes["data"] * sizes["fsdp"])
    return parallel.expected(
        parallel.explain(parameters_of(network), sizes, rules_of(sizes)),
        forward_only=("embed/*", "*/bias"),
        activation_bytes=rows * LENGTH * network.width * 4,
        tensor_blocks=2 * network.layers,
    )


def table() -> Iterator[dict[str, Any]]:
    """One row for each network and grid."""
    for name, network in NETWORKS.items():
        for sizes in GRIDS:
            yield _row(name, network, sizes)


def _row(name: str, network: Transformer, sizes: dict[str, int]) -> dict[str, Any]:
    layout = parallel.explain(parameters_of(network), sizes, rules_of(sizes))
    traffic = expected(network, sizes)
    count, chips = layout.bytes // 4, int(np.prod(list(sizes.values())))
    attention = 12 * network.layers * network.width * LENGTH
    flops = (6 * count + attention) * SEQUENCES * LENGTH / chips
    return {
        "network": name,
        "parameters": count,
        "sizes": sizes,
        # Parameters, gradients, and Adam's two moments.
        "state_bytes": 4 * layout.device_bytes,
        "sent_bytes": traffic.sent_bytes,
        "flops": flops,
        "seconds": {
            chip: {
                "computing": flops / CHIPS[chip].flops,
                "sending": sum(seconds(each, sizes, CHIPS[chip]) for each in traffic),
            }
            for chip in CHIPS
        },
    }


def seconds(each: parallel.Collective, sizes: Mapping[str, int], chip: Chip) -> float:
    """The least time for one collective, first within islands and then between them.

    Islands are neighbours in the order of the mesh. Within one, each member sends its share along
    a ring; between islands all groups share what an island can send.
    """
    grid = np.arange(int(np.prod(list(sizes.values())))).reshape(tuple(sizes.values()))
    along = tuple(slice(None) if axis in each.axes else 0 for axis in sizes)
    members = grid[along].ravel()
    near = int(np.sum(members < chip.island))
    islands = len(members) // near
    payload = each.bytes * (2 if each.kind == "all-reduce" else 1)
    groups = min(chip.island, grid.size) / near
    inside = payload * (near - 1) / near / chip.inside
    return inside + payload * (islands - 1) / islands * groups / chip.outside
