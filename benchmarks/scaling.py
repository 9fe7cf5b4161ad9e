"""What the devices of a mesh hold and send: compiled programs beside theory, and 1,024 on paper.

Eight devices are made of the CPU. What XLA makes for TPUs is told by `scaling_tpu.py`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import numpy as np
import results
import scaling_paper as paper

from fxgrad import parallel
from fxgrad.quantities import in_bytes, in_seconds
from tests.meshes import LAYOUTS, losses_on_one_device, training

COMMAND: Final = "PYTHONPATH=. python benchmarks/scaling.py"


def main() -> None:
    """Measure, print the tables, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=results.FOLDER, help="where to write")
    options = parser.parse_args()
    measured = list(_measured())
    print(results.markdown(_MEASURED, map(_measured_cells, measured)), end="\n\n")
    on_paper = list(paper.table())
    print(results.markdown(_PAPER, map(_paper_cells, on_paper)))
    results.write("scaling", options.results, command=COMMAND, measured=measured, on_paper=on_paper)


def _measured() -> Iterator[dict[str, Any]]:
    wanted = np.array(losses_on_one_device("transformer"))
    for layout, sizes in LAYOUTS.items():
        subject = training("transformer", layout)
        compiled = parallel.collectives(subject.step, subject.state, subject.batch())
        theory = subject.expected()
        state, losses = subject.state, []
        for number in range(len(wanted)):
            state, metrics = subject.step(state, subject.batch(number))
            losses.append(float(metrics["loss"]))
        yield {
            "layout": layout,
            "sizes": sizes,
            "device_bytes": _held(state),
            "planned_bytes": parallel.explain(state, subject.mesh, subject.rules).device_bytes,
            "compiled": _payloads(compiled),
            "theory": _payloads(theory),
            "compiled_sent_bytes": compiled.sent_bytes,
            "theory_sent_bytes": theory.sent_bytes,
            "collectives": [len(compiled), len(theory)],
            "loss_difference": float(np.max(np.abs(np.array(losses) / wanted - 1))),
        }


def _held(state: Any) -> int:
    """The bytes on the device that holds most."""
    held = dict.fromkeys(jax.devices(), 0)
    for leaf in jax.tree.leaves(state):
        for shard in leaf.addressable_shards:
            held[shard.device] += shard.data.nbytes
    return max(held.values())


def _payloads(traffic: parallel.Traffic) -> dict[str, int]:
    return {f"{k} along {'×'.join(axes)}": n for (k, axes), n in traffic.payloads().items()}


_MEASURED: Final = (
    *("layout", "state on each", "planned"),
    *("each sends, compiled", "in theory", "loss differs"),
)


def _measured_cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"{row['layout']}: {_grid(row['sizes'])}",
        in_bytes(row["device_bytes"]),
        in_bytes(row["planned_bytes"]),
        f"{row['compiled_sent_bytes']:,.0f} B in {row['collectives'][0]}",
        f"{row['theory_sent_bytes']:,.0f} B in {row['collectives'][1]}",
        f"{row['loss_difference']:.1e}",
    )


_PAPER: Final = (
    *("network, grid", "state on each", "each sends"),
    *(f"{chip}: {what}" for chip in paper.CHIPS for what in ("computes", "sends")),
)


def _paper_cells(row: dict[str, Any]) -> tuple[str, ...]:
    state = in_bytes(row["state_bytes"])
    times = [in_seconds(s) for chip in row["seconds"].values() for s in chip.values()]
    return (f"{row['network']}, {_grid(row['sizes'])}", state, in_bytes(row["sent_bytes"]), *times)


def _grid(sizes: dict[str, int]) -> str:
    return " × ".join(f"{axis} {size}" for axis, size in sizes.items() if size > 1)


if __name__ == "__main__":
    main()
