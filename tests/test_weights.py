"""Weights in safetensors: round trips, PyTorch's layouts, and every kind of damage."""

import functools
import os
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax import linen as nn
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import fxgrad as fx
from fxgrad import train
from fxgrad.errors import OptionError, WeightsError
from fxgrad.weights.file import opened_arrays

rng = np.random.default_rng(0)


def drawn(*shape):
    return jnp.asarray(rng.normal(size=shape).astype(np.float32))


PARAMS = {
    "layers": [{"kernel": drawn(3, 4), "bias": drawn(4)}, {"kernel": drawn(4, 2)}],
    "embed": {"embedding": drawn(7, 3)},
    "small": jnp.arange(3, dtype=jnp.bfloat16),
    "count": jnp.asarray(5, jnp.int32),
    "mask": jnp.array([True, False]),
    "empty": jnp.zeros((0, 3), jnp.float16),
}


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)
    assert [a.dtype for a in jax.tree.leaves(one)] == [a.dtype for a in jax.tree.leaves(other)]


@pytest.mark.parametrize("layout", ["flax", "torch"])
def test_what_is_saved_is_loaded_bit_for_bit(tmp_path, layout):
    file = tmp_path / "weights.safetensors"
    train.save_weights(file, PARAMS, layout=layout)
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), PARAMS)
    assert_same(train.load_weights(file, PARAMS, layout=layout), PARAMS)
    assert_same(train.load_weights(str(file), shapes, layout=layout), PARAMS)
    assert os.listdir(tmp_path) == ["weights.safetensors"]


def test_the_file_is_one_that_safetensors_reads_by_dotted_names(tmp_path):
    file = tmp_path / "weights.safetensors"
    params = {"layers": [{"kernel": drawn(3, 4)}]}
    train.save_weights(file, params)
    found = safetensors.numpy.load_file(file)
    assert list(found) == ["layers.0.kernel"]
    np.testing.assert_array_equal(found["layers.0.kernel"], params["layers"][0]["kernel"])


@pytest.mark.parametrize(
    ("name", "ours", "theirs", "changed"),
    [
        ("Dense_0", "kernel", "weight", lambda a: a.T),
        ("Conv_0", "kernel", "weight", lambda a: a.transpose(3, 2, 0, 1)),
        ("ConvTranspose_0", "kernel", "weight", lambda a: a[::-1, ::-1].transpose(2, 3, 0, 1)),
        ("Embed_0", "embedding", "weight", lambda a: a),
        ("BatchNorm_0", "scale", "weight", lambda a: a),
        ("BatchNorm_0", "mean", "running_mean", lambda a: a),
        ("BatchNorm_0", "var", "running_var", lambda a: a),
        ("BatchNorm_0", "bias", "bias", lambda a: a),
        ("mine", "w", "w", lambda a: a),
    ],
)
def test_each_layer_goes_into_pytorchs_layout(tmp_path, name, ours, theirs, changed):
    shape = (5, 6) if name == "Dense_0" else (3, 2, 5, 6) if "Conv" in name else (5,)
    array = drawn(*shape)
    file = tmp_path / "weights.safetensors"
    train.save_weights(file, {name: {ours: array}}, layout="torch")
    stored = safetensors.numpy.load_file(file)
    np.testing.assert_array_equal(stored[f"{name}.{theirs}"], changed(np.asarray(array)))


@pytest.mark.parametrize("window", [(3,), (3, 2), (3, 2, 4)])
def test_windows_of_any_number_of_dimensions_are_moved_behind(tmp_path, window):
    params = {"net": {"kernel": drawn(*window, 5, 6)}, "up": {"kernel": drawn(*window, 5, 6)}}
    file = tmp_path / "weights.safetensors"
    train.save_weights(file, params, layout="torch", transposed=["up"])
    stored = safetensors.numpy.load_file(file)
    assert stored["net.weight"].shape == (6, 5, *window)
    assert stored["up.weight"].shape == (5, 6, *window)
    assert_same(train.load_weights(file, params, layout="torch", transposed=["up"]), params)


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.BatchNorm(use_running_average=True)(nn.Conv(4, (3, 3))(x))
        return nn.Dense(2)(x.reshape(len(x), -1))


