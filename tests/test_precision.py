"""Precision: products in fewer bits, all else in float32, in every mode."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx
from jax.sharding import AxisType, PartitionSpec

import fxgrad as fx
from fxgrad import train
from fxgrad.cli.demo import accuracy, init, loss
from fxgrad.errors import OptionError, TrainingWarning
from fxgrad.modes import MODES
from fxgrad.recorder import is_jaxpr, open_jaxpr

every_mode = pytest.mark.parametrize("mode", MODES)
W = jax.random.normal(jax.random.key(0), (16, 16))
X = jax.random.normal(jax.random.key(1), (8, 16))


def dtypes_of_products(fun, *args):
    """The dtypes of the operands of every product in a traced function, nested ones included."""
    return {str(dtype) for dtype in operands(jax.make_jaxpr(fun)(*args))}


def operands(jaxpr):
    for equation in open_jaxpr(jaxpr).eqns:
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            yield from (atom.aval.dtype for atom in equation.invars)
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple) else (value,):
                if is_jaxpr(inner):
                    yield from operands(inner)


@jax.custom_vjp
def ruled(x, w):
    return x @ w


ruled.defvjp(lambda x, w: (x @ w, (x, w)), lambda r, g: (g @ r[1].T, r[0].T @ g))


@jax.custom_jvp
def tangent_ruled(x, w):
    return x @ w


@tangent_ruled.defjvp
def _(primals, tangents):
    return tangent_ruled(*primals), tangents[0] @ primals[1] + primals[0] @ tangents[1]


def sharded(x, w):
    mesh = jax.make_mesh((8,), ("rows",), axis_types=(AxisType.Auto,))
    rows = PartitionSpec("rows")
    return jax.shard_map(jnp.dot, mesh=mesh, in_specs=(rows, PartitionSpec()), out_specs=rows)(x, w)


WAYS = {
    "plain": jnp.dot,
    "inside jit": lambda x, w: jnp.einsum("ij,jk->ik", x, w),
    "inside vmap": lambda x, w: jax.vmap(lambda row: row @ w)(x),
    "inside scan": lambda x, w: jax.lax.scan(lambda c, _: (c @ w, None), x, None, length=3)[0],
    "inside while": lambda x, w: jax.lax.fori_loop(0, 3, lambda _, c: c @ w, x),
    "inside cond": lambda x, w: jax.lax.cond(x[0, 0] > 0, jnp.dot, lambda a, b: a, x, w),
    "inside remat": lambda x, w: jax.checkpoint(lambda x: jnp.sin(x @ w))(x),
    "with a rule for vjp": ruled,
    "with a rule for jvp": tangent_ruled,
    "inside shard_map": sharded,
    "a convolution": lambda x, w: jax.lax.conv(
        x[None, None], w[None, None, :3, :3], (1, 1), "SAME"
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("precision", ["bf16", "f16"])
def test_every_product_takes_fewer_bits_wherever_it_stands(way, precision):
    lowered = train.in_precision(WAYS[way], precision)
    expected = {"bf16": "bfloat16", "f16": "float16"}[precision]
    assert dtypes_of_products(lowered, X, W) == {expected}
    assert lowered(X, W).dtype == jnp.float32
    np.testing.assert_allclose(lowered(X, W), WAYS[way](X, W), rtol=0.1, atol=0.5)


@pytest.mark.parametrize("way", [way for way in WAYS if way != "inside while"])
def test_so_does_its_derivative_which_is_float32_again(way):
    lowered = train.in_precision(WAYS[way], "bf16")
    gradient = jax.grad(lambda w: jnp.sum(jnp.sin(lowered(X, w))))
    assert dtypes_of_products(gradient, W) == {"bfloat16"}
    assert gradient(W).dtype == jnp.float32


@every_mode
def test_a_lowered_function_runs_in_every_mode_as_one_program_of_its_own(mode):
    def fun(w, x):
        return jnp.mean(jax.nn.softmax(WAYS["inside scan"](jnp.tanh(x @ w), w)) ** 2)

    gradient = fx.function(jax.value_and_grad(train.in_precision(fun, "bf16")), mode=mode)
    for _ in range(3):
        value, slope = gradient(W, X)
    np.testing.assert_allclose(value, fun(W, X), rtol=0.02)
    assert slope.dtype == jnp.float32
    if mode != "eager":
        assert (gradient.stats().programs, gradient.stats().host_reads) == (1, 0)


@pytest.mark.parametrize("mode", ["eager", "replay"])
def test_python_may_decide_by_the_value_of_a_product(mode):
    def fun(x):
        total = jnp.sum(x @ W)
        while total < 1000:
            total = total * 2 + jnp.sum(x @ W)
        return total

    run = fx.function(jax.value_and_grad(train.in_precision(fun, "bf16")), mode=mode)
    for _ in range(2):
        np.testing.assert_allclose(run(X)[0], fun(X), rtol=0.02)


@every_mode
def test_eager_compiles_nothing_new_for_the_second_call(mode):
    lowered = fx.function(train.in_precision(WAYS["inside jit"], "bf16"), mode=mode)
    lowered(X, W)
    programs = lowered.stats().programs
    lowered(X, W)
    assert lowered.stats().programs == programs


def test_what_is_summed_by_hand_is_summed_in_float32():
    """4,096 steps of a recurrence: in bfloat16 the gradient of its weight would stop at 256."""

    def fun(w):
        def step(carry, x):
            return carry, (x[None] @ w[:, None])[0]

        return jnp.sum(jax.lax.scan(step, 0.0, jnp.ones((4096, 1)))[1])

    gradient = jax.grad(train.in_precision(fun, "bf16"))(jnp.ones(1))
    assert gradient[0] == 4096
    rounded = jax.grad(fun_in_bf16)(jnp.ones(1, jnp.bfloat16))
    assert rounded[0] < 4096


def fun_in_bf16(w):
    def step(carry, x):
        return carry, (x[None] @ w[:, None])[0]

    return jnp.sum(jax.lax.scan(step, 0.0, jnp.ones((4096, 1), jnp.bfloat16))[1])


@pytest.mark.parametrize("first", ["plain", "lowered"])
def test_neither_takes_the_program_that_was_compiled_for_the_other(first):
    product = jax.jit(lambda x, w: x @ w)
    lowered = train.in_precision(product, "bf16")
    for run in (product, lowered) if first == "plain" else (lowered, product):
        run(X, W)
    np.testing.assert_array_equal(product(X, W), X @ W)
    assert jnp.any(lowered(X, W) != X @ W)


def test_what_the_backward_pass_keeps_of_the_operands_takes_half_the_bytes():
    for precision, dtype in (("f32", "float32"), ("bf16", "bfloat16")):
        _, backward = jax.vjp(train.in_precision(jnp.dot, precision), X, W)
        assert {str(leaf.dtype) for leaf in jax.tree.leaves(backward)} == {dtype}


def test_an_effect_inside_a_compiled_function_happens_once(capfd):
    @jax.jit
    def told(x):
        jax.debug.print("told {}", jnp.sum(x), ordered=True)
        return x @ W

    train.in_precision(told, "bf16")(X)
    jax.effects_barrier()
    assert capfd.readouterr().out.count("told") == 1


def test_an_axis_of_vmap_is_seen_inside():
    def fun(x):
        return jax.jit(lambda x: jax.lax.psum(x @ W, "rows"))(x)

    summed = jax.vmap(train.in_precision(fun, "bf16"), axis_name="rows")(X)
    np.testing.assert_allclose(summed[0], jnp.sum(X @ W, axis=0), atol=0.2)


def test_a_product_that_asks_for_all_bits_keeps_them():
    for fun in (
        lambda x: jnp.dot(x, W, precision="highest"),
        lambda x: jnp.dot(x, W, precision=jax.lax.DotAlgorithmPreset.F32_F32_F32),
    ):
        assert dtypes_of_products(train.in_precision(fun, "bf16"), X) == {"float32"}


def test_the_innermost_precision_wins():
    twice = train.in_precision(train.in_precision(jnp.dot, "f16"), "bf16")
    assert dtypes_of_products(twice, X, W) == {"float16"}


def test_dtypes_that_are_not_float32_are_left_alone():
    whole = jnp.ones((4, 4), jnp.int32)
    half = jnp.ones((4, 4), jnp.float16)
    assert train.in_precision(jnp.dot, "bf16")(whole, whole).dtype == jnp.int32
    assert dtypes_of_products(train.in_precision(jnp.dot, "bf16"), half, half) == {"float16"}


def test_the_function_itself_is_float32_and_other_words_are_refused():
    assert train.in_precision(loss, "f32") is loss
    with pytest.raises(OptionError, match="precision='half': write one of 'f32'"):
        train.in_precision(loss, "half")


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.BatchNorm(use_running_average=not train)(nn.Conv(4, (3, 3))(x))
        x = nn.LayerNorm()(nn.Dense(16)(nn.relu(x).reshape(x.shape[0], -1)))
        x = nn.MultiHeadDotProductAttention(2)(x[:, None, :])[:, 0]
        return nn.Dense(10)(nn.Dropout(0.1, deterministic=not train)(x))


class Nnx(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(1, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.dense = nnx.Linear(4 * 36, 10, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.conv(x)))
        return self.dense(x.reshape(x.shape[0], -1))


@pytest.mark.parametrize("module", [Linen(), Nnx], ids=["linen", "nnx"])
def test_a_flax_model_keeps_its_state_and_its_norms_in_float32(module):
    images = jax.random.normal(jax.random.key(2), (8, 6, 6, 1))
    model, plain = (fx.from_flax(module, precision=p) for p in ("bf16", "f32"))
    params, state = model.init(jax.random.key(0), images)

    def run(params):
        return model.apply(params, images, state=state, key=jax.random.key(1), train=True)

    outputs, changed = run(params)
    expected, _ = plain.apply(params, images, state=state, key=jax.random.key(1), train=True)
    assert dtypes_of_products(run, params) == {"bfloat16"}
    assert {leaf.dtype for leaf in jax.tree.leaves((outputs, changed))} == {np.dtype("float32")}
    np.testing.assert_allclose(outputs, expected, atol=0.05)
    assert jnp.any(outputs != expected)


def compiled(precision):
    step = train.make_step(loss, optax.sgd(0.1), mode="static", precision=precision)
    state = train.TrainState.create(init(jax.random.key(0)), step)
    batch = {"image": jnp.ones((16, 28, 28)), "label": jnp.zeros(16, jnp.int32)}
    return fx.graph(step, state, batch, stage="hlo")


def test_the_compiled_step_rounds_before_products_and_reduces_in_float32():
    nodes = compiled("bf16").nodes
    labels = [node.label for node in nodes]
    assert any("bf16" in out for node in nodes for out in node.outputs)
    reduced = [out for node in nodes if node.label == "reduce" for out in node.outputs]
    assert reduced
    assert all(out.startswith(("f32", "s32")) for out in reduced)
    assert "dot" in labels
    assert not any("bf16" in out for node in compiled("f32").nodes for out in node.outputs)


@pytest.fixture(scope="module")
def digits():
    return train.load_digits()


def trained(digits, precision, loss_scale=None):
    step = train.make_step(loss, optax.sgd(0.05, momentum=0.9), mode="static", precision=precision)
    state = train.TrainState.create(init(jax.random.key(0)), step)
    if loss_scale is not None:
        state = state.replace(loss_scale=loss_scale)
    batches = train.Batches(digits.train, 64, seed=0)
    return train.fit(step, state, batches, epochs=30, progress=False)


@pytest.mark.parametrize("precision", ["bf16", "f16"])
def test_a_run_in_fewer_bits_reaches_the_accuracy_of_float32_on_the_digits(digits, precision):
    test = jax.tree.map(jnp.asarray, digits.test)
    full, _ = trained(digits, "f32")
    less, history = trained(digits, precision)
    assert accuracy(full.params, test) > 0.9
    assert accuracy(less.params, test) > accuracy(full.params, test) - 0.01
    assert {leaf.dtype for leaf in jax.tree.leaves(less.params)} == {np.dtype("float32")}
    if precision == "f16":
        assert history.metrics["skipped"].sum() < 10


def test_a_scale_that_is_too_large_is_halved_until_the_steps_count(digits):
    with pytest.warns(TrainingWarning, match="22 of 22 steps of epoch 1 were skipped"):
        state, history = trained(digits, "f16", train.LossScale.create(2.0**40))
    skipped = history.metrics["skipped"]
    first_good = int(np.argmin(skipped))
    assert 5 < first_good < 40
    assert skipped[:first_good].all()
    np.testing.assert_array_equal(
        history.metrics["loss_scale"][:first_good], 2.0 ** (39 - np.arange(first_good))
    )
    assert accuracy(state.params, jax.tree.map(jnp.asarray, digits.test)) > 0.9


def test_small_gradients_are_lost_in_float16_without_a_scale():
    def small(params, batch):
        return jnp.sum((batch @ params) * 1e-9)

    batch, params = jnp.ones((1, 4)), jnp.ones((4, 4))
    bare = jax.grad(train.in_precision(small, "f16"))(params, batch)
    assert not bare.any()
    step = train.make_step(small, optax.sgd(1.0), precision="f16")
    state = train.TrainState.create(params, step)
    state = state.replace(params=jnp.zeros((4, 4)))
    moved, _ = step(state, batch)
    np.testing.assert_allclose(moved.params, -1e-9 * np.ones((4, 4)), rtol=1e-2)
