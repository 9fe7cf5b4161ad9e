"""Meshes, rules by path, layouts, and arrays on a mesh."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from fxgrad import parallel, train
from fxgrad.errors import ShardingError, TrainingWarning

SIZES = {"data": 2, "fsdp": 2, "tensor": 2}
PARAMS = {
    "layer": {
        "up": {"kernel": jnp.ones((8, 32)), "bias": jnp.ones(32)},
        "down": {"kernel": jnp.ones((32, 8)), "bias": jnp.ones(8)},
    },
    "norm": jnp.ones(8),
}


def specs(rules, tree=PARAMS, sizes=SIZES):
    return {p.path: p.spec for p in parallel.explain(tree, sizes, rules).placements}


def test_public_names_are_sorted_and_there():
    assert sorted(parallel.__all__) == parallel.__all__
    for name in parallel.__all__:
        assert getattr(parallel, name).__doc__


def test_one_size_is_filled_with_the_devices_that_are_left():
    assert dict(parallel.mesh().shape) == {"data": 8, "fsdp": 1, "tensor": 1}
    assert dict(parallel.mesh(fsdp=2, tensor=2).shape) == SIZES
    assert dict(parallel.mesh(2, -1).shape) == {"data": 2, "fsdp": 4, "tensor": 1}
    assert parallel.mesh(1, 2, devices=jax.devices()[:2]).size == 2


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"data": 3}, "each must be one of 1, 2, 4, 8"),
        ({"data": 2, "fsdp": 2, "tensor": 1}, "the sizes multiply to 4"),
        ({"data": -1, "fsdp": -1}, "-1 for one axis at most"),
        ({"data": -1, "tensor": 0}, "a size is 1 or more"),
        ({"data": -1, "tensor": 5}, "multiply to 5"),
    ],
)
def test_a_mesh_that_does_not_fit_says_which_sizes_would(sizes, words):
    with pytest.raises(ShardingError, match=words):
        parallel.mesh(**sizes)


def test_the_first_pattern_that_fits_decides():
    rules = parallel.Rules([("*up/kernel", (None, "tensor")), ("*/kernel", ("fsdp",))])
    found = specs(rules)
    assert found["layer/up/kernel"] == (None, "tensor")
    assert found["layer/down/kernel"] == ("fsdp", None)
    assert found["norm"] == (None,)


def test_parameters_are_spread_at_their_largest_free_dimension():
    found = specs(parallel.fsdp(whole_below=16))
    assert found["layer/up/kernel"] == (None, "fsdp")
    assert found["layer/down/kernel"] == ("fsdp", None)
    assert found["layer/up/bias"] == ("fsdp",)
    assert found["norm"] == (None,)
    square = {"w": jnp.ones((4, 4)), "odd": jnp.ones((5, 7)), "half": jnp.ones((6, 9))}
    found = specs(parallel.fsdp(whole_below=0), square, {"fsdp": 2})
    assert found == {"w": ("fsdp", None), "odd": (None, None), "half": ("fsdp", None)}


def test_a_large_parameter_that_cannot_be_spread_is_told_of():
    shapes = {
        "odd": jax.ShapeDtypeStruct((5001, 1001), jnp.float32),
        "odder": jax.ShapeDtypeStruct((2001, 1001), jnp.float32),
        "small": jax.ShapeDtypeStruct((501, 101), jnp.float32),
    }
    words = (
        r"odd of shape \[5001, 1001\] is not split over 'fsdp': .* 5,006,001 .*\(1 more like it\)"
    )
    with pytest.warns(TrainingWarning, match=words):
        found = specs(parallel.fsdp(), shapes, {"fsdp": 8})
    assert found["odd"] == (None, None)
    assert specs(parallel.fsdp(), shapes, {"fsdp": 1})
    kept = parallel.fsdp(parallel.Rules([("odd*", ("fsdp",))]))
    assert specs(kept, shapes, {"fsdp": 3})["odd"] == ("fsdp", None)


def test_columns_and_rows_are_split_and_the_rest_is_spread_beside_them():
    rules = parallel.fsdp(parallel.tensor(["*up"], ["*down"]), whole_below=100)
    assert specs(rules) == {
        "layer/up/kernel": ("fsdp", "tensor"),
        "layer/up/bias": ("tensor",),
        "layer/down/kernel": ("tensor", "fsdp"),
        "layer/down/bias": (None,),
        "norm": (None,),
    }


def test_a_layer_without_bias_needs_no_other_rules():
    tree = {"up": {"kernel": jnp.ones((4, 4))}, "down": {"kernel": jnp.ones((4, 4))}}
    assert specs(parallel.tensor(["up"], ["down"]), tree)["up/kernel"] == (None, "tensor")


@pytest.mark.parametrize(
    ("rules", "path", "words"),
    [
        (parallel.Rules([("*nowhere*", ("data",))]), None, "'\\*nowhere\\*' fits no parameter"),
        (parallel.tensor(["*upp"], ["*down"]), None, "'\\*upp/kernel' fits no parameter"),
        (parallel.Rules([("norm", ("tesnor",))]), "norm", "'data', 'fsdp', 'tensor'"),
        (parallel.Rules([("norm", ("data", "fsdp"))]), "norm", "has 1 dimensions"),
        (parallel.Rules([("*up/kernel", ("data", "data"))]), "layer/up/kernel", "an axis twice"),
        (
            parallel.Rules([("*", ()), ("norm", ("data",))]),
            "norm",
            "'norm' never applies: '\\*', which stands before it, decides of norm",
        ),
        (
            parallel.Rules([("*up/*", ()), ("*down/*", ()), ("layer/*", ("data",))]),
            "layer/down/bias",
            "'layer/\\*' never applies: '\\*down/\\*'",
        ),
        (parallel.fsdp(axis="shards"), "layer/down/kernel", "the axis 'shards'"),
    ],
)
def test_a_rule_that_does_not_fit_is_named_with_its_parameter(rules, path, words):
    rules = parallel.Rules(rules.rows, optional=rules.optional, spread=rules.spread, whole_below=16)
    with pytest.raises(ShardingError, match=words) as caught:
        specs(rules)
    assert caught.value.path == path


def test_a_dimension_that_cannot_be_divided_is_told_with_the_ways_out():
    with pytest.raises(ShardingError) as caught:
        specs(parallel.Rules([("w", (None, "tensor"))]), {"w": jnp.ones((2, 30))}, {"tensor": 4})
    assert str(caught.value) == (
        "w of shape [2, 30]: the axis 'tensor' has 4 devices, which do not divide dimension 1 of "
        "size 30. Make that 32, write None for it in the rule, or choose a mesh whose axis divides "
        "it."
    )


def test_a_layout_is_planned_for_devices_that_are_not_there():
    state = jax.eval_shape(
        lambda: train.TrainState.create(
            {"w": jnp.zeros((2**20, 2**14)), "b": jnp.zeros(2**14)}, optax.adam(1e-3)
        )
    )
    layout = parallel.explain(state, {"data": 64, "fsdp": 1024}, parallel.fsdp(whole_below=2**15))
    assert layout.bytes == 3 * 4 * (2**34 + 2**14) + 8
    assert layout.device_bytes == 3 * 4 * (2**24 + 2**14) + 8
    assert json.loads(json.dumps(layout.to_dict()))["device_bytes"] == layout.device_bytes


def test_a_layout_prints_as_a_table():
    rules = parallel.fsdp(parallel.tensor(["*up"], ["*down"]), whole_below=100)
    assert str(parallel.explain(PARAMS, SIZES, rules)).splitlines() == [
        "path                array       split                        on each device",
        "layer/down/bias     f32[8]      whole                        32 B",
        "layer/down/kernel   f32[32,8]   tensor, fsdp                 256 B",
        "layer/up/bias       f32[32]     tensor                       64 B",
        "layer/up/kernel     f32[8,32]   fsdp, tensor                 256 B",
        "norm                f32[8]      whole                        32 B",
        "all                 2.19 KiB    data 2 × fsdp 2 × tensor 2   640 B",
    ]


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.adam(1e-3),
        optax.sgd(0.1, momentum=0.9),
        optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3)),
        optax.masked(optax.adam(1e-3), {"layer": True, "norm": False}),
        optax.MultiSteps(optax.adam(1e-3), 2),
    ],
)
def test_the_arrays_of_an_optimizer_lie_as_their_parameters(optimizer):
    mesh, rules = parallel.mesh(fsdp=2, tensor=2), parallel.fsdp(whole_below=100)
    state = train.TrainState.create(PARAMS, optimizer)
    placed = parallel.place(state, mesh, rules)
    followers = [
        leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(placed)
        if jax.tree_util.keystr(path).endswith("['up']['kernel']")
    ]
    assert len(followers) > 1
    assert {leaf.sharding.spec for leaf in followers} == {P(None, "fsdp")}
    assert all(map(np.array_equal, jax.tree.leaves(placed), jax.tree.leaves(state)))
    alone = parallel.place(state.opt_state, mesh, rules, params=PARAMS)
    assert jax.tree.map(lambda leaf: leaf.sharding, alone) == jax.tree.map(
        lambda leaf: leaf.sharding, placed.opt_state
    )


def test_an_array_of_another_shape_does_not_follow():
    state = train.TrainState.create(PARAMS, optax.adafactor(1e-3, min_dim_size_to_factor=2))
    found = specs(parallel.fsdp(whole_below=100), state)
    assert found["params/layer/up/kernel"] == (None, "fsdp")
    factored = [path for path in found if path.endswith("v_row/layer/up/kernel")]
    assert [found[path] for path in factored] == [(None,)]


def test_a_random_key_and_the_step_lie_whole():
    mesh = parallel.mesh(fsdp=4)
    state = train.TrainState.create(PARAMS, optax.sgd(0.1), key=jax.random.key(3))
    placed = parallel.place(state, mesh, parallel.fsdp())
    assert placed.key.sharding.is_fully_replicated
    assert placed.step.sharding.is_fully_replicated
    assert jax.random.key_data(placed.key).tolist() == jax.random.key_data(state.key).tolist()


def test_a_state_is_made_on_the_mesh_with_the_same_values():
    def start(key):
        params = {"w": jax.random.normal(key, (64, 128)), "b": jnp.zeros(128)}
        return train.TrainState.create(params, optax.adam(1e-3))

    mesh, rules = parallel.mesh(data=1, fsdp=8), parallel.fsdp(whole_below=1000)
    made = parallel.create(start, jax.random.key(0), mesh=mesh, rules=rules)
    for placed, whole in zip(*map(jax.tree.leaves, (made, start(jax.random.key(0)))), strict=True):
        np.testing.assert_array_equal(placed, whole)
    assert made.params["w"].sharding.spec == P(None, "fsdp")
    assert made.opt_state[0].mu["w"].addressable_shards[0].data.shape == (64, 16)
    wanted = parallel.shardings(jax.eval_shape(start, jax.random.key(0)), mesh, rules)
    compiled = jax.jit(start, out_shardings=wanted).lower(jax.random.key(0)).compile()
    analysis = compiled.memory_analysis()
    whole = 64 * 128 * 4
    assert analysis.output_size_in_bytes + analysis.temp_size_in_bytes < whole


def test_what_is_placed_shares_no_memory_with_its_source():
    source = np.ones((16, 16), np.float32)
    placed = parallel.place({"w": source}, parallel.mesh(), parallel.Rules())
    source[:] = 2
    np.testing.assert_array_equal(placed["w"], np.ones((16, 16)))


def test_the_rows_of_a_batch_are_split_over_data_and_fsdp():
    mesh = parallel.mesh(data=2, fsdp=2, tensor=2)
    rows = np.arange(32, dtype=np.float32).reshape(8, 4)
    placed = parallel.batch({"x": rows, "weight": np.float32(2)}, mesh)
    assert placed["x"].sharding == parallel.batch_sharding(mesh)
    assert {shard.data.shape for shard in placed["x"].addressable_shards} == {(2, 4)}
    np.testing.assert_array_equal(placed["x"], rows)
    assert placed["weight"].sharding.is_fully_replicated
    assert parallel.batch_part(mesh) == (0, 1)


def test_rows_that_cannot_be_split_are_an_error_with_the_next_size():
    with pytest.raises(ShardingError, match=r"has 12 rows.*batch size of 16") as caught:
        parallel.batch({"x": np.ones((12, 2))}, parallel.mesh())
    assert caught.value.path == "batch['x']"


def test_collectives_need_an_argument_on_a_mesh():
    with pytest.raises(ShardingError, match="no argument lies on a mesh"):
        parallel.collectives(jnp.sin, jnp.ones(3))