class Nnx(nnx.Module):
    def __init__(self, rngs):
        self.layers = nnx.List([nnx.Linear(4, 4, rngs=rngs) for _ in range(2)])
        self.norm = nnx.BatchNorm(4, use_running_average=True, rngs=rngs)

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


@pytest.mark.parametrize(
    ("module", "inputs", "names"),
    [
        (
            Linen(),
            jnp.ones((2, 4, 4, 1)),
            "bn.bias bn.running_mean bn.running_var bn.weight "
            "conv.bias conv.weight fc.bias fc.weight",
        ),
        (
            Nnx,
            jnp.ones((2, 4)),
            "layers.0.bias layers.0.weight layers.1.bias layers.1.weight "
            "norm.bias norm.running_mean norm.running_var norm.weight",
        ),
    ],
    ids=["linen", "nnx"],
)
def test_a_flax_model_with_batch_statistics_goes_out_and_comes_back(
    tmp_path, module, inputs, names
):
    model = fx.from_flax(module)
    params, state = model.init(jax.random.key(0), inputs)
    variables = {"params": params, **state} if "batch_stats" in state else merged(params, state)
    rename = {"BatchNorm_0": "bn", "Conv_0": "conv", "Dense_0": "fc"} if "bn" in names else None
    file = tmp_path / "weights.safetensors"
    train.save_weights(file, variables, layout="torch", rename=rename)
    assert sorted(safetensors.numpy.load_file(file)) == names.split()
    assert_same(train.load_weights(file, variables, layout="torch", rename=rename), variables)


def test_the_boxes_that_flax_puts_around_arrays_are_no_part_of_a_name(tmp_path):
    boxed = nn.with_partitioning(nn.initializers.ones, (None, "x"))
    linen = nn.Dense(3, kernel_init=boxed).init(jax.random.key(0), jnp.ones((1, 2)))["params"]
    for params in (nnx.state(nnx.Linear(2, 3, rngs=nnx.Rngs(0))), linen):
        file = tmp_path / "weights.safetensors"
        train.save_weights(file, params, layout="torch")
        assert sorted(safetensors.numpy.load_file(file)) == ["bias", "weight"]
        loaded = train.load_weights(file, params, layout="torch")
        assert_same(loaded, params)
        assert jax.tree.structure(loaded) == jax.tree.structure(params)
        assert [row.path for row in train.summary(params).rows] == ["bias", "kernel"]


def merged(params, state):
    return {**params, "norm": {**params["norm"], **state["norm"]}}


@pytest.mark.parametrize(
    ("rename", "name"),
    [
        ({"a": "x"}, "x.b.c"),
        ({"a.b": "x", "a": "y"}, "x.c"),
        ({"a": ""}, "b.c"),
        ({"": "model"}, "model.a.b.c"),
        ({"a.b.c": "d"}, "d"),
        (str.upper, "A.B.C"),
    ],
)
def test_names_are_changed_by_their_beginnings_or_by_a_function(tmp_path, rename, name):
    file = tmp_path / "weights.safetensors"
    params = {"a": {"b": {"c": drawn(2)}}}
    train.save_weights(file, params, rename=rename)
    assert list(safetensors.numpy.load_file(file)) == [name]
    assert_same(train.load_weights(file, params, rename=rename), params)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rename": {"decodr": "x"}}, r"rename= has 'decodr', .* the nearest .* is 'decoder'"),
        ({"rename": {"decoder.u": "x"}}, "rename= has 'decoder.u'"),
        ({"transposed": ["decoder.upp"]}, r"transposed= has 'decoder\.upp', .*is 'decoder\.up'"),
        ({"transposed": ["decoder"]}, "transposed= has 'decoder'"),
        ({"transposed": ["fc"]}, "transposed= has 'fc', which fits nothing"),
    ],
)
def test_options_that_fit_nothing_are_refused_with_the_nearest_that_would(
    tmp_path, options, message
):
    params = {"decoder": {"up": {"kernel": drawn(3, 5, 6)}}, "fc": {"kernel": drawn(2, 3)}}
    file = tmp_path / "weights.safetensors"
    for tree in (params, {"params": params}):
        with pytest.raises(WeightsError, match=message):
            train.save_weights(file, tree, layout="torch", **options)
        with pytest.raises(WeightsError, match=message):
            train.load_weights(file, tree, layout="torch", **options)
    assert os.listdir(tmp_path) == []


