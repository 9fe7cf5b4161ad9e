"""Checkpoints: what goes in comes out, bit for bit and in its place, or is refused by name."""

import math

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from fxgrad import train
from fxgrad.errors import CheckpointError, OptionError
from fxgrad.train import Checkpoints

DTYPES = [
    *("bool", "int4", "int8", "int16", "int32", "uint4", "uint8", "uint16", "uint32"),
    *("float16", "bfloat16", "float32", "complex64", "int2", "uint2"),
    *("float8_e4m3", "float8_e4m3fn", "float8_e5m2", "float8_e4m3b11fnuz", "float4_e2m1fn"),
]
NUMPY_ONLY = ["int64", "uint64", "float64", "complex128"]


def dtype_of(name):
    return np.dtype(getattr(ml_dtypes, name, name))


def same(a, b):
    """Type, dtype, shape, weak type, place and bits."""
    if not isinstance(a, jax.Array | np.ndarray | np.generic):
        return type(a) is type(b) and (a == b or (math.isnan(a) and math.isnan(b)))
    if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
        return a.dtype == b.dtype and same(jax.random.key_data(a), jax.random.key_data(b))
    if isinstance(a, jax.Array):
        places = [(x.sharding, x.committed, x.weak_type) for x in (a, b)]
        if not isinstance(b, jax.Array) or places[0] != places[1]:
            return False
    elif type(a) is not type(b):
        return False
    return (a.dtype, a.shape) == (b.dtype, b.shape) and np.array(a).tobytes() == np.array(
        b
    ).tobytes()


def round_trip(folder, state, like=None):
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(state, step=1)
        return checkpoints.restore(state if like is None else like).state


def test_a_training_comes_back_bit_for_bit(tmp_path):
    optimizer = optax.adamw(1e-3)
    params = {"w": jax.random.normal(jax.random.key(0), (3, 4)), "b": jnp.zeros(4, jnp.bfloat16)}
    state = train.TrainState.create(params, optimizer, key=jax.random.key(7))
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, step=5, record={"position": [1, 2]}, metrics={"loss": 0.5})
        restored = checkpoints.restore(
            jax.tree.map(jnp.zeros_like, state.replace(key=None)).replace(key=jax.random.key(0))
        )
    assert (restored.step, restored.record, restored.metrics, restored.skipped) == (
        5,
        {"position": [1, 2]},
        {"loss": 0.5},
        (),
    )
    assert jax.tree.structure(restored.state) == jax.tree.structure(state)
    assert all(map(same, jax.tree.leaves(state), jax.tree.leaves(restored.state)))


def test_every_dtype_of_numpy_and_jax_comes_back(tmp_path):
    state = {}
    for name in DTYPES + NUMPY_ONLY:
        values = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype_of(name))
        state[name] = {"numpy": values, "scalar": values[0, 1]}
        if name in DTYPES:
            state[name] |= {"jax": jnp.asarray(values), "zero_d": jnp.asarray(values[0, 1])}
    found = round_trip(tmp_path, state)
    wrong = [
        jax.tree_util.keystr(path)
        for (path, leaf), other in zip(
            jax.tree.leaves_with_path(state), jax.tree.leaves(found), strict=True
        )
        if not same(leaf, other)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "leaf",
    [
        *(True, 3, -(2**70), 0.1, math.inf, math.nan, "words", jnp.asarray(2.0)),
        *(jnp.zeros((0, 3)), np.zeros((2, 0), np.float64), np.zeros(()), np.float32(3)),
        *(jax.random.key(3), jax.random.split(jax.random.key(3, impl="rbg"), 4)),
        jnp.array([math.nan, -0.0, math.inf, 1e-45]),
    ],
    ids=repr,
)
def test_every_kind_of_leaf_comes_back(tmp_path, leaf):
    found = round_trip(tmp_path, {"leaf": leaf, "none": None, "empty": {}})
    assert same(leaf, found["leaf"])
    assert (found["none"], found["empty"]) == (None, {})


def test_a_state_of_one_leaf_and_one_of_none_are_states(tmp_path):
    assert same(round_trip(tmp_path / "a", jnp.ones(3)), jnp.ones(3))
    assert round_trip(tmp_path / "b", {"nothing": ()}) == {"nothing": ()}


