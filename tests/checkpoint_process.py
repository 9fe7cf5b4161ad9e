"""One process of a run that saves or restores together: see `test_checkpoints_processes`.

Run as ``python -m tests.checkpoint_process FOLDER JOB PROCESS PROCESSES PORT``.
"""

import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import fxgrad.checkpoints.writing as writing
from fxgrad.errors import CheckpointError
from fxgrad.train import Checkpoints

folder, job, process, processes, port = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
if processes > 1:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", processes, process)
mesh = jax.make_mesh((2 * processes,), ("x",))
VALUES = np.arange(96.0, dtype=np.float32).reshape(24, 4)


def placed(values, *spec):
    return jax.make_array_from_callback(
        values.shape, NamedSharding(mesh, P(*spec)), lambda index: values[index]
    )


def state(scale):
    return {
        "sharded": placed(VALUES * scale, "x"),
        "replicated": placed(VALUES + scale),
        "local": jnp.full(3, scale),
        "key": jax.random.key(int(scale)),
        "numpy": np.full(2, scale),
        "python": scale,
    }


def say(**facts):
    path = folder.parent / f"{job}-{processes}-{process}.json"
    path.write_text(json.dumps(facts))


def save(checkpoints):
    for step in (1, 2, 3):
        checkpoints.save(state(float(step)), step=step, record={"step": step})
    checkpoints.wait()
    say(steps=checkpoints.steps())


def restore(checkpoints):
    restored = checkpoints.restore(state(0.0))
    found = restored.state
    scale = float(restored.step)
    for shard in found["sharded"].addressable_shards:
        np.testing.assert_array_equal(shard.data, (VALUES * scale)[shard.index])
    for shard in found["replicated"].addressable_shards:
        np.testing.assert_array_equal(shard.data, VALUES + scale)
    assert (found["local"] == scale).all()
    assert (found["numpy"] == scale).all()
    assert jnp.array_equal(
        jax.random.key_data(found["key"]), jax.random.key_data(jax.random.key(int(scale)))
    )
    assert found["sharded"].sharding == NamedSharding(mesh, P("x"))
    say(step=restored.step, python=found["python"], skipped=[s.step for s in restored.skipped])


def fail(checkpoints):
    """The first process cannot write the manifest; every process is told, and the next works."""
    make_durable, writing.make_durable = writing.make_durable, lambda saving: 1 / 0
    checkpoints.save(state(4.0), step=4)
    try:
        checkpoints.wait()
    except CheckpointError as error:
        message = str(error)
    writing.make_durable = make_durable
    checkpoints.save(state(5.0), step=5)
    checkpoints.wait()
    say(message=message, steps=checkpoints.steps())


def second_writer(checkpoints):
    say(entered=True)


try:
    with Checkpoints(folder) as checkpoints:
        globals()[job](checkpoints)
except CheckpointError as error:
    say(error=str(error))