def test_a_transposed_convolution_is_named_with_its_collection_or_without(tmp_path):
    params = {"decoder": {"up": {"kernel": drawn(3, 5, 6)}}, "up": {"kernel": drawn(3, 5, 6)}}
    file = tmp_path / "weights.safetensors"
    for tree, name in (
        (params, "decoder.up"),
        ({"params": params}, "decoder.up"),
        ({"params": params}, "params.decoder.up"),
    ):
        train.save_weights(file, tree, layout="torch", transposed=[name])
        stored = safetensors.numpy.load_file(file)
        assert stored["decoder.up.weight"].shape == (5, 6, 3)
        assert stored["up.weight"].shape == (6, 5, 3)
    with pytest.raises(OptionError, match=r"is one name: write \['decoder\.up'\]"):
        train.save_weights(file, params, layout="torch", transposed="decoder.up")


class Attending(nnx.Module):
    def __init__(self, rngs):
        self.attention = nnx.MultiHeadAttention(2, 6, qkv_features=8, decode=False, rngs=rngs)

    def __call__(self, x):
        return self.attention(x)


class Remembering(nnx.Module):
    def __init__(self, cell, rngs):
        self.cell = cell(6, 8, rngs=rngs)

    def __call__(self, x):
        return self.cell(self.cell.initialize_carry((*x.shape[:1], 6), rngs=nnx.Rngs(0)), x[:, 0])


OTHERS = {
    "attention": nn.MultiHeadDotProductAttention(2, qkv_features=8),
    "attention without biases": nn.MultiHeadDotProductAttention(2, qkv_features=8, use_bias=False),
    "normalised attention": nn.MultiHeadDotProductAttention(2, normalize_qk=True),
    "heads of a dense layer": nn.DenseGeneral((2, 4)),
    "its own kernel at each place": nn.ConvLocal(4, (2,)),
    **{
        f"a recurrent layer of {cell.__name__}": nn.RNN(cell(4))
        for cell in (nn.LSTMCell, nn.OptimizedLSTMCell, nn.GRUCell, nn.MGUCell, nn.SimpleCell)
    },
    "a recurrent layer of convolutions": nn.RNN(nn.ConvLSTMCell(4, (3,))),
    "attention in nnx": Attending,
    **{
        f"{cell.__name__} in nnx": functools.partial(Remembering, cell)
        for cell in (nnx.LSTMCell, nnx.OptimizedLSTMCell, nnx.GRUCell, nnx.SimpleCell)
    },
}


@pytest.mark.parametrize("name", OTHERS)
def test_kernels_that_pytorch_cuts_differently_are_left_as_they_are(tmp_path, name):
    shape = (2, 3, 5, 6) if "convolutions" in name else (2, 3, 6)
    made = OTHERS[name]
    if isinstance(made, nn.Module):
        net = nn.Sequential([made, nn.Dense(3)])
        params = net.init(jax.random.key(0), jnp.ones(shape))["params"]
    else:
        params = nnx.to_pure_dict(nnx.state(made(rngs=nnx.Rngs(0)), nnx.Param))
        params["layers_1"] = {"kernel": drawn(4, 3)}
    file = tmp_path / "weights.safetensors"
    train.save_weights(file, params, layout="torch")
    stored = safetensors.numpy.load_file(file)
    kernels = {key: value for key, value in stored.items() if key.endswith("kernel")}
    assert kernels
    for key, value in kernels.items():
        ours = functools.reduce(lambda node, part: node[part], key.split("."), params)
        np.testing.assert_array_equal(value, ours)
    dense = [key for key in stored if key.endswith("weight") and stored[key].ndim > 1]
    assert dense == ["layers_1.weight"]
    assert_same(train.load_weights(file, params, layout="torch"), params)


def test_attention_that_is_written_with_dense_layers_is_linear_in_pytorch(tmp_path):
    params = {name: {"kernel": drawn(4, 6)} for name in ("query", "key", "value", "out")}
    file = tmp_path / "weights.safetensors"
    train.save_weights(file, params, layout="torch")
    stored = safetensors.numpy.load_file(file)
    assert {key: array.shape for key, array in stored.items()} == {
        f"{name}.weight": (6, 4) for name in params
    }