def test_paths_of_any_spelling_stay_inside_the_folder(tmp_path):
    state = {name: jnp.ones(1) for name in ["../x", "a/b", "/etc", "x" * 300, "", "é\n", "nul\0"]}
    before = sorted(tmp_path.parent.iterdir())
    found = round_trip(tmp_path / "in", state)
    assert all(same(found[name], leaf) for name, leaf in state.items())
    assert sorted(tmp_path.parent.iterdir()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def mesh(*shape):
    axes = ("x", "y")[: len(shape)]
    return Mesh(np.array(jax.devices()[: math.prod(shape)]).reshape(shape), axes)


def test_arrays_go_to_the_devices_of_the_state_that_asks(tmp_path):
    values = jnp.arange(64.0).reshape(8, 8)
    key = jax.random.split(jax.random.key(1), 8)
    saved = NamedSharding(mesh(4, 2), P("x", "y"))
    state = {"w": jax.device_put(values, saved), "key": jax.device_put(key, jax.devices()[0])}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, step=0)
        for sharding in (
            saved,
            NamedSharding(mesh(8), P("x")),
            NamedSharding(mesh(2), P(None, "x")),
            NamedSharding(mesh(3), P()),
            jax.sharding.SingleDeviceSharding(jax.devices()[5]),
        ):
            like = jax.device_put(jnp.zeros((8, 8)), sharding)
            struct = jax.ShapeDtypeStruct((8, 8), jnp.float32, sharding=sharding)
            for wanted in (like, struct):
                found = checkpoints.restore({"w": wanted, "key": state["key"]}).state
                assert same(found["w"], jax.device_put(values, sharding))
                assert same(found["key"], state["key"])
        replicated = NamedSharding(mesh(8), P("x"))
        keys = checkpoints.restore({**state, "key": jax.device_put(key, replicated)}).state["key"]
        assert keys.sharding == replicated
        numpy = checkpoints.restore({**state, "w": np.zeros((8, 8), np.float32)}).state["w"]
        assert same(numpy, np.array(values))


@pytest.mark.parametrize(
    ("like", "leaf", "message"),
    [
        ({"a": jnp.ones(3, jnp.int32), "b": 1}, "['a']", " is i32[3] in the state and f32[3] in"),
        ({"a": jnp.ones((3, 1)), "b": 1}, "['a']", " is f32[3,1] in the state and f32[3] in"),
        (
            {"a": jnp.ones(3), "b": 1.0},
            "['b']",
            " is a Python float in the state and a Python int in",
        ),
        (
            {"a": jnp.ones(3), "b": jnp.ones(())},
            "['b']",
            " is f32[] in the state and a Python int in",
        ),
        ({"a": jnp.ones(3), "b": 1, "c": jnp.ones(2)}, "['c']", ", f32[2] in the state, is not in"),
        ({"a": jnp.ones(3)}, "['b']", " is not in the state, and a Python int in"),
        ({"a": jax.random.key(0), "b": 1}, "['a']", " is key<fry>[] in the state and f32[3] in"),
    ],
)
def test_the_first_leaf_that_differs_is_named_and_nothing_is_converted(
    tmp_path, like, leaf, message
):
    checkpoints = Checkpoints(tmp_path, asynchronous=False)
    checkpoints.save({"a": jnp.ones(3), "b": 1}, step=3)
    with pytest.raises(CheckpointError) as caught:
        checkpoints.restore(like)
    assert (caught.value.leaf, caught.value.step) == (leaf, 3)
    assert str(caught.value).startswith(f"{leaf}{message} the checkpoint of step 3")
    checkpoints.close()


