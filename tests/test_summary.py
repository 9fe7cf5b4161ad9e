"""The summary of parameters: rows, totals, repeated layers and shardings."""

import json

import jax
import jax.numpy as jnp
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from fxgrad import train


def layer():
    return {"kernel": jnp.ones((4, 4)), "bias": jnp.ones(4, jnp.bfloat16)}


PARAMS = {
    "embed": jnp.ones((10, 4)),
    "layers": [layer() for _ in range(12)],
    "Dense_0": {"kernel": jnp.ones((4, 8))},
    "Dense_1": {"kernel": jnp.ones((8, 4))},
}


def test_layers_that_repeat_are_one_row_and_the_totals_are_of_all():
    found = train.summary(PARAMS)
    assert [(row.path, row.count, row.parameters, row.bytes) for row in found.rows] == [
        ("Dense_0.kernel", 1, 32, 128),
        ("Dense_1.kernel", 1, 32, 128),
        ("embed", 1, 40, 160),
        ("layers.{0-11}.bias", 12, 48, 96),
        ("layers.{0-11}.kernel", 12, 192, 768),
    ]
    assert found.parameters == 344 == sum(leaf.size for leaf in jax.tree.leaves(PARAMS))
    assert found.bytes == sum(leaf.nbytes for leaf in jax.tree.leaves(PARAMS))


def test_paths_that_differ_in_two_numbers_are_one_row_for_each_of_the_first():
    params = {f"stage{i}": {f"block{j}": jnp.ones(3) for j in (0, 1, 2, 5)} for i in range(2)}
    paths = [row.path for row in train.summary(params).rows]
    assert paths == ["stage0.block{0-2,5}", "stage1.block{0-2,5}"]


def test_it_prints_a_table():
    assert str(train.summary({"w": jnp.ones((2, 1000)), "b": jnp.ones(3)})).splitlines() == [
        "",
        "  path   shape       dtype     parameters      bytes",
        " ────────────────────────────────────────────────────",
        "  b      [3]         float32            3       12 B",
        "  w      [2, 1000]   float32        2,000   7.81 KiB",
        "",
        "2,003 parameters, 7.82 KiB",
    ]


def test_a_state_tells_what_else_it_holds_and_shapes_alone_are_enough():
    step = train.make_step(lambda p, b: jnp.sum(p["w"]), optax.adam(0.1), ema=0.9)
    make = lambda: train.TrainState.create({"w": jnp.ones((256, 4))}, step)  # noqa: E731
    for state in (make(), jax.eval_shape(make)):
        found = train.summary(state)
        assert found.bytes == 4096
        assert found.other_bytes == {"opt_state": 8196, "model_state": 0, "ema": 4096}
        assert "1,024 parameters, 4 KiB; opt_state 8 KiB; ema 4 KiB" in str(found)
        assert json.loads(json.dumps(found.to_dict()))["rows"][0]["shape"] == [256, 4]


def test_the_sharding_is_told_where_there_is_one():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    params = {
        name: jax.device_put(jnp.ones((16, 4)), NamedSharding(mesh, spec))
        for name, spec in [("split", PartitionSpec("data")), ("whole", PartitionSpec())]
    }
    found = train.summary({**params, "here": jnp.ones(2)})
    assert [row.sharding for row in found.rows] == ["", "('data',)", "on every device"]
    assert "sharding" in str(found)
    assert [row.bytes for row in found.rows] == [8, 256, 256]