def test_loaded_arrays_lie_where_those_that_they_are_like_lie(tmp_path):
    file = tmp_path / "weights.safetensors"
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    split = NamedSharding(mesh, PartitionSpec("data"))
    params = {"split": jax.device_put(drawn(8, 2), split), "here": drawn(3)}
    train.save_weights(file, params)
    loaded = train.load_weights(file, params)
    assert_same(loaded, params)
    assert loaded["split"].sharding == split
    assert not loaded["here"].committed


def test_pytorchs_counters_of_batches_are_passed_over(tmp_path):
    file = tmp_path / "weights.safetensors"
    stored = {"bn.weight": np.ones(3, np.float32), "bn.num_batches_tracked": np.array(7)}
    safetensors.numpy.save_file(stored, file)
    loaded = train.load_weights(file, {"bn": {"scale": jnp.zeros(3)}}, layout="torch")
    np.testing.assert_array_equal(loaded["bn"]["scale"], np.ones(3))


STORED = {"a": {"kernel": jnp.ones((2, 3))}, "b": jnp.ones(4)}


@pytest.mark.parametrize(
    ("like", "name", "message"),
    [
        ({**STORED, "bb": jnp.ones(4)}, "bb", "has no 'bb'; the nearest that it has is 'b'"),
        ({"a": STORED["a"]}, "b", "has 'b', which nothing here is named"),
        ({**STORED, "b": jnp.ones(5)}, "b", r"'b' has shape \[4\], not \[5\]"),
        ({**STORED, "b": jnp.ones(4, jnp.int32)}, "b", "'b' is float32, not int32: .*cast=True"),
        (
            {**STORED, "a": {"kernel": jnp.ones((3, 2))}},
            "a.kernel",
            r"shape \[2, 3\], not \[3, 2\]\. The axes are in another order: .*layout='torch'",
        ),
    ],
)
def test_the_first_difference_is_named(tmp_path, like, name, message):
    file = tmp_path / "weights.safetensors"
    train.save_weights(file, STORED)
    with pytest.raises(WeightsError, match=message) as caught:
        train.load_weights(file, like)
    assert (caught.value.name, caught.value.path) == (name, file)


def test_dtypes_are_converted_only_on_request(tmp_path):
    file = tmp_path / "weights.safetensors"
    train.save_weights(file, {"w": jnp.arange(3, dtype=jnp.bfloat16)})
    loaded = train.load_weights(file, {"w": jnp.zeros(3)}, cast=True)
    assert_same(loaded, {"w": jnp.arange(3, dtype=jnp.float32)})


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        (np.array([1, -2], np.int64), np.int32),
        (np.array([1, 200], np.int32), np.uint8),
        (np.array([True, False]), np.int32),
        (np.array([1, 200], np.uint8), np.float32),
        (np.array([1, np.nan, -np.inf], np.float64), np.float16),
        (np.array([0.5], np.float32), np.complex64),
    ],
)
def test_a_cast_that_loses_nothing_is_done(tmp_path, stored, wanted):
    file = tmp_path / "weights.safetensors"
    safetensors.numpy.save_file({"w": stored}, file)
    loaded = train.load_weights(file, {"w": jnp.zeros(stored.shape, wanted)}, cast=True)
    assert loaded["w"].dtype == wanted
    np.testing.assert_array_equal(loaded["w"], stored.astype(wanted))


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        (np.array([0.5, 1e10, np.nan], np.float32), np.int32),
        (np.array([1.0], np.float32), np.int32),
        (np.array([1], np.int32), np.bool_),
        (np.array([2**24 + 1], np.int32), np.float32),
        (np.array([2**40], np.int64), np.int32),
        (np.array([-1], np.int32), np.uint8),
        (np.array([-1], np.int32), np.uint32),
        (np.array([2**31], np.uint32), np.int32),
        (np.array([1e10], np.float32), np.float16),
        (np.array([1j], np.complex64), np.float32),
    ],
)
@pytest.mark.filterwarnings("ignore:Casting complex")
def test_a_cast_that_loses_values_is_refused(tmp_path, stored, wanted):
    file = tmp_path / "weights.safetensors"
    safetensors.numpy.save_file({"w": stored}, file)
    with pytest.raises(WeightsError, match=r"'w' is \w+, whose values \w+ cannot hold"):
        train.load_weights(file, {"w": jnp.zeros(stored.shape, wanted)}, cast=True)