def test_a_loose_restore_keeps_what_was_not_saved_and_still_refuses_other_dtypes(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save({"a": jnp.ones(3), "b": jnp.zeros(2)}, step=0)
        like = {"a": jnp.zeros(3), "c": jnp.full(2, 7.0)}
        found = checkpoints.restore(like, strict=False).state
        assert same(found["a"], jnp.ones(3))
        assert same(found["c"], like["c"])
        with pytest.raises(CheckpointError, match="Nothing is converted"):
            checkpoints.restore({"a": jnp.zeros(3, jnp.int32)}, strict=False)
        absent = {"a": jnp.zeros(3), "c": jax.ShapeDtypeStruct((2,), jnp.float32)}
        with pytest.raises(CheckpointError, match=r"\['c'\]"):
            checkpoints.restore(absent, strict=False)


def test_what_cannot_be_saved_is_named_and_the_next_save_works(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        for leaf in (object(), 1j, np.array(["a"]), jax.ShapeDtypeStruct((2,), jnp.float32)):
            with pytest.raises(CheckpointError, match="bad") as caught:
                checkpoints.save({"bad": leaf}, step=0)
            assert caught.value.leaf == "['bad']"
        with pytest.raises(CheckpointError, match="the record is no JSON"):
            checkpoints.save({}, step=0, record={"x": jnp.ones(2)})
        with pytest.raises(OptionError):
            checkpoints.save({}, step=-1)
        with pytest.raises(CheckpointError, match=r"outside of jax\.jit"):
            jax.jit(lambda x: checkpoints.save({"x": x}, step=0))(1.0)
        checkpoints.save({"x": jnp.ones(2)}, step=0)
        checkpoints.wait()
        assert checkpoints.steps() == (0,)


def test_arrays_may_be_donated_and_changed_as_soon_as_save_returns(tmp_path):
    overwrite = jax.jit(lambda x: x * 0 - 1, donate_argnums=0)
    host = np.ones((512, 512))
    with Checkpoints(tmp_path, keep_last=5) as checkpoints:
        for step in range(5):
            state = {"device": jnp.full((512, 512), float(step)), "host": host}
            checkpoints.save(state, step=step)
            host[:] = -1
            overwrite(state["device"]).block_until_ready()
            found = checkpoints.restore(
                {"device": jnp.zeros((512, 512)), "host": host}, step=step
            ).state
            assert (found["device"] == step).all()
            assert (found["host"] == 1).all()
            host[:] = 1


def save_all(checkpoints, metrics):
    for step, value in enumerate(metrics):
        checkpoints.save({"x": jnp.full(2, step)}, step=step, metrics={"loss": value})
    checkpoints.wait()


def test_the_last_and_the_best_are_kept_and_a_nan_is_never_best(tmp_path):
    losses = [math.nan, 3.0, 1.0, 2.0, 1.0, -math.inf, 4.0]
    with Checkpoints(tmp_path / "min", keep_last=2, keep_best=2) as checkpoints:
        save_all(checkpoints, losses)
        assert checkpoints.steps() == (2, 4, 5, 6)
        assert checkpoints.restore({"x": jnp.zeros(2, int)}, step="best").step == 2
        assert checkpoints.restore({"x": jnp.zeros(2, int)}).step == 6
    with Checkpoints(tmp_path / "max", keep_last=1, best_is="max") as checkpoints:
        save_all(checkpoints, losses[:4])
        assert checkpoints.steps() == (1, 3)
    with Checkpoints(tmp_path / "none", keep_last=1, best="accuracy") as checkpoints:
        save_all(checkpoints, losses)
        assert checkpoints.steps() == (6,)
        with pytest.raises(CheckpointError, match="no step with a finite metric"):
            checkpoints.restore({"x": jnp.zeros(2, int)}, step="best")


def test_a_step_that_is_saved_again_is_replaced_and_is_the_last(tmp_path):
    like = {"x": jnp.zeros(2, int)}
    with Checkpoints(tmp_path, keep_last=3) as checkpoints:
        save_all(checkpoints, [1.0, 1.0, 1.0])
        checkpoints.save({"x": jnp.full(2, 70)}, step=1)
        checkpoints.wait()
        assert checkpoints.steps() == (0, 2, 1)
        restored = checkpoints.restore(like)
        assert (restored.step, int(restored.state["x"][0])) == (1, 70)


@pytest.mark.parametrize("option", [{"keep_last": 0}, {"keep_best": -1}, {"best_is": "least"}])
def test_an_option_without_sense_is_refused(tmp_path, option):
    with pytest.raises(OptionError) as caught:
        Checkpoints(tmp_path, **option)
    assert caught.value.option in option


def test_an_address_is_no_folder():
    with pytest.raises(OptionError, match="saved on a disk"):
        Checkpoints("gs://bucket/run")


def test_a_state_whose_arrays_were_donated_still_says_where_they_go(tmp_path):
    state = {"x": jnp.ones(3), "key": jax.random.key(4)}
    copy = jax.tree.map(jnp.copy, state)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, step=0)
        jax.tree.map(lambda leaf: leaf.delete(), state)
        found = checkpoints.restore(state).state
    assert all(map(same, jax.tree.leaves(copy), jax.tree.leaves(found)))


def test_a_folder_that_is_not_there_has_no_steps_and_is_not_made_by_readers(tmp_path):
    checkpoints = Checkpoints(tmp_path / "none")
    assert checkpoints.steps() == ()
    with pytest.raises(CheckpointError, match="no step that is whole"):
        checkpoints.restore({})
    with pytest.raises(CheckpointError, match="has no step 3"):
        checkpoints.verify(3)
    assert not (tmp_path / "none").exists()
