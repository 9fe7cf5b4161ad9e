"""FLOPs and bytes of graphs, against XLA's own sums and against what can be counted by hand."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import fxgrad as fx

SQUARE = jnp.ones((64, 64))
IMAGES = jnp.ones((2, 14, 14, 3))
KERNEL = jnp.ones((3, 3, 3, 4))
DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def convolve(images, kernel, strides=(1, 1), padding="SAME"):
    return jax.lax.conv_general_dilated(
        images, kernel, strides, padding, dimension_numbers=DIMENSIONS
    )


def slope(images, kernel):
    return jax.grad(lambda x: convolve(x, kernel, (2, 2)).sum())(images)


def running(x):
    return jax.lax.scan(lambda c, y: (c + y, c * y), x[0], x)


PROGRAMS = {
    "relu of a product": (lambda x, y: jnp.maximum(x @ y, 0), SQUARE, SQUARE),
    "exp": (lambda x: jnp.exp(x).sum() / 3, SQUARE),
    "softmax": (lambda x: (jax.nn.softmax(x) ** 2).sum(), SQUARE),
    "padded convolution": (convolve, IMAGES, KERNEL),
    "plain convolution": (lambda x, k: convolve(x, k, padding="VALID"), IMAGES, KERNEL),
    "strided convolution": (lambda x, k: convolve(x, k, (2, 2)), IMAGES, KERNEL),
    "slope of a strided convolution": (slope, IMAGES, KERNEL),
    "sort": (lambda x: jnp.sort(x), jnp.arange(1000.0)),
    "fft": (lambda x: jnp.abs(jnp.fft.fft(x)), jnp.ones(1024, jnp.complex64)),
    "leading zeros": (jax.lax.clz, jnp.arange(10)),
    "argmax": (jnp.argmax, jnp.arange(1000.0)),
    "running sum": (jnp.cumsum, jnp.ones(1000)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_flops_of_instructions_add_up_to_xlas_own_count(name):
    fun, *args = PROGRAMS[name]
    told = jax.jit(fun).lower(*args).compile().cost_analysis()
    expected = told.get("flops", 0.0) + told.get("transcendentals", 0.0)
    found = fx.graph(fun, *args, stage="hlo").summary().whole.flops
    assert found == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    ("fun", "args"),
    [
        (lambda x: jnp.sqrt(x * 2 + 1), (jnp.ones(1000),)),
        (lambda x: x[:2] * 2, (jnp.ones((1000, 64)),)),
        (lambda x: jax.lax.dynamic_slice(x, (3, 0), (2, 64)) * 2, (jnp.ones((1000, 64)),)),
        (lambda x, y: jnp.tanh(x @ y), (SQUARE, SQUARE)),
    ],
)
def test_bytes_of_instructions_add_up_to_xlas_own_count(fun, args):
    expected = jax.jit(fun).lower(*args).compile().cost_analysis()["bytes accessed"]
    found = fx.graph(fun, *args, stage="hlo").summary().whole.bytes
    assert found == pytest.approx(expected, rel=0.05)


def test_a_loop_over_rows_reads_each_row_once():
    x = jnp.ones((200, 100))
    found = fx.graph(running, x, stage="hlo").summary().whole.bytes
    assert found < 20 * x.nbytes  # 200 times as many, if each turn read all


def test_running_sums_and_random_bits_are_counted_as_they_are_compiled():
    x = jnp.ones(1000)
    assert fx.graph(jnp.cumsum, x).summary().whole.flops < 100_000  # a million, term by term

    def draw(key):
        return jax.random.bits(key, (1000,))

    key = jax.random.key(0)
    traced, compiled = (fx.graph(draw, key, stage=s).summary().whole for s in ("jaxpr", "hlo"))
    assert 0.5 < traced.flops / compiled.flops < 2


@pytest.mark.parametrize(
    ("fun", "label"),
    [
        (lambda x: jnp.linalg.cholesky(x), "cholesky"),
        (lambda x: jax.lax.linalg.triangular_solve(x, x), "triangular_solve"),
        (
            lambda x: jax.pure_callback(lambda v: v, jax.ShapeDtypeStruct((64, 64), "float32"), x),
            "pure_callback",
        ),
    ],
)
def test_what_is_not_known_is_none_and_named(fun, label):
    graph = fx.graph(fun, SQUARE)
    (node,) = (node for node in graph.nodes if node.label == label)
    assert node.flops is None
    assert node.bytes is None
    assert any(label in note for note in graph.notes)


def test_all_branches_are_counted_and_a_note_says_so():
    def fun(i, x):
        return jax.lax.switch(i, [lambda x: x @ x, lambda x: x @ x, lambda x: x], x)

    for stage in ("jaxpr", "hlo"):
        graph = fx.graph(fun, jnp.int32(0), SQUARE, stage=stage)
        products = [n for n in graph.nodes if n.label in ("dot", "dot_general")]
        assert sum(node.flops for node in products) == 2 * 2 * 64**3
        assert any("every branch" in note for note in graph.notes)


def test_a_sharded_program_is_counted_whole_when_traced_and_by_device_when_compiled():
    mesh = jax.make_mesh((8,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    x = jax.device_put(SQUARE, NamedSharding(mesh, PartitionSpec("d", None)))

    def fun(x):
        return jnp.sin(x.T @ x)

    traced = fx.graph(fun, x)
    assert [n.flops for n in traced.nodes if n.label == "dot_general"] == [2 * 64**3]
    compiled = fx.graph(fun, x, stage="hlo")
    assert "f32[8,64]" in {n.outputs[0] for n in compiled.nodes if n.kind == "input"}
    assert any("one device" in note for note in compiled.notes)