@pytest.mark.parametrize("layout", ["flax", "torch"])
@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray])
def test_one_array_at_a_time_is_held_beside_the_parameters(tmp_path, layout, kind):
    count, size = 16, 2**20
    params = {f"w{n}": {"kernel": kind(np.full((512, 512), n, np.float32))} for n in range(count)}
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)
    file = tmp_path / "weights.safetensors"
    tracemalloc.start()
    try:
        train.save_weights(file, params, layout=layout)
        assert tracemalloc.get_traced_memory()[1] < 3 * size
        tracemalloc.reset_peak()
        loaded = train.load_weights(file, like, layout=layout)
        assert tracemalloc.get_traced_memory()[1] < (count + 4) * size
    finally:
        tracemalloc.stop()
    assert_same(loaded, jax.tree.map(jnp.asarray, params))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (jnp.ones(3), "a single array has no name"),
        ({"a": {"b": jnp.ones(1)}, "a.b": jnp.ones(1)}, r"a\.b.* both be named 'a\.b'"),
        ({"key": jax.random.key(0)}, "key is no array of numbers: leave it out"),
        ({"a": 1.0}, "a is no array of numbers: leave it out"),
        ({"w": jnp.ones(2, jnp.int4)}, "'w' is int4, which safetensors does not have"),
    ],
)
@pytest.mark.parametrize("layout", ["flax", "torch"])
def test_what_has_no_place_in_a_file_is_refused(tmp_path, params, message, layout):
    with pytest.raises(WeightsError, match=message):
        train.save_weights(tmp_path / "weights.safetensors", params, layout=layout)
    assert os.listdir(tmp_path) == []


def test_two_names_that_become_one_and_layouts_that_do_not_exist_are_refused(tmp_path):
    norm = {"scale": jnp.ones(2), "weight": jnp.ones(2)}
    with pytest.raises(WeightsError, match=r"n\.scale and n\.weight would both be named"):
        train.save_weights(tmp_path / "w", {"n": norm}, layout="torch")
    with pytest.raises(OptionError, match="layout='pytorch': write 'flax' or 'torch'"):
        train.load_weights(tmp_path / "w", norm, layout="pytorch")


def test_a_save_that_fails_leaves_the_file_that_was_there(tmp_path, monkeypatch):
    file = tmp_path / "weights.safetensors"
    train.save_weights(file, STORED)
    before = file.read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        train.save_weights(file, PARAMS)
    assert os.listdir(tmp_path) == ["weights.safetensors"]
    assert file.read_bytes() == before


def outcome(file, like):
    """What loading a damaged file does: None if it is refused, else what was loaded."""
    try:
        return train.load_weights(file, like)
    except WeightsError:
        return None


def test_every_flipped_bit_is_refused_or_harmless(tmp_path):
    file = tmp_path / "weights.safetensors"
    params = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(3, np.float16)}
    train.save_weights(file, params)
    whole = file.read_bytes()
    refused = 0
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        loaded = outcome(file, params)
        refused += loaded is None
        if loaded is not None:
            assert_same(loaded, params)
    data = 8 * sum(array.nbytes for array in params.values())
    assert refused > data


def test_every_truncation_is_refused(tmp_path):
    file = tmp_path / "weights.safetensors"
    train.save_weights(file, STORED)
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        assert outcome(file, STORED) is None
    file.write_bytes(b"\0" * len(whole))
    assert outcome(file, STORED) is None


def test_a_file_that_is_cut_while_it_is_read_is_an_error(tmp_path):
    file = tmp_path / "weights.safetensors"
    train.save_weights(file, STORED)
    with opened_arrays(file) as arrays:
        os.truncate(file, file.stat().st_size - 1)
        with pytest.raises(WeightsError, match="ends before 'b' does"):
            [arrays.read(name) for name in arrays.names]


def test_a_missing_file_is_pythons_own_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        train.load_weights(tmp_path / "none.safetensors", STORED)


def test_equal_weights_are_equal_files(tmp_path):
    contents = set()
    for number in range(8):  # the order of the text in the header is random underneath
        train.save_weights(tmp_path / str(number), {**STORED, "größe": jnp.ones(1)})
        contents.add((tmp_path / str(number)).read_bytes())
    assert len(contents) == 1
    assert "größe" in safetensors.numpy.load(contents.pop())
