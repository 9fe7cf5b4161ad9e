"""What XLA makes of a step for a slice of TPUs that is not there, beside theory.

It needs `libtpu` (`pip install 'fxgrad[tpu]'`) and no TPU. For a slice of 1,024 chips, such as
v5p:8x8x16, it compiles the 1B transformer of `scaling_paper`; for others 16 layers of 2,048 ×
2,048, with and without gathering again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, cast

import jax
import jax.numpy as jnp
import results
import scaling_paper as paper
from jax.experimental import topologies

from fxgrad import parallel, train
from fxgrad.parallel.collectives import collectives_in
from tests.meshes import OPTIMIZER, loss_of

COMMAND: Final = (
    "PYTHONPATH=. JAX_PLATFORMS=cpu TPU_SKIP_MDS_QUERY=1 python benchmarks/scaling_tpu.py"
)
WIDTH, LAYERS, ROWS = 2048, 16, 512


@dataclass(frozen=True)
class Case:
    """A step to compile, and what theory says of it."""

    sizes: dict[str, int]
    rules: parallel.Rules
    loss: Callable[..., Any]
    params: Any
    batch: Any
    theory: parallel.Traffic
    regather: bool = True


def main() -> None:
    """Compile each case, and write what it sends and holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slice", help="such as v5e:2x4 or v5p:8x8x16")
    parser.add_argument("--grid", help="of 1,024 chips only this: data, fsdp, tensor, as 4,32,8")
    parser.add_argument("--results", type=Path, default=results.FOLDER, help="where to write")
    options = parser.parse_args()
    devices = topologies.get_topology_desc(options.slice, "tpu").devices
    written: dict[str, Any] = {
        "benchmark": "scaling_tpu",
        "command": f"{COMMAND} {options.slice}",
        "device": f"{len(devices)} × {devices[0].device_kind}, compiled for and not run",
        "versions": {name: version(name) for name in ("jax", "jaxlib", "libtpu")},
        "rows": [],
    }
    path = options.results / f"scaling-compiled-for-{options.slice.replace(':', '-')}.json"
    if path.exists():  # a slice's grids can be compiled one by one
        written["rows"] = json.loads(path.read_text())["rows"]
    for case in _cases(len(devices)):
        if options.grid not in (None, ",".join(map(str, case.sizes.values()))):
            continue
        this = (case.sizes, case.regather)
        others = [r for r in written["rows"] if (r["sizes"], r["regather"]) != this]
        written["rows"] = [*others, _row(case, devices)]
        print(json.dumps(written["rows"][-1], indent=1), flush=True)
        path.write_text(json.dumps(written, indent=2, ensure_ascii=False) + "\n")


def _cases(count: int) -> Iterator[Case]:
    if count == 1024:
        for sizes in paper.GRIDS:
            yield _of_transformer(sizes)
        return
    yield _of_square_layers(count, regather=False)
    yield _of_square_layers(count, regather=True)


def _of_transformer(sizes: dict[str, int]) -> Case:
    network = paper.NETWORKS["1B"]
    words = jax.ShapeDtypeStruct((paper.SEQUENCES, paper.LENGTH + 1), jnp.int32)
    params, theory = paper.parameters_of(network), paper.expected(network, sizes)
    return Case(sizes, paper.rules_of(sizes), loss_of(network), params, words, theory)


def _of_square_layers(count: int, *, regather: bool) -> Case:
    sizes, rules = {"data": 1, "fsdp": count, "tensor": 1}, parallel.fsdp()
    layers = [jax.ShapeDtypeStruct((WIDTH, WIDTH), jnp.float32)] * LAYERS
    rows = jax.ShapeDtypeStruct((ROWS, WIDTH), jnp.float32)
    theory = parallel.expected(
        parallel.explain(layers, sizes, rules), regather=regather, forward_only=["0"]
    )
    return Case(sizes, rules, _squares, layers, {"x": rows, "y": rows}, theory, regather)


def _squares(params: Any, batch: Any) -> jax.Array:
    x = batch["x"]
    for layer in params:
        x = jnp.tanh(x @ layer)
    return jnp.mean((x - batch["y"]) ** 2)


def _row(case: Case, devices: Any) -> dict[str, Any]:
    start = time.perf_counter()
    mesh = parallel.mesh(**case.sizes, devices=devices)
    state = jax.eval_shape(lambda params: train.TrainState.create(params, OPTIMIZER), case.params)
    state = jax.tree.map(_lying, state, parallel.shardings(state, mesh, case.rules))
    split = parallel.batch_sharding(mesh)
    batch = jax.tree.map(lambda array: _lying(array, split), case.batch)
    loss = parallel.sharded(case.loss, mesh, case.rules, regather=case.regather)
    step = train.make_step(loss, OPTIMIZER, mode="static", donate=True)
    compiled = step.lower(state, batch).compile()
    traffic, analysis = collectives_in(compiled, mesh), cast("Any", compiled.memory_analysis())
    return {
        "sizes": case.sizes,
        "regather": case.regather,
        "compiled": _payloads(traffic),
        "theory": _payloads(case.theory),
        "compiled_sent_bytes": traffic.sent_bytes,
        "theory_sent_bytes": case.theory.sent_bytes,
        "argument_bytes": analysis.argument_size_in_bytes,
        "temporary_bytes": analysis.temp_size_in_bytes,
        "compile_seconds": round(time.perf_counter() - start),
    }


def _payloads(traffic: parallel.Traffic) -> dict[str, int]:
    return {f"{k} along {'×'.join(axes)}": n for (k, axes), n in traffic.payloads().items()}


def _lying(array: jax.ShapeDtypeStruct, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding)


if __name__ == "__main__":
    main()
